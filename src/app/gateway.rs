//! A running gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::bound::passive_addresses;
use super::kept;
use super::kept_codes;
use super::prepared::{Prepared, Shared, surroundings};
use super::state;
use crate::backend::{Deadlines, probe};
use crate::config::Settings;
use crate::data::{Bandwidths, PassivePorts, PortError};
use crate::event::{Event, Observer};
use crate::net::{Blocks, bind};
use crate::policy::{Admission, UsedCodes};
use crate::server::{BindError, Bound, Drain, Server};
use crate::session::Surroundings;
use crate::telemetry::{AuditFileError, Bans, Metrics, Pages, Readiness, Telemetry, serve};
use crate::tls::{Identities, Identity};

/// A running gateway. Dropping it stops it without a good-bye.
pub struct Gateway {
    settings: Mutex<Settings>,
    surroundings: Arc<ArcSwap<Surroundings>>,
    server: Server,
    admission: Arc<Admission>,
    telemetry: Telemetry,
    pages: Arc<Pages>,
    admin: Option<Admin>,
    probes: Mutex<JoinSet<()>>,
    keeper: Option<Keeper>,
    identities: Arc<Identities>,
    used_codes: Arc<UsedCodes>,
}

struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Keeps bans and used codes in `state_dir`.
struct Keeper {
    // Dropped first: who is dropped without a good-bye keeps nothing more.
    tasks: JoinSet<()>,
    folder: watch::Sender<PathBuf>,
}

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something the configuration names cannot be used: a certificate, an authority, a resolver.
    #[error("{0}")]
    Configuration(String),
    /// An address or port cannot be had.
    #[error("{what}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What for, and what the system says.
        what: String,
    },
    /// The gateway's own machinery.
    #[error("{0}")]
    Internal(String),
}

/// A new configuration is refused; the old one stays.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ReloadError(String);

impl From<BindError> for StartError {
    fn from(error: BindError) -> Self {
        Self::Bind { address: error.address, what: error.to_string() }
    }
}

impl From<PortError> for StartError {
    fn from(error: PortError) -> Self {
        Self::Bind { address: error.address, what: error.to_string() }
    }
}

impl Gateway {
    /// Binds everything and begins to serve. Must run inside the runtime.
    ///
    /// # Errors
    /// When certificates cannot be used or an address cannot be had.
    pub async fn start(settings: Settings, metrics: Arc<Metrics>) -> Result<Self, StartError> {
        let mut prepared = prepare(&settings).map_err(|problems| StartError::Configuration(problems.join("\n")))?;
        let telemetry = Telemetry::new(Arc::clone(&metrics));
        let observer: Arc<dyn Observer> = Arc::new(telemetry.clone());

        let mut bound = Vec::new();
        for listener in &settings.listeners {
            bound.push(Bound::new(listener.clone())?);
        }
        let addresses = passive_addresses(bound.iter().map(|bound| bound.address().ip()));
        let ports = Arc::new(PassivePorts::bind(&settings.data.ports, &addresses, &observer)?);
        ports.set_balancers(settings.data.balancers.clone(), settings.timeouts.tls_handshake);
        let pages = Arc::new(Pages::new(Arc::clone(&metrics)));
        let admin = match settings.admin {
            Some(admin) => Some(Admin::start(admin.address, &pages)?),
            None => None,
        };

        metrics.set_listeners(settings.listeners.iter().map(|listener| &*listener.name));
        let watched = Arc::clone(&ports);
        metrics.watch_passive_ports(move || watched.usage());
        tell_metrics(&metrics, &settings, &prepared.identities);

        let identities = Arc::clone(&prepared.identities);
        let admission = Admission::new(settings.access.clone(), settings.limits);
        let used_codes = Arc::<UsedCodes>::default();
        let keeper = settings.tls.state_dir.clone().map(|folder| Keeper::start(folder, &admission, &used_codes));
        let counted = Arc::clone(&admission);
        metrics.watch_bans(move || counted.throttle().count(Instant::now()));
        pages.set_bans(Bans { admission: Arc::clone(&admission), observer: Arc::clone(&observer) });
        let shared = Shared {
            ports,
            admission: Arc::clone(&admission),
            pace: Arc::default(),
            bandwidths: Arc::new(Bandwidths::new(settings.bandwidth)),
            blocks: Blocks::default(),
            observer,
            used_codes: Arc::clone(&used_codes),
        };
        let audit = settings.audit.clone().zip(prepared.audit.take());
        telemetry.audit().set(audit).map_err(|error| StartError::Internal(no_thread(&error)))?;
        let surroundings = Arc::new(surroundings(&settings, prepared, shared));
        let surroundings = Arc::new(ArcSwap::new(surroundings));
        let server = Server::start(bound, Arc::clone(&surroundings), Arc::clone(&admission));
        pages.set_readiness(Readiness::Ready);
        let gateway = Self {
            settings: Mutex::new(settings),
            surroundings,
            server,
            admission,
            telemetry,
            pages,
            admin,
            probes: Mutex::new(JoinSet::new()),
            keeper,
            identities,
            used_codes,
        };
        gateway.probe_backends();
        Ok(gateway)
    }

