//! Passwords and codes on trial: given, and not decided yet.
//!
//! What is on trial counts as if it had failed, until it is decided. So guesses side by side are never more than guesses
//! one after the other, and where a no takes longer than a yes nobody wins by not waiting for it. Whoever would be one too
//! many is not refused, because right passwords come side by side too: he waits until one of the others is decided.
//!
//! Each backend has its own queues: one that hangs holds up nobody of another.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::ban::{Origin, Subject, UserKey};
use super::table::Table;
use super::{FailedLogins, Failure, Marks, Penalty, State, Throttle, count, is_live, lock};
use crate::policy::refusal::Refusal;

/// A password or a code on trial. It counts as failed when it is dropped without a word of what became of it.
#[derive(Debug)]
#[must_use]
pub struct Trial {
    state: Arc<Mutex<State>>,
    origin: Origin,
    user: UserKey,
    began: Instant,
    /// What it stands in, with its mark there. Empty once it is decided.
    stands_in: Vec<(Queue, u64)>,
    decided: bool,
}

/// Whether a password or a code may be tried now.
#[derive(Debug)]
#[must_use]
pub enum Turn {
    /// It may.
    Now(Trial),
    /// Others are on trial that have to be decided first.
    After(Decision),
}

/// Those on trial who count together: by what they would lead to a ban of, and by who decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Queue {
    subject: Subject,
    /// The backend's name; none for those without a route.
    backend: Option<Arc<str>>,
}

/// One of those on trial is decided.
#[derive(Debug)]
pub struct Decision {
    queue: Queue,
    decided: Arc<Notify>,
    /// In the queue since the throttle was asked, so that no decision in between is missed.
    queued: Pin<Box<OwnedNotified>>,
}

impl Decision {
    /// Waits for it. The throttle must be asked again then, with this.
    pub async fn comes(&mut self) {
        self.queued.as_mut().await;
    }
}

/// All that are on trial.
#[derive(Debug, Default)]
pub(super) struct Trials {
    of: BTreeMap<Queue, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// How many have each mark.
    marks: BTreeMap<u64, usize>,
    decided: Arc<Notify>,
}

impl Trials {
    fn join(&mut self, queue: Queue, mark: u64) {
        *self.of.entry(queue).or_default().marks.entry(mark).or_default() += 1;
    }

    /// `all`: more than one place may be free now, at every backend, or none ever again.
    fn leave(&mut self, queue: &Queue, mark: u64, all: bool) {
        if all {
            let first = Queue { subject: queue.subject.clone(), backend: None };
            let same = self.of.range(first..).take_while(|(other, _)| other.subject == queue.subject);
            same.for_each(|(_, group)| group.decided.notify_waiters());
        }
        let Some(group) = self.of.get_mut(queue) else { return };
        if let Some(count) = group.marks.get_mut(&mark) {
            *count -= 1;
            if *count == 0 {
                group.marks.remove(&mark);
            }
        }
        if group.marks.is_empty() {
            group.decided.notify_waiters();
            self.of.remove(queue);
        } else if !all {
            group.decided.notify_one();
        }
    }

    /// Everybody who waits asks again.
    pub(super) fn wake(&self) {
        self.of.values().for_each(|group| group.decided.notify_waiters());
    }

