//! The one birthplace of metrics: names, types, labels and help texts.
//!
//! Invariants: every name carries the prefix `ftps_gateway_`, base units (seconds, bytes) and, on counters and on
//! nothing else, `_total`; no label holds an address, a user or a path. `docs/metrics.md` is generated from here and a
//! test compares the two.

use prometheus::{HistogramOpts, Opts};

/// What Prometheus calls the type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Only rises, until the process starts anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts of observations in buckets with these upper bounds, in the unit of the name.
    Histogram(&'static [f64]),
}

/// One metric, before it has a value.
#[derive(Debug)]
pub(super) struct Name {
    /// The name.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    /// Its labels' names, in the order in which values are given.
    pub(super) labels: &'static [&'static str],
    /// The HELP text.
    pub(super) help: &'static str,
}

impl Name {
    /// As the prometheus crate wants it.
    pub(super) fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    /// As the prometheus crate wants it, for histograms.
    pub(super) fn histogram_opts(&self) -> HistogramOpts {
        let opts = HistogramOpts::new(self.name, self.help);
        match self.kind {
            Kind::Histogram(buckets) => opts.buckets(buckets.to_vec()),
            Kind::Counter | Kind::Gauge => opts,
        }
    }
}

macro_rules! names {
    ($($constant:ident $kind:expr, $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $constant: Name =
            Name { name: concat!("ftps_gateway_", $name), kind: $kind, labels: &[$($label),*], help: $help };)+

        /// Every metric of the gateway's own.
        #[cfg(test)]
        pub(super) const ALL: &[Name] = &[$($constant),+];
    };
}

/// Inside a data centre a connection takes a millisecond; `timeouts.backend_connect` is seconds.
const CONNECT: Kind = Kind::Histogram(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);

/// From a listing to a night's backup.
const TRANSFER: Kind =
    Kind::Histogram(&[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0]);

/// From a port scanner to a client that stays a day.
const SESSION: Kind = Kind::Histogram(&[0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0]);

names! {
    SESSIONS_ACTIVE Kind::Gauge, "sessions_active" ["listener"]
        "Sessions that are open now.";
    SESSIONS Kind::Counter, "sessions_total" ["listener", "outcome"]
        "Sessions that ended, by why they ended.";
    SESSION_DURATION SESSION, "session_duration_seconds" []
        "How long sessions lasted, from accept to end.";
    CONNECTIONS_REFUSED Kind::Counter, "connections_refused_total" ["listener", "reason"]
        "Connections turned away before they became sessions, by the refusal.";

    LOGINS Kind::Counter, "logins_total" ["result"]
        "Logins that were decided, by result.";
    BANS Kind::Counter, "bans_total" ["kind"]
        "Bans that began, by what they are about.";
    BANS_ACTIVE Kind::Gauge, "bans_active" ["kind"]
        "Bans in force, by what they are about.";
    BANS_LIFTED Kind::Counter, "bans_lifted_total" ["kind"]
        "Bans that an operator ended at the admin address.";
    COMMANDS Kind::Counter, "commands_total" ["verb"]
        "Commands from clients, by verb; verbs the gateway does not know are `other`.";
    COMMANDS_REFUSED Kind::Counter, "commands_refused_total" ["reason"]
        "Commands that the gateway refused, by the refusal.";
    REPLIES Kind::Counter, "replies_total" ["class"]
        "Replies to clients, by the first digit of their code.";

    TLS_HANDSHAKES Kind::Counter, "tls_handshakes_total" ["leg", "channel", "version", "kind", "result"]
        "TLS handshakes that ended; a series appears with its first handshake.";
    RESUMPTIONS Kind::Counter, "data_resumptions_total" ["cause"]
        "Clients' TLS data connections, by whether, and if not why, they resumed the control connection's TLS session.";
    MISSING_CLOSE_NOTIFY Kind::Counter, "missing_close_notify_total" ["leg", "channel"]
        "TLS connections that the peer closed without close_notify.";

    DATA_CONNECTIONS Kind::Counter, "data_connections_total" ["leg", "mode", "outcome"]
        "Data connections that were arranged, by what became of them.";
    STRAYS Kind::Counter, "stray_connections_total" ["cause"]
        "Connections to passive ports that were dropped, by cause.";
    PASSIVE_PORTS Kind::Gauge, "passive_ports" ["state"]
        "Ports of the passive range, by whether a reservation is on them.";

    TRANSFERS_ACTIVE Kind::Gauge, "transfers_active" ["direction"]
        "Transfers that run now. Listings are downloads.";
    TRANSFERS Kind::Counter, "transfers_total" ["direction", "result"]
        "Transfers that ended, by result, also those that never began to run. Listings are downloads.";
    TRANSFER_BYTES Kind::Counter, "transfer_bytes_total" ["direction"]
        "Bytes relayed on data connections, without TLS and TCP. Rises while a transfer runs.";
    TRANSFER_DURATION TRANSFER, "transfer_duration_seconds" ["direction"]
        "How long transfers took that began to run, from the command to its final reply.";

    BACKEND_UP Kind::Gauge, "backend_up" ["backend"]
        "Whether the backend could be used when it was last dialled, for a client or at a start or reload: 1 yes, 0 no.";
    BACKEND_CONNECT_DURATION CONNECT, "backend_connect_duration_seconds" ["backend"]
        "How long it took to connect to a backend, secure the connection and read its greeting.";
    BACKEND_FAILURES Kind::Counter, "backend_failures_total" ["backend", "reason"]
        "Times a backend could not be used or stopped being usable, by why.";

    AUDIT_LINES Kind::Counter, "audit_lines_total" []
        "Lines written to the audit file.";
    AUDIT_LINES_LOST Kind::Counter, "audit_lines_lost_total" []
        "Lines that should be in the audit file and are not.";
    AUDIT_WRITE_FAILURES Kind::Counter, "audit_write_failures_total" []
        "Times the system refused to write to the audit file, or to bring it to the disk. It is tried again each second.";
    AUDIT_WRITABLE Kind::Gauge, "audit_writable" []
        "Whether the audit file can be written, or there is none to write: 1 yes, 0 no, and no login, transfer or change begins.";

    LOG_LINES_LOST Kind::Counter, "log_lines_lost_total" []
        "Lines that should be in the log and are not: nobody read standard error, or the system refused them.";

    CERTIFICATE_NOT_AFTER Kind::Gauge, "certificate_not_after_timestamp_seconds" ["certificate"]
        "When a certificate in use expires, in seconds since 1970.";
    RELOADS Kind::Counter, "config_reloads_total" ["result"]
        "Times the configuration was read anew.";
    RELOAD_SUCCESSFUL Kind::Gauge, "config_last_reload_successful" []
        "Whether the configuration that was read last is in force: 1 yes, 0 no, the one before stays.";
    RELOAD_TIMESTAMP Kind::Gauge, "config_last_reload_success_timestamp_seconds" []
        "When the configuration in force was read, in seconds since 1970.";
    BUILD_INFO Kind::Gauge, "build_info" ["version"]
        "Always 1; the labels say what runs.";
}
