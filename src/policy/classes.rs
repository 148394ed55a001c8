//! Classes of patterns, `[…]`, told apart from the rest of a pattern, as `globset` reads them.

/// A piece of a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// What is in no class.
    Text(&'a str),
    /// What stands between brackets, and the sign in front of it that turns it round.
    Class { sign: &'a str, body: &'a str },
}

/// The pieces of a pattern in their order. What stands in a bracket that is not closed is text.
pub(super) fn pieces(pattern: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut text, mut at) = (Vec::new(), 0, 0);
    while let Some(letter) = pattern[at..].chars().next() {
        at += letter.len_utf8();
        match letter {
            '\\' => at += pattern[at..].chars().next().map_or(0, char::len_utf8),
            '[' => {
                let Some((sign, body)) = class(&pattern[at..]) else { break };
                pieces.push(Piece::Text(&pattern[text..at - 1]));
                pieces.push(Piece::Class { sign, body });
                at += sign.len() + body.len() + 1;
                text = at;
            }
            _ => {}
        }
    }
    pieces.push(Piece::Text(&pattern[text..]));
    pieces
}

/// Its sign and its body. What stands first is in it, also when it is a bracket.
fn class(behind: &str) -> Option<(&str, &str)> {
    let sign = &behind[..usize::from(behind.starts_with(['!', '^']))];
    let body = &behind[sign.len()..];
    let first = body.chars().next()?.len_utf8();
    Some((sign, &body[..first + body[first..].find(']')?]))
}

/// The ranges of a class, each of one letter or more, and whether a dash at its end stands for itself.
pub(super) fn ranges(body: &str) -> (Vec<(char, char)>, bool) {
    let (mut ranges, mut open) = (Vec::<(char, char)>::new(), false);
    for letter in body.chars() {
        match ranges.last_mut() {
            Some(range) if open => (range.1, open) = (letter, false),
            Some(_) if letter == '-' => open = true,
            Some(_) | None => ranges.push((letter, letter)),
        }
    }
    if open {
        ranges.push(('-', '-'));
    }
    (ranges, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_from_text() {
        let class = |sign, body| Piece::Class { sign, body };
        let text = Piece::Text;
        for (pattern, expected) in [
            ("a\\[b]", vec![text("a\\[b]")]),
            ("a[b]c", vec![text("a"), class("", "b"), text("c")]),
            ("[!]x][^[]", vec![text(""), class("!", "]x"), text(""), class("^", "["), text("")]),
            ("é[!é]", vec![text("é"), class("!", "é"), text("")]),
            ("[a]{[!b],c}[", vec![text(""), class("", "a"), text("{"), class("!", "b"), text(",c}[")]),
            ("x[]", vec![text("x[]")]),
            ("[", vec![text("[")]),
            ("\\", vec![text("\\")]),
        ] {
            assert_eq!(pieces(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn ranges_are_read_as_the_matcher_reads_them() {
        for (body, expected, open) in [
            ("a", vec![('a', 'a')], false),
            ("a-c", vec![('a', 'c')], false),
            ("a-", vec![('a', 'a'), ('-', '-')], true),
            ("-a", vec![('-', '-'), ('a', 'a')], false),
            ("--a", vec![('-', 'a')], false),
            ("+--x", vec![('+', '-'), ('x', 'x')], false),
            ("]-a", vec![(']', 'a')], false),
        ] {
            assert_eq!(ranges(body), (expected, open), "{body}");
        }
        // Each letter, asked of the matcher itself.
        for body in ["a", "a-c", "a-", "-a", "--a", "+--x", "]-a", "--", "-", "+--"] {
            let matcher = globset::Glob::new(&format!("[{body}]")).unwrap().compile_matcher();
            for letter in (0x20..0x7f).map(char::from) {
                let (ranges, _) = ranges(body);
                let held = ranges.iter().any(|(from, to)| (from..=to).contains(&&letter));
                assert_eq!(matcher.is_match(letter.to_string()), held, "[{body}] and {letter}");
            }
        }
    }
}
