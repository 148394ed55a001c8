//! How many bytes a second transfers may move: in a session, of a user, and in all.
//!
//! Invariants: a limit holds for both directions together; who waits holds no memory; those who share a limit are served
//! in turn; other limits hold at once, for what runs too.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use leaky_bucket::RateLimiter;
use tokio_util::sync::CancellationToken;

use crate::policy::UserKey;

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

/// The limits that hold now, and what all sessions share of them.
pub struct Bandwidths {
    now: ArcSwap<Rates>,
}

/// What all sessions share of one configuration's limits.
struct Rates {
    limits: Bandwidth,
    total: Option<Arc<Bucket>>,
    users: Mutex<HashMap<UserKey, Weak<Bucket>>>,
    /// Others hold instead.
    over: CancellationToken,
}

/// One limit.
struct Bucket {
    limiter: RateLimiter,
    /// Bytes that have been moved and not been paid for yet: what one interval gives out may be owed, so that what is small
    /// beside the rate waits for nothing. Who waits for the limit waits in line: the limiter alone would serve some before
    /// others.
    line: tokio::sync::Mutex<usize>,
}

/// What one session may move.
#[derive(Clone, Default)]
pub struct Share(Option<Arc<Holder>>);

/// A session, and what it has of the limits.
struct Holder {
    bandwidths: Arc<Bandwidths>,
    user: UserKey,
    held: Mutex<Held>,
}

/// What a session has of one configuration's limits.
#[derive(Clone)]
struct Held {
    rates: Arc<Rates>,
    buckets: Arc<[Arc<Bucket>]>,
}

impl Bandwidths {
    /// Nothing moved yet.
    pub fn new(limits: Bandwidth) -> Self {
        Self { now: ArcSwap::from_pointee(Rates::new(limits)) }
    }

    /// These limits hold from now on, for running transfers too. A piece that waits to be paid for when they come goes
    /// free. What has been moved goes on counting where the limits are the same.
    pub fn set_limits(&self, limits: Bandwidth) {
        if self.now.load().limits != limits {
            self.now.swap(Arc::new(Rates::new(limits))).over.cancel();
        }
    }

    /// For one more session of a user.
    pub fn share(self: &Arc<Self>, user: &[u8]) -> Share {
        let user = UserKey::of(user);
        let held = Mutex::new(Held::of(self.now.load_full(), &user));
        Share(Some(Arc::new(Holder { bandwidths: Arc::clone(self), user, held })))
    }
}

impl Rates {
    fn new(limits: Bandwidth) -> Self {
        Self { limits, total: limits.total.map(bucket), users: Mutex::default(), over: CancellationToken::new() }
    }

    fn of_user(&self, user: &UserKey, rate: NonZeroUsize) -> Arc<Bucket> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = users.get(user).and_then(Weak::upgrade) {
            return bucket;
        }
        if users.len() >= DEAD && users.len().is_power_of_two() {
            users.retain(|_, bucket| bucket.strong_count() > 0);
        }
        let bucket = bucket(rate);
        users.insert(user.clone(), Arc::downgrade(&bucket));
        bucket
    }
}

impl Held {
    fn of(rates: Arc<Rates>, user: &UserKey) -> Self {
        let Bandwidth { session, user: of_user, total: _ } = rates.limits;
        let mut buckets: Vec<_> = session.map(bucket).into_iter().collect();
        buckets.extend(of_user.map(|rate| rates.of_user(user, rate)));
        buckets.extend(rates.total.clone());
        Self { rates, buckets: buckets.into() }
    }
}

impl Holder {
    /// Of the limits that hold now.
    fn held(&self) -> Held {
        let now = self.bandwidths.now.load();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&now, &held.rates) {
            *held = Held::of(Arc::clone(&now), &self.user);
        }
        held.clone()
    }
}

impl Share {
    /// A transfer begins. What nobody has used until now is not its to spend.
    pub fn begin(&self) {
        for bucket in self.held().iter().flat_map(|held| &*held.buckets) {
            bucket.forfeit();
        }
    }

    /// Waits until so many bytes, which have been moved, are paid for, but for what one interval gives out.
    pub async fn pay(&self, bytes: usize) {
        let Some(Held { rates, buckets }) = self.held() else { return };
        if buckets.is_empty() {
            return;
        }
        let paid = async {
            for bucket in &*buckets {
                bucket.pay(bytes).await;
            }
        };
        tokio::select! {
            () = paid => {}
            () = rates.over.cancelled() => {}
        }
    }

    /// Bytes a second at most.
    pub fn slowest(&self) -> Option<NonZeroUsize> {
        let Bandwidth { session, user, total } = self.held()?.rates.limits;
        [session, user, total].into_iter().flatten().min()
    }

    fn held(&self) -> Option<Held> {
        self.0.as_ref().map(|holder| holder.held())
    }
}

impl Bucket {
    async fn pay(&self, bytes: usize) {
        let mut owed = self.line.lock().await;
        // What is called off while it waits is owed all the same: its bytes have been moved.
        *owed = owed.saturating_add(bytes);
        self.settle(&mut owed);
        let due = owed.saturating_sub(self.limiter.refill());
        if due > 0 {
            self.limiter.acquire(due).await;
            *owed -= due;
        }
    }

    /// What has come in pays for what is owed.
    fn settle(&self, owed: &mut usize) {
        // Too much to ask for: it counts up what has come in since it was asked last.
        self.limiter.try_acquire(self.limiter.max().saturating_add(1));
        let paid = self.limiter.balance().min(*owed);
        if self.limiter.try_acquire(paid) {
            *owed -= paid;
        }
    }

