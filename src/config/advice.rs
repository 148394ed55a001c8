//! What is not wrong and yet worth a word: settings that work, and that surprise whoever put them together.

use std::fmt;

use super::problems::printable;
use super::settings::Settings;
use crate::ftp::Verb;
use crate::policy::{DataResumption, Entry, Group, Requirement, group};

/// One thing worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The path of the key.
    pub key: String,
    /// What will happen.
    pub what: String,
    /// What to write if that is not wanted.
    pub remedy: String,
}

impl Advice {
    fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Advice {
    /// One line: `passive.ports: what will happen. What to write.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.key, self.what, self.remedy)
    }
}

impl Settings {
    /// All of it.
    pub fn advice(&self) -> Vec<Advice> {
        let mut advice: Vec<_> = self.ways().chain(self.lengths()).chain(self.rules()).collect();
        advice.extend(self.ports());
        advice
    }

    /// Listeners that lead nowhere, and backends that nobody is led to.
    fn ways(&self) -> impl Iterator<Item = Advice> {
        let routes = || self.routes.all().iter();
        let listeners = self.listeners.iter().enumerate().filter_map(move |(index, listener)| {
            let leads = routes().any(|route| route.listener.as_ref().is_none_or(|name| **name == *listener.name));
            let what =
                format!("no route is for the listener {}: all its users hear 530 Login incorrect", listener.name);
            (!leads).then(|| Advice::new(format!("listeners[{index}]"), what, "Add a route for it, or take it out."))
        });
        let backends = self.backends.iter().filter_map(move |backend| {
            let led_to = routes().any(|route| *route.backend == *backend.name);
            let key = format!("backends.{}", backend.name);
            (!led_to).then(|| Advice::new(key, "no route leads to it", "Add one, or take it out."))
        });
        listeners.chain(backends)
    }

    /// What no line comes up to.
    fn lengths(&self) -> impl Iterator<Item = Advice> {
        let own = self.command_length;
        self.backends.iter().filter(move |backend| backend.command_length > own).map(move |backend| {
            let what = format!("no command is longer than limits.command_length, which is {own}");
            let remedy = format!("Write: limits: {{ command_length: {} }}, or less here.", backend.command_length);
            Advice::new(format!("backends.{}.command_length", backend.name), what, remedy)
        })
    }

    /// Rules that ask for the path of what has none.
    fn rules(&self) -> impl Iterator<Item = Advice> {
        self.commands.all().enumerate().filter(|(_, rule)| rule.paths.is_some()).flat_map(|(index, rule)| {
            let pathless = |key: &'static str, entries: &[Entry]| {
                let entry = entries.iter().find(|entry| !has_path(entry))?;
                let what = format!(
                    "what path {} is about cannot be told, so that where this rule is asked about it, it is refused \
                     [path_unknown], whatever its path",
                    named(entry)
                );
                let remedy = "Write it in a rule without paths, before this one.";
                Some(Advice::new(format!("access.commands[{index}].{key}"), what, remedy))
            };
            [pathless("allow", &rule.allow), pathless("deny", &rule.deny)].into_iter().flatten()
        })
    }

    /// Ports that sessions share without being told apart.
    fn ports(&self) -> Option<Advice> {
        let ports = self.data.ports.len();
        if !self.shares_ports() {
            return None;
        }
        let each = match ports {
            1 => "one data connection".to_owned(),
            ports => format!("{ports} data connections"),
        };
        if self.protection.data_resumption == DataResumption::Off {
            let what = format!(
                "with off nothing tells the sessions of one client address apart on {}: clients behind one address wait for \
                 {each} at a time",
                plural(ports)
            );
            let remedy = "Write: data_resumption: prefer, or more passive.ports.";
            return Some(Advice::new("tls.data_resumption", what, remedy));
        }
        (self.protection.data == Requirement::Optional).then(|| {
            let what = format!(
                "in clear (PROT C) nothing tells the sessions of one client address apart on {}: such clients behind one \
                 address wait for {each} at a time",
                plural(ports)
            );
            Advice::new("tls.data", what, "Write: data: required, or more passive.ports.")
        })
    }

    /// One address may have more sessions than there are ports, and their data connections have to be told apart.
    pub fn shares_ports(&self) -> bool {
        self.data.ports.len() < self.limits.sessions_per_address
    }
}

/// Whether a rule that asks for a path can be met by it.
fn has_path(entry: &Entry) -> bool {
    match entry {
        Entry::Group(group) => *group != Group::Admin,
        Entry::Verb(Verb::Cwd | Verb::Xcwd | Verb::Cdup | Verb::Xcup) => true,
        Entry::Verb(verb) => group(*verb).is_some_and(|group| group != Group::Admin),
        Entry::Named(_) | Entry::Site(_) => false,
    }
}

