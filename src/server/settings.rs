//! What the server room must be told.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where it listens; `[::]` is dual-stack.
    pub address: SocketAddr,
    /// When TLS begins.
    pub tls: TlsMode,
    /// Its name in logs, metrics and routes.
    pub name: Arc<str>,
    /// Balancers: what comes from them begins with a PROXY header. Nobody else may send one.
    pub balancers: Vec<IpNet>,
}

/// When TLS begins on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// With AUTH TLS (RFC 4217).
    Explicit,
    /// With the first byte (the old draft, port 990).
    Implicit,
}
