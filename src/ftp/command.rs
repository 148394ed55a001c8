//! A command: verb and argument (RFC 959 §5.3).

use std::fmt;

use super::printable::Printable;
use super::verb::Verb;

/// The longest verb that is looked at. The standard's are three or four letters; `SITE`-less extensions of some
/// servers have up to ten.
const LONGEST_VERB: usize = 16;

/// A verb and, behind one space, its argument byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    verb: Verb,
    name: Vec<u8>,
    argument: Option<Vec<u8>>,
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandFlaw {
    /// Nothing on the line.
    #[error("an empty line is not a command")]
    Empty,
    /// The line does not begin with a word of letters, digits and nothing else.
    #[error("a command begins with a verb of letters")]
    Verb,
}

impl Command {
    /// A command of the gateway's own making. `argument` must not hold line ends; those the gateway makes never do.
    pub fn new(verb: Verb, argument: impl Into<Vec<u8>>) -> Self {
        Self { verb, name: verb.label().into(), argument: Some(argument.into()) }
    }

    /// A command of the gateway's own making, without an argument.
    pub fn bare(verb: Verb) -> Self {
        Self { verb, name: verb.label().into(), argument: None }
    }

    /// Reads a command from a line. One space ends the verb; everything behind it, further blanks included, is the
    /// argument: names may begin and end with blanks.
    ///
    /// # Errors
    /// When the line holds no verb.
    pub fn parse(line: &[u8]) -> Result<Self, CommandFlaw> {
        if line.is_empty() {
            return Err(CommandFlaw::Empty);
        }
        let (name, argument) = match line.iter().position(|&byte| byte == b' ') {
            Some(space) => (&line[..space], Some(line[space + 1..].to_vec())),
            None => (line, None),
        };
        let is_verb = (1..=LONGEST_VERB).contains(&name.len()) && name.iter().all(u8::is_ascii_alphanumeric);
        if !is_verb {
            return Err(CommandFlaw::Verb);
        }
        Ok(Self { verb: Verb::parse(name), name: name.to_vec(), argument })
    }

    /// The verb.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The verb as the client wrote it.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The argument; empty when there is none.
    pub fn argument(&self) -> &[u8] {
        self.argument.as_deref().unwrap_or_default()
    }

    /// Whether there is something behind the verb. Blanks are nothing: servers skip them.
    pub fn has_argument(&self) -> bool {
        self.argument.as_ref().is_some_and(|argument| !argument.trim_ascii().is_empty())
    }

    /// The line's length in bytes, without its line end.
    pub fn length(&self) -> usize {
        self.name.len() + self.argument.as_ref().map_or(0, |argument| 1 + argument.len())
    }

    /// The line for the wire, with CRLF.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.name.len() + self.argument().len() + 3);
        wire.extend_from_slice(&self.name);
        if let Some(argument) = &self.argument {
            wire.push(b' ');
            wire.extend_from_slice(argument);
        }
        wire.extend_from_slice(b"\r\n");
        wire
    }

    /// Whether the argument is a secret that must not be shown.
    fn is_secret(&self) -> bool {
        matches!(self.verb, Verb::Pass | Verb::Acct | Verb::Adat)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable(&self.name))?;
        match &self.argument {
            None => Ok(()),
            Some(_) if self.is_secret() => f.write_str(" ****"),
            Some(argument) => write!(f, " {}", Printable(argument)),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

/// Bytes that never print: a password on its way from the client to the backend.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the secret bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that sends them on.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::{Cut, LineCutter};
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Result<Command, CommandFlaw> {
        Command::parse(bytes)
    }

    #[test]
    fn one_space_ends_the_verb_and_the_rest_is_the_argument() {
        let command = parse(b"RETR  a b ").unwrap();
        assert_eq!((command.verb(), command.argument()), (Verb::Retr, &b" a b "[..]));
        assert_eq!(command.to_wire(), b"RETR  a b \r\n");
    }

    #[test]
    fn no_verb_no_command() {
        assert_eq!(parse(b""), Err(CommandFlaw::Empty));
        for line in [&b" NOOP"[..], b"\xe9", b"A-B", b"VERYLONGVERBINDEED"] {
            assert_eq!(parse(line), Err(CommandFlaw::Verb), "{line:?}");
        }
    }

    #[test]
    fn passwords_do_not_print() {
        for shown in [format!("{:?}", parse(b"PASS hunter2").unwrap()), format!("{:?}", Secret::new(*b"hunter2"))] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn parse_after_write_is_identity(
            name in "[A-Za-z]{1,8}",
            argument in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        ) {
            // What a line can hold.
            let keep = |byte: &u8| !matches!(byte, 0 | b'\r' | b'\n');
            let argument: Option<Vec<u8>> = argument.map(|bytes| bytes.into_iter().filter(keep).collect());
            let command = Command {
                verb: Verb::parse(name.as_bytes()), name: name.into_bytes(), argument,
            };
            let mut cutter = LineCutter::commands(1000);
            cutter.push(&command.to_wire());
            let Some(Cut::Line(line)) = cutter.next_cut() else { panic!("no line") };
            prop_assert_eq!(Command::parse(&line), Ok(command));
        }

        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }
    }
}
