//! The writer on disks that are full, broken, slow or gone, and what waits for it.

use super::*;
use crate::telemetry::audit::backlog::{BEHIND, CAPACITY, SLIGHT};
use crate::telemetry::audit::queue::{Put, Weight};
use crate::telemetry::settings::AuditFormat;
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
    /// Hears of each write that found no room, and says how much there is now.
    refused: Option<Box<dyn FnMut() -> usize + Send>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            self.room = self.refused.as_mut().map_or(0, |refused| refused());
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

    fn is_torn(&self) -> bool {
        self.content.lock().unwrap().last().is_some_and(|last| *last != b'\n')
    }
}

fn file() -> File {
    tempfile::tempfile().unwrap()
}

/// In a format that has no lines of the file itself.
fn queue() -> Arc<Queue> {
    let queue = Arc::<Queue>::default();
    queue.change(Some((file(), AuditFormat::Xferlog)));
    queue
}

fn writer(room: usize) -> Writer<Disk> {
    let mut writer = Writer::new(queue(), Arc::new(Metrics::new().unwrap()));
    writer.file = Some(Disk { room, ..Disk::default() });
    writer
}

fn push(queue: &Queue, line: &[u8], weight: Weight) -> Put {
    queue.push(line, queue.format().unwrap(), weight)
}

impl Writer<Disk> {
    fn disk(&mut self) -> &mut Disk {
        self.file.as_mut().unwrap()
    }

    fn content(&mut self) -> String {
        String::from_utf8(self.disk().content.lock().unwrap().clone()).unwrap()
    }

    /// One step with these lines.
    fn turn(&mut self, lines: &str) {
        for line in lines.split_inclusive('\n') {
            assert_ne!(push(&self.queue, line.as_bytes(), Weight::Full), Put::OtherFormat);
        }
        assert!(self.step());
    }

    /// The next attempt, without the pause before it.
    fn tries_again(&mut self) {
        self.stuck = self.stuck.map(|_| Instant::now());
        assert!(self.step());
    }

