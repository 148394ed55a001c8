//! What a session does at its backend beside transfers, and which files transfers are about: for whoever keeps a record.
//!
//! Invariant: an argument that may hold a secret (`SITE PSWD`, a verb nobody knows) is not kept.

use crate::ftp::{Command, Verb};
use crate::policy::{WorkingDirectory, located, located_name, may_set_time};

/// Words of SITE whose argument is a path, a mode or a time. Of any other word nothing is kept but the word.
const OPEN_SITES: [&[u8]; 10] =
    [b"CHMOD", b"CHGRP", b"CHOWN", b"UTIME", b"CPFR", b"CPTO", b"SYMLINK", b"MKDIR", b"RMDIR", b"UMASK"];

labelled! {
    /// What a command changes, or may change, at the backend.
    ChangeKind {
        Delete "delete" "a file is deleted (DELE)",
        Rename "rename" "a file or folder gets another name (RNFR, RNTO)",
        MakeDirectory "make_directory" "a folder is made (MKD)",
        RemoveDirectory "remove_directory" "a folder is removed (RMD)",
        SetTime "set_time" "a file's time is set (MFMT, or MDTM with what may be a time)",
        Site "site" "a command of the server's own (SITE)",
        Other "other" "a command that the gateway does not know",
    }
}

labelled! {
    /// What came of a change.
    ChangeResult {
        Completed "completed" "the backend said 2xx or 3xx",
        BackendRefused "backend_refused" "the backend said 4xx or 5xx",
        Unknown "unknown" "the session ended before the backend had answered: it may have been done",
    }
}

/// A file or folder: as the client gave it, and from the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Byte for byte what stood behind the verb.
    pub given: Vec<u8>,
    /// From the root, where the backend has said where the session is. `None`: it cannot be told.
    pub resolved: Option<Vec<u8>>,
}

/// A command that changes something at the backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it does.
    pub kind: ChangeKind,
    /// The verb as the client wrote it, and of SITE its word.
    pub command: Vec<u8>,
    /// What it is about.
    pub object: Object,
    /// Of a rename: what it was.
    pub from: Option<Object>,
}

/// What is known of a transfer's file beside its command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Particulars {
    /// The path from the root; see [`Object::resolved`].
    pub resolved: Option<Vec<u8>>,
    /// STOU: the name that the server chose, as it said it.
    pub stored_as: Option<Vec<u8>>,
    /// Where it began (REST), in bytes.
    pub offset: u64,
    /// The representation type is ASCII (TYPE A), in which the server may change line ends.
    pub ascii: bool,
}

impl ChangeKind {
    /// What a command changes. `None`: nothing.
    pub fn of(command: &Command) -> Option<Self> {
        match command.verb() {
            Verb::Dele => Some(Self::Delete),
            Verb::Rnto if command.has_argument() => Some(Self::Rename),
            Verb::Mkd | Verb::Xmkd => Some(Self::MakeDirectory),
            Verb::Rmd | Verb::Xrmd => Some(Self::RemoveDirectory),
            Verb::Mfmt => Some(Self::SetTime),
            Verb::Mdtm if may_set_time(command.argument()) => Some(Self::SetTime),
            Verb::Site => Some(Self::Site),
            Verb::Other => Some(Self::Other),
            _ => None,
        }
    }
}

impl Object {
    /// What a command is about. Empty where its argument may be a secret.
    pub fn of(command: &Command, here: &WorkingDirectory) -> Self {
        let given = match command.verb() {
            Verb::Site => match site(command.argument()) {
                (word, rest) if OPEN_SITES.iter().any(|open| open.eq_ignore_ascii_case(word)) => rest.to_vec(),
                _ => Vec::new(),
            },
            Verb::Other | Verb::Pass | Verb::Acct | Verb::Adat | Verb::User => Vec::new(),
            _ => command.argument().to_vec(),
        };
        Self { given, resolved: located(command, here) }
    }
}

impl Change {
    /// `None`: the command changes nothing.
    pub fn of(command: &Command, here: &WorkingDirectory, from: Option<Object>) -> Option<Box<Self>> {
        let kind = ChangeKind::of(command)?;
        let mut name = command.name().to_ascii_uppercase();
        if kind == ChangeKind::Site {
            name.push(b' ');
            name.extend(site(command.argument()).0.to_ascii_uppercase());
        }
        Some(Box::new(Self { kind, command: name, object: Object::of(command, here), from }))
    }
}

