//! Chance that comes the same for the same seed, and what it makes of words.

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below this.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Chance for somebody else.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// One of the words with a few changes.
    pub(crate) fn word(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let word = words[self.below(words.len())].clone();
        self.changed(word, words)
    }

    /// The same with a few changes.
    pub(crate) fn changed(&mut self, mut word: Vec<u8>, words: &[Vec<u8>]) -> Vec<u8> {
        for _ in 0..self.below(6) {
            let at = self.below(word.len() + 1);
            match self.below(5) {
                0 if at < word.len() => word[at] = self.byte(),
                1 => word.truncate(at),
                2 => {
                    let again = word[at..].repeat(1 + self.below(20));
                    word.extend_from_slice(&again);
                }
                3 => word.extend_from_slice(b"\r\n"),
                _ => {
                    let other = &words[self.below(words.len())];
                    word.extend_from_slice(&other[self.below(other.len() + 1)..]);
                }
            }
        }
        word.truncate(1 << 16);
        word
    }
}