    #[track_caller]
    fn shows(&self, all: &[&str]) {
        let page = self.metrics.render().unwrap();
        for series in all {
            assert!(page.contains(&format!("\nftps_gateway_{series}\n")), "{series}\n{page}");
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_a_line_goes_on_where_it_stopped() {
    let mut writer = writer(8);
    writer.turn("first\nsecond\n");
    assert_eq!(writer.content(), "first\nse");
    assert!(!writer.queue.takes_more());
    writer.tries_again();
    assert!(!writer.queue.takes_more());
    writer.disk().room = 100;
    push(&writer.queue, b"third\n", Weight::Full);
    writer.tries_again();
    assert_eq!(writer.content(), "first\nsecond\n");
    assert!(writer.queue.takes_more());
    writer.turn("");
    assert_eq!(writer.content(), "first\nsecond\nthird\n");
    writer.shows(&["audit_lines_total 3", "audit_lines_lost_total 0", "audit_write_failures_total 2"]);
}

/// With no line behind it, and while the file stays open.
#[test]
fn what_is_written_is_on_the_disk_soon_and_once() {
    let (told, synced) = mpsc::channel();
    let mut writer = writer(usize::MAX);
    writer.disk().synced = Some(told);
    let queue = Arc::clone(&writer.queue);
    let running = std::thread::spawn(|| writer.run());
    let far = Duration::from_secs(60);
    for bytes in [6, 12] {
        push(&queue, b"first\n", Weight::Full);
        assert_eq!(synced.recv_timeout(far), Ok(bytes));
    }
    queue.close();
    running.join().unwrap();
    // At the end, and for nothing in between.
    assert_eq!(synced.iter().collect::<Vec<_>>(), [12]);
    assert_eq!(queue.is_over(far), 0);
}

#[test]
fn a_flood_of_lines_is_brought_to_the_disk_once_in_a_while_and_not_for_each() {
    let (told, synced) = mpsc::channel();
    let mut writer = writer(usize::MAX);
    writer.disk().synced = Some(told);
    assert_eq!(writer.rest(), Rest::Long);
    writer.turn("first\n");
    let since = writer.unsynced.unwrap();
    for step in 1..4 {
        writer.sync_when_due(since + SYNC / 4 * step);
        writer.turn("next\n");
    }
    assert_eq!(writer.rest(), Rest::Until(since + SYNC));
    assert!(synced.try_recv().is_err());
    writer.sync_when_due(since + SYNC);
    assert_eq!((synced.try_recv(), writer.unsynced), (Ok(21), None));
}

#[test]
fn a_disk_that_does_not_keep_what_it_takes_is_as_bad_as_a_full_one() {
    let mut writer = writer(usize::MAX);
    writer.disk().broken = true;
    writer.turn("first\n");
    let since = writer.unsynced.unwrap();
    writer.sync_when_due(since + SYNC);
    writer.turn("second\n");
    assert!(!writer.queue.takes_more(), "a write alone makes nothing good");
    writer.disk().broken = false;
    writer.sync_when_due(since + SYNC * 2);
    assert!(writer.queue.takes_more());
    writer.shows(&["audit_write_failures_total 1"]);
}

/// What was in hand, and what came since.
#[test]
fn a_stop_loses_nothing_when_there_is_room_by_then() {
    let mut writer = writer(8);
    writer.turn("first\nsecond\n");
    push(&writer.queue, b"third\n", Weight::Full);
    writer.disk().room = 100;
    writer.queue.close();
    while writer.step() {}
    assert_eq!(writer.content(), "first\nsecond\nthird\n");
    assert_eq!(writer.queue.is_over(Duration::ZERO), 0);
    writer.shows(&["audit_lines_total 3", "audit_write_failures_total 1"]);
}

#[test]
fn a_stop_tries_a_disk_that_stays_full_once_more_and_ends() {
    let mut writer = writer(8);
    writer.turn("first\nsecond\n");
    push(&writer.queue, b"third\n", Weight::Full);
    writer.disk().room = 2;
    writer.queue.close();
    assert!(!writer.step());
    assert_eq!(writer.content(), "first\nseco");
    assert_eq!(writer.queue.is_over(Duration::ZERO), 2);
    writer.shows(&["audit_write_failures_total 2"]);
}

/// Also where the next one looks otherwise and could not take them, or where there is none.
#[test]
fn a_file_that_has_room_when_it_is_left_gets_all_its_lines() {
    for next in [Some(AuditFormat::Xferlog), Some(AuditFormat::Json), None] {
        let mut writer = writer(8);
        writer.turn("first\nsecond\n");
        push(&writer.queue, b"third\n", Weight::Full);
        let content = Arc::clone(&writer.disk().content);
        writer.disk().room = 100;
        writer.queue.change(next.map(|format| (file(), format)));
        while !writer.queue.is_reached(Duration::ZERO) {
            assert!(writer.step());
        }
        assert_eq!(String::from_utf8_lossy(&content.lock().unwrap()), "first\nsecond\nthird\n");
        writer.shows(&["audit_lines_lost_total 0"]);
    }
}

#[test]
fn a_torn_line_is_begun_again_in_the_next_file() {
    let mut writer = writer(8);
    writer.turn("first\nsecond\n");
    push(&writer.queue, b"third\n", Weight::Full);
    writer.queue.rotate(file());
    push(&writer.queue, b"fourth\n", Weight::Full);
    for _ in 0..3 {
        writer.step();
    }
    assert_eq!(writer.content(), "second\nthird\nfourth\n");
    assert!(writer.queue.takes_more());
    assert_eq!(writer.queue.waiting(), 0);
}

/// Whoever connects makes a line, and a scanner makes many in a second.
#[test]
fn a_disk_that_has_room_again_is_found_however_many_lines_come() {
    let attempts = Arc::<Mutex<Vec<Instant>>>::default();
    let mut writer = writer(0);
    let heard = Arc::clone(&attempts);
    // There is room behind the second attempt.
    writer.disk().refused = Some(Box::new(move || {
        let mut attempts = heard.lock().unwrap();
        attempts.push(Instant::now());
        if attempts.len() == 2 { usize::MAX } else { 0 }
    }));
    let queue = Arc::clone(&writer.queue);
    push(&queue, b"first\n", Weight::Full);
    let running = std::thread::spawn(|| writer.run());
    let since = Instant::now();
    let written = || attempts.lock().unwrap().len() == 2 && queue.takes_more();
    while !written() && since.elapsed() < PAUSE * 10 {
        // It takes no room, so that there is one at any moment.
        push(&queue, b"", Weight::Slight);
        std::thread::yield_now();
    }
    let is_written = written();
    queue.close();
    running.join().unwrap();
    assert!(is_written, "{attempts:?}");
    // No line hastens it either.
    assert!(attempts.lock().unwrap().windows(2).all(|pair| pair[1] - pair[0] >= PAUSE), "{attempts:?}");
}

/// It may be the writer's own, or another process': it gets its end when there is room for that.
#[test]
fn a_line_that_was_torn_long_ago_gets_its_end_first() {
    let mut writer = writer(0);
    writer.torn = true;
    writer.turn("first\n");
    writer.tries_again();
    assert_eq!(writer.content(), "");
    writer.disk().room = 3;
    writer.tries_again();
    assert_eq!(writer.content(), "\nfi");
    writer.disk().room = 100;
    writer.tries_again();
    writer.turn("second\n");
    assert_eq!(writer.content(), "\nfirst\nsecond\n");
    writer.shows(&["audit_lines_total 2"]);
}

#[test]
fn what_is_lost_is_told_where_it_is_missing() {
    let mut writer = writer(usize::MAX);
    writer.queue.change(Some((file(), AuditFormat::Json)));
    writer.step();
    let line = [b'x'; 1 << 20];
    while push(&writer.queue, &line, Weight::Full) != Put::Lost(7) {}
    writer.turn("last\n");
    let text = writer.content();
    let (_, end) = text.split_once("last\n{").unwrap();
    assert!(end.ends_with("\"event\":\"audit_lines_lost\",\"lines\":7}\n"), "{end}");
    assert_eq!(writer.queue.waiting(), 0);
}

/// What a full disk has not taken, when there is no other file for it.
#[test]
fn what_cannot_be_written_to_the_end_is_counted() {
    let mut writer = writer(3);
    writer.turn("first\nsecond\n");
    writer.queue.change(Some((file(), AuditFormat::Json)));
    writer.step();
    writer.shows(&["audit_lines_lost_total 2"]);
    writer.step();
    assert!(writer.content().contains("audit_started"));
    writer.disk().room = 0;
    writer.turn("third\n");
    writer.queue.close();
    assert!(!writer.step());
    // With the one that says that the file ends.
    assert_eq!(writer.queue.is_over(Duration::ZERO), 2);
}

#[test]
fn who_has_no_account_takes_nobodys_place_and_shuts_nobody_out() {
    let mut writer = writer(usize::MAX);
    let line = [b'x'; 1024];
    let queue = Arc::clone(&writer.queue);
    let fill = |weight| (0..).find(|_| matches!(push(&queue, &line, weight), Put::Lost(_))).unwrap();
    assert_eq!(fill(Weight::Slight), SLIGHT / 1024);
    assert!(queue.takes_more());
    let behind = (1..).find(|_| push(&queue, &line, Weight::Full) == Put::Behind).unwrap();
    assert_eq!(behind, (BEHIND - SLIGHT) / 1024 + 1);
    assert!(!queue.takes_more());
    assert_eq!(fill(Weight::Full), (CAPACITY - BEHIND) / 1024 - 1);
    // In hand is not written.
    let Work::Write(lines, 0) = queue.take(writer.number, Rest::Long) else { panic!() };
    assert_eq!((lines.len(), queue.waiting()), (CAPACITY, CAPACITY));
    assert!(!queue.takes_more());
    assert!(writer.step() && queue.takes_more());
}

#[test]
fn lines_before_a_change_of_files_stay_before_it() {
    let mut writer = writer(usize::MAX);
    let queue = Arc::clone(&writer.queue);
    for line in ["old\n", "new\n", "newest\n"] {
        queue.rotate(file());
        push(&queue, line.as_bytes(), Weight::Full);
    }
    for line in ["old\n", "new\n", "newest\n"] {
        // It leaves the one before, and writes.
        assert!(writer.step() && writer.step());
        assert_eq!(writer.content(), line);
    }
    assert!(queue.is_reached(Duration::ZERO));
}

#[test]
fn no_more_files_wait_than_somebody_waits_for() {
    let mut writer = writer(usize::MAX);
    let queue = Arc::clone(&writer.queue);
    for _ in 0..100 {
        push(&queue, b"line\n", Weight::Full);
        queue.rotate(file());
    }
    let mut files = 0;
    while !queue.is_reached(Duration::ZERO) || queue.waiting() > 0 {
        assert!(writer.step());
        files += u32::from(writer.content().is_empty());
    }
    assert_eq!(files, 8);
    writer.shows(&["audit_lines_total 100", "audit_lines_lost_total 0"]);
}

/// Each rotation finds the writer with as much as it can have in hand.
#[test]
fn rotations_on_a_full_disk_make_no_room_in_memory() {
    let mut writer = writer(0);
    let queue = Arc::clone(&writer.queue);
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    for _ in 0..5 {
        while !matches!(push(&queue, &line, Weight::Full), Put::Lost(_)) {}
        assert!(writer.step());
        queue.rotate(file());
        assert!(writer.step());
        writer.disk().room = 0;
        assert_eq!(queue.waiting(), CAPACITY);
    }
    writer.disk().room = usize::MAX;
    while queue.waiting() > 0 {
        writer.tries_again();
    }
    assert_eq!(writer.content().len(), CAPACITY);
}

#[test]
fn a_writer_that_hangs_takes_nothing_along() {
    let mut old = writer(usize::MAX);
    let queue = Arc::clone(&old.queue);
    push(&queue, b"first\n", Weight::Full);
    push(&queue, b"second\n", Weight::Full);
    // In write(2), for hours.
    let Work::Write(lines, 0) = queue.take(old.number, Rest::Long) else { panic!() };
    assert!(queue.written(old.number, 8));
    push(&queue, b"third\n", Weight::Full);
    queue.rotate(file());
    push(&queue, b"fourth\n", Weight::Full);
    assert!(!queue.is_reached(Duration::ZERO));
    let mut new = Writer::<Disk>::new(Arc::clone(&queue), Arc::clone(&old.metrics));
    assert!(queue.is_reached(Duration::ZERO));
    // The old one comes back.
    assert!(!old.write(&lines[8..]));
    assert!(queue.next(old.number).is_none() && !old.step());
    queue.ends(old.number);
    queue.set_failing(old.number, true);
    assert!(queue.takes_more() && queue.is_reached(Duration::ZERO));
    assert!(new.step() && new.step());
    assert_eq!(new.content(), "second\nthird\nfourth\n");
    assert_eq!(queue.waiting(), 0);
}
