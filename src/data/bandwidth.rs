//! How many bytes a second transfers may move: in a session, of a user, and in all.
//!
//! Invariants: a limit holds for both directions together; what has been moved is booked at once, on every limit, whatever
//! becomes of its transfer; time alone pays for it, whether anybody waits or not; who waits holds no memory and is
//! overtaken by nobody; a transfer moves nothing before what was booked when it began is paid for, so that no more is ever
//! owed than what is lent and a piece of each transfer; other limits hold at once, for what runs too.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::policy::UserKey;

/// What comes in within this time may be owed, in nanoseconds: what is small beside the rate waits for nothing.
const LENT: u128 = 50_000_000;
/// What was not used is kept for so long, in nanoseconds: a late waking loses nothing.
const KEPT: u128 = 400_000_000;
/// Nanoseconds.
const SECOND: u128 = 1_000_000_000;
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
    users: Mutex<HashMap<UserKey, Arc<Bucket>>>,
    /// Others hold instead.
    over: CancellationToken,
}

/// One limit.
struct Bucket {
    /// Bytes a second.
    rate: u128,
    /// What is still owed, in nanoseconds, when one who waits goes on. Where others wait too, it is what is lent, so that they
    /// are served in turn. Who is alone goes on when nothing is owed, with some pieces at once: it wakes less often.
    rest: u128,
    began: Instant,
    /// What has been given out since it began, in bytes times nanoseconds: what was moved, and what nobody used in its time.
    /// More than it has had since then is owed.
    given: Mutex<u128>,
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
struct Held {
    rates: Arc<Rates>,
    buckets: Vec<Arc<Bucket>>,
}

/// What has been booked and is to be waited for.
#[must_use]
pub struct Due(Option<(Instant, CancellationToken)>);

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
        Self {
            limits,
            total: limits.total.map(Bucket::of_many),
            users: Mutex::default(),
            over: CancellationToken::new(),
        }
    }

    /// A user who has left without paying finds his debt again.
    fn of_user(&self, user: &UserKey, rate: NonZeroUsize) -> Arc<Bucket> {
        let mut users = lock(&self.users);
        if let Some(bucket) = users.get(user) {
            return Arc::clone(bucket);
        }
        if users.len() >= DEAD && users.len().is_power_of_two() {
            users.retain(|_, bucket| Arc::strong_count(bucket) > 1 || bucket.owes());
        }
        let bucket = Bucket::of_many(rate);
        users.insert(user.clone(), Arc::clone(&bucket));
        bucket
    }
}

impl Held {
    fn of(rates: Arc<Rates>, user: &UserKey) -> Self {
        let Bandwidth { session, user: of_user, total: _ } = rates.limits;
        let mut buckets: Vec<_> = session.map(Bucket::of_one).into_iter().collect();
        buckets.extend(of_user.map(|rate| rates.of_user(user, rate)));
        buckets.extend(rates.total.clone());
        Self { rates, buckets }
    }
}

impl Holder {
    /// Of the limits that hold now.
    fn held(&self) -> MutexGuard<'_, Held> {
        let now = self.bandwidths.now.load();
        let mut held = lock(&self.held);
        if !Arc::ptr_eq(&now, &held.rates) {
            *held = Held::of(Arc::clone(&now), &self.user);
        }
        held
    }
}

impl Share {
    /// A transfer begins: waits until what is booked by now is paid for, but for what is lent. What nobody has used until
    /// now is not its to spend.
    pub async fn begin(&self) {
        self.due(Bucket::begin).paid().await;
    }

    /// So many bytes are being moved, and cannot be had back. They are booked whatever becomes of what is returned.
    pub fn book(&self, bytes: usize) -> Due {
        self.due(|bucket| bucket.book(bytes))
    }

    /// Bytes a second at most.
    pub fn slowest(&self) -> Option<NonZeroUsize> {
        let Bandwidth { session, user, total } = self.0.as_ref()?.held().rates.limits;
        [session, user, total].into_iter().flatten().min()
    }

    fn due(&self, of: impl Fn(&Bucket) -> Option<Instant>) -> Due {
        let Some(holder) = &self.0 else { return Due(None) };
        let held = holder.held();
        // Each of them is asked.
        let last = held.buckets.iter().filter_map(|bucket| of(bucket)).max();
        Due(last.map(|last| (last, held.rates.over.clone())))
    }
}

impl Due {
    /// Waits until it is paid for, but for what is lent, or until other limits hold.
    pub async fn paid(self) {
        if let Some((at, over)) = self.0 {
            tokio::select! {
                () = sleep_until(at) => {}
                () = over.cancelled() => {}
            }
        }
    }
}

impl Bucket {
    /// A session has one transfer at a time.
    fn of_one(rate: NonZeroUsize) -> Arc<Self> {
        Self::new(rate, 0)
    }

    fn of_many(rate: NonZeroUsize) -> Arc<Self> {
        Self::new(rate, LENT)
    }

    fn new(rate: NonZeroUsize, rest: u128) -> Arc<Self> {
        Arc::new(Self { rate: rate.get() as u128, rest, began: Instant::now(), given: Mutex::default() })
    }

    fn begin(&self) -> Option<Instant> {
        self.give(0, 0)
    }

    fn book(&self, bytes: usize) -> Option<Instant> {
        self.give(bytes, KEPT)
    }

    /// Gives out what may not have come in yet. What came in before `kept` and was not used is nobody's.
    ///
    /// Returns when no more than what is lent will be owed of it and of all before it; `None`: it is so now.
    fn give(&self, bytes: usize, kept: u128) -> Option<Instant> {
        let now = self.began.elapsed().as_nanos();
        let given = {
            let mut given = lock(&self.given);
            let unused = self.rate * now.saturating_sub(kept);
            *given = unused.max(*given).saturating_add(bytes as u128 * SECOND);
            *given
        };
        if given <= self.rate * (now + LENT) {
            return None;
        }
        let due = u64::try_from(given.div_ceil(self.rate) - self.rest).unwrap_or(u64::MAX);
        Some(self.began + Duration::from_nanos(due))
    }

    fn owes(&self) -> bool {
        *lock(&self.given) > self.rate * self.began.elapsed().as_nanos()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is whole after every method, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
