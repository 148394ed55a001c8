//! What the session room must be told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::{ClientCertificate, CommandRules, HostNames, ProtectionPolicy, Routes, UserFrom};

/// One snapshot of what sessions go by. A session keeps the one it started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// TLS before USER, PROT P before transfers, and the rest.
    pub protection: ProtectionPolicy,
    /// Which backend a user is sent to.
    pub routes: Routes,
    /// The names HOST knows.
    pub hosts: HostNames,
    /// Which commands users may use.
    pub commands: CommandRules,
    /// The longest command line in bytes.
    pub command_length: usize,
    /// The longest line of a backend's reply in bytes.
    pub reply_length: usize,
    /// Whether clients are asked for a certificate, on listeners that say nothing else.
    pub client_certificate: ClientCertificate,
    /// The same, by name, on those that do.
    pub listener_certificates: BTreeMap<Arc<str>, ClientCertificate>,
    /// What in a client's certificate must equal the user.
    pub user_from: UserFrom,
    /// Somebody keeps a record of files, and wants their paths from the root.
    pub recorded: bool,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The text of the gateway's own 220.
    pub banner: String,
}

/// Every wait on a peer has one of these deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A TLS handshake, on either leg.
    pub tls_handshake: Duration,
    /// From accept to 230.
    pub login: Duration,
    /// Logged in, no command and no transfer.
    pub idle: Duration,
    /// From a data connection's reservation until it is connected and secured.
    pub data_connect: Duration,
    /// No byte either way during a transfer.
    pub data_stall: Duration,
    /// Connecting to the backend.
    pub backend_connect: Duration,
    /// A reply of the backend.
    pub backend_reply: Duration,
}
