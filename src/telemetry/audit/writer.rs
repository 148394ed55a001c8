//! The one owner of the audit file: a thread that writes what waits, in as few calls as it can.
//!
//! Invariants: a line is written whole or begun again in the next file; what could not be written is tried again for as
//! long as it takes; what is lost in the end is counted and told; what is written is on the disk [`SYNC`] later, and nobody
//! but this thread waits for that; a writer that another one has replaced changes nothing any more.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backlog::{Next, count};
use super::queue::{Queue, Rest, Work};
use crate::telemetry::metrics::Metrics;

/// Between two attempts to write to a disk that is full.
const PAUSE: Duration = Duration::from_secs(1);
/// How much a crash of the machine may cost. Each line by itself would be a wait for the disk for each; like this a busy
/// gateway and an idle one ask for one in a second at most.
const SYNC: Duration = Duration::from_secs(1);

/// Writes until the queue is closed and empty.
pub(super) struct Writer<F> {
    number: u64,
    queue: Arc<Queue>,
    file: Option<F>,
    /// Whoever wrote the file last was stopped in the middle of a line: the next one must not go on with it.
    torn: bool,
    /// The file did not take all that it should, and is tried again then.
    stuck: Option<Instant>,
    /// Since when something is written and not on the disk.
    unsynced: Option<Instant>,
    /// The system could not bring the file to the disk when it was last asked to.
    doubtful: bool,
    metrics: Arc<Metrics>,
}

/// A file, or what stands for one in a test.
pub(super) trait Sink: Write + From<File> {
    /// What is written is on the disk.
    fn sync(&self) -> io::Result<()>;

    /// Whether its last line has no end. One that may not be read is not looked at.
    fn is_torn(&self) -> bool;
}

impl Sink for File {
    fn sync(&self) -> io::Result<()> {
        match self.sync_data() {
            // A device has no disk below it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn is_torn(&self) -> bool {
        let mut last = [b'\n'];
        let length = self.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 });
        length > 0 && self.read_exact_at(&mut last, length - 1).is_ok() && last != *b"\n"
    }
}

impl<F: Sink> Writer<F> {
    /// Puts a new writer in charge of what waits.
    pub(super) fn new(queue: Arc<Queue>, metrics: Arc<Metrics>) -> Self {
        let (number, next) = queue.take_over();
        let mut writer =
            Self { number, queue, file: None, torn: false, stuck: None, unsynced: None, doubtful: false, metrics };
        writer.arrive(next);
        writer
    }

    pub(super) fn run(mut self) {
        while self.step() {}
    }

    /// Deals with what there is. `false`: there will be no more.
    fn step(&mut self) -> bool {
        let work = self.queue.take(self.number, self.rest());
        let is_last_chance = self.stuck.is_some() && matches!(work, Work::Leave | Work::End);
        if is_last_chance && self.gets_through() {
            return true;
        }
        let goes_on = match work {
            Work::Write(lines, from) => self.write(&lines[from..]),
            Work::Leave => {
                self.leave();
                self.queue.next(self.number).map(|next| self.arrive(next)).is_some()
            }
            Work::End => {
                self.leave();
                self.queue.ends(self.number);
                false
            }
            Work::Dismissed => false,
            Work::Nothing => true,
        };
        if goes_on {
            self.sync_when_due(Instant::now());
        }
        goes_on
    }

    /// One more attempt, before a file is left that did not take all: whoever has made room stops or rotates within the
    /// second. Whether it took what was in hand; more may wait.
    fn gets_through(&mut self) -> bool {
        let Some((lines, from)) = self.queue.hand(self.number) else { return false };
        self.write(&lines[from..]) && self.stuck.is_none()
    }

    fn rest(&self) -> Rest {
        match (self.stuck, self.unsynced) {
            (Some(until), _) => Rest::Stuck(until),
            (None, Some(since)) => Rest::Until(since + SYNC),
            (None, None) => Rest::Long,
        }
    }

    fn sync_when_due(&mut self, now: Instant) {
        let Some(file) = self.file.as_ref().filter(|_| self.unsynced.is_some_and(|since| now >= since + SYNC)) else {
            return;
        };
        match file.sync() {
            Ok(()) => {
                (self.unsynced, self.doubtful) = (None, false);
                self.go_on();
            }
            // What the system has not brought to the disk may be lost, and so may all that follows.
            Err(error) => {
                (self.unsynced, self.doubtful) = (Some(now), true);
                self.failed(&error);
            }
        }
    }

    /// `false`: it is no longer in charge.
    fn write(&mut self, mut lines: &[u8]) -> bool {
        if self.torn {
            match self.put(b"\n") {
                Ok(_) => self.torn = false,
                Err(error) => return self.is_stuck(&error),
            }
        }
        while !lines.is_empty() {
            match self.put(lines) {
                Ok(bytes) => {
                    self.metrics.audit_written(count(&lines[..bytes]));
                    lines = &lines[bytes..];
                    if !self.queue.written(self.number, bytes) {
                        return false;
                    }
                }
                Err(error) => return self.is_stuck(&error),
            }
        }
        self.stuck = None;
        self.go_on();
        true
    }

    /// Writes as much of it as the file takes in one call, and something at least.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        loop {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.unsynced.get_or_insert_with(Instant::now);
                    return Ok(written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn is_stuck(&mut self, error: &io::Error) -> bool {
        self.stuck = Some(Instant::now() + PAUSE);
        self.failed(error);
        true
    }

    fn go_on(&self) {
        if !self.doubtful && self.stuck.is_none() && self.queue.set_failing(self.number, false) {
            tracing::warn!("the audit file is written again");
        }
    }

    fn failed(&self, error: &io::Error) {
        self.metrics.audit_failed();
        if self.queue.set_failing(self.number, true) {
            tracing::error!(%error, "the audit file cannot be written: until it can, no login, transfer or change begins");
        }
    }

    fn leave(&self) {
        if let Some(Err(error)) = self.file.as_ref().map(Sink::sync) {
            tracing::error!(%error, "the end of the audit file may not be on the disk");
        }
    }

    fn arrive(&mut self, Next { file, lost, idle }: Next) {
        if lost > 0 {
            self.metrics.audit_lost(lost);
            tracing::error!(lines = lost, "lines of the audit file are lost: it could not be written to the end");
        }
        self.file = file.map(F::from);
        self.torn = self.file.as_ref().is_some_and(Sink::is_torn);
        (self.stuck, self.unsynced, self.doubtful) = (None, None, false);
        if idle {
            self.go_on();
        }
    }
}
