//! Memory for the bytes of transfers, from one bounded pool.
//!
//! Invariants: a block goes back when it is dropped; there are never more large blocks than the pool's limit, and who
//! finds none gets a small one, so taking never waits and never fails; a transfer that waits for its source holds none.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room in front of a text, so that it can be sealed where it stands: one record's text, and what TLS adds to each
/// record of a large block (29 bytes at most).
pub const HEAD: usize = 17 * 1024;
/// What is read and written at once at full speed.
const LARGE: usize = 256 * 1024;
/// Large blocks that can be taken at a time. More transfers than this at full speed share them by turns.
const LARGE_BLOCKS: usize = 64;
/// Large blocks that are kept for the next transfer when nobody needs them.
const KEPT: usize = 8;

/// The pool. Clones are the same pool.
#[derive(Debug, Clone, Default)]
pub struct Blocks(Arc<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    large: Mutex<Large>,
    /// Bytes in blocks that are taken.
    taken: AtomicUsize,
}

#[derive(Debug, Default)]
struct Large {
    taken: usize,
    free: Vec<Box<[u8]>>,
}

/// How much memory a read should have, and how it will be used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// As much as makes for few system calls; else as little as will do.
    pub large: bool,
    /// What is read will be sealed: there must be [`HEAD`] bytes in front of it.
    pub sealed: bool,
}

/// Memory of one transfer.
#[derive(Debug)]
pub struct Block {
    memory: Box<[u8]>,
    large: bool,
    shelf: Arc<Shelf>,
}

/// Bytes in a block.
#[derive(Debug)]
pub struct Piece {
    block: Block,
    range: Range<usize>,
}

impl Blocks {
    /// A block of `heads` heads and at least `body` bytes behind them. `large`: as much as makes for few system calls, if
    /// there is a large block left.
    pub fn take(&self, large: bool, heads: usize, body: usize) -> Block {
        let memory = if large && body <= LARGE { self.0.take_large() } else { None };
        let large = memory.is_some();
        let memory = memory.unwrap_or_else(|| vec![0; heads * HEAD + body].into());
        self.0.taken.fetch_add(memory.len(), Ordering::Relaxed);
        Block { memory, large, shelf: Arc::clone(&self.0) }
    }

    /// Bytes in blocks that are taken now.
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }
}

impl Shelf {
    fn take_large(&self) -> Option<Box<[u8]>> {
        let mut large = self.large();
        if large.taken == LARGE_BLOCKS {
            return None;
        }
        large.taken += 1;
        let free = large.free.pop();
        drop(large);
        Some(free.unwrap_or_else(|| vec![0; 2 * HEAD + LARGE].into()))
    }

    fn give_large_back(&self, memory: Box<[u8]>) {
        let mut large = self.large();
        large.taken -= 1;
        if large.free.len() < KEPT {
            large.free.push(memory);
        }
    }

    fn large(&self) -> MutexGuard<'_, Large> {
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
        if self.large { heads * HEAD + LARGE } else { self.memory.len() }
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
        if self.large {
            self.shelf.give_large_back(memory);
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
    fn beyond_the_limit_blocks_are_small_and_all_go_back() {
        let blocks = Blocks::default();
        let taken: Vec<_> = (0..LARGE_BLOCKS + 3).map(|_| blocks.take(true, 1, 100)).collect();
        assert_eq!(taken.iter().filter(|block| block.large).count(), LARGE_BLOCKS);
        assert_eq!(blocks.taken(), LARGE_BLOCKS * (2 * HEAD + LARGE) + 3 * (HEAD + 100));
        drop(taken);
        assert_eq!(blocks.taken(), 0);
        assert_eq!(blocks.0.large().free.len(), KEPT);
        assert!(blocks.take(true, 1, 100).large);
    }

    #[test]
    fn a_body_that_is_longer_than_a_large_block_gets_its_own() {
        let block = Blocks::default().take(true, 1, LARGE + 1);
        assert_eq!((block.large, block.end(1)), (false, HEAD + LARGE + 1));
    }
}
