//! Counts what happens, for Prometheus.
//!
//! Invariants: each metric is described once, in [`names`]; counters with closed labels exist at zero from the start,
//! so that a rate is right from the first scrape; what comes often ([`Event::Moved`](crate::event::Event::Moved),
//! commands, replies) costs one atomic addition. A scrape takes a lock that no event takes.

mod by_name;
mod closed;
#[cfg(test)]
mod documented;
mod names;
mod pulled;
mod registry;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder};

use self::by_name::{Backend, ByName, Listener};
use self::closed::Family;
use self::pulled::Pulled;
use self::registry::Register;
use crate::event::{
    BackendFailure, Channel, DataMode, DataOutcome, Direction, Handshake, Leg, LoginResult, Resumption, Stray,
    Transfer, TransferResult, Why,
};
use crate::ftp::{CodeClass, Verb};
use crate::policy::{BanKind, Refusal};

/// The gateway's metrics, with a registry of their own.
pub struct Metrics {
    registry: prometheus::Registry,
    /// Locked for a whole scrape, so that one sees the old certificates or the new ones and never a part.
    pulled: Mutex<Pulled>,

    listeners: ByName<Listener>,
    sessions_active: IntGaugeVec,
    sessions: IntCounterVec,
    session_duration: Histogram,
    connections_refused: IntCounterVec,

    logins: Family<LoginResult, IntCounter>,
    bans: Family<BanKind, IntCounter>,
    bans_lifted: Family<BanKind, IntCounter>,
    commands: Family<Verb, IntCounter>,
    commands_refused: Family<Refusal, IntCounter>,
    replies: Family<CodeClass, IntCounter>,

    tls_handshakes: IntCounterVec,
    resumptions: Family<Resumption, IntCounter>,
    missing_close_notify: Family<(Leg, Channel), IntCounter>,

    data_connections: Family<(Leg, DataMode, DataOutcome), IntCounter>,
    strays: Family<Stray, IntCounter>,

    transfers_active: Family<Direction, IntGauge>,
    transfers: Family<(Direction, TransferResult), IntCounter>,
    transfer_bytes: Family<Direction, IntCounter>,
    transfer_duration: Family<Direction, Histogram>,

    backends: ByName<Backend>,
    backend_up: IntGaugeVec,
    backend_connect_duration: HistogramVec,
    backend_failures: IntCounterVec,

    audit_lines: IntCounter,
    audit_lines_lost: IntCounter,
    audit_write_failures: IntCounter,
    audit_writable: IntGauge,
    audit_watch: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,

    reloads_accepted: IntCounter,
    reloads_refused: IntCounter,
    reload_successful: IntGauge,
    reload_timestamp: IntGauge,
}

impl Metrics {
    /// Makes every metric. The configuration that the process starts with counts as read successfully, now.
    ///
    /// # Errors
    /// When two metrics have the same name or one has an invalid one: a fault in `names.rs`, which the tests find.
    pub fn new() -> Result<Self, prometheus::Error> {
        let register = Register::new()?;
        let reloads = register.counters(&names::RELOADS)?;
        let metrics = Self {
            pulled: Mutex::new(Pulled::new(&register)?),
            listeners: ByName::default(),
            sessions_active: register.gauges(&names::SESSIONS_ACTIVE)?,
            sessions: register.counters(&names::SESSIONS)?,
            session_duration: register.histogram(&names::SESSION_DURATION)?,
            connections_refused: register.counters(&names::CONNECTIONS_REFUSED)?,
            logins: Family::new(&register.counters(&names::LOGINS)?),
            bans: Family::new(&register.counters(&names::BANS)?),
            bans_lifted: Family::new(&register.counters(&names::BANS_LIFTED)?),
            commands: Family::new(&register.counters(&names::COMMANDS)?),
            commands_refused: Family::new(&register.counters(&names::COMMANDS_REFUSED)?),
            replies: Family::new(&register.counters(&names::REPLIES)?),
            tls_handshakes: register.counters(&names::TLS_HANDSHAKES)?,
            resumptions: Family::new(&register.counters(&names::RESUMPTIONS)?),
            missing_close_notify: Family::new(&register.counters(&names::MISSING_CLOSE_NOTIFY)?),
            data_connections: Family::new(&register.counters(&names::DATA_CONNECTIONS)?),
            strays: Family::new(&register.counters(&names::STRAYS)?),
            transfers_active: Family::new(&register.gauges(&names::TRANSFERS_ACTIVE)?),
            transfers: Family::new(&register.counters(&names::TRANSFERS)?),
            transfer_bytes: Family::new(&register.counters(&names::TRANSFER_BYTES)?),
            transfer_duration: Family::new(&register.histograms(&names::TRANSFER_DURATION)?),
            backends: ByName::default(),
            backend_up: register.gauges(&names::BACKEND_UP)?,
            backend_connect_duration: register.histograms(&names::BACKEND_CONNECT_DURATION)?,
            backend_failures: register.counters(&names::BACKEND_FAILURES)?,
            audit_lines: register.counter(&names::AUDIT_LINES)?,
            audit_lines_lost: register.counter(&names::AUDIT_LINES_LOST)?,
            audit_write_failures: register.counter(&names::AUDIT_WRITE_FAILURES)?,
            audit_writable: register.gauge(&names::AUDIT_WRITABLE)?,
            audit_watch: OnceLock::new(),
            reloads_accepted: reloads.with_label_values(&["accepted"]),
            reloads_refused: reloads.with_label_values(&["refused"]),
            reload_successful: register.gauge(&names::RELOAD_SUCCESSFUL)?,
            reload_timestamp: register.gauge(&names::RELOAD_TIMESTAMP)?,
            registry: {
                register.gauges(&names::BUILD_INFO)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
                register.done()
            },
        };
        metrics.set_reload(true, SystemTime::now());
        Ok(metrics)
    }

