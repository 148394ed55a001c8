//! How long one session's commands take while another transfers at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

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
        let mut transfer = bounded("login", Session::open(&target, source(0))).await?;
        let over = Arc::new(AtomicBool::new(false));
        let asker = {
            let (target, over) = (target.clone(), Arc::clone(&over));
            // A thread of its own: what is asked does not wait for the transfer's turn in our own loop.
            thread::spawn(move || ask(&target, &over))
        };
        let moved = bounded("the transfer beside", async {
            match upload {
                true => transfer.upload(amount.beside).await,
                false => transfer.download(amount.beside).await,
            }
        })
        .await;
        over.store(true, Ordering::Relaxed);
        let latencies = asker.join().map_err(|_| anyhow!("the asker has failed"))??;
        moved?;
        bounded("QUIT", transfer.quit()).await?;
        figures.record(figure, proxy.kind, quantile(&latencies, 0.99));
    }
    Ok(())
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
