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
    matches!(char, ' '..='~') || (char.is_alphanumeric() && !INVISIBLE.contains(&char))
}

/// Letters that nobody sees: the fillers of Hangul. Of what Unicode calls `Default_Ignorable_Code_Point` no other is a
/// letter or a digit.
const INVISIBLE: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_and_foreign_bytes_are_escaped() {
        assert_eq!(Printable(b"a\r\n\x1b[31m\xe9 b\\").to_string(), "a\\r\\n\\u{1b}[31m\\xe9 b\\\\");
        assert_eq!(Printable("Müller\u{202e}".as_bytes()).to_string(), "Müller\\u{202e}");
    }

    /// Unicode's own list, `Default_Ignorable_Code_Point`, with what is reserved in it.
    #[test]
    fn what_nobody_sees_is_escaped() {
        let unseen = [
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
            0x1_bca0..=0x1_bca3,
            0x1_d173..=0x1_d17a,
            0xe_0000..=0xe_0fff,
        ];
        let blank = [0x85..=0x85, 0xa0..=0xa0, 0x1680..=0x1680, 0x2000..=0x200a, 0x2028..=0x2029, 0x205f..=0x205f];
        let blank = blank.into_iter().chain([0x2800..=0x2800, 0x3000..=0x3000]);
        for char in unseen.into_iter().chain(blank).flatten().filter_map(char::from_u32) {
            let shown = Printable(char.to_string().as_bytes()).to_string();
            assert_eq!(shown, char.escape_default().to_string());
        }
        assert_eq!(Printable("root\u{3164}".as_bytes()).to_string(), "root\\u{3164}");
        assert_eq!(Printable("한글 가".as_bytes()).to_string(), "한글 가");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_comes_through(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let shown = Printable(&bytes).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
