//! What many slow transfers at once take of the proxy's memory.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Amount, bounded, target, warm};
use crate::client::{Session, Target, source};
use crate::figures::Figures;
use crate::proxy::{Kind, Proxy, Stage};
use crate::system::pss_bytes;
use crate::tls::Version;

/// A slow client moves this much, and then pauses: 40 KiB in a second.
const SIP: usize = 4096;
const PAUSE: Duration = Duration::from_millis(100);
/// How long all of them have been slow when memory is looked at.
const SETTLED: Duration = Duration::from_secs(3);
/// Larger than what any client takes in that time.
const FILE: u64 = 1 << 24;

/// Downloads, then uploads, each at a proxy of its own. What counts is what they take more than the same sessions idle.
pub(crate) async fn measure(stage: &Stage, kind: Kind, amount: Amount, figures: &mut Figures) -> Result<()> {
    for (upload, figure) in [(false, "slow downloads"), (true, "slow uploads")] {
        let proxy = Proxy::start(kind, stage, &format!("{}-slow", kind.name()))?;
        let target = target(stage, &proxy, Version::Tls13)?;
        warm(&target).await?;
        let sessions = bounded("logins", logged_in(&target, amount.slow)).await?;
        let before = pss_bytes(proxy.pid())?;
        let mut running = JoinSet::new();
        for session in sessions {
            running.spawn(transfer(session, upload));
        }
        sleep(SETTLED).await;
        let mebibytes = (pss_bytes(proxy.pid())? - before) / f64::from(1 << 20);
        // One that has ended by now has failed.
        if let Some(ended) = running.try_join_next() {
            ended??;
        }
        figures.record(&format!("{} {figure}, MiB", amount.slow), kind, mebibytes);
    }
    Ok(())
}

async fn logged_in(target: &Target, count: usize) -> Result<Vec<Session>> {
    let mut sessions = Vec::with_capacity(count);
    for number in 0..count {
        sessions.push(Session::open(target, source(number)).await?);
    }
    Ok(sessions)
}

/// Goes on until it is dropped.
async fn transfer(mut session: Session, upload: bool) -> Result<()> {
    let mut data = session.begin_slowly(if upload { "STOR x".to_owned() } else { format!("RETR {FILE}") }).await?;
    let mut sip = [b'x'; SIP];
    loop {
        if upload {
            data.write_all(&sip).await?;
            data.flush().await?;
        } else {
            data.read_exact(&mut sip).await?;
        }
        sleep(PAUSE).await;
    }
}
