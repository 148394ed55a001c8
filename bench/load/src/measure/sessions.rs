//! Complete sessions: TLS, login, a download of 1 KiB, QUIT; 32 at once.

use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Amount, bounded, target};
use crate::client::{Session, Target, source};
use crate::figures::{Figures, quantile};
use crate::proxy::{Kind, Proxy, Stage};
use crate::system::{cpu_seconds, forgotten};
use crate::tls::Version;

const AT_ONCE: usize = 32;
/// What a session downloads.
pub(crate) const SMALL: u64 = 1024;

/// Sessions for some seconds.
pub(crate) async fn measure(stage: &Stage, proxy: &Proxy, amount: Amount, figures: &mut Figures) -> Result<()> {
    if amount.rests {
        forgotten().await?;
    }
    let target = target(stage, proxy, Version::Tls13)?;
    let cpu = cpu_seconds(proxy.pid())?;
    let began = Instant::now();
    let mut running = JoinSet::new();
    for number in 0..AT_ONCE {
        let target = target.clone();
        running.spawn(async move {
            let (mut latencies, mut failures) = (Vec::new(), Vec::new());
            while began.elapsed() < amount.sessions {
                let one = Instant::now();
                match complete(&target, number).await {
                    Ok(()) => latencies.push(one.elapsed().as_secs_f64() * 1e3),
                    Err(error) => failures.push(error),
                }
            }
            (latencies, failures)
        });
    }
    let (mut latencies, mut failures) = (Vec::new(), Vec::new());
    bounded("sessions", async {
        while let Some(some) = running.join_next().await {
            let some = some?;
            latencies.extend(some.0);
            failures.extend(some.1);
        }
        Ok(())
    })
    .await?;
    // A proxy that turns sessions away under this load is measured by those it serves, and the page says how many it did not.
    // The gateway must serve them all.
    if let Some(error) = failures.pop_if(|_| proxy.kind == Kind::Gateway || latencies.is_empty()) {
        return Err(error);
    }
    let seconds = began.elapsed().as_secs_f64();
    let count = latencies.len() as f64;
    figures.record("sessions, 1/s", proxy.kind, count / seconds);
    figures.record("sessions that failed", proxy.kind, failures.len() as f64);
    figures.record("session p50, ms", proxy.kind, quantile(&latencies, 0.5));
    figures.record("session p99, ms", proxy.kind, quantile(&latencies, 0.99));
    figures.record("session, CPU ms", proxy.kind, (cpu_seconds(proxy.pid())? - cpu) * 1e3 / count);
    Ok(())
}

async fn complete(target: &Target, number: usize) -> Result<()> {
    let mut session = Session::open(target, source(number)).await?;
    session.download(SMALL).await?;
    session.quit().await
}
