//! One session: small files one after the other, and a command that does nothing.

use std::time::Instant;

use anyhow::Result;

use super::sessions::SMALL;
use super::{Amount, bounded, target};
use crate::client::{Session, source};
use crate::figures::{Figures, quantile};
use crate::proxy::{Proxy, Stage};
use crate::system::cpu_seconds;
use crate::tls::Version;

/// Files of 1 KiB, then NOOPs.
pub(crate) async fn measure(stage: &Stage, proxy: &Proxy, amount: Amount, figures: &mut Figures) -> Result<()> {
    let target = target(stage, proxy, Version::Tls13)?;
    let mut session = bounded("login", Session::open(&target, source(0))).await?;
    let cpu = cpu_seconds(proxy.pid())?;
    let began = Instant::now();
    bounded("small files", async {
        for _ in 0..amount.files {
            session.download(SMALL).await?;
        }
        Ok(())
    })
    .await?;
    let files = amount.files as f64;
    figures.record("small files, 1/s", proxy.kind, files / began.elapsed().as_secs_f64());
    figures.record("small file, CPU ms", proxy.kind, (cpu_seconds(proxy.pid())? - cpu) * 1e3 / files);
    let latencies = bounded("NOOP", async {
        let mut latencies = Vec::with_capacity(amount.noops);
        for _ in 0..amount.noops {
            let began = Instant::now();
            session.ask("NOOP", "200").await?;
            latencies.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(latencies)
    })
    .await?;
    figures.record("NOOP p50, µs", proxy.kind, quantile(&latencies, 0.5));
    figures.record("NOOP p99, µs", proxy.kind, quantile(&latencies, 0.99));
    bounded("QUIT", session.quit()).await
}