    /// Prometheus' text format 0.0.4, as `/metrics` serves it.
    ///
    /// # Errors
    /// When the registry holds what cannot be written as text, for example one series twice.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let pulled = self.pulled();
        pulled.refresh();
        self.audit_writable.set(i64::from(self.is_audit_writable()));
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Makes the series of these listeners at zero, so that they are there before the first client is.
    pub fn set_listeners<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            self.listener(name);
        }
    }

    /// These backends are the configured ones, at the start and after each reload. `backend_up` of any other goes
    /// away, so that no alert stays on a backend that is gone.
    pub fn set_backends<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let configured: Vec<&str> = names.into_iter().collect();
        for name in &configured {
            self.backend(name);
        }
        self.backends.each(|name, backend| {
            backend.configured.store(configured.contains(&name), Ordering::Relaxed);
            if !backend.is_configured() {
                // It has none when it was never dialled.
                let _ = self.backend_up.remove_label_values(&[name]);
            }
        });
    }

    /// Counts the passive ports at each scrape: `(free, reserved)`. It is called with a lock held that only scrapes
    /// take; it must be quick.
    pub fn watch_passive_ports(&self, count: impl Fn() -> (usize, usize) + Send + Sync + 'static) {
        self.pulled().watch_passive_ports(count);
    }

    /// Counts the bans in force at each scrape, in the order of [`BanKind::ALL`]; as [`Self::watch_passive_ports`].
    pub fn watch_bans(&self, count: impl Fn() -> [usize; 3] + Send + Sync + 'static) {
        self.pulled().watch_bans(count);
    }

    /// Counts the lines that the log has lost so far, at each scrape; as [`Self::watch_passive_ports`].
    pub fn watch_log(&self, lost: impl Fn() -> u64 + Send + Sync + 'static) {
        self.pulled().watch_log(lost);
    }

    /// These certificates are in use, each with its name and when it expires in seconds since 1970. Replaces the ones
    /// before.
    pub fn set_certificates(&self, certificates: &[(String, i64)]) {
        self.pulled().set_certificates(certificates);
    }

    /// The configuration was read at this time and is in force, or was refused.
    pub fn set_reload(&self, accepted: bool, at: SystemTime) {
        self.reload_successful.set(i64::from(accepted));
        if accepted {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_timestamp.set(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn audit_written(&self, lines: u64) {
        self.audit_lines.inc_by(lines);
    }

    pub(super) fn audit_lost(&self, lines: u64) {
        self.audit_lines_lost.inc_by(lines);
    }

    pub(super) fn audit_failed(&self) {
        self.audit_write_failures.inc();
    }

    /// Asks at each scrape whether the audit file can be written. Only the first call counts.
    pub(super) fn watch_audit(&self, is_writable: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.audit_watch.set(Box::new(is_writable));
    }

    /// Also where there is none to write.
    pub(super) fn is_audit_writable(&self) -> bool {
        self.audit_watch.get().is_none_or(|is_writable| is_writable())
    }

    pub(super) fn turned(&self, listener: &str, refusal: Refusal) {
        self.listener(listener).refused.at(refusal).inc();
    }

    pub(super) fn started(&self, listener: &str) {
        self.listener(listener).active.inc();
    }

    pub(super) fn ended(&self, listener: &str, why: Why, lasted: Duration) {
        let listener = self.listener(listener);
        listener.active.dec();
        listener.ended.at(why).inc();
        self.session_duration.observe(lasted.as_secs_f64());
    }

    pub(super) fn handshake(&self, handshake: Handshake) {
        let Handshake { leg, channel, version, kind, result, cipher: _ } = handshake;
        self.tls_handshakes
            .with_label_values(&[leg.label(), channel.label(), version.label(), kind.label(), result.label()])
            .inc();
    }

    pub(super) fn resumption(&self, resumption: Resumption) {
        self.resumptions.at(resumption).inc();
    }

    pub(super) fn login(&self, result: LoginResult) {
        self.logins.at(result).inc();
    }

    pub(super) fn banned(&self, kind: BanKind) {
        self.bans.at(kind).inc();
    }

    pub(super) fn ban_lifted(&self, kind: BanKind) {
        self.bans_lifted.at(kind).inc();
    }

    pub(super) fn command(&self, verb: Verb) {
        self.commands.at(verb).inc();
    }

    pub(super) fn reply(&self, class: CodeClass) {
        self.replies.at(class).inc();
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.commands_refused.at(refusal).inc();
    }

    pub(super) fn moved(&self, direction: Direction, bytes: u64) {
        self.transfer_bytes.at(direction).inc_by(bytes);
    }

    pub(super) fn data(&self, leg: Leg, mode: DataMode, outcome: DataOutcome) {
        self.data_connections.at((leg, mode, outcome)).inc();
    }

    pub(super) fn transfer_started(&self, direction: Direction) {
        self.transfers_active.at(direction).inc();
    }

    pub(super) fn transferred(&self, transfer: &Transfer<'_>, ran: bool) {
        let direction = transfer.direction();
        self.transfers.at((direction, transfer.result)).inc();
        if ran {
            self.transfers_active.at(direction).dec();
            self.transfer_duration.at(direction).observe(transfer.took.as_secs_f64());
        }
    }

    pub(super) fn missing_close_notify(&self, leg: Leg, channel: Channel) {
        self.missing_close_notify.at((leg, channel)).inc();
    }

    pub(super) fn backend_connected(&self, name: &str, took: Duration) {
        let backend = self.backend(name);
        backend.connect.observe(took.as_secs_f64());
        if backend.is_configured() {
            self.backend_up.with_label_values(&[name]).set(1);
        }
    }

    pub(super) fn backend_probed(&self, name: &str, failed: Option<BackendFailure>) {
        match failed {
            Some(failure) => self.backend_failed(name, true, failure),
            None if self.backend(name).is_configured() => self.backend_up.with_label_values(&[name]).set(1),
            None => {}
        }
    }

    /// A session that breaks in the middle does not mean that the backend is down: the next dial will tell.
    pub(super) fn backend_failed(&self, name: &str, dialled: bool, failure: BackendFailure) {
        let backend = self.backend(name);
        backend.failures.at(failure).inc();
        if dialled && backend.is_configured() {
            self.backend_up.with_label_values(&[name]).set(0);
        }
    }

    pub(super) fn stray(&self, stray: Stray) {
        self.strays.at(stray).inc();
    }

    pub(super) fn reloaded(&self, accepted: bool) {
        match accepted {
            true => self.reloads_accepted.inc(),
            false => self.reloads_refused.inc(),
        }
        self.set_reload(accepted, SystemTime::now());
    }

    fn listener(&self, name: &str) -> Arc<Listener> {
        self.listeners.get(name, || Listener {
            active: self.sessions_active.with_label_values(&[name]),
            ended: Family::of(&self.sessions, name),
            refused: Family::of(&self.connections_refused, name),
        })
    }

    fn backend(&self, name: &str) -> Arc<Backend> {
        self.backends.get(name, || Backend {
            configured: true.into(),
            connect: self.backend_connect_duration.with_label_values(&[name]),
            failures: Family::of(&self.backend_failures, name),
        })
    }

    fn pulled(&self) -> MutexGuard<'_, Pulled> {
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
