//! Whether anything moves on a connection, while a read or write of a large block is still under way.
//!
//! Linux says that there is room in a send buffer again when a third of it is free, and that buffer grows to mebibytes: a
//! peer that takes some kilobytes a second, and all the time, looks for minutes as if it took nothing. So before a write is
//! taken for stalled it is tried again, whatever is known of room: the system takes bytes as soon as it can hold any.
//!
//! What moves within the system is not seen. It frees its memory in pieces of some 64 KiB, and a peer's system with a large
//! buffer (6 MiB at most, as Linux is set up) tells of room when a sixteenth of it is free. So a peer goes on that takes
//! 512 KiB within the time that makes a stall; one that takes less than 128 KiB may look as if it took nothing.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// How often it is looked at within the time that makes a stall. What is called stalled was still for that time, and for no
/// more than two of these parts longer.
const LOOKS: u32 = 8;

/// What moves on one connection, one way.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    moves: AtomicU64,
    insists: AtomicBool,
}

/// A look at whether anything moves, which lasts longer than what it looks at: a read that is called off and begun anew
/// does not begin its time anew.
#[derive(Debug)]
pub struct Watch<'a> {
    progress: &'a Progress,
    stall: Duration,
    seen: u64,
    /// When something was seen to have moved last.
    moved: Instant,
    /// When to look again.
    next: Instant,
}

impl Progress {
    /// Something moved.
    pub(super) fn note(&self) {
        self.0.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something has moved.
    pub fn moves(&self) -> u64 {
        self.0.moves.load(Ordering::Relaxed)
    }

    /// The next write asks the system itself, until there is no room.
    pub fn insist(&self) {
        self.0.insists.store(true, Ordering::Relaxed);
    }

    /// Whether the system itself is to be asked.
    pub(super) fn insists(&self) -> bool {
        self.0.insists.load(Ordering::Relaxed)
    }

    /// It has been asked, and there is no room.
    pub(super) fn has_insisted(&self) {
        self.0.insists.store(false, Ordering::Relaxed);
    }

    /// Looks from now on whether anything moves at least every `stall`.
    pub fn watch(&self, stall: Duration) -> Watch<'_> {
        let now = Instant::now();
        Watch { progress: self, stall, seen: self.moves(), moved: now, next: now + stall / LOOKS }
    }

    /// Awaits `work` for as long as something moves at least every `stall`; `None` after a time in which nothing did.
    pub async fn unless_stalled<T>(&self, stall: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.watch(stall).unless_stalled(work).await
    }
}

impl Watch<'_> {
    /// Awaits `work` for as long as something moves; `None` after a time in which nothing did. Can be cancelled when `work`
    /// can; the time runs on.
    pub async fn unless_stalled<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout_at(self.next, work.as_mut()).await {
                return Some(done);
            }
            self.progress.insist();
            if let Some(done) = once(work.as_mut()).await {
                return Some(done);
            }
            if self.is_stalled() {
                return None;
            }
        }
    }

    /// The time to look has come: whether nothing has moved for too long. When not, the next time is set.
    fn is_stalled(&mut self) -> bool {
        let (now, moves) = (Instant::now(), self.progress.moves());
        if moves != self.seen {
            (self.seen, self.moved) = (moves, now);
        }
        self.next = now + self.stall / LOOKS;
        now - self.moved >= self.stall
    }
}

/// Whether it is done now.
async fn once<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_is_stalled_after_its_time_and_not_much_later() {
        let progress = Progress::default();
        let began = Instant::now();
        assert_eq!(progress.unless_stalled(STALL, std::future::pending::<()>()).await, None);
        assert!(began.elapsed() >= STALL && began.elapsed() <= STALL + 2 * STALL / LOOKS, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_now_and_then_is_not_stalled() {
        let progress = Progress::default();
        let moves = async {
            for _ in 0..20 {
                tokio::time::sleep(STALL * 9 / 10).await;
                progress.note();
            }
            "done"
        };
        assert_eq!(progress.unless_stalled(STALL, moves).await, Some("done"));
    }

    /// A read that is called off because something else happened has not moved anything.
    #[tokio::test(start_paused = true)]
    async fn work_that_is_begun_anew_has_no_new_time() {
        let progress = Progress::default();
        let mut watch = progress.watch(STALL);
        let began = Instant::now();
        loop {
            tokio::select! {
                stalled = watch.unless_stalled(std::future::pending::<()>()) => break assert_eq!(stalled, None),
                () = tokio::time::sleep(Duration::from_secs(1)) => assert!(began.elapsed() < 2 * STALL),
            }
        }
        assert!(began.elapsed() >= STALL && began.elapsed() <= STALL + 2 * STALL / LOOKS, "{:?}", began.elapsed());
    }
}
