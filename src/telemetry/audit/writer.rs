//! The one owner of the audit file: a thread that writes what waits, in as few calls as it can.
//!
//! Invariants: a line is written whole or begun again in the next file; what could not be written is kept and tried again
//! for as long as there is room; what is lost in the end is counted and told; what is written is on the disk [`SYNC`]
//! later, and nobody but this thread waits for that.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::lines;
use super::queue::{Queue, Rest, Work};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::settings::AuditFormat;

/// Between two attempts to write to a disk that is full.
const PAUSE: Duration = Duration::from_secs(1);
/// How much a crash of the machine may cost. Each line by itself would be a wait for the disk for each; like this a busy
/// gateway and an idle one ask for one in a second at most.
const SYNC: Duration = Duration::from_secs(1);

/// Writes until the queue is closed and empty.
pub(super) struct Writer<F> {
    queue: Arc<Queue>,
    file: F,
    format: AuditFormat,
    /// What could not be written yet, and how much of it is.
    pending: Vec<u8>,
    written: usize,
    /// Since when something is written and not on the disk.
    unsynced: Option<Instant>,
    /// The system could not bring the file to the disk when it was last asked to.
    doubtful: bool,
    failing: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

/// A file, or what stands for one in a test.
pub(super) trait Sink: Write + From<File> {
    /// What is written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&self) -> io::Result<()> {
        match self.sync_data() {
            // A device has no disk below it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

impl<F: Sink> Writer<F> {
    pub(super) fn new(
        queue: Arc<Queue>,
        file: F,
        format: AuditFormat,
        failing: Arc<AtomicBool>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (pending, unsynced) = (Vec::new(), None);
        Self { queue, file, format, pending, written: 0, unsynced, doubtful: false, failing, metrics }
    }

    pub(super) fn run(mut self) {
        loop {
            let work = self.queue.take(self.rest(Instant::now()));
            if self.turn(work) {
                return;
            }
            self.sync_when_due(Instant::now());
        }
    }

    fn rest(&self, now: Instant) -> Rest {
        match self.unsynced {
            _ if !self.pending.is_empty() => Rest::Stuck(PAUSE),
            Some(since) => Rest::Short((since + SYNC).saturating_duration_since(now)),
            None => Rest::Long,
        }
    }

    fn sync_when_due(&mut self, now: Instant) {
        if self.unsynced.is_none_or(|since| now < since + SYNC) {
            return;
        }
        match self.file.sync() {
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

    /// Deals with what there is. `true`: there will be no more.
    pub(super) fn turn(&mut self, work: Work) -> bool {
        let Work { changes, lines, lost, closed } = work;
        for (before, next) in changes {
            self.add(before);
            self.write();
            self.leave_file();
            self.file = F::from(next);
        }
        self.add(lines);
        if lost > 0 && self.format == AuditFormat::Json {
            self.add(lines::lost(SystemTime::now(), lost).finish());
        }
        self.write();
        if closed {
            self.leave_file();
            let unwritten = count(&self.pending[self.written..]);
            if unwritten > 0 {
                self.metrics.audit_lost(unwritten);
                tracing::error!(
                    lines = unwritten,
                    "lines of the audit file are lost: it could not be written to the end"
                );
            }
        }
        closed
    }

    fn add(&mut self, mut lines: Vec<u8>) {
        if self.pending.is_empty() {
            self.pending = lines;
        } else {
            self.pending.append(&mut lines);
        }
    }

    fn write(&mut self) {
        while self.written < self.pending.len() {
            match self.file.write(&self.pending[self.written..]) {
                Ok(0) => return self.failed(&io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    let fresh = &self.pending[self.written..self.written + bytes];
                    self.metrics.audit_written(count(fresh));
                    self.written += bytes;
                    self.unsynced.get_or_insert_with(Instant::now);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
        self.pending.clear();
        self.written = 0;
        self.go_on();
    }

    fn go_on(&self) {
        if self.doubtful || !self.pending.is_empty() {
            return;
        }
        self.metrics.set_audit_writable(!self.queue.is_behind());
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::warn!("the audit file is written again");
        }
    }

    fn failed(&self, error: &io::Error) {
        self.metrics.audit_failed();
        if !self.failing.swap(true, Ordering::Relaxed) {
            self.metrics.set_audit_writable(false);
            tracing::error!(%error, "the audit file cannot be written: until it can, no login, transfer or change begins");
        }
    }

    /// A line that was begun in this file is begun again in the next one.
    fn leave_file(&mut self) {
        let whole = self.pending[..self.written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.pending.drain(..whole);
        self.written = 0;
        (self.unsynced, self.doubtful) = (None, false);
        if let Err(error) = self.file.sync() {
            tracing::error!(%error, "the end of the audit file may not be on the disk");
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::audit::queue::Weight;
    use std::sync::{Mutex, mpsc};

    /// A disk with so much room.
    #[derive(Default)]
    struct Disk {
        room: usize,
        content: Arc<Mutex<Vec<u8>>>,
        /// It cannot keep what it has taken.
        broken: bool,
        /// Hears how much there was at each sync.
        synced: Option<mpsc::Sender<usize>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let written = bytes.len().min(self.room);
            self.room -= written;
            self.content.lock().unwrap().extend_from_slice(&bytes[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl From<File> for Disk {
        fn from(_: File) -> Self {
            Self { room: usize::MAX, ..Self::default() }
        }
    }

    impl Sink for Disk {
        fn sync(&self) -> io::Result<()> {
            if self.broken {
                return Err(io::Error::other("the disk is broken"));
            }
            if let Some(synced) = &self.synced {
                synced.send(self.content.lock().unwrap().len()).unwrap();
            }
            Ok(())
        }
    }

    fn writer(room: usize) -> Writer<Disk> {
        let metrics = Arc::new(Metrics::new().unwrap());
        let disk = Disk { room, ..Disk::default() };
        Writer::new(Arc::default(), disk, AuditFormat::Json, Arc::default(), metrics)
    }

    fn content(writer: &Writer<Disk>) -> String {
        String::from_utf8(writer.file.content.lock().unwrap().clone()).unwrap()
    }

    fn lines(text: &str) -> Work {
        Work { lines: text.as_bytes().to_vec(), ..Work::default() }
    }

    #[test]
    fn a_full_disk_loses_nothing_and_a_line_goes_on_where_it_stopped() {
        let mut writer = writer(8);
        writer.turn(lines("first\nsecond\n"));
        assert_eq!(content(&writer), "first\nse");
        assert!(writer.failing.load(Ordering::Relaxed));
        writer.turn(Work::default());
        writer.file.room = 100;
        writer.turn(lines("third\n"));
        assert_eq!(content(&writer), "first\nsecond\nthird\n");
        assert!(!writer.failing.load(Ordering::Relaxed));
        let page = writer.metrics.render().unwrap();
        for series in
            ["audit_lines_total 3", "audit_lines_lost_total 0", "audit_write_failures_total 2", "audit_writable 1"]
        {
            assert!(page.contains(&format!("\nftps_gateway_{series}\n")), "{series}\n{page}");
        }
    }

    /// With no line behind it, and while the file stays open.
    #[test]
    fn what_is_written_is_on_the_disk_soon_and_once() {
        let (told, synced) = mpsc::channel();
        let mut writer = writer(usize::MAX);
        writer.file.synced = Some(told);
        let queue = Arc::clone(&writer.queue);
        let running = std::thread::spawn(|| writer.run());
        let far = Duration::from_secs(60);
        for bytes in [6, 12] {
            queue.push(b"first\n", Weight::Full).unwrap();
            assert_eq!(synced.recv_timeout(far), Ok(bytes));
        }
        queue.close();
        running.join().unwrap();
        // At the end, and for nothing in between.
        assert_eq!(synced.iter().collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn a_flood_of_lines_is_brought_to_the_disk_once_in_a_while_and_not_for_each() {
        let (told, synced) = mpsc::channel();
        let mut writer = writer(usize::MAX);
        writer.file.synced = Some(told);
        assert_eq!(writer.rest(Instant::now()), Rest::Long);
        writer.turn(lines("first\n"));
        let since = writer.unsynced.unwrap();
        for step in 1..4 {
            writer.sync_when_due(since + SYNC / 4 * step);
            writer.turn(lines("next\n"));
        }
        assert_eq!(writer.rest(since + SYNC / 4), Rest::Short(SYNC / 4 * 3));
        assert!(synced.try_recv().is_err());
        writer.sync_when_due(since + SYNC);
        assert_eq!((synced.try_recv(), writer.unsynced), (Ok(21), None));
    }

    #[test]
    fn a_disk_that_does_not_keep_what_it_takes_is_as_bad_as_a_full_one() {
        let mut writer = writer(usize::MAX);
        writer.file.broken = true;
        writer.turn(lines("first\n"));
        let since = writer.unsynced.unwrap();
        writer.sync_when_due(since + SYNC);
        writer.turn(lines("second\n"));
        assert!(writer.failing.load(Ordering::Relaxed), "a write alone makes nothing good");
        writer.file.broken = false;
        writer.sync_when_due(since + SYNC * 2);
        assert!(!writer.failing.load(Ordering::Relaxed));
        let page = writer.metrics.render().unwrap();
        for series in ["audit_write_failures_total 1", "audit_writable 1"] {
            assert!(page.contains(&format!("\nftps_gateway_{series}\n")), "{series}\n{page}");
        }
    }

    #[test]
    fn a_torn_line_is_begun_again_in_the_next_file() {
        let mut writer = writer(8);
        writer.turn(lines("first\nsecond\n"));
        let changes = vec![(b"third\n".to_vec(), tempfile::tempfile().unwrap())];
        writer.turn(Work { changes, lines: b"fourth\n".to_vec(), ..Work::default() });
        assert_eq!(content(&writer), "second\nthird\nfourth\n");
    }

    #[test]
    fn what_is_lost_is_told_where_it_is_missing() {
        let mut writer = writer(usize::MAX);
        writer.turn(Work { lost: 7, ..lines("first\n") });
        let text = content(&writer);
        assert!(
            text.starts_with("first\n") && text.ends_with("\"event\":\"audit_lines_lost\",\"lines\":7}\n"),
            "{text}"
        );
        let mut writer = self::writer(3);
        assert!(writer.turn(Work { closed: true, ..lines("first\nsecond\n") }));
        assert!(writer.metrics.render().unwrap().contains("\nftps_gateway_audit_lines_lost_total 2\n"));
    }

    #[test]
    fn who_has_no_account_takes_nobodys_place() {
        let queue = Queue::default();
        let line = [b'x'; 1024];
        let fill = |weight| (0..).find(|_| queue.push(&line, weight).is_err()).unwrap();
        assert!(!queue.is_behind());
        let slight = fill(Weight::Slight);
        assert!(queue.is_behind());
        let full = fill(Weight::Full);
        assert_eq!((slight, full), (6 * 1024, 2 * 1024));
        let work = queue.take(Rest::Long);
        assert_eq!((work.lines.len(), work.lost), (8 * 1024 * 1024, 2));
        assert!(!queue.is_behind());
    }

    #[test]
    fn lines_before_a_change_of_files_stay_before_it() {
        let queue = Queue::default();
        queue.push(b"old\n", Weight::Full).unwrap();
        queue.switch(tempfile::tempfile().unwrap());
        queue.push(b"new\n", Weight::Full).unwrap();
        queue.switch(tempfile::tempfile().unwrap());
        queue.push(b"newest\n", Weight::Full).unwrap();
        // Also where the writer is stuck, and two changes find it so.
        let work = queue.take(Rest::Stuck(Duration::from_secs(3600)));
        let before: Vec<_> = work.changes.iter().map(|(lines, _)| &lines[..]).collect();
        assert_eq!((before, &*work.lines), (vec![&b"old\n"[..], b"new\n"], &b"newest\n"[..]));
    }

    #[test]
    fn no_more_files_wait_than_somebody_waits_for() {
        let queue = Queue::default();
        for _ in 0..100 {
            queue.push(b"line\n", Weight::Full).unwrap();
            queue.switch(tempfile::tempfile().unwrap());
        }
        let work = queue.take(Rest::Long);
        assert_eq!(work.changes.len(), 8);
        assert_eq!(work.changes.iter().map(|(lines, _)| count(lines)).sum::<u64>(), 100);
    }
}
