//! A peer's bytes made fit for a log line or a terminal.

use std::fmt;

/// How many bytes of a peer are shown at most; the rest is counted.
const SHOWN: usize = 512;

/// Shows bytes with everything but visible ASCII and valid UTF-8 letters escaped, so that no peer can write line ends
/// or terminal controls into a log.
#[derive(Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        for chunk in shown.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '\\' => f.write_str("\\\\")?,
                    char if is_plain(char) => write!(f, "{char}")?,
                    char => write!(f, "{}", char.escape_default())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        match self.0.len() - shown.len() {
            0 => Ok(()),
            rest => write!(f, "… ({rest} more bytes)"),
        }
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Letters, digits, marks and the blank. Controls, directional overrides and invisible characters are not plain.
pub fn is_plain(char: char) -> bool {
    matches!(char, ' '..='~') || char.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_and_foreign_bytes_are_escaped() {
        assert_eq!(Printable(b"a\r\n\x1b[31m\xe9 b\\").to_string(), "a\\r\\n\\u{1b}[31m\\xe9 b\\\\");
        assert_eq!(Printable("Müller\u{202e}".as_bytes()).to_string(), "Müller\\u{202e}");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_comes_through(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let shown = Printable(&bytes).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
