//! Listings as real servers read them. Which server it is, is the line's choice.

use ftps_gateway::ftp::Verb;

use super::server::{Deed, Kind, Names, Server, fits};

fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace()
}

/// Letters and digits behind dashes: whether everything below is asked for, and the rest. `exact`: behind two blanks or an
/// odd byte and a blank, the second blank is the name's, as ProFTPD has it.
fn options_by_letter(argument: &[u8], exact: bool) -> (bool, &[u8]) {
    let trimmed = argument.trim_ascii_start();
    let (mut rest, mut recursive) = (if trimmed.starts_with(b"-") || !exact { trimmed } else { argument }, false);
    while rest.starts_with(b"-") {
        let end = rest.iter().skip(1).position(|byte| !byte.is_ascii_alphanumeric()).map_or(rest.len(), |at| at + 1);
        recursive |= rest[..end].contains(&b'R');
        rest = &rest[end..];
        let behind = rest.trim_ascii_start();
        if exact && !behind.starts_with(b"-") && rest.get(1) == Some(&b' ') {
            return (recursive, &rest[1..]);
        }
        rest = behind;
    }
    (recursive, rest)
}

/// Behind a dash the first word is for `ls`, and the rest is a name, blanks and all.
fn options_in_one_word(argument: &[u8]) -> (bool, &[u8]) {
    if !argument.starts_with(b"-") {
        return (false, argument);
    }
    let end = argument.iter().position(|byte| *byte == b' ').unwrap_or(argument.len());
    (argument[..end].contains(&b'R'), argument.get(end + 1..).unwrap_or_default())
}

/// What may be left of an earlier command.
const LEFT: &[u8] = b"/secret";

/// As Pure-FTPd takes options of NLST and MLSD: with the word it takes away the blank behind it, and one byte more. Behind a
/// single word it reads what is left of an earlier command.
fn first_letter_taken(argument: &[u8]) -> &[u8] {
    let Some(blank) = argument.iter().position(is_blank) else { return LEFT };
    let mut rest = &argument[blank + 1..];
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if !is_blank(first) {
            break;
        }
    }
    rest
}

impl Server {
    /// What is listed.
    pub(super) fn lists(&self, seat: usize, verb: Verb, argument: &[u8], style: u8) -> Vec<Deed> {
        let argument = &self.read(argument)[..];
        if !self.has_options {
            return vec![self.listed(seat, false, argument)];
        }
        let one = |(recursive, name)| vec![self.listed(seat, recursive, name)];
        match (style >> 2 & 3, verb) {
            (0..=2, Verb::Mlsd) => one((false, argument)),
            (0, _) => one(options_in_one_word(argument)),
            (1, _) => self.listed_by_a_program(seat, argument),
            (2, Verb::Stat) if argument.starts_with(b"-") => {
                let end = argument.iter().position(is_blank).unwrap_or(argument.len());
                one(options_by_letter(argument[end..].trim_ascii_start(), true))
            }
            (2, _) => one(options_by_letter(argument, true)),
            (_, Verb::Nlst | Verb::Mlsd) => {
                let there = self.all().any(|path| path == self.walk(seat, argument));
                one((false, if there || !argument.starts_with(b"-") { argument } else { first_letter_taken(argument) }))
            }
            (_, _) => {
                let (recursive, rest) = options_by_letter(argument, false);
                let mut names = rest.split(|byte| *byte == b' ').filter(|name| !name.is_empty()).collect::<Vec<_>>();
                names.extend(rest.is_empty().then_some(rest));
                names.into_iter().map(|name| self.listed(seat, recursive, name)).collect()
            }
        }
    }

    /// Each word by itself, and options behind names too.
    fn listed_by_a_program(&self, seat: usize, argument: &[u8]) -> Vec<Deed> {
        let words = argument.split(is_blank).filter(|word| !word.is_empty());
        let (options, mut names): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with(b"-"));
        let recursive = options.iter().any(|option| option.contains(&b'R') || *option == b"--recursive");
        if names.is_empty() {
            names.push(&b"."[..]);
        }
        names.into_iter().map(|name| self.listed(seat, recursive, name)).collect()
    }

    fn listed(&self, seat: usize, recursive: bool, name: &[u8]) -> Deed {
        let from_the_root = name.starts_with(b"/");
        let deed = |touched, folder| Deed { kind: Kind::Asks, touched, folder, from_the_root };
        let asked: Names = self.walk(seat, if name.is_empty() { b"." } else { name });
        // Only what is asked for is a pattern: the folder that the session is in is there already, whatever it is called.
        if name.iter().any(|byte| b"*?[".contains(byte)) {
            let here = self.path(self.seats[seat].here);
            let stays = !from_the_root && !name.split(|byte| *byte == b'/').any(|name| name == b"..");
            let fitting = self.all().filter(|path| fits(&asked, path) && (!stays || path.starts_with(&here)));
            let found = fitting.collect::<Vec<_>>();
            let within = found.iter().flat_map(|found| if recursive { self.below(found) } else { vec![found.clone()] });
            return deed(within.collect(), None);
        }
        // What is not there shows nothing.
        if !asked.is_empty() && self.all().all(|path| path != asked) {
            return deed(Vec::new(), None);
        }
        let mut found = self.below(&asked);
        found.retain(|path| path.len() == asked.len() + 1 || (recursive && path.len() > asked.len()));
        deed(found, Some((asked, recursive)))
    }
}
