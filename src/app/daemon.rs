//! The process: configuration, signals, exit status.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::advice::{admin_pages, advice};
use super::bound::bind_low_ports;
use super::descriptors;
use super::gateway::{Gateway, StartError};
use super::prepared::Prepared;
use super::privilege::{PrivilegeError, Privileges, give_up, keep_memory_private, rehearse};
use crate::config::{self, Settings};
use crate::server::Drain;
use crate::telemetry::{LogHandle, Metrics, init};
use crate::tls::keeps_self_signed;

/// Wrong arguments (sysexits.h EX_USAGE).
pub const EXIT_USAGE: u8 = 64;
/// The gateway's own machinery failed (EX_SOFTWARE).
pub(super) const EXIT_INTERNAL: u8 = 70;
/// An address or port cannot be had (EX_OSERR).
pub const EXIT_BIND: u8 = 71;
/// The configuration is wrong (EX_CONFIG).
pub const EXIT_CONFIGURATION: u8 = 78;

/// `ftps-gateway check`: says all that is wrong with a configuration, without opening a socket.
pub fn check(path: &Path) -> ExitCode {
    let settings = match config::load(path) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let rehearsal = rehearse(&settings);
    // A self-signed certificate is made by `run`; a check writes nothing.
    let mut readable = settings.clone();
    readable.tls.state_dir = readable.tls.state_dir.filter(|folder| keeps_self_signed(folder));
    readable.audit = None;
    let mut problems = Prepared::new(&readable).err().unwrap_or_default();
    match &rehearsal {
        Ok(rehearsal) => problems.extend(rehearsal.problems(&settings)),
        Err(error) => problems.push(error.to_string()),
    }
    if !problems.is_empty() {
        for problem in problems {
            eprintln!("{}", config::located(path, &problem));
        }
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let later = rehearsal.map(|rehearsal| rehearsal.advice(&settings, path)).unwrap_or_default();
    for line in advice(&settings).into_iter().chain(admin_pages(&settings)).chain(later) {
        eprintln!("{}", config::located(path, &line));
    }
    let (first, last) = (settings.data.ports.start(), settings.data.ports.end());
    let ports = if first == last { format!("passive port {first}") } else { format!("passive ports {first}-{last}") };
    let shared = if settings.shares_ports() {
        " Sessions of one client address share ports when they resume TLS (docs/one-port.md)."
    } else {
        ""
    };
    print_line(&format!(
        "{}: good. {}, {}, {ports}.{shared}",
        path.display(),
        counted(settings.listeners.len(), "listener"),
        counted(settings.backends.len(), "backend"),
    ));
    ExitCode::SUCCESS
}

/// `1 backend`, `2 backends`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `ftps-gateway run`: serves until a signal ends it.
pub fn run(path: &Path) -> ExitCode {
    let settings = match config::load(path) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let log = init(&settings.log);
    descriptors::raise();
    for line in advice(&settings) {
        tracing::warn!("{line}");
    }
    // No thread but this one may run yet: see `privilege`.
    let privileges = match restrict(path, &settings) {
        Ok(privileges) => privileges,
        Err(code) => return code,
    };
    if let Err(error) = log.begin() {
        tracing::error!(%error, "the log cannot be written: the system gives no thread for it");
        return ExitCode::from(EXIT_INTERNAL);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot start");
            return ExitCode::from(EXIT_INTERNAL);
        }
    };
    let code = runtime.block_on(serve(path, settings, &log, &privileges));
    // A name that is still being looked up holds nobody up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Binds what only root can bind and gives up what serving does not need.
fn restrict(path: &Path, settings: &Settings) -> Result<Privileges, ExitCode> {
    keep_memory_private().map_err(|error| cannot_start(path, &error))?;
    bind_low_ports(settings).map_err(|error| {
        tracing::error!("cannot start: {error}");
        exit_code(&error)
    })?;
    let privileges = give_up(settings, path).map_err(|error| cannot_start(path, &error))?;
    if let Err(error) = std::fs::File::open(path) {
        tracing::warn!(%error, "a reload will fail: the user may not read {}", path.display());
    }
    Ok(privileges)
}

fn cannot_start(path: &Path, error: &PrivilegeError) -> ExitCode {
    let (said, code) = match error {
        PrivilegeError::User(_) => (config::located(path, &error.to_string()), EXIT_CONFIGURATION),
        PrivilegeError::System { .. } => (error.to_string(), EXIT_INTERNAL),
    };
    tracing::error!("cannot start: {said}");
    ExitCode::from(code)
}

async fn serve(path: &Path, settings: Settings, log: &LogHandle, privileges: &Privileges) -> ExitCode {
    let metrics = match Metrics::new() {
        Ok(metrics) => Arc::new(metrics),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be set up");
            return ExitCode::from(EXIT_INTERNAL);
        }
    };
    metrics.watch_log(log.losses());
    let signals = (signal(SignalKind::hangup()), signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("signals cannot be received");
        return ExitCode::from(EXIT_INTERNAL);
    };
    let gateway = match start(path, settings, metrics).await {
        Ok(gateway) => gateway,
        Err(code) => return code,
    };
    notify(sd_notify::NotifyState::Ready);
    loop {
        tokio::select! {
            _ = hangup.recv() => reload(path, &gateway, log, privileges),
            _ = interrupt.recv() => {
                tracing::info!("stopping: all sessions end now");
                break;
            }
            _ = terminate.recv() => {
                tracing::info!(sessions = gateway.sessions(), "draining: no new sessions, running transfers finish");
                notify(sd_notify::NotifyState::Stopping);
                let drain = gateway.drain();
                tokio::pin!(drain);
                loop {
                    tokio::select! {
                        drain = &mut drain => match drain {
                            Drain::Finished => tracing::info!("drained"),
                            Drain::CutOff(sessions) => {
                                tracing::warn!(sessions, "timeouts.drain is over: these sessions were cut off");
                            }
                        },
                        _ = terminate.recv() => tracing::info!("second SIGTERM: all sessions end now"),
                        _ = interrupt.recv() => tracing::info!("SIGINT: all sessions end now"),
                        _ = hangup.recv() => {
                            // A drain can take hours, and files are rotated meanwhile.
                            reopen_audit(&gateway, privileges);
                            tracing::warn!("draining: the configuration is not read any more");
                            continue;
                        }
                    }
                    break;
                }
                break;
            }
        }
    }
    gateway.stop().await;
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

async fn start(path: &Path, settings: Settings, metrics: Arc<Metrics>) -> Result<Gateway, ExitCode> {
    warn_of_descriptors(&settings);
    let self_signed = settings.tls.certificates.is_empty();
    match Gateway::start(settings, metrics).await {
        Ok(gateway) => {
            for identity in gateway.identities() {
                let fingerprint = hex(&identity.fingerprint);
                tracing::info!(certificate = identity.label, %fingerprint, "certificate loaded");
                if self_signed {
                    tracing::warn!("the certificate is self-signed: clients cannot verify it. Set tls.certificates");
                    // Clients must be told, however quiet the log is. Whoever reads it may take his time.
                    let told = format!("self-signed certificate, SHA-256 fingerprint sha256:{fingerprint}");
                    tokio::task::spawn_blocking(move || print_line(&told));
                }
            }
            for (listener, address) in gateway.listeners() {
                tracing::info!(listener = &**listener, %address, "listening");
            }
            if let Some(address) = gateway.admin_address() {
                tracing::info!(%address, "admin pages");
            }
            Ok(gateway)
        }
        Err(error) => {
            for line in error.to_string().lines() {
                match error {
                    StartError::Configuration(_) => tracing::error!("cannot start: {}", config::located(path, line)),
                    StartError::Bind { .. } | StartError::Internal(_) => tracing::error!("cannot start: {line}"),
                }
            }
            Err(exit_code(&error))
        }
    }
}

/// What the process ends with when the gateway cannot start.
pub(super) fn exit_code(error: &StartError) -> ExitCode {
    ExitCode::from(match error {
        StartError::Configuration(_) => EXIT_CONFIGURATION,
        StartError::Bind { .. } => EXIT_BIND,
        StartError::Internal(_) => EXIT_INTERNAL,
    })
}

fn reload(path: &Path, gateway: &Gateway, log: &LogHandle, privileges: &Privileges) {
    notify(sd_notify::NotifyState::Reloading);
    // Whoever has moved it away has done so, whatever is wrong with the configuration.
    reopen_audit(gateway, privileges);
    match config::load(path) {
        Ok(settings) => {
            let level = settings.log.level;
            let wanted = settings.clone();
            for line in advice(&settings) {
                tracing::warn!("{line}");
            }
            let missing = privileges.missing_for(&settings, path);
            if !missing.is_empty() {
                gateway.reload_failed();
                refused(&located(path, &missing.join("\n")), privileges);
                notify(sd_notify::NotifyState::Ready);
                return;
            }
            match gateway.reload(settings) {
                Ok(restart) => {
                    log.set(level);
                    warn_of_descriptors(&wanted);
                    for key in restart {
                        tracing::warn!(key, "this key has changed and needs a restart; the old value stays");
                    }
                }
                Err(error) => {
                    refused(&located(path, &error.to_string()), privileges);
                }
            }
        }
        Err(problems) => {
            gateway.reload_failed();
            refused(&problems.to_string(), privileges);
        }
    }
    notify(sd_notify::NotifyState::Ready);
}

fn reopen_audit(gateway: &Gateway, privileges: &Privileges) {
    if let Err(error) = gateway.reopen_audit() {
        tracing::error!("the audit file stays the old one: {error}{}", privileges.hint(&error.to_string()));
    }
}

/// Each line with the file and the line of its key.
fn located(path: &Path, problems: &str) -> String {
    problems.lines().map(|problem| config::located(path, problem)).collect::<Vec<_>>().join("\n")
}

fn refused(problems: &str, privileges: &Privileges) {
    for line in problems.lines() {
        let hint = privileges.hint(line);
        tracing::error!("the new configuration is refused, the old one stays: {line}{hint}");
    }
}

/// Sessions that cannot be are better known at noon than at night.
fn warn_of_descriptors(settings: &Settings) {
    if let Some(descriptors::Shortage { needed, limit, sessions }) = descriptors::shortage(settings) {
        tracing::warn!(
            "limits.sessions: so many can need {needed} file descriptors, and the system allows {limit}, good for {sessions} \
             sessions. Raise LimitNOFILE= in the unit (or ulimit -n), or lower limits.sessions"
        );
    }
}

/// Tells systemd, where there is one.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// Prints a line for whoever started the process. `println!` would panic when nobody reads it.
fn print_line(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::debug!(%error, "nobody reads standard output");
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits of either case, two for each byte.
pub(super) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = digits.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit));
    digits.len().is_multiple_of(2).then(|| bytes.collect())
}
