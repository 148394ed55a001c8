//! `ftps-gateway demo`: a small plain-FTP server, the gateway in front of it, and lines to paste.
//!
//! Invariants: everything listens on loopback; the gateway is the one that `run` starts, told by a `gateway.yaml` that
//! is there to be read; when it ends, by whatever signal can be caught, the folder it made is gone.

mod server;
mod wire;
mod words;

use std::fs::Permissions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::daemon::{EXIT_INTERNAL, EXIT_USAGE, exit_code};
use super::gateway::{Gateway, StartError};
use crate::config;
use crate::telemetry::{LogHandle, Metrics, init};
use crate::tls::keep_self_signed;

use words::Scene;

/// The names that the demo's certificate carries.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// What `demo` can be told. Port 0 stands for one that is free.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoOptions {
    /// Port for explicit FTPS (AUTH TLS).
    #[arg(long, value_name = "PORT", default_value_t = 2121)]
    port: u16,
    /// Port for implicit FTPS.
    #[arg(long, value_name = "PORT", default_value_t = 2990)]
    implicit_port: u16,
    /// Ports for data connections, like 20000-20019: below those that outgoing connections take.
    #[arg(long, value_name = "PORTS", default_value = "20000-20019", value_parser = ports)]
    passive_ports: RangeInclusive<u16>,
    /// Address and port of the metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9921")]
    admin: SocketAddr,
    /// Show what goes over the wire between the gateway and the server behind it.
    #[arg(long)]
    show_backend: bool,
}

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("the demo's files cannot be made: {0}")]
    Files(io::Error),
    #[error("the demo's certificate cannot be made: {0}")]
    Certificate(#[from] crate::tls::IdentityError),
    #[error("the small FTP server cannot start: {0}")]
    Server(io::Error),
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    #[error("the log cannot be written: the system gives no thread for it: {0}")]
    Log(io::Error),
    #[error("the metrics cannot be set up: {0}")]
    Metrics(String),
    #[error("these options do not go together:\n{0}")]
    Options(config::Problems),
    #[error("{error}{remedy}")]
    Gateway { error: StartError, remedy: String },
}

impl DemoError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Files(_)
            | Self::Certificate(_)
            | Self::Server(_)
            | Self::Signals(_)
            | Self::Log(_)
            | Self::Metrics(_) => ExitCode::from(EXIT_INTERNAL),
            Self::Options(_) => ExitCode::from(EXIT_USAGE),
            Self::Gateway { error, .. } => exit_code(error),
        }
    }
}

/// `ftps-gateway demo`: runs until a signal ends it.
pub fn demo(options: &DemoOptions) -> ExitCode {
    match play(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ftps-gateway demo: {error}");
            error.exit_code()
        }
    }
}

