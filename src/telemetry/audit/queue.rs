//! Lines on their way from sessions to the writer.
//!
//! Invariants: bounded; putting a line in takes a lock that is never held over a system call, so no session waits for a
//! disk; lines leave in the order they came; a line that finds no room is counted, never lost silently; what belongs to
//! the file before a change of files stays before it.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What waits at most, in bytes: some ten thousand lines. The writer holds as much again.
pub(super) const CAPACITY: usize = 8 * 1024 * 1024;
/// From here on nothing new begins. The rest is for the ends of what has begun.
const BEHIND: usize = CAPACITY / 2;
/// From here on there is room for the doings of users who have logged in, and for nothing else: who has no account cannot
/// take their place.
const SLIGHT: usize = CAPACITY / 4 * 3;

/// Files that may wait for a writer whose disk is slow: as many as an impatient operator asks for.
const CHANGES: usize = 8;

/// Whose doing a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Of somebody who has not logged in.
    Slight,
    /// Of a user, or of the gateway itself.
    Full,
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    behind: AtomicBool,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// Files that are still to come, each with the lines for the one before it.
    changes: Vec<(Vec<u8>, File)>,
    /// Lines that found no room since the writer last took some.
    lost: u64,
    closed: bool,
    /// The writer waits to be woken.
    asleep: bool,
}

/// How long the writer waits for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Until there is some.
    Long,
    /// The same, but no longer than this.
    Short(Duration),
    /// It has lines that it could not write, so it takes no further ones: for another file, and no longer than this.
    Stuck(Duration),
}

/// What the writer has to do.
#[derive(Default)]
pub(super) struct Work {
    /// The files from now on, each with the lines for the one before it.
    pub(super) changes: Vec<(Vec<u8>, File)>,
    /// Lines for the newest file.
    pub(super) lines: Vec<u8>,
    /// Lines that were lost behind these.
    pub(super) lost: u64,
    /// There will be no more.
    pub(super) closed: bool,
}

impl Queue {
    /// Puts a line in. `true`: from this one on more waits than may wait before something new begins.
    ///
    /// # Errors
    /// There was no room; the number that were lost in a row.
    pub(super) fn push(&self, line: &[u8], weight: Weight) -> Result<bool, u64> {
        let mut state = self.state();
        let limit = match weight {
            Weight::Slight => SLIGHT,
            Weight::Full => CAPACITY,
        };
        let before: usize = state.changes.iter().map(|(lines, _)| lines.len()).sum();
        let waiting = before + state.lines.len() + line.len();
        if waiting > limit {
            state.lost += 1;
            return Err(state.lost);
        }
        state.lines.extend_from_slice(line);
        let falls_behind = waiting > BEHIND && !self.behind.swap(true, Ordering::Relaxed);
        self.wake(state);
        Ok(falls_behind)
    }

    /// Lines from now on go to another file.
    pub(super) fn switch(&self, file: File) {
        let mut state = self.state();
        let State { lines, changes, .. } = &mut *state;
        let many = changes.len() >= CHANGES;
        match changes.last_mut().filter(|_| many) {
            // Nobody waits for so many files: the last one stays empty.
            Some((before, last)) => {
                before.append(lines);
                *last = file;
            }
            None => changes.push((std::mem::take(lines), file)),
        }
        self.wake(state);
    }

    /// No more lines will come.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.wake(state);
    }

    /// Whether more waits than may wait before something new begins.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Waits for work and takes all there is.
    pub(super) fn take(&self, rest: Rest) -> Work {
        let (stuck, pause) = match rest {
            Rest::Long => (false, None),
            Rest::Short(pause) => (false, Some(pause)),
            Rest::Stuck(pause) => (true, Some(pause)),
        };
        let mut state = self.state();
        loop {
            let has_lines = !state.lines.is_empty() || state.lost > 0;
            if state.closed || !state.changes.is_empty() || (has_lines && !stuck) {
                break;
            }
            state.asleep = true;
            match pause {
                None => state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let (woken, timeout) = self.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
                    state = woken;
                    if timeout.timed_out() {
                        state.asleep = false;
                        return Work::default();
                    }
                }
            }
            state.asleep = false;
        }
        self.behind.store(false, Ordering::Relaxed);
        Work {
            changes: std::mem::take(&mut state.changes),
            lines: std::mem::take(&mut state.lines),
            lost: std::mem::take(&mut state.lost),
            closed: state.closed,
        }
    }

    /// Wakes the writer if it sleeps: a call to the system for each line would be more than the line costs.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::replace(&mut state.asleep, false) {
            drop(state);
            self.wake.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
