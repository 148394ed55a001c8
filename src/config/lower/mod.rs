//! From the tree of a file to [`Settings`]: one file a section, every value checked, every problem kept.
//!
//! Invariants: reading never stops at a problem; what stands in for a wrong value is thrown away with the rest, because
//! settings with problems never leave `config`. Nothing here opens a socket or looks up a name.

mod access;
mod backends;
mod data;
mod limits;
mod listeners;
mod names;
mod read;
mod routes;
mod scalars;
mod service;
mod tls;
mod totp;

use std::path::Path;

use self::listeners::Listeners;
use self::read::{Reader, Section};
use self::routes::Known;
use super::problems::Problem;
use super::raw::{Node, Value};
use super::settings::Settings;

/// Reads the whole tree. The settings count only when no problem was added.
pub(super) fn lower(root: &Node, directory: &Path, problems: &mut Vec<Problem>) -> Settings {
    let mut reader = Reader::new(directory, problems);
    let reader = &mut reader;
    let backend_names = names_below(root, "backends");
    let with_authorities = names_below(root, "tls").contains(&"client_certificates");
    let root = reader.section(root).unwrap_or(Section::ABSENT);
    let Listeners { settings: listeners, certificates, mut bound, names } =
        listeners::listeners(reader, root, with_authorities);
    let admin = reader.subsection(root, "admin");
    let admin = service::admin(reader, admin, &mut bound);
    let tls = reader.subsection(root, "tls");
    let limits = reader.subsection(root, "limits");
    let access = reader.subsection(root, "access");
    let timeouts = reader.subsection(root, "timeouts");
    let log = reader.subsection(root, "log");
    Settings {
        listeners,
        listener_certificates: certificates,
        tls: tls::identities(reader, root, tls),
        protection: tls::protection(reader, tls),
        data: data::data(reader, root, &bound),
        backends: backends::backends(reader, root, &bound),
        routes: routes::routes(reader, root, Known { listeners: &names, backends: &backend_names }),
        commands: access::commands(reader, access, &names),
        access: access::access(reader, access),
        second_factor: totp::totp(reader, access),
        limits: limits::limits(reader, limits),
        bandwidth: limits::bandwidth(reader, limits),
        command_length: limits::command_length(reader, limits),
        reply_length: limits::reply_length(reader, limits),
        timeouts: limits::timeouts(reader, timeouts),
        drain: limits::drain(reader, timeouts),
        run_as: service::run_as(reader, root),
        admin,
        log: service::log(reader, log),
        audit: service::audit(reader, root),
        banner: service::banner(reader, root),
    }
}

/// The keys below a key, whether what stands there is in order or not.
fn names_below<'n>(root: &'n Node, key: &str) -> Vec<&'n str> {
    let Value::Map(entries) = &root.value else { return Vec::new() };
    match entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value) {
        Some(Value::Map(entries)) => entries.iter().map(|entry| entry.key.as_str()).collect(),
        Some(_) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::keys::{Absent, KEYS, Key};
    use crate::config::{Problems, Settings, parse};

    /// A good file in which one key has this value.
    fn file_with(key: &Key, value: &str) -> String {
        let below = |section: &str| {
            let key = key.path.strip_prefix(section)?;
            Some(format!(", {}", flow(key, value)))
        };
        let listener = below("listeners[].").unwrap_or_default();
        let backend = below("backends.<name>.").unwrap_or_default();
        let route = below("routes[].").unwrap_or_default();
        let others = if [&listener, &backend, &route].iter().all(|text| text.is_empty()) {
            flow(key.path, value)
        } else {
            String::new()
        };
        format!(
            "listeners: [{{ address: \"192.0.2.1:21\"{listener} }}]\n\
             backends: {{ old: {{ servers: [\"192.0.2.2:21\"]{backend} }} }}\n\
             routes: [{{ backend: old{route} }}]\n{others}\n"
        )
    }

    /// `a[].b` and a value → `a: [{ b: value }]`.
    fn flow(path: &str, value: &str) -> String {
        path.rsplit('.').fold(value.to_owned(), |inner, segment| {
            let inner = if inner == value { inner } else { format!("{{ {inner} }}") };
            match segment.strip_suffix("[]") {
                Some(list) => format!("{list}: [{inner}]"),
                None => format!("{segment}: {inner}"),
            }
        })
    }

    fn outcome(key: &Key, value: &str) -> Result<Settings, Problems> {
        parse(&file_with(key, value), "gateway.yaml")
    }

    /// Keys that the good file has already: there the value stands a second time, or at once.
    fn in_the_file(key: &Key) -> bool {
        let mut own =
            vec!["listeners", "listeners[].address", "backends", "backends.<name>", "backends.<name>.servers"];
        own.extend(["routes", "routes[].backend"]);
        own.contains(&key.path)
    }

    #[test]
    fn every_known_key_is_read() {
        for key in KEYS.iter().filter(|key| key.absent != Absent::Later && !in_the_file(key)) {
            let problems = outcome(key, "[[]]").expect_err(key.path);
            let path = key.path.replace("[]", "[0]").replace("<name>", "old");
            let told = problems.as_slice().iter().any(|problem| problem.key.starts_with(&path));
            assert!(told, "{}: {problems}", key.path);
        }
    }

    #[test]
    fn every_default_in_the_table_is_the_one_in_force() {
        let absent = Key { path: "tls", absent: Absent::Section };
        let expected = format!("{:?}", outcome(&absent, "").unwrap());
        for key in KEYS {
            if let Absent::Default(value) = key.absent {
                let settings = outcome(key, value).unwrap_or_else(|problems| panic!("{problems}"));
                assert_eq!(format!("{settings:?}"), expected, "{}", key.path);
            }
        }
    }
}
