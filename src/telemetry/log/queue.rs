//! Lines on their way to standard error, and the thread that writes them.
//!
//! Invariants: whoever logs never waits for whoever reads (a terminal that is stopped, a pipe that is full, a journal whose
//! disk is slow): a line is put into memory under a lock that is not held over a system call. Memory is bounded; a line that
//! finds no room, or that the system refuses, is counted, and told in the log when lines go through again. A line is whole.
//!
//! Not `tracing-appender`: it begins its thread at once, when the process may still have root's rights; it bounds lines and
//! not bytes; and when nobody reads to the very end, it says so on standard output, which may be the same full pipe.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What waits at most, in bytes: some twenty thousand lines. The thread holds as much again.
pub(super) const CAPACITY: usize = 4 * 1024 * 1024;
/// Room for the line that tells of lost ones.
const RESERVE: usize = 4096;
/// Memory that is kept for the next lines.
const KEPT: usize = 64 * 1024;
/// Until a standard error that takes nothing just now, and does not wait by itself, is tried again.
const PAUSE: Duration = Duration::from_millis(20);

thread_local! {
    /// This is the thread that writes.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something waits, or the end has come.
    wake: Condvar,
    /// Nothing waits any more.
    written: Condvar,
    capacity: usize,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room since the thread was here last.
    lost: u64,
    /// The thread writes what it has taken.
    writing: bool,
    /// Nothing is taken in any more.
    ended: bool,
}

