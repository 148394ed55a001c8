//! Where a session is on its server: what the server says to PWD, and what makes it be asked again.
//!
//! Invariant: a path is told only where every known server means the same by its words.

use super::fold;
use crate::ftp::{ReplyLine, Verb};

/// Where a session is on its server, as the server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WorkingDirectory {
    /// It has not been asked since the session may have moved.
    #[default]
    Unasked,
    /// It said what is no path from a root.
    Unknown,
    /// Here.
    Known(Vec<u8>),
}

impl WorkingDirectory {
    /// Reads the text of a 257: a path in quotes (RFC 959, appendix II).
    pub fn told(text: &[u8]) -> Self {
        quoted(text).and_then(|path| fold(Vec::new(), path)).map_or(Self::Unknown, Self::Known)
    }

    /// A line of the reply to this command. What may move the session makes it be asked again, whatever the server says
    /// to it; what says where it is, is believed.
    pub fn follow(&mut self, verb: Verb, line: &ReplyLine) {
        match verb {
            Verb::Pwd | Verb::Xpwd if line.first || line.last => {
                if line.first {
                    *self = Self::Unasked;
                }
                let told = if line.code.number() == 257 { Self::told(line.text()) } else { Self::Unasked };
                // Of several lines one has the path.
                if matches!(told, Self::Known(_)) || (line.last && *self == Self::Unasked) {
                    *self = told;
                }
            }
            verb if may_move(verb) => *self = Self::Unasked,
            _ => {}
        }
    }
}

/// Behind this the session may be elsewhere, whatever the server says to it.
pub fn may_move(verb: Verb) -> bool {
    // Of what is renamed or removed the session may be in.
    let goes = matches!(verb, Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup | Verb::Rnto | Verb::Rmd | Verb::Xrmd);
    goes || matches!(verb, Verb::Site | Verb::Other | Verb::Pass | Verb::Acct)
}

/// The path between the quotes. A quote in a name would stand twice there, but Pure-FTPd writes it once: behind `"/q""r"`
/// are two different folders, and which one depends on the server. So a path with a quote in it is not told.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"\"")?;
    let (path, behind) = text.split_at(text.iter().position(|byte| *byte == b'"')?);
    let ended = matches!(behind, b"\"" | [b'"', b' ', ..] | b"\".") && !behind[1..].contains(&b'"');
    (ended && path.starts_with(b"/")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(path: &[u8]) -> WorkingDirectory {
        WorkingDirectory::Known(path.to_vec())
    }

    #[test]
    fn what_servers_say_to_pwd() {
        assert_eq!(WorkingDirectory::told(b"\"/a b/c\" is the current directory"), known(b"/a b/c"));
        assert_eq!(WorkingDirectory::told(b"\"/\""), known(b"/"));
        assert_eq!(WorkingDirectory::told(b"\"/m\xfcll/../x/\""), known(b"/x"));
        assert_eq!(WorkingDirectory::told(b"\"/x\"."), known(b"/x"));
        for text in [
            &b"/no quotes"[..],
            b"\"\"",
            b"\"a\"",
            b"\"/a",
            b"\"/a\\b\"",
            b"\"~\"",
            b"\"/a\x01b\"",
            b"\"/out/q\"\"r\" is the current directory",
            b"\"/out/q\"\"\" is the current directory",
            b"\"/out/q\"r\" is your current location",
            b"\"/out/q\" r\" is your current location",
            b"\"/out/q\".\" is your current location",
        ] {
            assert_eq!(WorkingDirectory::told(text), WorkingDirectory::Unknown, "{text:?}");
        }
    }

    fn line(text: &str) -> ReplyLine {
        let mut cutter = crate::ftp::ReplyCutter::new(4096);
        cutter.push(text.as_bytes());
        cutter.next_line().unwrap().unwrap()
    }

    #[test]
    fn what_may_have_moved_the_session_makes_it_be_asked_again() {
        for verb in Verb::ALL.iter().copied().chain([Verb::Other]) {
            let stays =
                !matches!(verb, Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup | Verb::Rnto | Verb::Rmd | Verb::Xrmd)
                    && !matches!(verb, Verb::Site | Verb::Other | Verb::Pass | Verb::Acct | Verb::Pwd | Verb::Xpwd);
            for reply in ["250 Done\r\n", "550 No\r\n"] {
                let mut here = known(b"/a");
                here.follow(verb, &line(reply));
                assert_eq!(here, if stays { known(b"/a") } else { WorkingDirectory::Unasked }, "{verb:?}");
            }
        }
    }

    /// A PWD that the server does not answer with a path leaves nothing of an older one.
    #[test]
    fn the_last_word_counts_and_no_older_one() {
        for (reply, told) in [
            ("257 \"/b\" is here\r\n", known(b"/b")),
            ("257 \"/out/q\"r\" is here\r\n", WorkingDirectory::Unknown),
            ("257 nowhere\r\n", WorkingDirectory::Unknown),
            ("550 Gone\r\n", WorkingDirectory::Unasked),
        ] {
            let mut here = known(b"/a");
            here.follow(Verb::Pwd, &line(reply));
            assert_eq!(here, told, "{reply}");
        }
    }
}
