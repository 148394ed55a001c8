//! User names as servers may read them: which are taken at all, and which are the same user's.
//!
//! Invariant: whatever is decided by a user's name is decided by [`folded`], so that another spelling of it decides
//! nothing else.

/// Telnet's escape (RFC 854): servers that know Telnet take what stands behind it out of a command.
const IAC: u8 = 0xFF;

/// Whether a server can read a name only as it stands. Pure-FTPd writes `_` for control bytes, and others take them, or
/// Telnet sequences, out: the server would see another user than the gateway.
pub fn is_unmistakable(user: &[u8]) -> bool {
    !user.iter().any(|byte| byte.is_ascii_control() || *byte == IAC)
}

/// The name by which a user is told from others. Case, and blanks around the name, make no other user, because to many
/// servers (those of Windows above all) they do not. Names that are not UTF-8 are folded in their ASCII letters.
pub fn folded(user: &[u8]) -> Vec<u8> {
    folded_start(user, usize::MAX)
}

/// At most so many bytes of the same.
pub(super) fn folded_start(user: &[u8], most: usize) -> Vec<u8> {
    let user = user.trim_ascii();
    let Ok(text) = std::str::from_utf8(user) else {
        return user.get(..most).unwrap_or(user).to_ascii_lowercase();
    };
    let mut folded = String::with_capacity(user.len().min(most));
    for letter in text.chars() {
        folded.extend(fold(letter));
        if folded.len() >= most {
            break;
        }
    }
    let mut folded = folded.into_bytes();
    folded.truncate(most);
    folded
}

/// A pattern for names that are folded. Its ASCII letters stay: ranges like `[A-Z]` are the matcher's.
pub(super) fn folded_pattern(pattern: &str) -> String {
    let mut folded = String::with_capacity(pattern.len());
    for letter in pattern.trim_ascii().chars() {
        if letter.is_ascii() { folded.push(letter) } else { folded.extend(fold(letter)) }
    }
    folded
}

/// By way of the capital: some letters (ſ, ς) are the same in capitals alone.
pub(super) fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_uppercase().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_make_no_other_user() {
        for (one, other) in [("bob", " BOB\t"), ("müller", "MÜLLER"), ("σοφος", "ΣΟΦΟΣ"), ("sam", "ſam"), ("", "  ")]
        {
            assert_eq!(folded(one.as_bytes()), folded(other.as_bytes()), "{one}");
        }
        for (one, other) in [("bob", "bo b"), ("bob", "bob2"), ("muller", "müller")] {
            assert_ne!(folded(one.as_bytes()), folded(other.as_bytes()), "{one}");
        }
        assert_eq!(folded(b" M\xfcLLER"), b"m\xfcller");
        for (name, most, start) in
            [(" BOB", 2, "bo"), ("BOB", 9, "bob"), ("MÜLLER", 3, "mü"), ("\u{212a}\u{212a}", 1, "k")]
        {
            assert_eq!(folded_start(name.as_bytes(), most), start.as_bytes(), "{name}");
        }
    }

    #[test]
    fn names_that_a_server_may_read_otherwise() {
        for name in [&b"bob"[..], b" bob ", "müller".as_bytes(), b"m\xfcller", b"acme\\bob", b""] {
            assert!(is_unmistakable(name), "{name:?}");
        }
        for name in [&b"bo\x01b"[..], b"bob\t", b"\x1bbob", b"bob\x7f", b"bob\xff\xfbA"] {
            assert!(!is_unmistakable(name), "{name:?}");
        }
    }
}
