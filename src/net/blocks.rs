//! Memory for the bytes of transfers, from one bounded pool.
//!
//! Invariants: a block goes back when it is dropped; there are never more large blocks than the pool's limit, and who
//! finds none gets a small one, so taking never waits and never fails; a transfer that waits for its source holds none.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room in front of a text, so that it can be sealed where it stands: one record's text, and what TLS adds to each
/// record of the largest block (29 bytes at most).
pub const HEAD: usize = 18 * 1024;

/// Blocks for transfers at full speed: the more is read and written at once, the less each byte costs.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Of the body.
    bytes: usize,
    /// Blocks that can be taken at a time.
    most: usize,
    /// Blocks that are kept for the next transfer when nobody needs them.
    kept: usize,
}

/// The larger ones first. What they can come to is 28 MiB.
const SIZES: [Size; 2] = [Size { bytes: 1024 * 1024, most: 8, kept: 2 }, Size { bytes: 256 * 1024, most: 64, kept: 4 }];

/// The pool. Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub struct Blocks(Arc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    /// Of each size.
    large: Mutex<[Large; SIZES.len()]>,
    /// Bytes in blocks that are taken.
    taken: AtomicUsize,
    /// Transfers at full speed.
    full: AtomicUsize,
}

/// A transfer at full speed, for as long as it is.
#[derive(Debug)]
pub struct FullSpeed(Arc<Shelf>);

#[derive(Debug, Default)]
struct Large {
    taken: usize,
    free: Vec<Box<[u8]>>,
}

/// How fast bytes go, and so how many of them should be read at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// As little as will do.
    #[default]
    Slow,
    /// Enough for few system calls. What a slow peer's system takes at once looks like this, so it is not yet all there is.
    Fast,
    /// As much as there is.
    Full,
}

/// How much memory a read should have, and how it will be used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// How much of it.
    pub pace: Pace,
    /// What is read will be sealed: there must be [`HEAD`] bytes in front of it.
    pub sealed: bool,
}

/// Memory of one transfer.
#[derive(Debug)]
pub struct Block {
    memory: Box<[u8]>,
    /// Which of the sizes it is, if any.
    size: Option<usize>,
    shelf: Arc<Shelf>,
}

/// Bytes in a block.
#[derive(Debug)]
pub struct Piece {
    block: Block,
    range: Range<usize>,
}

impl Blocks {
    /// A block of `heads` heads and at least `body` bytes behind them, more if the pace asks for it and there is a large
    /// block left.
    pub fn take(&self, pace: Pace, heads: usize, body: usize) -> Block {
        let (size, memory) = match self.0.take_large(pace, body) {
            Some((size, memory)) => (Some(size), memory),
            None => (None, vec![0; heads * HEAD + body].into()),
        };
        self.0.taken.fetch_add(memory.len(), Ordering::Relaxed);
        Block { memory, size, shelf: Arc::clone(&self.0) }
    }

    /// Bytes in blocks that are taken now.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// One more transfer is at full speed. There are largest blocks for as many as there are of these blocks: a turn with
    /// one takes a while, and whoever waits for his own waits for everybody's.
    pub fn full_speed(&self) -> FullSpeed {
        self.0.full.fetch_add(1, Ordering::Relaxed);
        FullSpeed(Arc::clone(&self.0))
    }
}

