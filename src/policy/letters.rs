//! Letters beyond ASCII in patterns, for a matcher that goes by bytes: to it such a letter is two bytes or more, so that
//! `?` would not stand for it, and of a class in brackets each byte of it would be an entry.
//!
//! Invariant: what a pattern seems to say of a letter it says of that letter and of no other, or it is refused.

use super::classes::{Piece, pieces};
use super::user_name::fold;

/// Stands for each letter that a pattern does not have, and for control bytes.
const OTHER: u8 = 0x7f;

/// How many letters a pattern may have: each gets a control character, because no user's name has one.
const MOST: usize = 0x1f;

/// The letters beyond ASCII of one pattern of user names, each of which becomes one byte.
#[derive(Debug, Clone)]
pub(super) struct Letters(Vec<char>);

impl Letters {
    /// Those of a pattern that is folded.
    ///
    /// # Errors
    /// When there are too many, or it has a control character.
    pub(super) fn of(folded: &str) -> Result<Self, String> {
        if folded.chars().any(|letter| letter.is_ascii_control()) {
            return Err("it has a control character, and no user's name does".into());
        }
        let mut letters: Vec<char> = folded.chars().filter(|letter| !letter.is_ascii()).collect();
        letters.sort_unstable();
        letters.dedup();
        if letters.len() > MOST {
            return Err(format!("it has more than {MOST} letters beyond ASCII"));
        }
        Ok(Self(letters))
    }

    /// The pattern with one byte for each letter.
    pub(super) fn narrow_pattern(&self, folded: &str) -> String {
        folded.chars().map(|letter| char::from(self.byte(letter))).collect()
    }

    /// A folded name with one byte for each letter. Of one that is not UTF-8 each byte is a letter.
    pub(super) fn narrow(&self, folded: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(folded) {
            Ok(text) => text.chars().map(|letter| self.byte(letter)).collect(),
            Err(_) => folded.iter().map(|byte| if byte.is_ascii_control() { OTHER } else { *byte }).collect(),
        }
    }

    fn byte(&self, letter: char) -> u8 {
        match u8::try_from(letter) {
            Ok(byte) if byte.is_ascii() && !byte.is_ascii_control() => byte,
            Ok(_) | Err(_) => {
                let place = self.0.binary_search(&letter).ok().and_then(|at| u8::try_from(at + 1).ok());
                place.unwrap_or(OTHER)
            }
        }
    }
}

/// What is wrong with letters beyond ASCII in the classes of a pattern, `[…]`. `single`: one may stand there by itself.
///
/// # Errors
/// A text that says so.
pub(super) fn check_classes(pattern: &str, single: bool) -> Result<(), String> {
    let bodies = pieces(pattern).into_iter().filter_map(|piece| match piece {
        Piece::Class { body, .. } => Some(body.chars().collect::<Vec<_>>()),
        Piece::Text(_) => None,
    });
    bodies.into_iter().try_for_each(|body| check_class(&body, single))
}

fn check_class(class: &[char], single: bool) -> Result<(), String> {
    let mut beyond = class.iter().filter(|letter| !letter.is_ascii());
    let Some(first) = beyond.next() else { return Ok(()) };
    if !single {
        return Err(format!("{first} is no ASCII and stands in brackets"));
    }
    // A range goes by the order of letters, and theirs is nobody's alphabet.
    if class.windows(3).any(|three| three[1] == '-' && !(three[0].is_ascii() && three[2].is_ascii())) {
        return Err("a range ends in a letter beyond ASCII".into());
    }
    match class.iter().find(|letter| !letter.is_ascii() && fold(**letter).count() > 1) {
        Some(several) => Err(format!("{several} in capitals is several letters")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_letter_is_one_byte_and_others_are_another() {
        let letters = Letters::of("müße-大").unwrap();
        let narrow = |text: &str| letters.narrow(text.as_bytes());
        assert_eq!(narrow("müße-大").len(), 6);
        assert_eq!(narrow("mäoe-小"), b"m\x7foe-\x7f");
        assert_eq!(narrow("\x01\x02\n"), b"\x7f\x7f\x7f");
        assert_ne!(narrow("ü"), narrow("ß"));
        assert_eq!(letters.narrow_pattern("müße-*").as_bytes(), narrow("müße-*"));
        assert_eq!(letters.narrow(b"\x01m\xfc"), b"\x7fm\xfc");
        assert!(Letters::of("a\x01").is_err());
        let many: String = (0..40).filter_map(|at| char::from_u32(0x4e00 + at)).collect();
        assert!(Letters::of(&many).is_err() && Letters::of(&many.chars().take(MOST).collect::<String>()).is_ok());
    }

    #[test]
    fn classes_say_what_they_seem_to_say() {
        for (pattern, of_names, of_paths) in [
            ("[a-z]ü", true, true),
            ("\\[ü]", true, true),
            ("[!]x]ü-[a]", true, true),
            ("[äö]", true, false),
            ("[!äö-]", true, false),
            ("[a-zü]", true, false),
            ("[ä-ü]", false, false),
            ("[a-ü]", false, false),
            ("[]ä-z]", false, false),
            ("[ß]", false, false),
            ("x[a]{[b],[ä-z]}", false, false),
        ] {
            assert_eq!(check_classes(pattern, true).is_ok(), of_names, "{pattern}");
            assert_eq!(check_classes(pattern, false).is_ok(), of_paths, "{pattern}");
        }
    }
}