/// As it is written.
fn named(entry: &Entry) -> String {
    let text = |word: &[u8]| printable(&String::from_utf8_lossy(word));
    match entry {
        Entry::Group(group) => group.label().to_owned(),
        Entry::Verb(verb) => verb.label().to_owned(),
        Entry::Named(name) => text(name),
        Entry::Site(word) => format!("SITE {}", text(word)),
    }
}

fn plural(ports: usize) -> String {
    if ports == 1 { "one passive port".to_owned() } else { format!("{ports} passive ports") }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn advice(more: &str) -> Vec<String> {
        let text = format!(
            "listeners: [{{ address: \"192.0.2.1:21\" }}]\nbackends: {{ old: {{ servers: [\"192.0.2.2:21\"] }} }}\n{more}"
        );
        let settings = parse(&text, "gateway.yaml").unwrap();
        settings.advice().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn many_ports_and_one_port_with_resumption_need_none() {
        assert_eq!(advice(""), [""; 0]);
        assert_eq!(advice("passive: { ports: 989 }"), [""; 0]);
        assert_eq!(advice("tls: { data_resumption: off, data: optional }"), [""; 0]);
        assert_eq!(
            advice("passive: { ports: 989 }\nlimits: { sessions_per_address: 1 }\ntls: { data_resumption: off }"),
            [""; 0]
        );
    }

    #[test]
    fn one_port_where_nothing_tells_sessions_apart() {
        assert_eq!(
            advice("passive: { ports: 989 }\ntls: { data_resumption: off }"),
            [
                "tls.data_resumption: with off nothing tells the sessions of one client address apart on one passive port: \
                 clients behind one address wait for one data connection at a time. Write: data_resumption: prefer, or \
                 more passive.ports."
            ]
        );
        assert_eq!(
            advice("passive: { ports: 50000-50003 }\ntls: { data: optional }"),
            ["tls.data: in clear (PROT C) nothing tells the sessions of one client address apart on 4 passive ports: \
                 such clients behind one address wait for 4 data connections at a time. Write: data: required, or more \
                 passive.ports."]
        );
    }

    #[test]
    fn ways_that_lead_nowhere() {
        let text = "listeners: [{ address: \"192.0.2.1:21\", name: one }, { address: \"192.0.2.1:22\", name: two }]\n\
                    backends: { old: { servers: [192.0.2.2] }, new: { servers: [192.0.2.3] } }\n";
        let said = |routes: &str| {
            let settings = parse(&format!("{text}routes: [{routes}]"), "gateway.yaml").unwrap();
            settings.advice().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(said("{ listener: two, backend: new }, { backend: old }"), [""; 0]);
        assert_eq!(
            said("{ listener: two, user: a, backend: new }"),
            [
                "listeners[0]: no route is for the listener one: all its users hear 530 Login incorrect. Add a route for it, \
                 or take it out.",
                "backends.old: no route leads to it. Add one, or take it out."
            ]
        );
    }

    #[test]
    fn lines_that_never_come() {
        let with = |length: &str, limit: &str| {
            let text = format!(
                "listeners: [{{ address: \"192.0.2.1:21\" }}]\nlimits: {{ command_length: {limit} }}\n\
                 backends: {{ old: {{ servers: [192.0.2.2], command_length: {length} }} }}"
            );
            let settings = parse(&text, "gateway.yaml").unwrap();
            settings.advice().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(with("4096", "4096"), [""; 0]);
        assert_eq!(
            with("8000", "4096"),
            [
                "backends.old.command_length: no command is longer than limits.command_length, which is 4096. Write: limits: \
                 { command_length: 8000 }, or less here."
            ]
        );
    }

    #[test]
    fn rules_for_paths_about_what_has_none() {
        let said = |rule: &str| advice(&format!("access: {{ commands: [{{ {rule}, paths: /in/** }}] }}"));
        for entries in ["read, write, delete, rename", "CWD, RETR, MFMT, STAT"] {
            assert_eq!(said(&format!("allow: [{entries}]")), [""; 0]);
        }
        assert_eq!(advice("access: { commands: [{ allow: [admin, SITE CHMOD] }] }"), [""; 0]);
        for entry in ["admin", "SITE CHMOD", "SITE", "XCRC", "ALLO"] {
            for key in ["allow", "deny"] {
                let said = said(&format!("{key}: [read, {entry}]"));
                assert_eq!(said.len(), 1, "{entry}");
                let begin = format!("access.commands[0].{key}: what path {entry} is about cannot be told");
                assert!(said[0].starts_with(&begin), "{said:?}");
            }
        }
    }
}