impl Drop for FullSpeed {
    fn drop(&mut self) {
        self.0.full.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shelf {
    /// The largest that there is for this pace, if any is as large as that.
    fn take_large(&self, pace: Pace, body: usize) -> Option<(usize, Box<[u8]>)> {
        let first = match pace {
            Pace::Slow => return None,
            Pace::Fast => SIZES.len() - 1,
            Pace::Full => usize::from(self.full.load(Ordering::Relaxed) > SIZES[0].most),
        };
        let mut large = self.large();
        for (number, (size, large)) in SIZES.iter().zip(large.iter_mut()).enumerate().skip(first) {
            if body <= size.bytes && large.taken < size.most {
                large.taken += 1;
                // What was given back last is still in the processor's caches.
                let memory = large.free.pop();
                return Some((number, memory.unwrap_or_else(|| vec![0; 2 * HEAD + size.bytes].into())));
            }
        }
        None
    }

    fn give_back(&self, number: usize, memory: Box<[u8]>) {
        let mut large = self.large();
        if let (Some(size), Some(large)) = (SIZES.get(number), large.get_mut(number)) {
            large.taken -= 1;
            if large.free.len() < size.kept {
                large.free.push(memory);
            }
        }
    }

    fn large(&self) -> MutexGuard<'_, [Large; SIZES.len()]> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    /// Its bytes, the heads first.
    pub fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Where reading into it ends, when it begins behind so many heads.
    pub fn end(&self, heads: usize) -> usize {
        match self.size.and_then(|size| SIZES.get(size)) {
            Some(size) => heads * HEAD + size.bytes,
            None => self.memory.len(),
        }
    }

    /// The part of it that holds something.
    ///
    /// # Errors
    /// When the range is not in it.
    pub fn piece(self, range: Range<usize>) -> io::Result<Piece> {
        if range.start > range.end || range.end > self.memory.len() {
            return Err(io::Error::other("a range outside of its block"));
        }
        Ok(Piece { block: self, range })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.shelf.taken.fetch_sub(memory.len(), Ordering::Relaxed);
        if let Some(size) = self.size {
            self.shelf.give_back(size, memory);
        }
    }
}

impl Piece {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.block.memory[self.range.clone()]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether to read, to seal and to write it are steps, with turns for others between them: each takes a while with the
    /// largest block. Where several are at full speed, their blocks would push each other out of the processor's caches
    /// between the steps, and a piece goes all its way in one turn.
    pub fn in_steps(&self) -> bool {
        self.block.size == Some(0) && self.block.shelf.full.load(Ordering::Relaxed) <= 1
    }

    /// The first `bytes` are done with.
    pub fn advance(&mut self, bytes: usize) {
        self.range.start = (self.range.start + bytes).min(self.range.end);
    }

    /// The block, and where in it the bytes are.
    pub fn into_parts(self) -> (Block, Range<usize>) {
        (self.block, self.range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limits_blocks_are_small_and_all_go_back() {
        let blocks = Blocks::default();
        let most: usize = SIZES.iter().map(|size| size.most).sum();
        let taken: Vec<_> = (0..most + 3).map(|_| blocks.take(Pace::Full, 1, 100)).collect();
        let bodies: usize = SIZES.iter().map(|size| size.most * (2 * HEAD + size.bytes)).sum();
        assert_eq!(blocks.taken(), bodies + 3 * (HEAD + 100));
        assert!(bodies < 28 * 1024 * 1024);
        for (number, size) in SIZES.iter().enumerate() {
            assert_eq!(taken.iter().filter(|block| block.size == Some(number)).count(), size.most);
        }
        drop(taken);
        assert_eq!(blocks.taken(), 0);
        for (size, large) in SIZES.iter().zip(blocks.0.large().iter()) {
            assert_eq!((large.taken, large.free.len()), (0, size.kept));
        }
        assert_eq!(blocks.take(Pace::Full, 1, 100).size, Some(0));
        assert_eq!(blocks.take(Pace::Fast, 1, 100).size, Some(SIZES.len() - 1));
        assert_eq!(blocks.take(Pace::Slow, 1, 100).size, None);
    }

    #[test]
    fn one_transfer_at_full_speed_goes_in_steps_and_several_in_one_turn_each() {
        let blocks = Blocks::default();
        let piece = |pace| blocks.take(pace, 1, 100).piece(0..100).unwrap();
        let first = blocks.full_speed();
        assert!(piece(Pace::Full).in_steps());
        assert!(!piece(Pace::Fast).in_steps() && !piece(Pace::Slow).in_steps());
        let second = blocks.full_speed();
        assert!(!piece(Pace::Full).in_steps());
        drop(first);
        assert!(piece(Pace::Full).in_steps());
        drop(second);
    }

    #[test]
    fn more_at_full_speed_than_there_are_largest_blocks_have_smaller_ones() {
        let blocks = Blocks::default();
        let mut running: Vec<_> = (0..SIZES[0].most).map(|_| blocks.full_speed()).collect();
        assert_eq!(blocks.take(Pace::Full, 1, 100).size, Some(0));
        running.push(blocks.full_speed());
        assert_eq!(blocks.take(Pace::Full, 1, 100).size, Some(1));
        running.pop();
        assert_eq!(blocks.take(Pace::Full, 1, 100).size, Some(0));
    }

    #[test]
    fn what_tls_adds_to_the_records_of_the_largest_block_has_room_in_a_head() {
        const TEXT: usize = 16384;
        const ADDED: usize = 29;
        for size in SIZES {
            assert!(TEXT + size.bytes.div_ceil(TEXT) * ADDED <= HEAD);
        }
    }

    #[test]
    fn a_body_that_is_longer_than_a_large_block_gets_its_own() {
        let body = SIZES[0].bytes + 1;
        let block = Blocks::default().take(Pace::Full, 1, body);
        assert_eq!((block.size, block.end(1)), (None, HEAD + body));
        let block = Blocks::default().take(Pace::Full, 1, SIZES[1].bytes + 1);
        assert_eq!(block.size, Some(0));
    }
}
