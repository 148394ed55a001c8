//! Lines on their way from sessions to the writer: who puts them in, who takes them out, and who waits for whom.
//!
//! Invariants: putting a line in takes a lock that is never held over a system call, so no session waits for a disk; one
//! writer is in charge, and one that has been replaced changes nothing any more; a writer rests no longer than it should,
//! however often it is woken.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::backlog::{BEHIND, Backlog, CAPACITY, Next, SLIGHT};
use crate::telemetry::settings::AuditFormat;

/// Whose doing a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Of somebody who has not logged in.
    Slight,
    /// Of a user, or of the gateway itself.
    Full,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It waits.
    In,
    /// It waits, and from this one on more does than may before something new begins.
    Behind,
    /// There was no room, for so many in a row.
    Lost(u64),
    /// The file's lines look otherwise by now.
    OtherFormat,
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is work.
    work: Condvar,
    /// The writer has come to a file, or to its end.
    came: Condvar,
    /// The format of the newest file, as a number; 0: there is no file.
    format: AtomicU8,
    behind: AtomicBool,
    failing: AtomicBool,
}

#[derive(Default)]
struct State {
    backlog: Backlog,
    closed: bool,
    /// The writer waits, and takes lines.
    asleep: bool,
    /// The writer in charge: its number, and whether it has not ended.
    writer: u64,
    at_work: bool,
}

/// How long the writer waits for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Until there is some.
    Long,
    /// The same, but not beyond this.
    Until(Instant),
    /// It has lines that it could not write, so it takes no further ones: for another file, and until this, when it tries
    /// again.
    Stuck(Instant),
}

/// What the writer has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Write this, from there on.
    Write(Arc<Vec<u8>>, usize),
    /// Another file follows: bring this one to its end and ask for it.
    Leave,
    /// There will be no more.
    End,
    /// Another writer has been put in charge.
    Dismissed,
    /// To look around.
    Nothing,
}

impl Queue {
    /// How lines of the newest file look. `None`: there is no file.
    pub(super) fn format(&self) -> Option<AuditFormat> {
        match self.format.load(Ordering::Relaxed) {
            1 => Some(AuditFormat::Json),
            2 => Some(AuditFormat::Xferlog),
            _ => None,
        }
    }

    /// Whether the file takes what begins now.
    pub(super) fn takes_more(&self) -> bool {
        self.format().is_none() || !(self.failing.load(Ordering::Relaxed) || self.behind.load(Ordering::Relaxed))
    }

    /// Puts a line in.
    pub(super) fn push(&self, line: &[u8], format: AuditFormat, weight: Weight) -> Put {
        let mut state = self.state();
        if state.closed || state.backlog.format() != Some(format) {
            return Put::OtherFormat;
        }
        let limit = match weight {
            Weight::Slight => SLIGHT,
            Weight::Full => CAPACITY,
        };
        if let Err(lost) = state.backlog.append(line, limit) {
            return Put::Lost(lost);
        }
        let falls_behind = state.backlog.waiting() > BEHIND && !self.behind.swap(true, Ordering::Relaxed);
        self.wake_for_line(state);
        if falls_behind { Put::Behind } else { Put::In }
    }

    /// Lines from now on go to another file, or to none. That a file begins and ends is a line in it.
    pub(super) fn change(&self, next: Option<(File, AuditFormat)>) {
        let mut state = self.state();
        self.show_format(next.as_ref().map(|(_, format)| *format));
        state.backlog.change(next);
        self.wake(state);
    }

    /// The same file under the same path, made anew.
    pub(super) fn rotate(&self, file: File) {
        let mut state = self.state();
        state.backlog.rotate(file);
        self.wake(state);
    }

