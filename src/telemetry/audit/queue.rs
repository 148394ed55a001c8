//! Lines on their way from sessions to the writer, and the files that they are for.
//!
//! Invariants: bounded, and what the writer has in hand counts; putting a line in takes a lock that is never held over a
//! system call, so no session waits for a disk; lines leave in the order they came, when they are written and not when
//! they are taken, so a writer that hangs takes nothing along; a line that finds no room is counted, never lost silently;
//! what belongs to the file before a change of files stays before it, and looks as that file's lines do.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::lines;
use crate::telemetry::settings::AuditFormat;

/// What waits at most, in bytes: some thirty thousand lines.
pub(super) const CAPACITY: usize = 16 * 1024 * 1024;
/// From here on nothing new begins. The rest is for the ends of what has begun.
pub(super) const BEHIND: usize = CAPACITY / 4;
/// From here on there is room for the doings of users who have logged in, and for nothing else: who has no account can
/// neither take their place nor shut them out.
pub(super) const SLIGHT: usize = BEHIND / 2;

/// For what is said of the file itself, once for each change of files or for many lost lines.
const ALWAYS: usize = usize::MAX;

/// Files that may wait for a writer whose disk is slow: as many as an impatient operator asks for.
const FILES: usize = 8;

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
    /// What the writer has in hand for the present file, and how much of it is written.
    hand: Arc<Vec<u8>>,
    written: usize,
    /// The file that the writer is at, and those that are still to come.
    present: Part,
    coming: VecDeque<Part>,
    /// All bytes that are not written.
    waiting: usize,
    /// Lines that found no room and are not told of yet.
    lost: u64,
    closed: bool,
    /// The writer waits, and takes lines.
    asleep: bool,
    /// The writer in charge: its number, and whether it has not ended.
    writer: u64,
    at_work: bool,
}

