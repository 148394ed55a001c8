//! How long one session's commands take while another transfers at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rustix::process::setpriority_process;
use rustix::thread::gettid;

use super::{Amount, bounded, target};
use crate::client::{Session, Target, source};
use crate::figures::{Figures, quantile};
use crate::proxy::{Proxy, Stage};
use crate::tls::Version;

/// Between two commands.
const PAUSE: Duration = Duration::from_millis(1);

/// Beside a download, then beside an upload.
pub(crate) async fn measure(stage: &Stage, proxy: &Proxy, amount: Amount, figures: &mut Figures) -> Result<()> {
    let target = target(stage, proxy, Version::Tls13)?;
    for (upload, figure) in
        [(false, "NOOP beside a full download p99, ms"), (true, "NOOP beside a full upload p99, ms")]
    {
        let over = Arc::new(AtomicBool::new(false));
        let asker = {
            let (target, over) = (target.clone(), Arc::clone(&over));
            // A thread of its own: what is asked does not wait for the transfer's turn in our own loop.
            thread::spawn(move || ask(&target, &over))
        };
        let transfer = {
            let target = target.clone();
            thread::spawn(move || transfer(&target, upload, amount.beside))
        };
        let moved = transfer.join().map_err(|_| anyhow!("the transfer has failed"));
        over.store(true, Ordering::Relaxed);
        let latencies = asker.join().map_err(|_| anyhow!("the asker has failed"))??;
        moved??;
        figures.record(figure, proxy.kind, quantile(&latencies, 0.99));
    }
    Ok(())
}

/// One transfer at full speed. Its client, the asker and the backend share a processor: the client gives way, or how long
/// it computes would be measured with the rest.
fn transfer(target: &Target, upload: bool, bytes: u64) -> Result<()> {
    const LAST: i32 = 19;
    setpriority_process(Some(gettid()), LAST)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bounded("the transfer beside", async {
        let mut session = Session::open(target, source(0)).await?;
        match upload {
            true => session.upload(bytes).await?,
            false => session.download(bytes).await?,
        }
        session.quit().await
    }))
}

/// NOOPs until it is over.
fn ask(target: &Target, over: &AtomicBool) -> Result<Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bounded("NOOP", async {
        let mut session = Session::open(target, source(1)).await?;
        let mut latencies = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            session.ask("NOOP", "200").await?;
            latencies.push(began.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(PAUSE).await;
        }
        session.quit().await?;
        Ok(latencies)
    }))
}