    /// Names and addresses of the listeners.
    pub fn listeners(&self) -> &[(Arc<str>, SocketAddr)] {
        self.server.listeners()
    }

    /// The identities in force when the gateway started.
    pub fn identities(&self) -> &[Identity] {
        self.identities.all()
    }

    /// Where the admin pages are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// The passive ports.
    pub fn passive_ports(&self) -> Arc<PassivePorts> {
        Arc::clone(&self.surroundings.load().ports)
    }

    /// Sessions that run now.
    pub fn sessions(&self) -> usize {
        self.server.sessions()
    }

    /// Puts a new configuration in force for sessions that begin from now on. Running ones keep theirs. Says which
    /// keys have changed that only a restart puts in force.
    ///
    /// # Errors
    /// When it cannot be used; then nothing changes.
    pub fn reload(&self, settings: Settings) -> Result<Vec<&'static str>, ReloadError> {
        let mut current = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut needed = settings.clone();
        // The one in force goes on.
        needed.audit.take_if(|audit| current.audit.as_ref() == Some(audit));
        let mut prepared = match Prepared::new(&needed) {
            Ok(prepared) => prepared,
            Err(problems) => {
                self.telemetry.observe(&Event::Reloaded { accepted: false });
                return Err(ReloadError(problems.join("\n")));
            }
        };
        // These go by listeners' names, and the bound listeners keep theirs: clients could be sent to the wrong backend, or
        // come in without the certificate they must show.
        if let (true, Some(key)) = (current.listeners != settings.listeners, goes_by_listeners(&settings)) {
            self.telemetry.observe(&Event::Reloaded { accepted: false });
            return Err(ReloadError(format!(
                "listeners: they have changed, and the key {key} goes by their names. Restart instead of reloading"
            )));
        }
        if current.audit != settings.audit {
            let audit = settings.audit.clone().zip(prepared.audit.take());
            if let Err(error) = self.telemetry.audit().set(audit) {
                self.telemetry.observe(&Event::Reloaded { accepted: false });
                return Err(ReloadError(no_thread(&error)));
            }
        }
        let restart = needs_restart(&current, &settings);
        tell_metrics(self.telemetry.metrics(), &settings, &prepared.identities);
        self.admission.set_rules(settings.access.clone(), settings.limits);
        let old = self.surroundings.load();
        let shared = Shared {
            ports: Arc::clone(&old.ports),
            admission: Arc::clone(&old.admission),
            pace: Arc::clone(&old.pace),
            bandwidths: Arc::clone(&old.bandwidths),
            blocks: old.blocks.clone(),
            observer: Arc::clone(&old.observer),
            used_codes: Arc::clone(&self.used_codes),
        };
        old.bandwidths.set_limits(settings.bandwidth);
        old.ports.set_balancers(settings.data.balancers.clone(), settings.timeouts.tls_handshake);
        self.surroundings.store(Arc::new(surroundings(&settings, prepared, shared)));
        // A folder may be gone for a while: what is kept in it is tried again.
        if let Err(problem) = state::try_out(&settings) {
            tracing::warn!("{problem}");
        }
        if let (Some(keeper), Some(folder)) = (&self.keeper, &settings.tls.state_dir) {
            keeper.follow(folder);
        }
        // What is bound stays bound, so the next reload still says so.
        let bound = std::mem::replace(&mut *current, settings);
        current.listeners = bound.listeners;
        current.data.ports = bound.data.ports;
        current.admin = bound.admin;
        current.log.format = bound.log.format;
        current.run_as = bound.run_as;
        drop(current);
        self.telemetry.observe(&Event::Reloaded { accepted: true });
        self.probe_backends();
        Ok(restart)
    }

    /// Opens the audit file again: the one that was there may have been moved away. Lines so far are in the old one.
    ///
    /// # Errors
    /// When it cannot be opened; then the old one goes on.
    pub fn reopen_audit(&self) -> Result<(), AuditFileError> {
        self.telemetry.audit().reopen()
    }

    /// A configuration file could not be read: counted, and the old one stays.
    pub fn reload_failed(&self) {
        self.telemetry.observe(&Event::Reloaded { accepted: false });
    }

    /// Takes no new sessions and lets running transfers finish, for at most `timeouts.drain`.
    pub async fn drain(&self) -> Drain {
        self.pages.set_readiness(Readiness::Draining);
        let limit = self.settings.lock().unwrap_or_else(PoisonError::into_inner).drain;
        self.server.drain(limit).await
    }

    /// Ends all sessions now, and the admin pages last.
    pub async fn stop(self) {
        self.pages.set_readiness(Readiness::Draining);
        self.server.stop().await;
        if let Some(keeper) = self.keeper {
            keeper.stop().await;
        }
        // The last session has ended: its line waits to be written, and so does the end of bans.
        let audit = Arc::clone(self.telemetry.audit());
        if let Err(error) = tokio::task::spawn_blocking(move || audit.stop()).await {
            tracing::error!(%error, "the audit file was not ended");
        }
        if let Some(mut admin) = self.admin {
            admin.stop.cancel();
            if tokio::time::timeout(Duration::from_secs(2), &mut admin.task).await.is_err() {
                tracing::debug!("the admin pages were still being read");
            }
        }
    }

    /// Asks each backend what it offers, so that FEAT before login can say so. A backend that is down stays unknown.
    fn probe_backends(&self) {
        let surroundings = self.surroundings.load_full();
        let timeouts = surroundings.settings.timeouts;
        let deadlines = Deadlines {
            connect: timeouts.backend_connect,
            handshake: timeouts.tls_handshake,
            reply: timeouts.backend_reply,
        };
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.abort_all();
        for backend in surroundings.pool.all() {
            let backend = Arc::clone(backend);
            let reply_length = surroundings.settings.reply_length;
            let observer = Arc::clone(&surroundings.observer);
            probes.spawn(async move {
                let probed = probe(&backend, deadlines, reply_length).await;
                let failed = probed.as_ref().err().map(|error| (error.failure, error.detail.as_str()));
                observer.observe(&Event::BackendProbed { backend: &backend.settings().name, failed });
            });
        }
    }
}

