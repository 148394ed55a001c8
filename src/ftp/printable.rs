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
    // Letters to Unicode, and nothing to the eye: the fillers of Hangul and the blanks among the hieroglyphs.
    let unseen = matches!(char, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{13441}' | '\u{13442}');
    matches!(char, ' '..='~') || (char.is_alphanumeric() && !unseen)
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

    /// What Unicode calls Default_Ignorable_Code_Point, and the blanks that it calls letters.
    #[test]
    fn letters_that_nobody_sees_are_escaped() {
        assert_eq!(Printable("root\u{3164}".as_bytes()).to_string(), "root\\u{3164}");
        let ignorable = [
            0xad..=0xad,
            0x34f..=0x34f,
            0x61c..=0x61c,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x202a..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xfff0..=0xfff8,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0000..=0xe0fff,
        ];
        let blank = [0x2800..=0x2800, 0x3000..=0x3000, 0x13441..=0x13442];
        for char in ignorable.into_iter().chain(blank).flatten().filter_map(char::from_u32) {
            assert!(!is_plain(char), "{}", char.escape_unicode());
        }
        assert!("Müller 김철수 กา ά".chars().all(is_plain));
    }

    proptest! {
        #[test]
        fn nothing_unprintable_comes_through(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let shown = Printable(&bytes).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