fn play(options: &DemoOptions) -> Result<(), DemoError> {
    // For this user alone: the key of the certificate is in it, and whoever can write could change what is served.
    let folder = tempfile::Builder::new()
        .prefix("ftps-gateway-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(DemoError::Files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(DemoError::Server)?;
    let played = runtime.block_on(perform(options, &folder));
    // Everything that could still write into the folder is over before the folder goes.
    drop(runtime);
    let path = folder.path().to_owned();
    folder.close().map_err(DemoError::Files)?;
    if played.is_ok() {
        say(&format!("Ended. {} is gone.", path.display()));
    }
    played
}

async fn perform(options: &DemoOptions, folder: &TempDir) -> Result<(), DemoError> {
    let on = |kind| signal(kind).map_err(DemoError::Signals);
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    // A terminal that is closed must not leave the folder behind.
    let mut hangup = on(SignalKind::hangup())?;

    let root = files(folder.path()).map_err(DemoError::Files)?;
    let server = server::start(&root).await.map_err(DemoError::Server)?;
    let backend = if options.show_backend { wire::start(server).await.map_err(DemoError::Server)? } else { server };
    let (gateway, _log) = start(options, folder.path(), backend).await?;

    let port = |name: &str| gateway.listeners().iter().find(|(own, _)| &**own == name).map_or(0, |(_, at)| at.port());
    let scene = Scene {
        server,
        explicit: port(words::EXPLICIT),
        implicit: port(words::IMPLICIT),
        passive: gateway.passive_ports().ports().to_vec(),
        admin: gateway.admin_address(),
        folder: folder.path().to_owned(),
        show_backend: options.show_backend,
    };
    say(&scene.to_string());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    say("\nEnding: all sessions are closed now.");
    gateway.stop().await;
    Ok(())
}

/// A few files to list and to download, and a folder to upload to.
fn files(folder: &Path) -> io::Result<std::path::PathBuf> {
    let root = folder.join("server");
    std::fs::create_dir_all(root.join("inbox"))?;
    std::fs::create_dir_all(root.join("reports"))?;
    std::fs::write(root.join("hello.txt"), "Hello from an old FTP server that has never heard of TLS.\n")?;
    std::fs::write(root.join("reports/january.csv"), "day,files\n1,17\n2,23\n3,19\n")?;
    std::fs::write(root.join("reports/zeros.bin"), vec![0; 1024 * 1024])?;
    Ok(root)
}

async fn start(options: &DemoOptions, folder: &Path, backend: SocketAddr) -> Result<(Gateway, LogHandle), DemoError> {
    let certificate = keep_self_signed(folder, &NAMES.map(String::from))?;
    let text = words::gateway_yaml(options, &folder.join("state"), &certificate, backend);
    let path = folder.join("gateway.yaml");
    std::fs::write(&path, &text).map_err(DemoError::Files)?;
    let settings = config::load(&path).map_err(DemoError::Options)?;
    let log = init(&settings.log);
    log.begin().map_err(DemoError::Log)?;
    let metrics = Metrics::new().map_err(|error| DemoError::Metrics(error.to_string()))?;
    let started = Gateway::start(settings, Arc::new(metrics)).await;
    started.map(|gateway| (gateway, log)).map_err(|error| {
        let remedy = match &error {
            StartError::Bind { address, .. } => remedy(options, address),
            StartError::Configuration(_) | StartError::Internal(_) => String::new(),
        };
        DemoError::Gateway { error, remedy }
    })
}

/// Which option takes the demo out of the way of whoever has this port.
fn remedy(options: &DemoOptions, taken: &SocketAddr) -> String {
    let port = taken.port();
    let option = if *taken == options.admin {
        "--admin 127.0.0.1:0"
    } else if port == options.port {
        "--port 0"
    } else if port == options.implicit_port {
        "--implicit-port 0"
    } else {
        // Below those from which Linux takes ports for connections (`net.ipv4.ip_local_port_range`).
        "--passive-ports 21000-21019, or others that are free"
    };
    format!("\nGive it another one: {option}")
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("{text:?} is not a port"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = port(first)?..=port(last)?;
    if range.is_empty() { Err("the first port is behind the last".into()) } else { Ok(range) }
}

/// One piece of text on standard output. A reader that has gone (`demo | head`) must not end the demo in a panic, which
/// would be `println!`'s way.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!(ports("50000-50019"), Ok(50000..=50019));
        assert_eq!(ports("0"), Ok(0..=0));
        for wrong in ["", "x", "1-", "70000", "20-10"] {
            assert!(ports(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_taken_port_names_its_option() {
        let options = DemoOptions {
            port: 2121,
            implicit_port: 2990,
            passive_ports: 50000..=50019,
            admin: "127.0.0.1:9921".parse().unwrap(),
            show_backend: false,
        };
        for (taken, option) in [
            ("127.0.0.1:2121", "--port"),
            ("127.0.0.1:2990", "--implicit-port"),
            ("127.0.0.1:50007", "--passive-ports 21000-21019"),
            ("127.0.0.1:9921", "--admin"),
        ] {
            assert!(remedy(&options, &taken.parse().unwrap()).contains(option), "{taken}");
        }
    }
}
