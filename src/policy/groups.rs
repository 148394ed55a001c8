//! What rules for commands are written in: groups of verbs, verbs, and the words of SITE.
//!
//! Invariant: every verb is in one group at most, and only what can reach a server can be in a rule.

use super::commands::{Disposition, disposition};
use crate::ftp::Verb;

/// Commands that are allowed or denied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Files, listings, and what is known of them.
    Read,
    /// Files and folders that come to be or change.
    Write,
    /// Files and folders that go.
    Delete,
    /// Files and folders that move.
    Rename,
    /// The server's own commands.
    Admin,
}

impl Group {
    /// Every group.
    pub const ALL: &'static [Self] = &[Self::Read, Self::Write, Self::Delete, Self::Rename, Self::Admin];

    /// The name in `gateway.yaml`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::Admin => "admin",
        }
    }
}

/// The group of a verb. `None`: the gateway's own, or one that moves nothing and that every session needs. One exhaustive
/// match: a new verb must be placed.
pub fn group(verb: Verb) -> Option<Group> {
    match verb {
        Verb::Retr | Verb::List | Verb::Nlst | Verb::Mlsd | Verb::Mlst | Verb::Stat | Verb::Size | Verb::Mdtm => {
            Some(Group::Read)
        }
        Verb::Stor | Verb::Appe | Verb::Stou | Verb::Mkd | Verb::Xmkd | Verb::Mfmt => Some(Group::Write),
        Verb::Dele | Verb::Rmd | Verb::Xrmd => Some(Group::Delete),
        Verb::Rnfr | Verb::Rnto => Some(Group::Rename),
        Verb::Site | Verb::Smnt => Some(Group::Admin),
        Verb::Abor
        | Verb::Acct
        | Verb::Adat
        | Verb::Allo
        | Verb::Auth
        | Verb::Ccc
        | Verb::Cdup
        | Verb::Clnt
        | Verb::Conf
        | Verb::Cpsv
        | Verb::Cwd
        | Verb::Enc
        | Verb::Eprt
        | Verb::Epsv
        | Verb::Feat
        | Verb::Help
        | Verb::Host
        | Verb::Lang
        | Verb::Lprt
        | Verb::Lpsv
        | Verb::Mic
        | Verb::Mode
        | Verb::Noop
        | Verb::Opts
        | Verb::Pass
        | Verb::Pasv
        | Verb::Pbsz
        | Verb::Port
        | Verb::Prot
        | Verb::Pwd
        | Verb::Quit
        | Verb::Rein
        | Verb::Rest
        | Verb::Sscn
        | Verb::Stru
        | Verb::Syst
        | Verb::Type
        | Verb::User
        | Verb::Xcup
        | Verb::Xcwd
        | Verb::Xpwd
        | Verb::Other => None,
    }
}

/// One entry of `allow` or `deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// All commands of a group.
    Group(Group),
    /// A verb that the gateway knows.
    Verb(Verb),
    /// A verb that it does not know, in capitals.
    Named(Box<[u8]>),
    /// A command of SITE, in capitals.
    Site(Box<[u8]>),
}

impl Entry {
    /// Reads an entry: a group in small letters, or a verb in capitals; `SITE CHMOD` is one word of SITE.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_word =
            |word: &str| (1..=16).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let in_capitals = |word: &str| is_word(word) && !word.bytes().any(|byte| byte.is_ascii_lowercase());
        if let Some(group) = Group::ALL.iter().find(|group| group.label() == text) {
            return Ok(Self::Group(*group));
        }
        if let Some(word) = text.strip_prefix("SITE ") {
            return if in_capitals(word) {
                Ok(Self::Site(word.as_bytes().into()))
            } else {
                Err("is no command of SITE")
            };
        }
        if !in_capitals(text) {
            return Err("is neither a group nor a verb in capitals");
        }
        let verb = Verb::parse(text.as_bytes());
        match disposition(verb) {
            _ if verb == Verb::Other => Ok(Self::Named(text.as_bytes().into())),
            Disposition::Forward | Disposition::Transfer(_) if !matches!(verb, Verb::Pass | Verb::Acct) => {
                Ok(Self::Verb(verb))
            }
            Disposition::Own if verb == Verb::Stat => Ok(Self::Verb(verb)),
            Disposition::Forward
            | Disposition::Transfer(_)
            | Disposition::Own
            | Disposition::Arrange
            | Disposition::NotImplemented => Err("is the gateway's own and no rule is for it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_no_verbs() {
        for text in ["raed", "Read", "stor", "SITE", "XCRC", "STAT"] {
            assert_eq!(Entry::parse(text).is_ok(), text.bytes().all(|byte| byte.is_ascii_uppercase()), "{text}");
        }
        for text in ["", "A B", "SITE ", "SITE chmod", "PASV", "AUTH", "PASS", "QUIT", "CPSV"] {
            assert!(Entry::parse(text).is_err(), "{text}");
        }
    }
}
