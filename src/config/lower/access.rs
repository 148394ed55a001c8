//! `access`: who may come, and which commands are allowed.

use std::sync::Arc;

use ipnet::IpNet;

use super::names::{networks, user_of_a_rule};
use super::read::{Flaw, Read, Reader, Section};
use super::routes::one_of;
use super::scalars::{text, write};
use crate::config::keys::nearest;
use crate::config::problems::quoted;
use crate::config::raw::{Node, Value};
use crate::policy::{Access, CommandRule, CommandRules, Entry, Group, PathPattern};

/// Which addresses may connect.
pub(super) fn access(reader: &mut Reader<'_>, section: Section<'_>) -> Access {
    Access::new(&list(reader, section, "allow"), &list(reader, section, "deny"))
}

/// `[]` says the same as no list. A key with nothing behind it is a problem: nobody knows what it was meant to say.
fn list(reader: &mut Reader<'_>, section: Section<'_>, key: &str) -> Vec<IpNet> {
    if is_empty_list(section, key) { Vec::new() } else { networks(reader, section, key).unwrap_or_default() }
}

fn is_empty_list(section: Section<'_>, key: &str) -> bool {
    section.get(key).is_some_and(|node| matches!(&node.value, Value::List(items) if items.is_empty()))
}

/// Which commands users may use.
pub(super) fn commands(reader: &mut Reader<'_>, section: Section<'_>, listeners: &[Arc<str>]) -> CommandRules {
    let Some(node) = section.get("commands").filter(|_| !is_empty_list(section, "commands")) else {
        return CommandRules::default();
    };
    let items = reader.list(node, "List at least one rule, or take the key out.");
    CommandRules::new(items.iter().filter_map(|item| rule(reader, item, listeners)).collect())
}

fn rule(reader: &mut Reader<'_>, item: &Node, listeners: &[Arc<str>]) -> Option<CommandRule> {
    let section = reader.section(item)?;
    let names: Vec<&str> = listeners.iter().map(|name| &**name).collect();
    let rule = CommandRule {
        user: reader.each(section, "user", user_of_a_rule),
        clients: networks(reader, section, "clients"),
        listener: reader.optional(section, "listener", |node| one_of(node, &names, "listener")),
        allow: reader.each(section, "allow", entry).unwrap_or_default(),
        deny: reader.each(section, "deny", entry).unwrap_or_default(),
        paths: reader.each(section, "paths", pattern),
    };
    if section.get("allow").or(section.get("deny")).is_none() {
        reader.report(item, Flaw::new("allows nothing and denies nothing", "Write: allow: [read]"));
    }
    Some(rule)
}

fn entry(node: &Node) -> Read<Entry> {
    let written = text(node)?;
    Entry::parse(written).map_err(|flaw| {
        let upper = written.to_uppercase();
        let groups = Group::ALL.iter().map(|group| group.label());
        let remedy = match nearest(written, groups.clone()) {
            Some(near) => write(node, near),
            None if Entry::parse(&upper).is_ok() => write(node, &upper),
            None => format!(
                "Groups are {}; verbs are in capitals, like STOR or SITE CHMOD.",
                groups.collect::<Vec<_>>().join(", ")
            ),
        };
        Flaw::new(format!("{} {flaw}", quoted(written)), remedy)
    })
}

fn pattern(node: &Node) -> Read<PathPattern> {
    let written = text(node)?;
    PathPattern::new(written).map_err(|flaw| {
        let what = format!("{} is not a pattern of paths: {flaw}", quoted(written));
        let beyond_ascii = !written.is_ascii() && written.contains('[');
        let slash_inside = flaw.contains("brackets") || flaw.contains("a range in");
        let remedy = match (beyond_ascii, slash_inside) {
            (true, _) => "Write letters beyond ASCII in braces, like /in/{ä,ö}*.",
            (false, true) => "Brackets are about one letter of a name: write the slash outside, like /in/[a-c]*/x.",
            (false, false) => "Write the whole path, like /in/** or /out/*.csv.",
        };
        Flaw::new(what, remedy)
    })
}
