//! Sessions of one address that wait for a port, in the order in which they came.
//!
//! Invariants: who can be told from others by what it proves goes before who cannot, and waits for no more than those who
//! have a port by then; a port that comes free is taken by nobody before those who have waited for it; who has had a port
//! and asks again comes behind them all; a place that nobody looks after holds up others for `WHILE` and no longer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Line(BTreeMap<u64, Place>);

/// One who waits.
#[derive(Debug)]
struct Place {
    /// It needs a port where nobody else waits.
    alone: bool,
    /// Others wait for it no longer.
    until: Instant,
    wake: Arc<Notify>,
}

impl Line {
    /// One more waits, behind all others of its kind. `number`: higher than all before. What is returned says when to look
    /// again.
    pub(super) fn join(&mut self, number: u64, alone: bool, until: Instant) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        self.0.insert(number, Place { alone, until, wake: Arc::clone(&wake) });
        wake
    }

    /// One waits no more, and may have been woken for what it did not take.
    pub(super) fn leave(&mut self, number: u64) {
        self.0.remove(&number);
        self.wake_next();
    }

    /// Something has come free. Whoever takes it leaves, and wakes the next one.
    pub(super) fn wake_next(&self) {
        let next = self.waiting().min_by_key(|&(number, place)| (place.alone, number));
        if let Some((_, place)) = next {
            place.wake.notify_one();
        }
    }

    /// Whether others have a port before one who needs it alone, and who waits with this number or has just come.
    pub(super) fn is_before(&self, number: Option<u64>) -> bool {
        self.waiting().any(|(other, place)| !place.alone || number.is_none_or(|number| other < number))
    }

    fn waiting(&self) -> impl Iterator<Item = (u64, &Place)> {
        let now = Instant::now();
        self.0.iter().filter(move |(_, place)| place.until > now).map(|(&number, place)| (number, place))
    }
}
