//! Where a command goes: its path from the root, as far as text can tell.
//!
//! Invariants: a path is bytes; what cannot be told for sure has no path, and a rule that asks for one refuses. That holds
//! for what servers are known to read otherwise than as it stands: `~`, a backslash, a drive letter, quotes, control bytes,
//! 0xFF, blanks at either end, names of dots and blanks, patterns in braces and brackets. What a link on the server leads to
//! cannot be seen here.
//!
//! A working directory is a folder and no name: it moves when somebody renames it, and nobody tells. What goes down from
//! it stays in the folder; `..` leads to wherever the folder is by now. So a relative path that goes up has no path.

mod listing;
mod target;
mod times;
mod working_directory;

use crate::ftp::Command;

use target::Reach;
pub(super) use target::target;
pub use times::may_set_time;
pub use working_directory::{WorkingDirectory, may_move};

/// Where relative paths begin.
#[derive(Clone, Copy)]
struct Start<'a> {
    here: &'a WorkingDirectory,
    /// Relative paths that go up are read as text, as if nobody had renamed the folder since.
    upwards: bool,
}

impl Start<'_> {
    /// The path from the root.
    fn resolve(self, argument: &[u8]) -> Option<Vec<u8>> {
        let (first, last) = (argument.first()?, argument.last()?);
        let drive = argument.get(1) == Some(&b':') && first.is_ascii_alphabetic();
        // Many servers skip a blank in front of the name, some one behind it. To those of BSD a brace in front begins a pattern.
        if drive || b"~\"' {".contains(first) || *last == b' ' {
            return None;
        }
        match (first, self.here) {
            (b'/', _) => fold(Vec::new(), argument),
            (_, WorkingDirectory::Known(_)) if goes_up(argument) && !self.upwards => None,
            (_, WorkingDirectory::Known(here)) => fold(here.clone(), argument),
            (_, WorkingDirectory::Unasked | WorkingDirectory::Unknown) => None,
        }
    }
}

/// Where a command's file or folder lies, from the root, for whoever keeps a record: from where the server last said the
/// session is. `None`: it cannot be told, or the server chooses its name (STOU).
pub fn located(command: &Command, here: &WorkingDirectory) -> Option<Vec<u8>> {
    let mut target = Start { here, upwards: true }.target(command)?;
    if target.reach == Reach::NewFile { None } else { target.paths.pop() }
}

/// Where a name that the server has said lies.
pub fn located_name(here: &WorkingDirectory, name: &[u8]) -> Option<Vec<u8>> {
    Start { here, upwards: true }.resolve(name)
}

/// A byte that some servers take for another, or out: Pure-FTPd reads `_` for control bytes, and ProFTPD nothing for
/// Telnet sequences, which begin with 0xFF.
fn has_control(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_control() || *byte == 0xFF)
}

fn goes_up(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| name == b"..")
}

/// Walks on from a path: `.` stays, `..` goes up, but not above the root.
fn fold(from: Vec<u8>, path: &[u8]) -> Option<Vec<u8>> {
    if path.contains(&b'\\') || has_control(path) {
        return None;
    }
    let mut folded = if from == b"/" { Vec::new() } else { from };
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => folded.truncate(folded.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            // Windows takes `.. ` and `...` for something else than a name.
            _ if name.iter().all(|byte| *byte == b'.' || byte.is_ascii_whitespace()) => return None,
            _ => {
                folded.push(b'/');
                folded.extend_from_slice(name);
            }
        }
    }
    if folded.is_empty() {
        folded.push(b'/');
    }
    Some(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::Verb;
    use crate::policy::PathPattern;
    use proptest::prelude::*;

    fn known(path: &[u8]) -> WorkingDirectory {
        WorkingDirectory::Known(path.to_vec())
    }

    #[test]
    fn paths_are_resolved_and_what_is_read_in_two_ways_is_not() {
        let here = known(b"/a/b");
        let resolve = |argument: &[u8]| Start { here: &here, upwards: false }.resolve(argument);
        for (argument, path) in [
            (&b"c"[..], &b"/a/b/c"[..]),
            (b"/a/../c", b"/c"),
            (b"/../../../c", b"/c"),
            (b"./c/.", b"/a/b/c"),
            (b"..c/d..", b"/a/b/..c/d.."),
            (b"/", b"/"),
            (b"/x//./y/", b"/x/y"),
            (b"12:30.csv", b"/a/b/12:30.csv"),
            (b"m\xfc ll", b"/a/b/m\xfc ll"),
            (b"...x", b"/a/b/...x"),
        ] {
            assert_eq!(resolve(argument).as_deref(), Some(path), "{argument:?}");
        }
        let unclear: [&[u8]; 21] = [
            b"",
            b"~",
            b"~bob/x",
            b"..\\x",
            b"C:/x",
            b"\"/x\"",
            b"'X.Y'",
            b".../x",
            b".. /x",
            b" /x",
            b" x",
            b"x ",
            b"\t",
            b"my\x01key",
            b"my\xff\xfbAkey",
            b"/my\x7fkey",
            b"/x\x0b",
            b"..",
            b"../c",
            b"c/..",
            b"c/../d",
        ];
        for argument in unclear {
            assert_eq!(resolve(argument), None, "{argument:?}");
        }
    }

    proptest! {
        /// Whatever is asked, from wherever: what lies within `/in` for the gateway does so for a server that walks.
        #[test]
        fn nothing_that_walks_out_is_taken_to_stay(names in proptest::collection::vec("(\\.\\.|\\.|in|out|)", 0..8)) {
            let argument = names.join("/");
            let mut walked = vec!["in"];
            if argument.starts_with('/') {
                walked.clear();
            }
            for name in &names {
                match name.as_str() {
                    "" | "." => {}
                    ".." => drop(walked.pop()),
                    name => walked.push(if name == "in" { "in" } else { "out" }),
                }
            }
            let command = Command::new(Verb::Retr, argument.clone());
            let pattern = [PathPattern::new("/in/**").unwrap()];
            let from_root = argument.starts_with('/');
            prop_assert!(from_root || !names.iter().any(|name| name == "..") || target(&command, &known(b"/in")).is_none());
            if let Some(target) = target(&command, &known(b"/in")) {
                prop_assert_eq!(target.lies_in(&pattern), walked.first() == Some(&"in") && walked.len() > 1, "{}", argument);
            }
        }

        #[test]
        fn no_argument_makes_it_panic(argument in proptest::collection::vec(any::<u8>(), 0..40), verb in 0..Verb::ALL.len()) {
            let command = Command::new(Verb::ALL[verb], argument.clone());
            let pattern = [PathPattern::new("/in/**").unwrap()];
            if let Some(target) = target(&command, &WorkingDirectory::told(&argument)) {
                prop_assert!(!target.lies_in(&pattern) || target.may_meet(&pattern));
            }
        }
    }
}