/// What the thread has taken.
struct Batch {
    lines: Vec<u8>,
    /// Lines that are missing behind these.
    lost: u64,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            capacity,
            lost: AtomicU64::new(0),
        }
    }

    /// Lines that are in no log.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn put(&self, line: &[u8]) {
        let reserve = if WRITES.get() { RESERVE } else { 0 };
        let mut state = self.state();
        if state.ended || state.lines.len() + line.len() > self.capacity + reserve {
            state.lost += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Otherwise it has been woken, or looks by itself when it is done: a call to the system for each line is spared.
        let waits = state.lines.is_empty() && !state.writing;
        state.lines.extend_from_slice(line);
        drop(state);
        if waits {
            self.wake.notify_one();
        }
    }

    /// Writes what comes until the end has come, in this thread. `tell` logs that so many lines are missing.
    pub(super) fn write_to(&self, mut sink: impl Write, tell: impl Fn(u64)) {
        WRITES.set(true);
        let (mut spare, mut torn, mut missing) = (Vec::new(), false, 0);
        while let Some(Batch { lines, lost }) = self.take(spare) {
            let refused = write(&mut sink, &lines, &mut torn);
            self.lost.fetch_add(refused, Ordering::Relaxed);
            missing += lost + refused;
            if refused == 0 && missing > 0 {
                tell(std::mem::take(&mut missing));
            }
            spare = lines;
        }
    }

    /// Waits until all is written, for as long as this; then takes nothing in any more.
    pub(super) fn end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.writing || !state.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.ended = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Everything that waits; `None` when the end has come. `spare` becomes the memory of the next lines.
    fn take(&self, mut spare: Vec<u8>) -> Option<Batch> {
        spare.clear();
        spare.shrink_to(KEPT);
        let mut state = self.state();
        state.writing = false;
        while state.lines.is_empty() {
            self.written.notify_all();
            if state.ended {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        Some(Batch { lines: std::mem::replace(&mut state.lines, spare), lost: std::mem::take(&mut state.lost) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one line, in one piece.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many lines the system has refused. `torn`: the last thing it took is a part of a line.
fn write(sink: &mut impl Write, lines: &[u8], torn: &mut bool) -> u64 {
    let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    let ended;
    let lines = match *torn {
        true => {
            ended = [b"\n", lines].concat();
            &ended
        }
        false => lines,
    };
    let mut rest = lines;
    while !rest.is_empty() {
        match sink.write(rest) {
            Ok(0) => break,
            Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    match lines.strip_suffix(rest).and_then(|taken| taken.last()) {
        Some(last) => {
            *torn = *last != b'\n';
            newlines(rest)
        }
        // The line end in front is no line.
        None => newlines(rest) - u64::from(*torn),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A standard error that asks, by the first channel, what to do with what it is given, and hands it on.
    struct Asking(Receiver<io::Result<usize>>, Sender<Vec<u8>>);

    impl Write for Asking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let answer = self.0.recv().unwrap().map(|most| most.min(bytes.len()));
            if let Ok(taken) = answer {
                self.1.send(bytes[..taken].to_vec()).unwrap();
            }
            answer
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Play {
        queue: Arc<Queue>,
        answers: Sender<io::Result<usize>>,
        taken: Receiver<Vec<u8>>,
    }

    impl Play {
        fn new(capacity: usize) -> Self {
            let queue = Arc::new(Queue::new(capacity));
            let ((answers, asked), (give, taken)) = (channel(), channel());
            let (own, telling) = (Arc::clone(&queue), Arc::clone(&queue));
            let tell = move |lines| telling.put(format!("{lines} lost\n").as_bytes());
            thread::spawn(move || own.write_to(Asking(asked, give), tell));
            Self { queue, answers, taken }
        }

        fn logs(&self, line: &str) {
            self.queue.put(format!("{line}\n").as_bytes());
        }

        fn answers(&self, answer: io::Result<usize>) {
            self.answers.send(answer).unwrap();
        }

        fn takes(&self) -> String {
            String::from_utf8(self.taken.recv_timeout(Duration::from_secs(30)).unwrap()).unwrap()
        }

        /// The thread has taken what waits and asks what to do with it.
        fn is_busy(&self) {
            while !self.queue.state().lines.is_empty() {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn who_logs_does_not_wait_and_what_is_lost_is_counted_and_told() {
        let play = Play::new(10);
        play.logs("first");
        play.is_busy();
        // It takes nothing: six of ten bytes wait, and the next six find no room.
        for line in ["1aaaa", "2aaaa", "3aaaa"] {
            play.logs(line);
        }
        assert_eq!(play.queue.lost(), 2);
        for expected in ["first\n", "1aaaa\n", "2 lost\n"] {
            play.answers(Ok(100));
            assert_eq!(play.takes(), expected);
        }
        play.logs("again");
        play.answers(Ok(100));
        assert_eq!((play.takes().as_str(), play.queue.lost()), ("again\n", 2));
    }

    #[test]
    fn what_is_refused_is_counted_and_told_and_no_line_runs_into_another() {
        let play = Play::new(100);
        let refused = || Err(io::ErrorKind::StorageFull.into());
        play.logs("whole");
        play.is_busy();
        play.logs("a");
        play.logs("torn");
        play.answers(Ok(100));
        assert_eq!(play.takes(), "whole\n");
        play.answers(Ok(4));
        play.answers(refused());
        assert_eq!(play.takes(), "a\nto");
        play.is_busy();
        play.logs("nothing of it");
        play.answers(refused());
        play.is_busy();
        // Not now is not no.
        play.logs("later");
        play.answers(Err(io::ErrorKind::WouldBlock.into()));
        for expected in ["\nlater\n", "2 lost\n"] {
            play.answers(Ok(100));
            assert_eq!(play.takes(), expected);
        }
        assert_eq!(play.queue.lost(), 2);
    }

    #[test]
    fn the_end_waits_for_what_was_logged_and_not_for_ever() {
        let play = Play::new(100);
        play.logs("last");
        play.answers(Ok(100));
        play.queue.end(Duration::from_secs(30));
        assert_eq!(play.taken.try_recv().unwrap(), b"last\n");
        play.logs("too late");
        assert_eq!(play.queue.lost(), 1);
        let play = Play::new(100);
        play.logs("never");
        play.queue.end(Duration::from_millis(1));
        assert!(play.taken.try_recv().is_err());
    }
}
