//! How a drain ended.

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Every session had come to its end.
    Finished,
    /// The limit was reached; so many sessions were cut off.
    CutOff(usize),
}
