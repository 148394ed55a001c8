//! What the backend room must be told.

use std::fmt;
use std::sync::Arc;

use crate::net::ProxyVersion;
use crate::tls::Verification;

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its name in the configuration; fit for a metric's label.
    pub name: Arc<str>,
    /// Its server.
    pub server: ServerAddress,
    /// TLS on the back leg.
    pub security: Security,
    /// The longest command that it takes as one, in bytes without the line end.
    pub command_length: usize,
    /// How data connections with it are arranged.
    pub data: DataPreference,
    /// The PROXY header that its control connections begin with; `None`: none. Data connections carry none: servers that
    /// read it on the control connection would store it as data.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// `host:port` as configured; resolved at each dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A DNS name, or an address without brackets.
    pub host: String,
    /// The control port.
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// TLS on the back leg. There is no way from TLS back to plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Plain FTP.
    None,
    /// AUTH TLS.
    Explicit(Verification),
    /// TLS from the first byte.
    Implicit(Verification),
}

/// How data connections with the backend are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPreference {
    /// PASV on IPv4, EPSV on IPv6; the other of the two where the backend does not know the first.
    Auto,
    /// As `Auto`: the gateway connects to the backend.
    Passive,
    /// PORT on IPv4, EPRT on IPv6: the backend connects to the gateway.
    Active,
}
