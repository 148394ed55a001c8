//! How long a login that leads nowhere takes: as long as the others took.
//!
//! A user without a route has no backend that could say no. Would the gateway say it at once, the time alone would tell
//! which users have a route (RFC 2577 §7).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many of the latest times are kept of each answer.
const KEPT: usize = 32;

/// The answers of a login whose time a client can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAnswer {
    /// To USER: the backend is dialled before it answers.
    User,
    /// The no to a password.
    Password,
}

impl LoginAnswer {
    /// As long as nothing has been measured. Servers take their time to say no to a password: vsftpd two seconds.
    fn unmeasured(self) -> Duration {
        match self {
            Self::User => Duration::from_millis(5),
            Self::Password => Duration::from_secs(1),
        }
    }
}

/// Remembers how long backends took. Shared by all sessions.
#[derive(Debug, Default)]
pub struct Pace {
    taken: Mutex<[VecDeque<Duration>; 2]>,
}

impl Pace {
    /// A backend took this long.
    pub fn note(&self, answer: LoginAnswer, took: Duration) {
        self.with(answer, |taken| {
            taken.truncate(KEPT - 1);
            taken.push_front(took);
        });
    }

    /// How long an answer without a backend shall take: what one of the latest took, another one each time.
    pub fn imitate(&self, answer: LoginAnswer) -> Duration {
        self.with(answer, |taken| {
            taken.rotate_left(usize::from(!taken.is_empty()));
            taken.back().copied().unwrap_or(answer.unmeasured())
        })
    }

    fn with<T>(&self, answer: LoginAnswer, act: impl FnOnce(&mut VecDeque<Duration>) -> T) -> T {
        // Every state of the queues is a sound one.
        act(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner)[answer as usize])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_answer_has_its_own_times() {
        let pace = Pace::default();
        pace.note(LoginAnswer::User, Duration::from_millis(7));
        assert_eq!(pace.imitate(LoginAnswer::User), Duration::from_millis(7));
        assert_eq!(pace.imitate(LoginAnswer::Password), LoginAnswer::Password.unmeasured());
    }

    proptest! {
        /// What is imitated over a while has the times of what was measured last, each equally often.
        #[test]
        fn imitated_are_the_latest(times in prop::collection::vec(0_u64..5000, 1..100)) {
            let pace = Pace::default();
            for time in &times {
                pace.note(LoginAnswer::Password, Duration::from_millis(*time));
            }
            let kept = times.len().min(KEPT);
            let mut imitated: Vec<_> = (0..kept).map(|_| pace.imitate(LoginAnswer::Password)).collect();
            let mut latest: Vec<_> =
                times[times.len() - kept..].iter().map(|time| Duration::from_millis(*time)).collect();
            imitated.sort();
            latest.sort();
            prop_assert_eq!(imitated, latest);
        }
    }
}
