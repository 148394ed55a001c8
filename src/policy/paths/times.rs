//! Times in front of names: MDTM as a command that sets them, and MFMT.

use super::has_control;

/// The shortest that a server takes for a time: `YYYYMMDD`, by vsftpd, which asks for a digit in front and for nothing else.
const SHORTEST: usize = 8;

/// Whether MDTM may set a time and not only tell one: many servers take what stands in front of a blank for the time to
/// set, when it looks like one. The others take all of it for a name.
pub fn may_set_time(argument: &[u8]) -> bool {
    behind_time(argument).is_some()
}

/// The name behind what some server takes for a time to set in MDTM.
pub(super) fn behind_time(argument: &[u8]) -> Option<&[u8]> {
    let start = argument.iter().position(|byte| !is_blank(byte))?;
    let text = &argument[start..];
    let (time, name) = at_blank(text)?;
    // A control byte is a blank to one server, and to another a byte of the time like any other.
    let is_long = time.len() >= SHORTEST || has_control(text);
    (is_long && text[0].is_ascii_digit()).then_some(name)
}

/// What stands before and behind the first blank.
pub(super) fn at_blank(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, behind) = argument.split_at(argument.iter().position(is_blank)?);
    Some((before, &behind[1..]))
}

/// A blank, or a byte that some server may take for one.
fn is_blank(byte: &u8) -> bool {
    *byte == b' ' || byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_time_to_any_server_is_one() {
        for (argument, name) in [
            (&b"20200101000000 x y"[..], Some(&b"x y"[..])),
            (b"20200101 x", Some(b"x")),
            (b"2xxxxxxx x", Some(b"x")),
            (b"20200101000000.5 /x", Some(b"/x")),
            (b"20200101000000+480 x", Some(b"x")),
            (b" 20200101000000 x", Some(b"x")),
            (b"\t20200101000000\tx", Some(b"x")),
            (b"20200101  x", Some(b" x")),
            (b"202\x1e0101 x", Some(b"0101 x")),
            (b"202\xff0101 x", Some(b"x")),
            (b"20200101 ", Some(b"")),
            (b"20200101000000", None),
            (b"2024 report.csv", None),
            (b"a20200101 x", None),
            (b"/20200101 x", None),
            (b" ", None),
            (b"", None),
        ] {
            assert_eq!(behind_time(argument), name, "{}", argument.escape_ascii());
            assert_eq!(may_set_time(argument), name.is_some());
        }
    }
}