    /// What is left when all is paid for is nobody's. While somebody waits, nothing is left.
    fn forfeit(&self) {
        if let Ok(mut owed) = self.line.try_lock() {
            self.settle(&mut owed);
            self.limiter.try_acquire(self.limiter.balance());
        }
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
                let share = Arc::new(Bandwidths::new(limits)).share(b"anna");
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
    async fn nothing_is_saved_up_for_the_next_transfer() {
        let limits = Bandwidth { session: rate(MIB), user: rate(MIB), total: rate(MIB) };
        let share = Arc::new(Bandwidths::new(limits)).share(b"anna");
        for pause in [0, 30, 300, 2000, 60_000] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let transfer = async {
                share.begin();
                move_blocks(&share, 8, MIB / 4).await;
            };
            within_5_percent(seconds(transfer).await, 2.0);
        }
    }

    /// A listing is no burden to a fast line, and waits for no interval of it.
    #[tokio::test(start_paused = true)]
    async fn what_is_small_beside_the_rate_waits_for_nothing() {
        let limits = Bandwidth { session: rate(MIB << 10), user: rate(MIB << 10), total: rate(MIB << 10) };
        let share = Arc::new(Bandwidths::new(limits)).share(b"anna");
        let transfers = async {
            for _ in 0..100 {
                share.begin();
                share.pay(1024).await;
            }
        };
        assert!(seconds(transfers).await == 0.0);
    }

    /// What is owed at the end of a transfer is paid for by the next one, and what is owed does not grow with the sessions.
    #[tokio::test(start_paused = true)]
    async fn many_small_transfers_of_many_sessions_are_no_faster_than_the_limit() {
        let bandwidths = Arc::new(Bandwidths::new(Bandwidth { total: rate(100 << 10), ..Bandwidth::default() }));
        let transfers = async {
            for number in 0..1000_u32 {
                let share = bandwidths.share(&number.to_be_bytes());
                share.begin();
                share.pay(1024).await;
            }
        };
        within_5_percent(seconds(transfers).await, 10.0);
    }

    /// The bytes have been moved, whatever became of the transfer.
    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_is_broken_off_has_not_gone_free() {
        let limits = Bandwidth { user: rate(MIB), ..Bandwidth::default() };
        let bandwidths = Arc::new(Bandwidths::new(limits));
        let broken_off = bandwidths.share(b"anna");
        let transfers = async {
            for _ in 0..10 {
                let _ = tokio::time::timeout(Duration::from_millis(1), broken_off.pay(MIB)).await;
            }
            bandwidths.share(b"anna").pay(1).await;
        };
        within_5_percent(seconds(transfers).await, 10.0);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_of_a_user_share_and_others_do_not() {
        let bandwidths = Arc::new(Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() }));
        let [anna, anna_again, berta] = [b"anna", b"ANNA", b"bert"].map(|user| bandwidths.share(user));
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
        let bandwidths = Arc::new(Bandwidths::new(limits));
        let (anna, berta) = (bandwidths.share(b"anna"), bandwidths.share(b"berta"));
        assert_eq!(anna.slowest(), rate(MIB));
        let both = async { tokio::join!(move_blocks(&anna, 20, MIB / 4), move_blocks(&berta, 20, MIB / 4)) };
        within_5_percent(seconds(both).await, 10.0);
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_for_those_who_move_already() {
        let limits = |bytes| Bandwidth { user: rate(bytes), ..Bandwidth::default() };
        let bandwidths = Arc::new(Bandwidths::new(Bandwidth::default()));
        let shares = [b"anna", b"anna"].map(|user| bandwidths.share(user));
        let both = || async {
            tokio::join!(move_blocks(&shares[0], 20, MIB / 4), move_blocks(&shares[1], 20, MIB / 4));
        };
        assert!(seconds(both()).await == 0.0);
        for bytes in [MIB, 4 * MIB, MIB / 2] {
            bandwidths.set_limits(limits(bytes));
            assert_eq!(shares[0].slowest(), rate(bytes));
            within_5_percent(seconds(both()).await, (10 * MIB) as f64 / bytes as f64);
        }
        bandwidths.set_limits(Bandwidth::default());
        assert!(seconds(both()).await == 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_limit_that_holds_no_more() {
        let hours = Bandwidth { total: rate(1), ..Bandwidth::default() };
        let bandwidths = Arc::new(Bandwidths::new(hours));
        let (waits, also) = (bandwidths.share(b"anna"), bandwidths.share(b"berta"));
        let change = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // The same limits change nothing.
            bandwidths.set_limits(hours);
            tokio::time::sleep(Duration::from_secs(1)).await;
            bandwidths.set_limits(Bandwidth::default());
        };
        let all = async { tokio::join!(waits.pay(MIB), also.pay(MIB), change) };
        assert!((seconds(all).await - 2.0).abs() < 0.1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nothing_is_waited_for_and_nobody_is_remembered() {
        let none = Arc::new(Bandwidths::new(Bandwidth::default()));
        assert!(seconds(none.share(b"anna").pay(usize::MAX)).await == 0.0);
        let some = Arc::new(Bandwidths::new(Bandwidth { user: rate(MIB), ..Bandwidth::default() }));
        for number in 0..10_000u32 {
            some.share(&number.to_be_bytes());
        }
        assert!(some.now.load().users.lock().unwrap().len() <= 2 * DEAD);
    }
}
