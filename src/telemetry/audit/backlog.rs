//! What waits for the audit file: lines, and the files that they are for.
//!
//! Invariants: bounded, and what the writer has in hand counts; lines leave in the order they came, when they are written
//! and not when they are taken, so a writer that hangs takes nothing along; a line that finds no room is counted, never
//! lost silently; what belongs to the file before a change of files stays before it, and looks as that file's lines do.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use super::lines;
use crate::telemetry::settings::AuditFormat;

/// What waits at most, in bytes: some thirty thousand lines.
pub(super) const CAPACITY: usize = 16 * 1024 * 1024;
/// From here on nothing new begins. The rest is for the ends of what has begun.
pub(super) const BEHIND: usize = CAPACITY / 4;
/// From here on there is room for the doings of users who have logged in, and for nothing else: who has no account can
/// neither take their place nor shut them out.
pub(super) const SLIGHT: usize = BEHIND / 2;

/// Files that may wait for a writer whose disk is slow: as many as an impatient operator asks for.
const FILES: usize = 8;

/// See the head of the file.
#[derive(Default)]
pub(super) struct Backlog {
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

impl Backlog {
    /// How lines of the newest file look. `None`: there is no file.
    pub(super) fn format(&self) -> Option<AuditFormat> {
        self.coming.back().unwrap_or(&self.present).format
    }

    /// All bytes that are not written.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// All lines that are not written.
    pub(super) fn lines(&self) -> u64 {
        let coming = self.coming.iter().map(|part| count(&part.lines)).sum::<u64>();
        count(&self.hand[self.written..]) + count(&self.present.lines) + coming
    }

    /// Another file follows the present one.
    pub(super) fn is_followed(&self) -> bool {
        !self.coming.is_empty()
    }

    /// Lines from now on are for another file, or for none. That a file begins and ends is a line in it.
    pub(super) fn change(&mut self, next: Option<(File, AuditFormat)>) {
        self.end_file();
        let (file, format) = next.unzip();
        self.coming.push_back(Part { file, format, lines: Vec::new() });
        if format == Some(AuditFormat::Json) {
            self.append_always(&lines::started(SystemTime::now()).finish());
        }
    }

    /// The same file, made anew.
    pub(super) fn rotate(&mut self, file: File) {
        if self.coming.len() >= FILES {
            // Nobody waits for so many files: the last one stays empty.
            self.newest().file = Some(file);
            return;
        }
        self.tell_lost();
        let format = self.format();
        self.coming.push_back(Part { file: Some(file), format, lines: Vec::new() });
    }

    fn newest(&mut self) -> &mut Part {
        self.coming.back_mut().unwrap_or(&mut self.present)
    }

    /// Puts a line in for the newest file.
    ///
    /// # Errors
    /// More would wait than `limit`: how many in a row have found no room.
    pub(super) fn append(&mut self, line: &[u8], limit: usize) -> Result<(), u64> {
        if self.waiting + line.len() > limit {
            self.lost += 1;
            return Err(self.lost);
        }
        self.append_always(line);
        Ok(())
    }

    /// For what is said of the file itself, once for each change of files or for many lost lines.
    fn append_always(&mut self, line: &[u8]) {
        self.waiting += line.len();
        self.newest().lines.extend_from_slice(line);
    }

    /// The last lines of the newest file.
    pub(super) fn end_file(&mut self) {
        self.tell_lost();
        if self.format() == Some(AuditFormat::Json) {
            self.append_always(&lines::stopped(SystemTime::now()).finish());
        }
    }

    /// Says in the newest file how many lines are missing there.
    fn tell_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 && self.format() == Some(AuditFormat::Json) {
            self.append_always(&lines::lost(SystemTime::now(), lost).finish());
        }
    }

    /// Whether the writer has something to write.
    pub(super) fn fills_hand(&mut self) -> bool {
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

    /// What the writer has in hand, and from where on it is not written.
    pub(super) fn hand(&self) -> (Arc<Vec<u8>>, usize) {
        (Arc::clone(&self.hand), self.written)
    }

    /// So much more of it is written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.written += bytes;
        self.waiting -= bytes;
        if self.written == self.hand.len() {
            self.put_down();
        }
    }

    fn put_down(&mut self) {
        (self.hand, self.written) = (Arc::default(), 0);
    }

    /// The next file is the present one. What the one before has not taken goes there, and a line that was begun is begun
    /// again.
    pub(super) fn go_on(&mut self) -> Option<Next> {
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
    pub(super) fn look(&mut self) -> Next {
        Next { file: self.present.file.take(), lost: 0, idle: self.waiting == 0 }
    }
}

/// How many lines these are.
pub(super) fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}
