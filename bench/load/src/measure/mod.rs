//! The parts of a run. Each measures one proxy once and records what it found; rounds and order are the caller's.

pub(crate) mod bandwidth;
pub(crate) mod beside;
pub(crate) mod bulk;
pub(crate) mod idle;
pub(crate) mod sessions;
pub(crate) mod slow;
pub(crate) mod small;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::{Session, Target, source};
use crate::proxy::{Proxy, Stage};
use crate::tls::Version;

/// The most that one step of a measuring may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Bytes of one transfer.
    pub(crate) bulk: u64,
    /// Bytes of a transfer that commands are asked beside.
    pub(crate) beside: u64,
    /// Before sessions are opened, the connections of earlier parts are waited out.
    pub(crate) rests: bool,
    /// How long sessions are opened.
    pub(crate) sessions: Duration,
    /// Small files of one session.
    pub(crate) files: usize,
    /// NOOPs of one session.
    pub(crate) noops: usize,
    /// Idle sessions at each step.
    pub(crate) idle: &'static [usize],
    /// Sessions whose opening is timed beside idle ones.
    pub(crate) opened: usize,
    /// Transfers that are slow at the same time.
    pub(crate) slow: usize,
    /// Seconds that a transfer under a limit should take.
    pub(crate) limited: u64,
}

impl Amount {
    pub(crate) const WHOLE: Self = Self {
        bulk: 1 << 30,
        beside: 4 << 30,
        rests: true,
        sessions: Duration::from_secs(5),
        files: 2000,
        noops: 5000,
        idle: &[100, 1000, 10_000, 20_000],
        opened: 2000,
        slow: 1000,
        limited: 4,
    };
    pub(crate) const QUICK: Self = Self {
        bulk: 1 << 28,
        beside: 1 << 30,
        rests: false,
        sessions: Duration::from_secs(2),
        files: 300,
        noops: 1000,
        idle: &[100, 1000],
        opened: 200,
        slow: 1000,
        limited: 2,
    };
}

/// A way to `proxy`: plain backend, PROT P.
pub(crate) fn target(stage: &Stage, proxy: &Proxy, version: Version) -> Result<Target> {
    Ok(Target { address: proxy.ports.ftp, tls: Arc::new(stage.identity.client(version)?), private: true })
}

/// A session that begins and ends before anything is measured: what is made once is made.
pub(crate) async fn warm(target: &Target) -> Result<()> {
    bounded("a first session", async {
        let mut session = Session::open(target, source(0)).await?;
        session.download(sessions::SMALL).await?;
        session.quit().await
    })
    .await
}

/// Bounds what could hang.
pub(crate) async fn bounded<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .with_context(|| format!("{what} takes longer than {PATIENCE:?}"))?
        .with_context(|| what.to_owned())
}
