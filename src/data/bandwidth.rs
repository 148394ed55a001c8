//! How many bytes a second transfers may move: in a session, of a user, and in all.
//!
//! Invariants: a limit holds for both directions together; who waits holds no memory; those who share a limit are served
//! in turn.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use leaky_bucket::RateLimiter;

/// How often a limit gives out what it has.
const INTERVAL: Duration = Duration::from_millis(50);
/// Its part of a second.
const INTERVALS: usize = 20;
/// What was not used is kept for so many of them, so that a late waking loses nothing.
const KEPT: usize = 8;
/// The dead that are left standing among the limits of users.
const DEAD: usize = 64;

/// Bytes a second; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Of one session.
    pub session: Option<NonZeroUsize>,
    /// Of all sessions of one user.
    pub user: Option<NonZeroUsize>,
    /// Of all sessions.
    pub total: Option<NonZeroUsize>,
}

/// What all sessions share of one configuration's limits.
pub struct Bandwidths {
    limits: Bandwidth,
    total: Option<Arc<Bucket>>,
    users: Mutex<HashMap<Vec<u8>, Weak<Bucket>>>,
}

/// One limit.
struct Bucket {
    limiter: RateLimiter,
    /// Who waits for the limit waits in line: the limiter alone would serve some before others.
    line: tokio::sync::Mutex<()>,
}

/// What one session may move.
#[derive(Clone, Default)]
pub struct Share {
    buckets: Vec<Arc<Bucket>>,
    slowest: Option<NonZeroUsize>,
}

impl Bandwidths {
    /// Nothing moved yet.
    pub fn new(limits: Bandwidth) -> Self {
        Self { limits, total: limits.total.map(bucket), users: Mutex::default() }
    }

    /// The limits.
    pub fn limits(&self) -> Bandwidth {
        self.limits
    }

    /// For one more session of a user.
    pub fn share(&self, user: &[u8]) -> Share {
        let Bandwidth { session, user: of_user, total } = self.limits;
        let mut buckets: Vec<_> = session.map(bucket).into_iter().collect();
        buckets.extend(of_user.map(|rate| self.of_user(user, rate)));
        buckets.extend(self.total.clone());
        Share { buckets, slowest: [session, of_user, total].into_iter().flatten().min() }
    }

    fn of_user(&self, user: &[u8], rate: NonZeroUsize) -> Arc<Bucket> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = users.get(user).and_then(Weak::upgrade) {
            return bucket;
        }
        if users.len() >= DEAD && users.len().is_power_of_two() {
            users.retain(|_, bucket| bucket.strong_count() > 0);
        }
        let bucket = bucket(rate);
        users.insert(user.to_vec(), Arc::downgrade(&bucket));
        bucket
    }
}

impl Share {
    /// Waits until so many bytes, which have been moved, are paid for.
    pub async fn pay(&self, bytes: usize) {
        for bucket in &self.buckets {
            let _turn = bucket.line.lock().await;
            bucket.limiter.acquire(bytes).await;
        }
    }

    /// Bytes a second at most.
    pub fn slowest(&self) -> Option<NonZeroUsize> {
        self.slowest
    }
}

fn bucket(rate: NonZeroUsize) -> Arc<Bucket> {
    let refill = (rate.get() / INTERVALS).max(1);
    let kept = refill.saturating_mul(KEPT);
    let limiter = RateLimiter::builder().refill(refill).initial(0).max(kept).interval(INTERVAL).fair(false).build();
    Arc::new(Bucket { limiter, line: tokio::sync::Mutex::default() })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const MIB: usize = 1 << 20;

    fn rate(bytes: usize) -> Option<NonZeroUsize> {
        NonZeroUsize::new(bytes)
    }

    async fn seconds(work: impl Future) -> f64 {
        let began = Instant::now();
        work.await;
        began.elapsed().as_secs_f64()
    }

    async fn move_blocks(share: &Share, blocks: usize, bytes: usize) {
        for _ in 0..blocks {
            share.pay(bytes).await;
        }
    }

    fn within_5_percent(measured: f64, expected: f64) {
        assert!((measured / expected - 1.0).abs() < 0.05, "{measured} s where {expected} s were expected");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_within_5_percent_whatever_rate_and_block() {
        for bytes in [1 << 10, 50_000, MIB, 100 * MIB, 1 << 33] {
            for block in [1000, 16 << 10, 256 << 10, 16 << 20] {
                let limits = Bandwidth { session: rate(bytes), ..Bandwidth::default() };
                let share = Bandwidths::new(limits).share(b"anna");
                // Ten seconds, or as much as can be counted in a test.
                let blocks = (10 * bytes / block).max(10);
                if blocks > 12_000 {
                    continue;
                }
                let measured = seconds(move_blocks(&share, blocks, block)).await;
                within_5_percent(measured, (blocks * block) as f64 / bytes as f64);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_of_a_user_share_and_others_do_not() {
        let bandwidths = Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() });
        let [anna, anna_again, berta] = [b"anna", b"anna", b"bert"].map(|user| bandwidths.share(user));
        let all = async {
            tokio::join!(
                seconds(move_blocks(&anna, 40, MIB / 4)),
                seconds(move_blocks(&anna_again, 40, MIB / 4)),
                seconds(move_blocks(&berta, 40, MIB / 4)),
            )
        };
        let (first, second, other) = all.await;
        within_5_percent(first.max(second), 20.0);
        // In turn: neither is through long before the other.
        within_5_percent(first.min(second), 20.0);
        within_5_percent(other, 10.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_narrowest_limit_counts() {
        let limits = Bandwidth { session: rate(4 * MIB), user: rate(8 * MIB), total: rate(MIB) };
        let bandwidths = Bandwidths::new(limits);
        let (anna, berta) = (bandwidths.share(b"anna"), bandwidths.share(b"berta"));
        assert_eq!(anna.slowest(), rate(MIB));
        let both = async { tokio::join!(move_blocks(&anna, 20, MIB / 4), move_blocks(&berta, 20, MIB / 4)) };
        within_5_percent(seconds(both).await, 10.0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_is_waited_for_and_nobody_is_remembered() {
        let none = Bandwidths::new(Bandwidth::default());
        assert!(seconds(none.share(b"anna").pay(usize::MAX)).await == 0.0);
        let some = Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() });
        for number in 0..10_000u32 {
            some.share(&number.to_be_bytes());
        }
        assert!(some.users.lock().unwrap().len() <= 2 * DEAD);
    }
}
