//! What the telemetry room must be told.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The pages for Prometheus and probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where they are served.
    pub address: SocketAddr,
}

/// The audit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// Where it is.
    pub path: PathBuf,
    /// How a line looks.
    pub format: AuditFormat,
}

/// How a line of the audit file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFormat {
    /// One JSON object a line, for everything.
    Json,
    /// As FTP servers have always written it: transfers of files and deletions alone.
    Xferlog,
}

/// The log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least level that is shown.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// The least level that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what the gateway itself cannot do.
    Error,
    /// And what backends cannot.
    Warn,
    /// And sessions, logins, transfers.
    Info,
    /// And what clients do wrong, and every command.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