    /// The group that must get smaller before one more may be tried.
    fn full(&self, queue: &Queue, mark: u64, failed: &Marks, rule: FailedLogins, now: Instant) -> Option<Decision> {
        let group = self.of.get(queue)?;
        let live = failed.iter().filter(|failure| is_live(failure, rule.within, now));
        let counted = match &queue.subject {
            Subject::Login(..) => count(live) + group.marks.values().sum::<usize>(),
            // Each user, or each address, counts once.
            Subject::Address(_) | Subject::User(_) => {
                let failed: Vec<u64> = live.map(|(failed, _)| *failed).collect();
                if failed.contains(&mark) || group.marks.contains_key(&mark) {
                    return None;
                }
                failed.len() + group.marks.keys().filter(|mark| !failed.contains(mark)).count()
            }
        };
        if counted < rule.attempts {
            return None;
        }
        let mut queued = Box::pin(Arc::clone(&group.decided).notified_owned());
        queued.as_mut().enable();
        Some(Decision { queue: queue.clone(), decided: Arc::clone(&group.decided), queued })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

impl Throttle {
    /// Puts a password or a code of this user, from this address, on trial. `backend`: the name of the one that decides; none
    /// where the user has no route. `after`: what it has waited for.
    ///
    /// # Errors
    /// When a ban stands against it.
    pub fn begin(
        &self,
        address: IpAddr,
        user: &[u8],
        backend: Option<Arc<str>>,
        now: Instant,
        after: Option<Decision>,
    ) -> Result<Turn, Refusal> {
        let (origin, user) = (Origin::of(address), UserKey::of(user));
        let mut state = self.state();
        let turn = state.check(origin, &user, now).map(|()| match state.join(origin, &user, backend, now) {
            Ok(stands_in) => {
                let state = Arc::clone(&self.state);
                Turn::Now(Trial { state, origin, user, began: now, stands_in, decided: false })
            }
            Err(decision) => Turn::After(decision),
        });
        // It was its turn, and it does not take it: the next one's then.
        if let Some(after) = after
            && match &turn {
                Ok(Turn::Now(_)) => false,
                Ok(Turn::After(decision)) => decision.queue != after.queue,
                Err(_) => true,
            }
        {
            after.decided.notify_one();
        }
        turn
    }
}

impl State {
    /// What one more on trial stands in from now on, or what it has to wait for.
    fn join(
        &mut self,
        origin: Origin,
        user: &UserKey,
        backend: Option<Arc<str>>,
        now: Instant,
    ) -> Result<Vec<(Queue, u64)>, Decision> {
        let Some(rule) = self.rule else { return Ok(Vec::new()) };
        let queue = |subject| Queue { subject, backend: backend.clone() };
        let mut stands_in = vec![(queue(Subject::Login(origin, user.clone())), 0)];
        if !self.is_known(origin, user, now) {
            stands_in.push((queue(Subject::Address(origin)), self.hasher.hash_one(user)));
            stands_in.push((queue(Subject::User(user.clone())), self.hasher.hash_one(origin)));
        }
        for (queue, mark) in &stands_in {
            let none = Marks::new();
            let failed = match &queue.subject {
                Subject::Login(origin, user) => marks(&self.logins, &(*origin, user.clone())),
                Subject::Address(origin) => marks(&self.addresses, origin),
                Subject::User(user) => marks(&self.users, user),
            };
            if let Some(decision) = self.trials.full(queue, *mark, failed.unwrap_or(&none), rule, now) {
                return Err(decision);
            }
        }
        for (queue, mark) in &stands_in {
            self.trials.join(queue.clone(), *mark);
        }
        Ok(stands_in)
    }
}

impl Trial {
    /// It was wrong.
    ///
    /// # Errors
    /// When a ban has come in between: the answer is that of the ban, whatever the password was.
    pub fn failed(mut self, now: Instant) -> Result<Penalty, Refusal> {
        self.fail(Failure::Wrong, now)
    }

    /// It was right. What had failed before it is forgiven.
    ///
    /// # Errors
    /// When a ban has come in between: many guesses at once win nothing over one after the other.
    pub fn succeeded(mut self, now: Instant) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.state);
        let mut state = lock(&shared);
        let succeeded = state.succeed(self.origin, &self.user, now);
        self.leave(&mut state, true);
        succeeded
    }

    /// The backend has said neither yes nor no: it has hung up, for one. To a stranger that is a no, and some servers say it
    /// so. To who is known at his address it may say that too many of his sessions are there: so it counts for less, and
    /// for something, because strangers sit behind his address too.
    ///
    /// # Errors
    /// As [`Self::failed`].
    pub fn doubtful(mut self, now: Instant) -> Result<Penalty, Refusal> {
        self.fail(Failure::Doubtful, now)
    }

    /// It was not tried, or nobody will ever know.
    pub fn withdrawn(mut self) {
        self.withdraw();
    }

    fn fail(&mut self, failure: Failure, now: Instant) -> Result<Penalty, Refusal> {
        let shared = Arc::clone(&self.state);
        let mut state = lock(&shared);
        let failed = state.check(self.origin, &self.user, now).map(|()| {
            let (origin, user) = (self.origin, self.user.clone());
            state.failed(origin, user, failure, now)
        });
        let banned = failed.as_ref().map_or(true, |penalty| !penalty.bans.is_empty());
        self.leave(&mut state, banned);
        failed
    }

    fn withdraw(&mut self) {
        let shared = Arc::clone(&self.state);
        self.leave(&mut lock(&shared), false);
    }

    fn leave(&mut self, state: &mut State, all: bool) {
        self.decided = true;
        for (queue, mark) in self.stands_in.drain(..) {
            state.trials.leave(&queue, mark, all);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.decided {
            // Whatever it leads to: the one who could be told is gone.
            let _ = self.fail(Failure::Wrong, self.began);
        }
    }
}

fn marks<'t, K: Ord + Clone>(table: &'t Table<K, Marks>, key: &K) -> Option<&'t Marks> {
    table.get(key).map(|(_, marks)| marks)
}