impl Particulars {
    /// Of a transfer that begins.
    pub fn of(command: &Command, here: &WorkingDirectory, offset: u64, ascii: bool) -> Self {
        Self { resolved: located(command, here), stored_as: None, offset, ascii }
    }

    /// The backend has replied to STOU.
    pub fn stored(&mut self, reply: &[u8], here: &WorkingDirectory) {
        if let Some(name) = stored_name(reply) {
            self.resolved = located_name(here, name);
            self.stored_as = Some(name.to_vec());
        }
    }
}

/// SITE's word, and what stands behind it.
fn site(argument: &[u8]) -> (&[u8], &[u8]) {
    let argument = argument.trim_ascii_start();
    let end = argument.iter().position(u8::is_ascii_whitespace).unwrap_or(argument.len());
    let (word, rest) = argument.split_at(end);
    (word, rest.trim_ascii_start())
}

/// `FILE: name` (RFC 1123 §4.1.2.9), or `(unique file name:name)` as BSD's server says it behind the transfer.
fn stored_name(reply: &[u8]) -> Option<&[u8]> {
    let behind = |words: &[u8]| {
        let at = reply.windows(words.len()).position(|window| window.eq_ignore_ascii_case(words))?;
        Some(reply[at + words.len()..].trim_ascii())
    };
    let name = match behind(b"FILE: ") {
        Some(name) => name,
        None => {
            let name = behind(b"(unique file name:")?;
            &name[..name.iter().rposition(|byte| *byte == b')')?]
        }
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        Command::parse(line.as_bytes()).unwrap()
    }

    fn here() -> WorkingDirectory {
        WorkingDirectory::told(b"\"/home/anna\" is here")
    }

    #[test]
    fn what_may_be_a_secret_is_not_kept() {
        for (line, kept, given) in [
            ("SITE PSWD old new", "SITE PSWD", ""),
            ("site  chmod 644 a b", "SITE CHMOD", "644 a b"),
            ("SITE", "SITE ", ""),
            ("XPASSWD secret", "XPASSWD", ""),
        ] {
            let change = Change::of(&command(line), &here(), None).unwrap();
            assert_eq!(
                (change.command.as_slice(), change.object.given.as_slice()),
                (kept.as_bytes(), given.as_bytes())
            );
        }
    }

    #[test]
    fn paths_are_told_from_the_root() {
        let change =
            |line| Change::of(&command(line), &here(), None).map(|change| (change.kind, change.object.resolved));
        let path = |path: &str| Some(path.as_bytes().to_vec());
        assert_eq!(change("DELE ../x"), Some((ChangeKind::Delete, path("/home/x"))));
        assert_eq!(change("XMKD /a//b/"), Some((ChangeKind::MakeDirectory, path("/a/b"))));
        assert_eq!(change("DELE ~/x"), Some((ChangeKind::Delete, None)));
        for time in ["MDTM 20260101000000 x", "MDTM 20260101 x", "MDTM 2xxxxxxxxxxxxx x", "MFMT 20260101000000 x"] {
            assert_eq!(change(time), Some((ChangeKind::SetTime, path("/home/anna/x"))), "{time}");
        }
        for nothing in ["MDTM x", "MDTM 2026 x", "PWD", "CWD /", "RETR x", "SIZE x", "RNFR x"] {
            assert_eq!(change(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_servers_own_name_is_taken_from_its_reply() {
        for (reply, name) in [
            ("FILE: in-0001", Some("in-0001")),
            ("Opening data connection; transfer starting: FILE: a b", Some("a b")),
            ("Transfer complete (unique file name:x.1).", Some("x.1")),
            ("Transfer complete", None),
            ("FILE: ", None),
        ] {
            let mut particulars = Particulars::of(&command("STOU x"), &here(), 0, false);
            assert_eq!(particulars.resolved, None);
            particulars.stored(reply.as_bytes(), &here());
            assert_eq!(particulars.stored_as.as_deref(), name.map(str::as_bytes), "{reply}");
            assert_eq!(particulars.resolved.is_some(), name.is_some());
        }
    }
}
