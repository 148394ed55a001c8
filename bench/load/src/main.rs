//! `ftps-gateway-load`: measures the gateway on this machine beside others. `bench/run` builds both, installs the others and
//! calls it.

mod backend;
mod client;
mod figures;
mod goals;
mod machine;
mod measure;
mod page;
mod peers;
mod proxy;
mod suite;
mod system;
mod tls;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use machine::Machine;
use measure::Amount;
use page::Run;
use proxy::{Kind, Stage};
use suite::{Order, Outcome, Part};

/// Whatever happens, it is over by then.
const PATIENCE: Duration = Duration::from_secs(45 * 60);

/// Measures ftps-gateway beside others on this machine. A whole run writes docs/performance.md; any other only prints.
#[derive(Debug, Parser)]
#[command(name = "bench/run")]
struct Arguments {
    /// The gateway's program, built with --release.
    #[arg(long, default_value = "target/release/ftps-gateway")]
    gateway: PathBuf,
    /// Where `tests/peers/install --bench` has put the others.
    #[arg(long, default_value = "target/peers")]
    peers: PathBuf,
    /// Where the page goes. Default: a whole run writes docs/performance.md, any other prints.
    #[arg(long)]
    page: Option<PathBuf>,
    /// The gateway alone.
    #[arg(long)]
    without_peers: bool,
    /// Do not delete the configurations and logs of this run.
    #[arg(long)]
    keep: bool,
    /// One round, and less of everything.
    #[arg(long)]
    quick: bool,
    /// How often everything is measured. Default: 3, or 1 with --quick.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only this part; may be given again.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench/run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    // Before there are threads: they inherit the place.
    let places = system::Places::take()?;
    let files = system::raise_files()?;
    // In memory where that can be had: mod_proxy waits for a disk in each session. Some leave root behind and still want to get at
    // their files.
    let mut builder = tempfile::Builder::new();
    let builder = builder.permissions(Permissions::from_mode(0o755));
    let mut folder = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir())?;
    if arguments.keep {
        folder.disable_cleanup(true);
        println!("configurations and logs: {}", folder.path().display());
    }
    let identity = tls::Identity::make(folder.path())?;
    let backend = Arc::new(backend::Backend::start(&identity)?);
    let gateway = arguments.gateway.canonicalize().context("there is no gateway")?;
    let peers = arguments.peers.clone();
    let stage = Stage { folder: folder.path().to_owned(), identity, backend, places, gateway, peers };
    let whole = !arguments.quick && arguments.only.is_empty() && !arguments.without_peers;
    let order = Order {
        parts: if arguments.only.is_empty() { Part::value_variants().to_vec() } else { arguments.only.clone() },
        peers: if arguments.without_peers { vec![Kind::Gateway] } else { Kind::ALL.to_vec() },
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 }),
        amount: if arguments.quick { Amount::QUICK } else { Amount::WHOLE },
        files,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Outcome { figures, versions, left_out } = runtime.block_on(until_ended(suite::run(&stage, &order)))?;
    let machine = Machine::look(places, files);
    let quick = arguments.quick;
    let page = page::page(&Run { machine, rounds: order.rounds, quick, versions, left_out, figures });
    match arguments.page.clone().or_else(|| whole.then(|| "docs/performance.md".into())) {
        Some(path) => {
            std::fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))?;
            println!("{} is written", path.display());
        }
        None => println!("\n{page}"),
    }
    Ok(())
}

/// A signal ends the run too, and then nothing of it is left either.
async fn until_ended<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut ended = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        () = tokio::time::sleep(PATIENCE) => bail!("not done after {PATIENCE:?}"),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = ended.recv() => bail!("terminated"),
    }
}
