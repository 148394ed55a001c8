//! What a command is about: its paths, and how far beyond them it reaches.
//!
//! Invariant: a target has every path that some known server may take the command for.

use super::times::{at_blank, behind_time};
use super::{Start, WorkingDirectory, has_control};
use crate::ftp::{Command, Verb};
use crate::policy::path_pattern::PathPattern;

/// What a command is about.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) struct Target {
    pub(super) paths: Vec<Vec<u8>>,
    pub(super) reach: Reach,
}

/// How far beyond its path a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
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

/// The target of a command, for a rule. `None`: it cannot be told for sure.
pub(in crate::policy) fn target(command: &Command, here: &WorkingDirectory) -> Option<Target> {
    // Behind a move the server says where the session is, whatever this is about now.
    let upwards = matches!(command.verb(), Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup);
    Start { here, upwards }.target(command)
}

impl Start<'_> {
    pub(super) fn target(self, command: &Command) -> Option<Target> {
        let argument = command.argument();
        // Ahead of everything, also of where options end.
        if has_control(argument) {
            return None;
        }
        let one = |reach| Some(Target { paths: vec![self.resolve(argument)?], reach });
        match command.verb() {
            Verb::Cdup | Verb::Xcup => Some(Target { paths: vec![self.resolve(b"..")?], reach: Reach::Itself }),
            Verb::List | Verb::Nlst | Verb::Stat => self.listing(command.verb(), argument),
            Verb::Mlsd | Verb::Mlst if argument.is_empty() => {
                Some(Target { paths: vec![self.resolve(b".")?], reach: Reach::Contents })
            }
            // RFC 3659 has neither options nor patterns. Pure-FTPd has both: what is no folder by its whole name is read as
            // for NLST.
            Verb::Mlsd if argument.starts_with(b"-") => None,
            Verb::Mlsd => {
                let (path, pattern) = self.listed(argument)?;
                Some(Target { paths: vec![path], reach: if pattern { Reach::Something } else { Reach::Contents } })
            }
            Verb::Mlst => one(Reach::Contents),
            Verb::Stou => self.stored_unique(argument),
            // To some servers it is a name, to others a time and a name.
            Verb::Mdtm => {
                let mut paths = vec![self.resolve(argument)?];
                if let Some(name) = behind_time(argument) {
                    paths.push(self.resolve(name)?);
                }
                Some(Target { paths, reach: Reach::Itself })
            }
            Verb::Mfmt => {
                let name = at_blank(argument).map_or(argument, |(_, name)| name);
                Some(Target { paths: vec![self.resolve(name)?], reach: Reach::Itself })
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

    /// STOU: the server chooses the name. ProFTPD and Pure-FTPd do so in the working directory, whatever the argument is.
    /// vsftpd and inetutils put a number behind the argument, so that `/x/` is a file in `/x`; pyftpdlib does so beside what
    /// it leads to, where the slash says nothing.
    fn stored_unique(self, argument: &[u8]) -> Option<Target> {
        let mut paths = vec![self.resolve(b".")?];
        if !argument.is_empty() {
            let mut beside = self.resolve(argument)?;
            // Beside the working directory is up, and that is wherever it is by now.
            if !argument.starts_with(b"/") && beside == paths[0] {
                return None;
            }
            beside.truncate(beside.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1));
            paths.push(beside);
        }
        if let Some(slash) = argument.iter().rposition(|byte| *byte == b'/') {
            paths.push(self.resolve(&argument[..=slash])?);
        }
        Some(Target { paths, reach: Reach::NewFile })
    }
}

impl Target {
    /// Everything that the command is about is within these patterns, for sure.
    pub(in crate::policy) fn lies_in(&self, patterns: &[PathPattern]) -> bool {
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
    pub(in crate::policy) fn may_meet(&self, patterns: &[PathPattern]) -> bool {
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
