//! Where a command goes: its path from the root, as far as text can tell.
//!
//! Invariants: a path is bytes; what cannot be told for sure has no path, and a rule that asks for one refuses. That holds
//! for what servers are known to read otherwise than as it stands: `~`, a backslash, a drive letter, quotes, control bytes,
//! 0xFF, blanks at either end, names of dots and blanks, patterns in braces and brackets. What a link on the server leads to
//! cannot be seen here.
//!
//! A working directory is a folder and no name: it moves when somebody renames it, and nobody tells. What goes down from
//! it stays in the folder; `..` leads to wherever the folder is by now. So a relative path that goes up has no path.

use super::path_pattern::PathPattern;
use crate::ftp::{Command, ReplyLine, Verb};

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
            // Of what is renamed or removed the session may be in.
            Verb::Rnto | Verb::Rmd | Verb::Xrmd => *self = Self::Unasked,
            Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup => *self = Self::Unasked,
            Verb::Site | Verb::Other | Verb::Pass | Verb::Acct => *self = Self::Unasked,
            _ => {}
        }
    }
}

/// The path between the quotes. A quote in a name would stand twice there, but Pure-FTPd writes it once: behind `"/q""r"`
/// are two different folders, and which one depends on the server. So a path with a quote in it is not told.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"\"")?;
    let (path, behind) = text.split_at(text.iter().position(|byte| *byte == b'"')?);
    let ended = matches!(behind, b"\"" | [b'"', b' ', ..] | b"\".") && !behind[1..].contains(&b'"');
    (ended && path.starts_with(b"/")).then_some(path)
}

/// What a command is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    paths: Vec<Vec<u8>>,
    reach: Reach,
}

/// How far beyond its path a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not at all.
    Itself,
    /// To what is in the folder.
    Contents,
    /// To everything below, which moves or goes with it.
    Tree,
    /// To everything below, which is listed with it.
    Listing,
    /// To something in the folder whose name is not known, and what is in it.
    Something,
    /// To a new file in the folder, whose name is not known.
    NewFile,
}

/// Where relative paths begin.
#[derive(Clone, Copy)]
struct Start<'a> {
    here: &'a WorkingDirectory,
    /// Relative paths that go up are read as text, as if nobody had renamed the folder since.
    upwards: bool,
}

/// The target of a command, for a rule. `None`: it cannot be told for sure.
pub(super) fn target(command: &Command, here: &WorkingDirectory) -> Option<Target> {
    // Behind a move the server says where the session is, whatever this is about now.
    let upwards = matches!(command.verb(), Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup);
    Start { here, upwards }.target(command)
}

