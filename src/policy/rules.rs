//! `access.commands`: which commands a user may use, and on which paths.
//!
//! The first rule that fits user, network, listener, path *and* command decides. Whoever an `allow` rule speaks of may do
//! nothing else than what rules allow; all others may do what no rule denies. Verbs that the gateway does not know pass
//! only where a rule allows them by name, as soon as there is any rule. What is not known is refused, never guessed.

use std::sync::Arc;

use ipnet::IpNet;

use super::commands::{Disposition, disposition};
use super::paths::{PathPattern, WorkingDirectory, target};
use super::refusal::Refusal;
use super::route::{Glob, Traveller};
use crate::ftp::{Command, Verb};

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

    fn holds(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Group(group) => request.group == Some(*group),
            Self::Verb(verb) => request.command.verb() == *verb,
            Self::Named(name) => {
                request.command.verb() == Verb::Other && request.command.name().eq_ignore_ascii_case(name)
            }
            Self::Site(word) => request.site.is_some_and(|own| own.eq_ignore_ascii_case(word)),
        }
    }
}

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
    site: Option<&'a [u8]>,
}

impl CommandRules {
    /// Takes the rules in the order they are tried.
    pub fn new(rules: Vec<CommandRule>) -> Self {
        Self { rules: rules.into_iter().map(Arc::new).collect() }
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
        let mut elsewhere = false;
        for rule in &self.rules {
            let denied = rule.deny.iter().any(|entry| entry.holds(&request));
            if !denied && !rule.allow.iter().any(|entry| entry.holds(&request)) {
                continue;
            }
            if let Some(patterns) = &rule.paths {
                let target = target(command, here).ok_or(Refusal::PathUnknown)?;
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

impl<'a> Request<'a> {
    fn of(command: &'a Command) -> Self {
        let argument = command.argument();
        let mut words = argument.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let site = (command.verb() == Verb::Site).then(|| words.next().unwrap_or_default());
        // With a time in front of the name MDTM sets the time on many servers.
        let group = match command.verb() {
            Verb::Mdtm if super::paths::behind_time(argument).is_some() => Some(Group::Write),
            verb => group(verb),
        };
        Self { command, group, site }
    }

    /// RFC 959 §5.4: 553 where a name is not allowed to be written, 550 for what is done with files, 502 for the rest.
    fn refusal(&self, by_path: bool) -> Refusal {
        match (self.command.verb(), self.group) {
            (Verb::Stor | Verb::Appe | Verb::Stou | Verb::Rnto, _) if by_path => Refusal::NameDenied,
            (_, Some(Group::Read | Group::Write | Group::Delete | Group::Rename)) if by_path => Refusal::PathDenied,
            (_, Some(Group::Read | Group::Write | Group::Delete | Group::Rename)) => Refusal::CommandDenied,
            (_, Some(Group::Admin) | None) => Refusal::VerbDenied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        Command::parse(line.as_bytes()).unwrap()
    }

    fn entries(texts: &[&str]) -> Vec<Entry> {
        texts.iter().map(|text| Entry::parse(text).unwrap()).collect()
    }

    fn rule(user: &str, allow: &[&str], deny: &[&str], paths: &[&str]) -> CommandRule {
        let patterns = || paths.iter().map(|path| PathPattern::new(path).unwrap()).collect();
        CommandRule {
            user: Some(vec![Glob::new(user).unwrap()]),
            allow: entries(allow),
            deny: entries(deny),
            paths: (!paths.is_empty()).then(patterns),
            ..CommandRule::default()
        }
    }

    #[track_caller]
    fn table(rules: Vec<CommandRule>, cases: &[(&str, &str, Result<(), Refusal>)]) {
        let rules = CommandRules::new(rules);
        for (user, line, expected) in cases {
            let traveller = Traveller {
                user: user.as_bytes(),
                host: None,
                client: "192.0.2.1".parse().unwrap(),
                listener: "public",
            };
            let here = WorkingDirectory::told(b"\"/home\" is here");
            assert_eq!(rules.rights(&traveller).check(&command(line), &here), *expected, "{user}: {line}");
        }
    }

    const FINE: Result<(), Refusal> = Ok(());
    const DENIED: Result<(), Refusal> = Err(Refusal::CommandDenied);
    const VERB: Result<(), Refusal> = Err(Refusal::VerbDenied);
    const PATH: Result<(), Refusal> = Err(Refusal::PathDenied);
    const NAME: Result<(), Refusal> = Err(Refusal::NameDenied);
    const UNKNOWN: Result<(), Refusal> = Err(Refusal::PathUnknown);

    #[test]
    fn the_contracts_example() {
        let rules = vec![rule("report-*", &["read"], &[], &[]), rule("*", &[], &["SITE EXEC", "SITE CPFR"], &[])];
        table(
            rules,
            &[
                ("report-1", "RETR x", FINE),
                ("report-1", "LIST -la", FINE),
                ("report-1", "STOR x", DENIED),
                ("report-1", "DELE x", DENIED),
                ("report-1", "RNFR x", DENIED),
                ("report-1", "SITE HELP", VERB),
                ("report-1", "MDTM 20200101000000 x", DENIED),
                ("report-1", "MDTM x", FINE),
                ("report-1", "CWD /", FINE),
                ("report-1", "TYPE I", FINE),
                ("report-1", "REST 5", FINE),
                ("report-1", "XCRC x", VERB),
                ("anna", "STOR x", FINE),
                ("anna", "SITE CHMOD 644 x", FINE),
                ("anna", "site \t exec id", VERB),
                ("anna", "XCRC x", VERB),
            ],
        );
    }

    #[test]
    fn upload_only_and_download_only_are_one_line_each() {
        let rules = vec![rule("drop-*", &["write"], &[], &[]), rule("fetch-*", &["read"], &[], &[])];
        table(
            rules,
            &[
                ("drop-1", "STOR a", FINE),
                ("drop-1", "APPE a", FINE),
                ("drop-1", "STOU", FINE),
                ("drop-1", "MKD a", FINE),
                ("drop-1", "RETR a", DENIED),
                ("drop-1", "LIST", DENIED),
                ("drop-1", "DELE a", DENIED),
                ("fetch-1", "MLSD", FINE),
                ("fetch-1", "STOU", DENIED),
                ("fetch-1", "XMKD a", DENIED),
                ("anna", "DELE a", FINE),
            ],
        );
    }

    #[test]
    fn the_first_rule_with_the_command_in_it_decides() {
        let rules = vec![
            rule("root", &["SITE EXEC", "XCRC"], &[], &[]),
            rule("*", &[], &["admin", "CWD"], &[]),
            rule("root", &["read", "write"], &["APPE"], &[]),
        ];
        table(
            rules,
            &[
                ("root", "SITE EXEC", FINE),
                ("root", "SITE CHMOD", VERB),
                ("root", "xcrc a", FINE),
                ("root", "XMD5 a", VERB),
                ("root", "STOR a", FINE),
                ("root", "APPE a", DENIED),
                ("root", "DELE a", DENIED),
                ("anna", "CWD /", VERB),
                ("anna", "DELE a", FINE),
                ("anna", "SITE", VERB),
            ],
        );
    }

    #[test]
    fn paths_say_what_is_allowed_where() {
        let rules = vec![rule("*", &["write"], &[], &["/in/**"]), rule("*", &["read"], &[], &["/in/**", "/out/**"])];
        table(
            rules,
            &[
                ("a", "STOR /in/x", FINE),
                ("a", "STOR ../in/x", FINE),
                ("a", "STOR x", NAME),
                ("a", "STOR /in/../out/x", NAME),
                ("a", "RETR /out/x", FINE),
                ("a", "RETR /etc/passwd", PATH),
                ("a", "RETR /in/../../../out/./x", FINE),
                ("a", "LIST /in", FINE),
                ("a", "LIST -la /out/a b", FINE),
                ("a", "LIST", PATH),
                ("a", "LIST -laR /out", FINE),
                ("a", "LIST -R /", PATH),
                ("a", "MKD /new", PATH),
                ("a", "DELE /in/x", DENIED),
                ("a", "RETR ~bob/x", UNKNOWN),
                ("a", "RETR /in/..\\out", UNKNOWN),
                ("a", "SITE CHMOD 1 /in/x", VERB),
                ("a", "CWD /etc", FINE),
            ],
        );
    }

    #[test]
    fn what_is_denied_by_path_is_denied_whatever_way_it_is_named() {
        let rules = vec![rule("*", &[], &["read", "rename", "delete", "SITE"], &["/secret/**"])];
        table(
            rules,
            &[
                ("a", "RETR /secret/x", PATH),
                ("a", "RETR ../secret/x", PATH),
                ("a", "RETR //secret/./x", PATH),
                ("a", "LIST /secret", PATH),
                ("a", "LIST /sec*", PATH),
                ("a", "NLST *.csv", FINE),
                ("a", "LIST /{secret,x}", UNKNOWN),
                ("a", "LIST -R /", PATH),
                ("a", "LIST /", FINE),
                ("a", "RNFR /secret", PATH),
                ("a", "RNFR /pub", FINE),
                ("a", "RMD /secret/a", PATH),
                ("a", "STOR /secret/x", FINE),
                ("a", "SITE CHMOD 644 x", UNKNOWN),
                ("a", "RETR /secrets", FINE),
            ],
        );
    }

    #[test]
    fn a_working_directory_that_is_not_known_is_refused_and_an_absolute_path_is_not() {
        let rules = CommandRules::new(vec![rule("*", &["read"], &[], &["/in/**"])]);
        let traveller = Traveller { user: b"a", host: None, client: "192.0.2.1".parse().unwrap(), listener: "x" };
        let rights = rules.rights(&traveller);
        assert!(rights.ask_for_paths());
        for reply in [&b"'USER1.' is the working directory"[..], b"\"C:\\\\home\"", b"\"relative\"", b"\"/open", b""] {
            let here = WorkingDirectory::told(reply);
            assert_eq!(rights.check(&command("RETR x"), &here), UNKNOWN);
            assert_eq!(rights.check(&command("LIST"), &here), UNKNOWN);
            assert_eq!(rights.check(&command("RETR /in/x"), &here), FINE);
            assert_eq!(rights.check(&command("TYPE I"), &here), FINE);
        }
    }

    #[test]
    fn rules_speak_of_networks_and_listeners_too() {
        let mut only = rule("*", &["read"], &[], &[]);
        only.clients = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        only.listener = Some("public".into());
        let rules = CommandRules::new(vec![only]);
        let check = |client: &str, listener| {
            let traveller = Traveller { user: b"a", host: None, client: client.parse().unwrap(), listener };
            rules.rights(&traveller).check(&command("STOR x"), &WorkingDirectory::default())
        };
        assert_eq!(check("::ffff:10.1.1.1", "public"), DENIED);
        assert_eq!((check("192.0.2.1", "public"), check("10.1.1.1", "other")), (FINE, FINE));
    }

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
