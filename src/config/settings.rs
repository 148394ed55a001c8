//! A whole configuration, as every room's own settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::data::Bandwidth;
use crate::policy::{Access, ClientCertificate, CommandRules, Limits, ProtectionPolicy, Routes, SecondFactorSettings};
use crate::session::Timeouts;
use crate::telemetry::{AdminSettings, AuditSettings, LogSettings};
use crate::{backend, data, server, tls};

/// What one `gateway.yaml` says. Checked: what can be known without opening a socket is right.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Listeners, at least one.
    pub listeners: Vec<server::ListenerSettings>,
    /// Whether clients are asked for a certificate, by the name of the listener; of the others `tls` says it. Apart from
    /// the listeners, because it is no matter of the socket and changes with a reload.
    pub listener_certificates: BTreeMap<Arc<str>, ClientCertificate>,
    /// The gateway's identities.
    pub tls: tls::Settings,
    /// TLS policy.
    pub protection: ProtectionPolicy,
    /// Data connections with clients.
    pub data: data::Settings,
    /// Backends, at least one, each with a name of its own.
    pub backends: Vec<backend::Settings>,
    /// Routes; each names a backend that exists. Never empty: without `routes` one leads to the only backend.
    pub routes: Routes,
    /// Which addresses may connect.
    pub access: Access,
    /// Which commands users may use.
    pub commands: CommandRules,
    /// The second factor; `None`: the password is enough.
    pub second_factor: Option<SecondFactorSettings>,
    /// How many sessions.
    pub limits: Limits,
    /// How many bytes a second.
    pub bandwidth: Bandwidth,
    /// The longest command line in bytes.
    pub command_length: usize,
    /// The longest line of a backend's reply in bytes.
    pub reply_length: usize,
    /// Deadlines of sessions.
    pub timeouts: Timeouts,
    /// How long a drain waits for running transfers.
    pub drain: Duration,
    /// Whom the process becomes.
    pub run_as: RunAs,
    /// The admin pages; `None`: not served.
    pub admin: Option<AdminSettings>,
    /// The log.
    pub log: LogSettings,
    /// The audit file; `None`: there is none.
    pub audit: Option<AuditSettings>,
    /// The text of the gateway's 220.
    pub banner: String,
}

/// Whom a process that is started as root becomes. Names or numbers; whether they exist is not known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAs {
    /// `None`: it stays who it is.
    pub user: Option<String>,
    /// `None`: the user's own. Never without a user.
    pub group: Option<String>,
}
