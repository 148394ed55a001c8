//! `access.commands`: which commands a user may use, and on which paths.
//!
//! The first rule that fits user, network, listener, path *and* command decides. Whoever an `allow` rule speaks of may do
//! nothing else than what rules allow; all others may do what no rule denies. Verbs that the gateway does not know pass
//! only where a rule allows them by name, as soon as there is any rule. What is not known is refused, never guessed.

use std::sync::Arc;

use ipnet::IpNet;

use super::groups::{Entry, Group, group};
use super::path_pattern::PathPattern;
use super::paths::{WorkingDirectory, may_set_time, target};
use super::refusal::Refusal;
use super::route::{Glob, Traveller};
use crate::ftp::{Command, Verb};

/// One rule; every condition that is there must hold, and within a condition any entry.
#[derive(Debug, Clone, Default)]
pub struct CommandRule {
    /// User names.
    pub user: Option<Vec<Glob>>,
    /// Networks of clients.
    pub clients: Option<Vec<IpNet>>,
    /// A listener's name.
    pub listener: Option<String>,
    /// What is allowed.
    pub allow: Vec<Entry>,
    /// What is not, also when `allow` of this rule has it.
    pub deny: Vec<Entry>,
    /// Paths that the rule is about; `None`: it does not ask.
    pub paths: Option<Vec<PathPattern>>,
}

/// All rules in their order.
#[derive(Debug, Clone, Default)]
pub struct CommandRules {
    rules: Vec<Arc<CommandRule>>,
}

/// What one user may do: the rules that speak of him.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    ruled: bool,
    rules: Vec<Arc<CommandRule>>,
}

struct Request<'a> {
    command: &'a Command,
    group: Option<Group>,
    site: Option<Site<'a>>,
}

/// The word of a SITE.
enum Site<'a> {
    /// This one, for every server.
    Word(&'a [u8]),
    /// Servers may find another one in it: ProFTPD takes off quotes, and ends a word at any blank byte.
    Unclear,
}

impl CommandRules {
    /// Takes the rules in the order they are tried.
    pub fn new(rules: Vec<CommandRule>) -> Self {
        Self { rules: rules.into_iter().map(Arc::new).collect() }
    }

    /// All of them, in the order they are tried.
    pub fn all(&self) -> impl Iterator<Item = &CommandRule> {
        self.rules.iter().map(|rule| &**rule)
    }

    /// Whether a rule asks for a listener.
    pub fn name_listeners(&self) -> bool {
        self.rules.iter().any(|rule| rule.listener.is_some())
    }

    /// The rights of whoever has come this way.
    pub fn rights(&self, traveller: &Traveller<'_>) -> Rights {
        let rules = self.rules.iter().filter(|rule| rule.speaks_of(traveller)).map(Arc::clone).collect();
        Rights { ruled: !self.rules.is_empty(), rules }
    }
}

impl CommandRule {
    fn speaks_of(&self, traveller: &Traveller<'_>) -> bool {
        let user = self.user.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(traveller.user)));
        let client = traveller.client.to_canonical();
        let client = self.clients.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&client)));
        user && client && self.listener.as_ref().is_none_or(|name| name == traveller.listener)
    }
}

impl Rights {
    /// Whether a rule asks for paths, so that the working directory must be known.
    pub fn ask_for_paths(&self) -> bool {
        self.rules.iter().any(|rule| rule.paths.is_some())
    }

    /// Whether this command may be used here.
    ///
    /// # Errors
    /// When a rule denies it or none allows it, or its path is not known and a rule asks for it.
    pub(super) fn check(&self, command: &Command, here: &WorkingDirectory) -> Result<(), Refusal> {
        if !self.ruled {
            return Ok(());
        }
        let request = Request::of(command);
        let (mut elsewhere, mut found) = (false, None);
        for rule in &self.rules {
            let denied = rule.deny.iter().any(|entry| request.may_be(entry));
            if !denied && !rule.allow.iter().any(|entry| request.is(entry)) {
                continue;
            }
            if let Some(patterns) = &rule.paths {
                let target = found.get_or_insert_with(|| target(command, here));
                let target = target.as_ref().ok_or(Refusal::PathUnknown)?;
                let meets = if denied { target.may_meet(patterns) } else { target.lies_in(patterns) };
                if !meets {
                    elsewhere |= !denied;
                    continue;
                }
            }
            return if denied { Err(request.refusal(rule.paths.is_some())) } else { Ok(()) };
        }
        let unknown = command.verb() == Verb::Other;
        let only_what_is_allowed = self.rules.iter().any(|rule| !rule.allow.is_empty());
        if unknown || (request.group.is_some() && only_what_is_allowed) {
            return Err(request.refusal(elsewhere));
        }
        Ok(())
    }
}

impl<'a> Site<'a> {
    fn of(argument: &'a [u8]) -> Self {
        let word = argument.split(|byte| *byte == b' ').next().unwrap_or_default();
        let plain = word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
        if plain && !word.is_empty() { Self::Word(word) } else { Self::Unclear }
    }
}

impl<'a> Request<'a> {
    fn of(command: &'a Command) -> Self {
        let argument = command.argument();
        let site = (command.verb() == Verb::Site).then(|| Site::of(argument));
        let group = match command.verb() {
            Verb::Mdtm if may_set_time(argument) => Some(Group::Write),
            verb => group(verb),
        };
        Self { command, group, site }
    }

    /// An entry is about it, or it cannot be told.
    fn may_be(&self, entry: &Entry) -> bool {
        // What may set a time is a question about a name to servers that have not learned it.
        let asks = matches!(entry, Entry::Group(other) if group(self.command.verb()) == Some(*other));
        asks || self.is(entry) || matches!((entry, &self.site), (Entry::Site(_), Some(Site::Unclear)))
    }

    /// An entry is about it.
    fn is(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Group(group) => self.group == Some(*group),
            Entry::Verb(verb) => self.command.verb() == *verb,
            Entry::Named(name) => self.command.verb() == Verb::Other && self.command.name().eq_ignore_ascii_case(name),
            Entry::Site(word) => matches!(self.site, Some(Site::Word(own)) if own.eq_ignore_ascii_case(word)),
        }
    }

    /// RFC 959 §5.4: 553 where a name is not allowed to be written, 550 for what is done with files, 502 for the rest.
    fn refusal(&self, by_path: bool) -> Refusal {
        match (self.command.verb(), self.group) {
            (Verb::Stor | Verb::Appe | Verb::Stou | Verb::Rnto, _) if by_path => Refusal::NameDenied,
            (verb, _) if by_path && !matches!(verb, Verb::Site | Verb::Other) => Refusal::PathDenied,
            (_, Some(Group::Read | Group::Write | Group::Delete | Group::Rename)) => Refusal::CommandDenied,
            (_, Some(Group::Admin) | None) => Refusal::VerbDenied,
        }
    }
}

#[cfg(test)]
mod tests;