impl Admin {
    fn start(address: SocketAddr, pages: &Arc<Pages>) -> Result<Self, StartError> {
        let problem =
            |error| StartError::Bind { address, what: format!("the admin pages cannot listen on {address}: {error}") };
        let listener = bind(address).map_err(problem)?;
        let address = listener.local_addr().map_err(problem)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let pages = Arc::clone(pages);
        let task = tokio::spawn(async move { serve(listener, pages, stopped.cancelled_owned()).await });
        Ok(Self { address, stop, task })
    }
}

impl Keeper {
    /// Restores what is kept, and keeps what is new.
    fn start(folder: PathBuf, admission: &Arc<Admission>, used_codes: &Arc<UsedCodes>) -> Self {
        kept::restore(&folder, admission);
        kept_codes::restore(&folder, used_codes);
        let bans = (Arc::clone(admission), admission.throttle().version());
        let codes = (Arc::clone(used_codes), UsedCodes::version(used_codes));
        let (folder, watched) = watch::channel(folder);
        let mut tasks = JoinSet::new();
        tasks.spawn(kept::keep(watched.clone(), bans.0, bans.1));
        tasks.spawn(kept::keep(watched, codes.0, codes.1));
        Self { tasks, folder }
    }

    /// From now on in this folder, beginning with all that there is.
    fn follow(&self, folder: &Path) {
        self.folder.send_if_modified(|own| {
            let is_another = own != folder;
            if is_another {
                *own = folder.to_owned();
            }
            is_another
        });
    }

    /// Keeps what is there at the end.
    async fn stop(self) {
        let Self { mut tasks, folder } = self;
        drop(folder);
        let kept = async { while tasks.join_next().await.is_some() {} };
        // One file may be being written, and then comes the last.
        if tokio::time::timeout(2 * kept::PATIENCE, kept).await.is_err() {
            tracing::error!("state_dir: the disk takes too long. The last bans and used codes may not be kept");
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// For a start: what has to be kept can be kept.
fn prepare(settings: &Settings) -> Result<Prepared, Vec<String>> {
    let prepared = Prepared::new(settings);
    let Err(flaw) = state::try_out(settings) else { return prepared };
    match (prepared, state::lost(settings)) {
        (Ok(prepared), None) => {
            tracing::warn!("{flaw}");
            Ok(prepared)
        }
        (Ok(_), Some(_)) => Err(vec![flaw]),
        (Err(mut problems), lost) => {
            // A certificate that cannot be kept there has said so.
            let said = problems.iter().any(|problem| problem.starts_with("state_dir: "));
            problems.extend(lost.filter(|_| !said).map(|_| flaw));
            Err(problems)
        }
    }
}

fn no_thread(error: &std::io::Error) -> String {
    format!("audit_log: the system gives no thread for it: {error}")
}

fn tell_metrics(metrics: &Metrics, settings: &Settings, identities: &Identities) {
    metrics.set_backends(settings.backends.iter().map(|backend| &*backend.name));
    let certificates: Vec<_> =
        identities.all().iter().map(|identity| (identity.label.clone(), identity.not_after)).collect();
    metrics.set_certificates(&certificates);
}

/// What depends on which listener is which.
fn goes_by_listeners(settings: &Settings) -> Option<&'static str> {
    if settings.routes.name_listeners() {
        Some("routes")
    } else if settings.commands.name_listeners() {
        Some("access.commands")
    } else if !settings.listener_certificates.is_empty() {
        Some("listeners[].client_certificates")
    } else {
        None
    }
}

/// Sockets are bound once.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if old.listeners != new.listeners {
        keys.push("listeners");
    }
    if old.data.ports != new.data.ports {
        keys.push("passive.ports");
    }
    if old.admin != new.admin {
        keys.push("admin.address");
    }
    if old.log.format != new.log.format {
        keys.push("log.format");
    }
    if old.run_as != new.run_as {
        keys.push("user");
    }
    keys
}