    /// No more lines will come.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.closed, true) {
            state.backlog.end_file();
            self.show_format(None);
        }
        self.wake(state);
    }

    /// Waits until the writer has come to the newest file. `false`: it does not, or there is no writer.
    pub(super) fn is_reached(&self, patience: Duration) -> bool {
        self.waits(patience, |state| state.at_work && state.backlog.is_followed());
        let state = self.state();
        state.at_work && !state.backlog.is_followed()
    }

    /// Waits until the writer has ended. Says how many lines wait all the same.
    pub(super) fn is_over(&self, patience: Duration) -> u64 {
        self.waits(patience, |state| state.at_work);
        self.state().backlog.lines()
    }

    /// Puts a new writer in charge, and says which it is and where it begins: at the newest file, with all that waits.
    pub(super) fn take_over(&self) -> (u64, Next) {
        let mut state = self.state();
        state.writer += 1;
        state.at_work = true;
        self.failing.store(false, Ordering::Relaxed);
        let mut next = state.backlog.look();
        while let Some(Next { file, lost, idle }) = state.backlog.go_on() {
            next = Next { file, lost: next.lost + lost, idle };
        }
        self.looks_for_room(&state);
        self.came.notify_all();
        // One that slept too long may still wait, and would take the new one's call.
        self.work.notify_all();
        (state.writer, next)
    }

    /// Waits for what this writer has to do next. However often it is woken, its rest is over when it should be.
    pub(super) fn take(&self, writer: u64, rest: Rest) -> Work {
        let (stuck, until) = match rest {
            Rest::Long => (false, None),
            Rest::Until(until) => (false, Some(until)),
            Rest::Stuck(until) => (true, Some(until)),
        };
        let mut state = self.state();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                _ if state.writer != writer => return Work::Dismissed,
                _ if !stuck && state.backlog.fills_hand() => return state.in_hand(),
                _ if state.backlog.is_followed() => return Work::Leave,
                _ if state.closed => return Work::End,
                Some(Duration::ZERO) if stuck => return state.in_hand(),
                Some(Duration::ZERO) => return Work::Nothing,
                Some(_) | None => {}
            }
            state.asleep = !stuck;
            state = match left {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            // It may be another one that sleeps by now.
            if state.writer == writer {
                state.asleep = false;
            }
        }
    }

    /// What this writer has in hand, and from where on. `None`: it is no longer in charge.
    pub(super) fn hand(&self, writer: u64) -> Option<(Arc<Vec<u8>>, usize)> {
        let state = self.state();
        (state.writer == writer).then(|| state.backlog.hand())
    }

    /// This writer has written so much of what it has in hand. `false`: it is no longer in charge.
    pub(super) fn written(&self, writer: u64, bytes: usize) -> bool {
        let mut state = self.state();
        if state.writer != writer {
            return false;
        }
        state.backlog.written(bytes);
        self.looks_for_room(&state);
        true
    }

    /// The file behind the one that this writer has left. `None`: it is no longer in charge.
    pub(super) fn next(&self, writer: u64) -> Option<Next> {
        let mut state = self.state();
        if state.writer != writer {
            return None;
        }
        self.came.notify_all();
        let next = state.backlog.go_on();
        self.looks_for_room(&state);
        next
    }

    /// Whether the file refuses, as this writer sees it. Says whether that is news.
    pub(super) fn set_failing(&self, writer: u64, failing: bool) -> bool {
        let state = self.state();
        state.writer == writer && self.failing.swap(failing, Ordering::Relaxed) != failing
    }

    /// This writer ends.
    pub(super) fn ends(&self, writer: u64) {
        let mut state = self.state();
        if state.writer == writer {
            state.at_work = false;
            self.came.notify_all();
        }
    }

    /// Something new may begin when there is room for everybody again.
    fn looks_for_room(&self, state: &State) {
        if state.backlog.waiting() <= SLIGHT {
            self.behind.store(false, Ordering::Relaxed);
        }
    }

    fn waits(&self, patience: Duration, waits: impl Fn(&State) -> bool) {
        let waited = self.came.wait_timeout_while(self.state(), patience, |state| waits(state));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn show_format(&self, format: Option<AuditFormat>) {
        let number = match format {
            None => 0,
            Some(AuditFormat::Json) => 1,
            Some(AuditFormat::Xferlog) => 2,
        };
        self.format.store(number, Ordering::Relaxed);
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        drop(state);
        self.work.notify_one();
    }

    /// A call to the system for each line would be more than the line costs.
    fn wake_for_line(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::replace(&mut state.asleep, false) {
            self.wake(state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().backlog.waiting()
    }
}

impl State {
    fn in_hand(&self) -> Work {
        let (lines, from) = self.backlog.hand();
        Work::Write(lines, from)
    }
}