impl Start<'_> {
    fn target(self, command: &Command) -> Option<Target> {
        let argument = command.argument();
        // Ahead of everything, also of where options end.
        if has_control(argument) {
            return None;
        }
        let one = |reach| Some(Target { paths: vec![self.resolve(argument)?], reach });
        match command.verb() {
            Verb::Cdup | Verb::Xcup => Some(Target { paths: vec![self.resolve(b"..")?], reach: Reach::Itself }),
            Verb::List | Verb::Nlst | Verb::Stat => self.listing(argument),
            Verb::Mlsd | Verb::Mlst if argument.is_empty() => {
                Some(Target { paths: vec![self.resolve(b".")?], reach: Reach::Contents })
            }
            Verb::Mlsd | Verb::Mlst => one(Reach::Contents),
            Verb::Stou => self.stored_unique(argument),
            Verb::Mdtm | Verb::Mfmt => {
                let (mut paths, told) = (Vec::new(), behind_time(argument));
                // MFMT takes nothing but a time in front; MDTM may mean the whole.
                if command.verb() == Verb::Mdtm || told.is_none() {
                    paths.push(self.resolve(argument)?);
                }
                // A server may read for a time what is none.
                let behind_blank = argument.iter().position(|byte| *byte == b' ').map(|at| &argument[at + 1..]);
                let named = told.or_else(|| behind_blank.filter(|_| command.verb() == Verb::Mfmt));
                if let Some(name) = named {
                    paths.push(self.resolve(name)?);
                }
                Some(Target { paths, reach: Reach::Itself })
            }
            Verb::Rmd | Verb::Xrmd | Verb::Rnfr | Verb::Rnto => one(Reach::Tree),
            Verb::Dele
            | Verb::Retr
            | Verb::Stor
            | Verb::Appe
            | Verb::Mkd
            | Verb::Xmkd
            | Verb::Size
            | Verb::Cwd
            | Verb::Xcwd => one(Reach::Itself),
            _ => None,
        }
    }

    /// `LIST -la /x`: what begins with a dash is for the server's `ls`. A server that has none takes it for a name.
    fn listing(self, argument: &[u8]) -> Option<Target> {
        let (mut rest, mut recursive) = (argument.trim_ascii_start(), false);
        while rest.starts_with(b"-") {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            recursive |= lists_below(&rest[..end])?;
            rest = rest[end..].trim_ascii_start();
        }
        // With what stands before it, it would be no path from the root, and `..` would lead elsewhere.
        if rest.len() < argument.len() && rest.starts_with(b"/") && goes_up(rest) {
            return None;
        }
        let (path, mut something) = self.listed(if rest.is_empty() { b"." } else { rest })?;
        let mut paths = vec![path];
        // Servers that hand it to a program hand over each word (inetutils), and `ls` takes options behind names, too.
        if rest.contains(&b' ') {
            for word in rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
                if word.starts_with(b"-") {
                    recursive |= lists_below(word)?;
                }
                let (path, pattern) = self.listed(word)?;
                something |= pattern;
                paths.push(path);
            }
        }
        let reach = match (recursive, something) {
            (true, _) => Reach::Listing,
            (false, true) => Reach::Something,
            (false, false) => Reach::Contents,
        };
        Some(Target { paths, reach })
    }

    /// What a name shows, and whether that is a folder in which a pattern finds something.
    fn listed(self, name: &[u8]) -> Option<(Vec<u8>, bool)> {
        let path = self.resolve(name)?;
        let (folder, last) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => name.split_at(slash + 1),
            None => (&b"."[..], name),
        };
        let has_pattern = |text: &[u8]| text.iter().any(|byte| b"*?[]{}".contains(byte));
        // A pattern in the last name stays in its folder. One elsewhere, or in braces, may lead anywhere.
        // `.*` fits `..` as well, and to some shells `**` is whatever lies below.
        let fits_above = last.starts_with(b".") && has_pattern(last);
        let fits_below = last.windows(2).any(|two| two == b"**");
        if has_pattern(folder) || fits_above || fits_below || last.iter().any(|byte| b"[]{}".contains(byte)) {
            return None;
        }
        if has_pattern(last) { Some((self.resolve(folder)?, true)) } else { Some((path, false)) }
    }

    /// STOU: the server chooses the name, in the working directory or beside the one that was given.
    fn stored_unique(self, argument: &[u8]) -> Option<Target> {
        let mut folder = self.resolve(if argument.is_empty() { b"." } else { argument })?;
        if !argument.is_empty() {
            folder.truncate(folder.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1));
        }
        Some(Target { paths: vec![folder], reach: Reach::NewFile })
    }

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
/// session is. `None`: it cannot be told.
pub fn located(command: &Command, here: &WorkingDirectory) -> Option<Vec<u8>> {
    Start { here, upwards: true }.target(command)?.paths.pop()
}

/// Where a name that the server has said lies.
pub fn located_name(here: &WorkingDirectory, name: &[u8]) -> Option<Vec<u8>> {
    Start { here, upwards: true }.resolve(name)
}

/// Whether MDTM's argument has a time to set in front.
pub fn sets_time(argument: &[u8]) -> bool {
    behind_time(argument).is_some()
}

/// The name behind fourteen digits and a blank: many servers take it, and the digits for a time to set.
pub(super) fn behind_time(argument: &[u8]) -> Option<&[u8]> {
    let (time, name) = argument.split_at(argument.iter().position(|byte| *byte == b' ')?);
    let digits = time.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits >= 14 && name.len() > 1).then(|| &name[1..])
}

/// A byte that some servers take for another, or out: Pure-FTPd reads `_` for control bytes, and ProFTPD nothing for
/// Telnet sequences, which begin with 0xFF.
fn has_control(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_control() || *byte == 0xFF)
}

/// Whether an option of `ls` may list what is below. `None`: it may be a path, too.
fn lists_below(option: &[u8]) -> Option<bool> {
    (!option.contains(&b'/')).then(|| option.contains(&b'R') || option.starts_with(b"--"))
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

impl Target {
    /// Everything that the command is about is within these patterns, for sure.
    pub(super) fn lies_in(&self, patterns: &[PathPattern]) -> bool {
        let lies = |path: &[u8], pattern: &PathPattern| match self.reach {
            // Below a folder that moves or goes is nothing but what is in it.
            Reach::Itself | Reach::Tree => pattern.matches(path),
            Reach::Contents => pattern.matches_folder(path),
            Reach::Something | Reach::NewFile => pattern.matches_all_in(path),
            Reach::Listing => pattern.matches_all_below(path),
        };
        self.paths.iter().all(|path| patterns.iter().any(|pattern| lies(path, pattern)))
    }

    /// Something that the command is about may be within these patterns.
    pub(super) fn may_meet(&self, patterns: &[PathPattern]) -> bool {
        let meets = |path: &[u8], pattern: &PathPattern| match self.reach {
            Reach::Itself => pattern.matches(path),
            Reach::Contents => pattern.matches_folder(path),
            Reach::NewFile => pattern.may_match_in(path),
            Reach::Something | Reach::Tree | Reach::Listing => {
                pattern.matches_folder(path) || pattern.may_match_below(path)
            }
        };
        self.paths.iter().any(|path| patterns.iter().any(|pattern| meets(path, pattern)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
