//! Idle sessions: memory of each, and how long a new one takes beside them.
//!
//! An idle session has logged in and has downloaded 1 KiB. The process's memory is its PSS. The kernel's is what slabs, stacks, page
//! tables and TCP grow by, less what our own two ends of each session take, which is measured first without a proxy.
//!
//! The sessions before the first step leave memory that is free and not given back. The first hundreds take of that, so that what
//! *each* takes looks like less than it is. What one *more* takes, from one step to the next, is free of it. It is of PSS alone:
//! a hundred sessions are lost in what else moves in the kernel.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::sessions::SMALL;
use super::{Amount, bounded, target};
use crate::client::{Session, Target, dial, source};
use crate::figures::{Figures, quantile};
use crate::proxy::{Kind, Proxy, Stage};
use crate::system::{kernel_bytes, pss_bytes};
use crate::tls::Version;

/// How many sessions are opened at once at the gateway.
const AT_ONCE: usize = 64;
/// How long memory is given to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Fills a proxy of its own with idle sessions, step by step, as far as `fit` of them.
pub(crate) async fn measure(
    stage: &Stage,
    kind: Kind,
    amount: Amount,
    fit: usize,
    figures: &mut Figures,
) -> Result<()> {
    let own = own_ends(stage).await?;
    let proxy = Proxy::start(kind, stage, &format!("{}-idle", kind.name()))?;
    let target = target(stage, &proxy, Version::Tls13)?;
    // mod_proxy turns sessions away when many come at once.
    let at_once = if kind == Kind::Gateway { AT_ONCE } else { 2 };
    bounded("first sessions", opened(&target, 0, at_once, at_once)).await?;
    sleep(REST).await;
    let proxied = kind == Kind::Gateway;
    if proxied {
        figures.record(&beside(0), kind, latency(&target, amount).await?);
        sleep(REST).await;
    }
    let (pss, kernel) = (pss_bytes(proxy.pid())?, kernel_bytes()?);
    let mut sessions = Vec::new();
    let (mut before, mut all_before) = (0, 0.0);
    let mut steps: Vec<_> = amount.idle.iter().map(|&step| step.min(fit)).collect();
    steps.dedup();
    // A process for each session: memory is what it is with a hundred of them.
    steps.truncate(if proxied { steps.len() } else { 1 });
    for step in steps {
        sessions
            .extend(bounded("idle sessions", opened(&target, sessions.len(), step - sessions.len(), at_once)).await?);
        sleep(REST).await;
        let each = |bytes: f64| bytes / 1024.0 / step as f64;
        let (user, system) = (each(pss_bytes(proxy.pid())? - pss), each(kernel_bytes()? - kernel) - own / 1024.0);
        figures.record(&format!("{}: PSS of each, KiB", idle(step)), kind, user);
        figures.record(&format!("{}: kernel memory of each, KiB", idle(step)), kind, system);
        figures.record(&memory(step), kind, user + system);
        let all = user * step as f64;
        figures.record(&one_more(step), kind, (all - all_before) / (step - before) as f64);
        (before, all_before) = (step, all);
        if proxied {
            figures.record(&beside(step), kind, latency(&target, amount).await?);
        }
    }
    // All of them are still there.
    for session in &mut sessions {
        bounded("an idle session's NOOP", session.ask("NOOP", "200")).await?;
    }
    if proxied {
        figures.record(HELD, kind, sessions.len() as f64);
    }
    Ok(())
}

fn idle(sessions: usize) -> String {
    format!("{sessions} idle sessions")
}

/// The figure of what each of so many idle sessions takes.
pub(crate) fn memory(sessions: usize) -> String {
    format!("{}: memory of each, KiB", idle(sessions))
}

/// The figure of what one more takes of the process, from the step before to so many idle sessions.
pub(crate) fn one_more(sessions: usize) -> String {
    format!("{}: PSS of one more, KiB", idle(sessions))
}

/// The figure of a new session's latency beside so many idle ones.
pub(crate) fn beside(sessions: usize) -> String {
    format!("{}: a new one's login p99, ms", idle(sessions))
}

/// The figure of how many there were at once.
pub(crate) const HELD: &str = "idle sessions held";

/// So many sessions, each with its download done.
async fn opened(target: &Target, from: usize, count: usize, at_once: usize) -> Result<Vec<Session>> {
    let mut running = JoinSet::new();
    let mut sessions = Vec::with_capacity(count);
    let mut number = from;
    while sessions.len() < count {
        while running.len() < at_once && number < from + count {
            let (target, source) = (target.clone(), source(number));
            number += 1;
            running.spawn(async move {
                let mut session = Session::open(&target, source).await?;
                session.download(SMALL).await?;
                anyhow::Ok(session)
            });
        }
        if let Some(session) = running.join_next().await {
            sessions.push(session??);
        }
    }
    Ok(sessions)
}

/// What our ends of one session take of the kernel, in bytes: connections to the backend, both of whose ends are ours.
async fn own_ends(stage: &Stage) -> Result<f64> {
    const COUNT: usize = 1000;
    sleep(REST).await;
    let before = kernel_bytes()?;
    let mut ends = Vec::with_capacity(COUNT);
    for number in 0..COUNT {
        let mut end = dial(source(number), stage.backend.ftp).await?;
        end.read_exact(&mut [0; 3]).await?;
        ends.push(end);
    }
    let own = (kernel_bytes()? - before) / COUNT as f64;
    drop(ends);
    sleep(REST).await;
    Ok(own)
}

/// From connect to the reply to PROT, one session after the other.
async fn latency(target: &Target, amount: Amount) -> Result<f64> {
    let mut latencies = Vec::new();
    for number in 0..amount.opened {
        let began = Instant::now();
        let session = bounded("new session", Session::open(target, source(number))).await?;
        latencies.push(began.elapsed().as_secs_f64() * 1e3);
        bounded("QUIT", session.quit()).await?;
    }
    Ok(quantile(&latencies, 0.99))
}