/// The lines of one file.
#[derive(Default)]
struct Part {
    /// Until the writer has it.
    file: Option<File>,
    /// `None`: there is no file, nor lines.
    format: Option<AuditFormat>,
    lines: Vec<u8>,
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

/// The file that a writer comes to.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// `None`: there is none for now.
    pub(super) file: Option<File>,
    /// Lines for the file before, which could not take them, that do not look like this one's.
    pub(super) lost: u64,
    /// Nothing waits for it yet.
    pub(super) idle: bool,
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
        if state.closed || state.newest().format != Some(format) {
            return Put::OtherFormat;
        }
        let limit = match weight {
            Weight::Slight => SLIGHT,
            Weight::Full => CAPACITY,
        };
        if !state.append(line, limit) {
            return Put::Lost(state.lost);
        }
        let falls_behind = state.waiting > BEHIND && !self.behind.swap(true, Ordering::Relaxed);
        self.wake_for_line(state);
        if falls_behind { Put::Behind } else { Put::In }
    }

    /// Lines from now on go to another file, or to none. That a file begins and ends is a line in it.
    pub(super) fn change(&self, next: Option<(File, AuditFormat)>) {
        let mut state = self.state();
        state.end_file(true);
        let (file, format) = next.unzip();
        state.coming.push_back(Part { file, format, lines: Vec::new() });
        self.show_format(format);
        if format == Some(AuditFormat::Json) {
            state.append(&lines::started(SystemTime::now()).finish(), ALWAYS);
        }
        self.wake(state);
    }

    /// The same file under the same path, made anew.
    pub(super) fn rotate(&self, file: File) {
        let mut state = self.state();
        if state.coming.len() >= FILES {
            // Nobody waits for so many files: the last one stays empty.
            state.newest().file = Some(file);
            return;
        }
        state.end_file(false);
        let format = state.newest().format;
        state.coming.push_back(Part { file: Some(file), format, lines: Vec::new() });
        self.wake(state);
    }

    /// No more lines will come.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.closed, true) {
            state.end_file(true);
            self.show_format(None);
        }
        self.wake(state);
    }

    /// Waits until the writer has come to the newest file. `false`: it does not, or there is no writer.
    pub(super) fn is_reached(&self, patience: Duration) -> bool {
        self.waits(patience, |state| state.at_work && !state.coming.is_empty());
        let state = self.state();
        state.at_work && state.coming.is_empty()
    }

    /// Waits until the writer has ended. Says how many lines wait all the same.
    pub(super) fn is_over(&self, patience: Duration) -> u64 {
        self.waits(patience, |state| state.at_work);
        let state = self.state();
        state.unwritten() + state.coming.iter().map(|part| count(&part.lines)).sum::<u64>()
    }

    /// Puts a new writer in charge, and says which it is and where it begins: at the newest file, with all that waits.
    pub(super) fn take_over(&self) -> (u64, Next) {
        let mut state = self.state();
        state.writer += 1;
        state.at_work = true;
        self.failing.store(false, Ordering::Relaxed);
        let mut next = state.look();
        while let Some(Next { file, lost, idle }) = state.go_on() {
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
                _ if !stuck && state.fills_hand() => return state.in_hand(),
                _ if !state.coming.is_empty() => return Work::Leave,
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
        (state.writer == writer).then(|| (Arc::clone(&state.hand), state.written))
    }

    /// This writer has written so much of what it has in hand. `false`: it is no longer in charge.
    pub(super) fn written(&self, writer: u64, bytes: usize) -> bool {
        let mut state = self.state();
        if state.writer != writer {
            return false;
        }
        state.written += bytes;
        state.waiting -= bytes;
        if state.written == state.hand.len() {
            state.put_down();
        }
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
        let next = state.go_on();
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
        if state.waiting <= SLIGHT {
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
        self.state().waiting
    }
}

impl State {
    fn newest(&mut self) -> &mut Part {
        self.coming.back_mut().unwrap_or(&mut self.present)
    }

    /// `false`: it found no room.
    fn append(&mut self, line: &[u8], limit: usize) -> bool {
        if self.waiting + line.len() > limit {
            self.lost += 1;
            return false;
        }
        self.waiting += line.len();
        self.newest().lines.extend_from_slice(line);
        true
    }

    /// The last lines of the newest file.
    fn end_file(&mut self, is_told: bool) {
        self.tell_lost();
        if is_told && self.newest().format == Some(AuditFormat::Json) {
            self.append(&lines::stopped(SystemTime::now()).finish(), ALWAYS);
        }
    }

    /// Says in the newest file how many lines are missing there.
    fn tell_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 && self.newest().format == Some(AuditFormat::Json) {
            self.append(&lines::lost(SystemTime::now(), lost).finish(), ALWAYS);
        }
    }

    /// Whether the writer has something to write.
    fn fills_hand(&mut self) -> bool {
        if self.written < self.hand.len() {
            return true;
        }
        if self.coming.is_empty() {
            self.tell_lost();
        }
        if self.present.lines.is_empty() {
            return false;
        }
        self.hand = Arc::new(std::mem::take(&mut self.present.lines));
        self.written = 0;
        true
    }

    fn in_hand(&self) -> Work {
        Work::Write(Arc::clone(&self.hand), self.written)
    }

    fn put_down(&mut self) {
        (self.hand, self.written) = (Arc::default(), 0);
    }

    /// Lines for the present file.
    fn unwritten(&self) -> u64 {
        count(&self.hand[self.written..]) + count(&self.present.lines)
    }

    /// The next file is the present one. What the one before has not taken goes there, and a line that was begun is begun
    /// again.
    fn go_on(&mut self) -> Option<Next> {
        let next = self.coming.pop_front()?;
        let left = std::mem::replace(&mut self.present, next);
        let whole = self.hand[..self.written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.waiting += self.written - whole;
        self.written = whole;
        let mut lost = 0;
        if left.format == self.present.format {
            let after = std::mem::replace(&mut self.present.lines, left.lines);
            self.present.lines.extend(after);
        } else {
            lost = count(&self.hand[self.written..]) + count(&left.lines);
            self.waiting -= self.hand.len() - self.written + left.lines.len();
            self.put_down();
        }
        Some(Next { lost, ..self.look() })
    }

    /// Where a writer is that is at the present file.
    fn look(&mut self) -> Next {
        Next { file: self.present.file.take(), lost: 0, idle: self.waiting == 0 }
    }
}

/// How many lines these are.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
