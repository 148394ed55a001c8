//! `ftps-gateway-load`: measures the gateway on this machine. `bench/run` builds both and calls it.

mod backend;
mod client;
mod figures;
mod measure;
mod peers;
mod proxy;
mod system;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use figures::Figures;
use measure::{Amount, beside, bulk, idle, sessions, slow, small};
use proxy::{Kind, Proxy, Stage};

/// Measures ftps-gateway.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's program, built with --release.
    #[arg(long, default_value = "target/release/ftps-gateway")]
    gateway: PathBuf,
    /// Where `tests/peers/install --bench` has put the others.
    #[arg(long, default_value = "target/peers")]
    peers: PathBuf,
    /// The gateway alone.
    #[arg(long)]
    without_peers: bool,
    /// One round, and less of everything.
    #[arg(long)]
    quick: bool,
    /// Rounds; what is printed at the end are medians.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only this part; may be given again.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Bytes of long transfers.
    Bulk,
    /// Complete sessions.
    Sessions,
    /// Small files, and NOOP.
    Small,
    /// Commands beside a transfer.
    Beside,
    /// Memory of idle sessions.
    Idle,
    /// Memory of slow transfers.
    Slow,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ftps-gateway-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    // Before there are threads: they inherit the place.
    let places = system::Places::take()?;
    let files = system::raise_files()?;
    let folder = tempfile::tempdir()?;
    let identity = tls::Identity::make(folder.path())?;
    let backend = backend::Backend::start(&identity)?;
    let backend = Arc::new(backend);
    let gateway = arguments.gateway.canonicalize().context("there is no gateway")?;
    let stage =
        Stage { folder: folder.path().to_owned(), identity, backend, places, gateway, peers: arguments.peers.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&stage, arguments, files))
}

async fn measure(stage: &Stage, arguments: &Arguments, files: u64) -> Result<()> {
    let amount = if arguments.quick { Amount::QUICK } else { Amount::WHOLE };
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 });
    let wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let mut figures = Figures::default();
    let mut proxies = Vec::new();
    for kind in Kind::ALL {
        if kind == Kind::Gateway || !arguments.without_peers {
            proxies.push(Proxy::start(kind, stage, kind.name())?);
        }
    }
    for _ in 0..rounds {
        if wanted(Part::Bulk) {
            for way in bulk::WAYS {
                for proxy in proxies.iter().filter(|proxy| way.is_open_to(proxy.kind)) {
                    bulk::measure(stage, proxy, way, amount, &mut figures).await?;
                }
            }
        }
        if wanted(Part::Sessions) {
            for proxy in proxies.iter().filter(|proxy| proxy.kind.speaks_ftp()) {
                sessions::measure(stage, proxy, amount, &mut figures).await?;
            }
        }
        if wanted(Part::Small) {
            for proxy in proxies.iter().filter(|proxy| proxy.kind.speaks_ftp()) {
                small::measure(stage, proxy, amount, &mut figures).await?;
            }
        }
        if wanted(Part::Beside) {
            for proxy in proxies.iter().filter(|proxy| proxy.kind.is_ftp_proxy()) {
                beside::measure(stage, proxy, amount, &mut figures).await?;
            }
        }
        if wanted(Part::Slow) {
            slow::measure(stage, Kind::Gateway, amount, &mut figures).await?;
        }
        if wanted(Part::Idle) {
            idle::measure(stage, Kind::Gateway, amount, system::sessions_that_fit(files), &mut figures).await?;
        }
    }
    Ok(())
}
