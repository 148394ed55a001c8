//! How exactly `limits.bandwidth` is kept: of a session, of a user, in all.

use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Amount, bounded, target};
use crate::client::{Session, source};
use crate::figures::Figures;
use crate::proxy::{Proxy, Stage};
use crate::tls::Version;

/// The limit, in MiB a second.
const LIMIT: u64 = 20;

/// One gateway for each limit; one session, or two that share it.
pub(crate) async fn measure(stage: &Stage, amount: Amount, figures: &mut Figures) -> Result<()> {
    for (of, sessions, upload, figure) in [
        ("session", 1, false, "limits.bandwidth.session down, % off"),
        ("session", 1, true, "limits.bandwidth.session up, % off"),
        ("user", 2, false, "limits.bandwidth.user down, % off"),
        ("total", 2, true, "limits.bandwidth.total up, % off"),
    ] {
        let proxy = Proxy::start_limited(stage, "gateway-bandwidth", &format!("bandwidth: {{ {of}: {LIMIT}MiB }}"))?;
        let target = target(stage, &proxy, Version::Tls13)?;
        let mut waiting = Vec::new();
        for number in 0..sessions {
            waiting.push(bounded("login", Session::open(&target, source(number))).await?);
        }
        let each = (LIMIT << 20) * amount.limited / sessions as u64;
        let began = Instant::now();
        let mut running = JoinSet::new();
        for mut session in waiting {
            running
                .spawn(async move { if upload { session.upload(each).await } else { session.download(each).await } });
        }
        bounded(figure, async {
            while let Some(done) = running.join_next().await {
                done??;
            }
            Ok(())
        })
        .await?;
        // As many seconds' worth of bytes as were asked for should have taken as many seconds.
        let share = amount.limited as f64 / began.elapsed().as_secs_f64();
        figures.record(figure, proxy.kind, (share - 1.0).abs() * 100.0);
    }
    Ok(())
}
