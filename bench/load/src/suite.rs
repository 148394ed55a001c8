//! One run: everybody is started, all parts go round, and what came of it is handed on.

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::figures::Figures;
use crate::machine::output;
use crate::measure::{Amount, bandwidth, beside, bulk, idle, sessions, slow, small};
use crate::proxy::{Kind, Proxy, Stage};
use crate::system::sessions_that_fit;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Bytes of long transfers.
    Bulk,
    /// Complete sessions.
    Sessions,
    /// Small files, and NOOP.
    Small,
    /// Commands beside a transfer.
    Beside,
    /// Limits of bandwidth.
    Bandwidth,
    /// Memory of slow transfers.
    Slow,
    /// Memory of idle sessions.
    Idle,
}

/// What a run is asked for.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) parts: Vec<Part>,
    pub(crate) peers: Vec<Kind>,
    pub(crate) rounds: usize,
    pub(crate) amount: Amount,
    /// Open files that a process may have.
    pub(crate) files: u64,
}

/// What a run has brought.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    /// Who took part, with the version.
    pub(crate) versions: Vec<(Kind, String)>,
    /// Who or what did not, and why.
    pub(crate) left_out: Vec<String>,
}

impl Outcome {
    /// A peer that fails in one part is still good for others, and the page says what is missing. When the gateway fails, there is
    /// nothing to say.
    fn settle(&mut self, kind: Kind, part: &str, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        if kind == Kind::Gateway {
            bail!("{part}: {error:#}");
        }
        self.leave_out(format!("{}, {part}: {error:#}", kind.name()));
        Ok(())
    }

    /// Once, however many rounds it is missing from; in one line, because it becomes one of a list.
    fn leave_out(&mut self, reason: String) {
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        if !self.left_out.contains(&line) {
            eprintln!("left out: {line}");
            self.left_out.push(line);
        }
    }
}

/// Runs it.
pub(crate) async fn run(stage: &Stage, order: &Order) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut proxies = Vec::new();
    for &kind in &order.peers {
        match Proxy::start(kind, stage, kind.name()) {
            Ok(proxy) => {
                proxies.push(proxy);
                outcome.versions.push((kind, version(kind, stage)));
            }
            Err(error) => outcome.settle(kind, "start", Err(error))?,
        }
    }
    let (wanted, fit) = (order.amount.idle.last().copied().unwrap_or(0), sessions_that_fit(order.files));
    if order.parts.contains(&Part::Idle) && fit < wanted {
        outcome.leave_out(format!(
            "{wanted} idle sessions: one takes two open files of the gateway's, and a process may have {} at most on this \
             machine. {fit} fit.",
            order.files
        ));
    }
    for round in 1..=order.rounds {
        println!("round {round} of {}", order.rounds);
        for &part in &order.parts {
            measure(stage, order, part, &proxies, &mut outcome).await?;
        }
    }
    Ok(outcome)
}

async fn measure(stage: &Stage, order: &Order, part: Part, proxies: &[Proxy], outcome: &mut Outcome) -> Result<()> {
    let amount = order.amount;
    let ftp = || proxies.iter().filter(|proxy| proxy.kind.speaks_ftp());
    match part {
        Part::Bulk => {
            for way in bulk::WAYS {
                for proxy in proxies.iter().filter(|proxy| way.is_open_to(proxy.kind)) {
                    let done = bulk::measure(stage, proxy, way, amount, &mut outcome.figures).await;
                    outcome.settle(proxy.kind, "long transfers", done)?;
                }
            }
        }
        Part::Sessions => {
            for proxy in ftp() {
                let done = sessions::measure(stage, proxy, amount, &mut outcome.figures).await;
                outcome.settle(proxy.kind, "sessions", done)?;
            }
        }
        Part::Small => {
            for proxy in ftp() {
                let done = small::measure(stage, proxy, amount, &mut outcome.figures).await;
                outcome.settle(proxy.kind, "small files", done)?;
            }
        }
        Part::Beside => {
            for proxy in proxies.iter().filter(|proxy| proxy.kind.is_ftp_proxy()) {
                let done = beside::measure(stage, proxy, amount, &mut outcome.figures).await;
                outcome.settle(proxy.kind, "commands beside a transfer", done)?;
            }
        }
        // A gateway that knows no such limit does not start with one.
        Part::Bandwidth => {
            if let Err(error) = bandwidth::measure(stage, amount, &mut outcome.figures).await {
                outcome.leave_out(format!("limits.bandwidth: {error:#}"));
            }
        }
        Part::Slow => slow::measure(stage, Kind::Gateway, amount, &mut outcome.figures).await?,
        Part::Idle => {
            for proxy in ftp() {
                let fit = sessions_that_fit(order.files);
                let done = idle::measure(stage, proxy.kind, amount, fit, &mut outcome.figures).await;
                outcome.settle(proxy.kind, "idle sessions", done)?;
            }
        }
    }
    Ok(())
}

/// As its maker numbers it.
fn version(kind: Kind, stage: &Stage) -> String {
    let own = || {
        let commit = output("git", &["describe", "--always", "--dirty"]).map(|commit| format!(" ({commit})"));
        let version = output(&stage.gateway.display().to_string(), &["--version"])?;
        Some(version.trim_start_matches("ftps-gateway ").to_owned() + &commit.unwrap_or_default())
    };
    // Where the peers were unpacked, Debian's version of each lies beside it.
    let debian = |name: &str| std::fs::read_to_string(stage.peers.join(name).join("version")).ok();
    let known = match kind {
        Kind::Gateway => own(),
        Kind::ModProxy => debian("modproxy"),
        Kind::Nginx => debian("nginx"),
        Kind::Haproxy => debian("haproxy"),
        Kind::Vsftpd => debian("vsftpd"),
    };
    known.map_or_else(|| "unknown".to_owned(), |version| version.trim().to_owned())
}
