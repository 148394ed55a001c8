//! Every key of `gateway.yaml`, and the check that a file holds no other.
//!
//! Invariant: this table, the code that reads the keys (`lower`) and `docs/configuration.md` name the same keys and the
//! same defaults; tests hold them to each other.

use super::problems::Problem;
use super::raw::{Node, Value, join};

/// One key of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Its path. `<name>` stands for any name, `[]` for each item of a list.
    pub(super) path: &'static str,
    /// What happens without it.
    pub(super) absent: Absent,
}

/// What happens when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// A problem.
    Required,
    /// As if this were written.
    Default(&'static str),
    /// Something that cannot be written as a value; `docs/configuration.md` says what.
    Nothing,
    /// The defaults of the keys below it.
    Section,
    /// The key belongs to a later version and must be absent.
    Later,
}

use Absent::{Default, Later, Nothing, Required, Section};

macro_rules! keys {
    ($($path:literal $absent:expr;)+) => { &[$(Key { path: $path, absent: $absent },)+] };
}

/// All keys in the order of the contract.
pub(super) const KEYS: &[Key] = keys! {
    "listeners" Required;
    "listeners[].address" Required;
    "listeners[].tls" Default("explicit");
    "listeners[].name" Nothing;
    "listeners[].proxy_protocol" Nothing;
    "listeners[].client_certificates" Nothing;
    "tls" Section;
    "tls.certificates" Nothing;
    "tls.certificates[].certificate" Required;
    "tls.certificates[].private_key" Required;
    "tls.minimum_version" Default("1.2");
    "tls.control" Default("required");
    "tls.data" Default("required");
    "tls.data_resumption" Default("prefer");
    "tls.truncated_uploads" Default("tolerate");
    "tls.clear_command_channel" Default("refuse");
    "tls.client_certificates" Nothing;
    "tls.client_certificates.mode" Required;
    "tls.client_certificates.authorities" Required;
    "tls.client_certificates.revocation_lists" Nothing;
    "tls.client_certificates.user_from" Nothing;
    "passive" Section;
    "passive.ports" Default("50000-50099");
    "passive.advertise" Nothing;
    "passive.advertise[].clients" Nothing;
    "passive.advertise[].address" Required;
    "passive.proxy_protocol" Nothing;
    "active" Section;
    "active.enabled" Default("true");
    "active.source_port" Default("any");
    "backends" Required;
    "backends.<name>" Required;
    "backends.<name>.servers" Required;
    "backends.<name>.balance" Later;
    "backends.<name>.tls" Default("none");
    "backends.<name>.verify" Section;
    "backends.<name>.verify.authorities" Nothing;
    "backends.<name>.verify.name" Nothing;
    "backends.<name>.verify.fingerprint" Nothing;
    "backends.<name>.data" Default("auto");
    "backends.<name>.command_length" Default("500");
    "backends.<name>.proxy_protocol" Default("none");
    "backends.<name>.max_sessions" Later;
    "backends.<name>.health_check" Later;
    "routes" Nothing;
    "routes[].user" Nothing;
    "routes[].sni" Nothing;
    "routes[].clients" Nothing;
    "routes[].listener" Nothing;
    "routes[].backend" Required;
    "access" Section;
    "access.allow" Default("[]");
    "access.deny" Default("[]");
    "access.commands" Nothing;
    "access.commands[].user" Nothing;
    "access.commands[].clients" Nothing;
    "access.commands[].listener" Nothing;
    "access.commands[].allow" Nothing;
    "access.commands[].deny" Nothing;
    "access.commands[].paths" Nothing;
    "access.totp" Nothing;
    "access.totp.secrets" Required;
    "access.totp.required" Nothing;
    "access.totp.skew" Nothing;
    "limits" Section;
    "limits.sessions" Default("10000");
    "limits.sessions_per_address" Default("50");
    "limits.sessions_per_user" Default("50");
    "limits.command_length" Default("4096");
    "limits.reply_length" Default("8192");
    "limits.bandwidth" Section;
    "limits.bandwidth.session" Nothing;
    "limits.bandwidth.user" Nothing;
    "limits.bandwidth.total" Nothing;
    "limits.failed_logins" Section;
    "limits.failed_logins.attempts" Default("5");
    "limits.failed_logins.within" Default("10m");
    "limits.failed_logins.ban" Default("15m");
    "timeouts" Section;
    "timeouts.tls_handshake" Default("10s");
    "timeouts.login" Default("60s");
    "timeouts.idle" Default("5m");
    "timeouts.data_connect" Default("30s");
    "timeouts.data_stall" Default("2m");
    "timeouts.backend_connect" Default("5s");
    "timeouts.backend_reply" Default("60s");
    "timeouts.drain" Default("5m");
    "admin" Section;
    "admin.address" Default("127.0.0.1:9921");
    "log" Section;
    "log.level" Default("info");
    "log.format" Default("text");
    "audit_log" Nothing;
    "audit_log.path" Required;
    "audit_log.format" Nothing;
    "state_dir" Default("/var/lib/ftps-gateway");
    "user" Nothing;
    "group" Nothing;
    "banner" Default("FTPS gateway ready");
};

/// Walks the whole tree and reports every key that is unknown or not supported yet.
pub(super) fn check(root: &Node, problems: &mut Vec<Problem>) {
    check_below(root, "", problems);
}

fn check_below(node: &Node, schema: &str, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::List(items) => {
            let schema = format!("{schema}[]");
            items.iter().for_each(|item| check_below(item, &schema, problems));
        }
        Value::Map(entries) => {
            // Where one item stands in place of a list, its keys are those of an item.
            let item = format!("{schema}[]");
            let schema = if children(schema).next().is_none() { item.as_str() } else { schema };
            if children(schema).next().is_some() {
                entries.iter().for_each(|entry| check_entry(entry, &node.path, schema, problems));
            }
        }
        // Whether a value is of the right kind is for `lower` to say.
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text => {}
    }
}

fn check_entry(entry: &Node, above: &str, schema: &str, problems: &mut Vec<Problem>) {
    let found = children(schema).find(|key| last(key.path) == "<name>" || last(key.path) == entry.key);
    let (what, remedy) = match found {
        Some(Key { absent: Later, .. }) => {
            ("is a known key that this version does not support yet".to_owned(), "Take it out.".to_owned())
        }
        Some(key) => return check_below(entry, key.path, problems),
        None => ("is not a key of gateway.yaml".to_owned(), suggestion(&entry.key, above, schema)),
    };
    problems.push(Problem { line: entry.line, key: entry.path.clone(), what, remedy });
}

/// A similar key here, the same or a similar one elsewhere, or all there are here.
fn suggestion(unknown: &str, above: &str, schema: &str) -> String {
    let usable = || KEYS.iter().filter(|key| key.absent != Later && last(key.path) != "<name>");
    let here: Vec<&str> = usable().filter(|key| parent(key.path) == schema).map(|key| last(key.path)).collect();
    if let Some(near) = nearest(unknown, here.iter().copied()) {
        return format!("Did you mean {}?", join(above, near));
    }
    let elsewhere = nearest(unknown, usable().map(|key| last(key.path))).unwrap_or_default();
    let mut elsewhere = usable().filter(|key| last(key.path) == elsewhere);
    match (elsewhere.next(), elsewhere.next()) {
        (Some(only), None) => format!("Did you mean {}?", only.path),
        _ => format!("Keys here are: {}.", here.join(", ")),
    }
}

/// The candidate that a slip of the fingers would turn into this word; none when all are too far off.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    // The distance is quadratic in the lengths, and no candidate is as long as this.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The keys directly below a path.
fn children(schema: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| parent(key.path) == schema)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw;
    use std::collections::BTreeSet;

    const REFERENCE: &str = include_str!("../../docs/configuration.md");

    fn problems(text: &str) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let root = raw::read(text, &mut problems).unwrap();
        check(&root, &mut problems);
        problems.into_iter().map(|problem| (problem.key, problem.remedy)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let all = problems(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.into_iter().next().unwrap()
    }

    #[test]
    fn unknown_keys_are_reported_with_the_nearest_known_one() {
        assert_eq!(one("listner: []"), ("listner".into(), "Did you mean listeners?".into()));
        assert_eq!(one("timeouts: { idel: 5m }"), ("timeouts.idel".into(), "Did you mean timeouts.idle?".into()));
        assert_eq!(
            one("backends: { old: { server: x } }"),
            ("backends.old.server".into(), "Did you mean backends.old.servers?".into())
        );
        assert_eq!(
            one("sessions_per_user: 5"),
            ("sessions_per_user".into(), "Did you mean limits.sessions_per_user?".into())
        );
        assert_eq!(
            one("admin: { wholly_unlike: 1 }"),
            ("admin.wholly_unlike".into(), "Keys here are: address.".into())
        );
    }

    #[test]
    fn short_words_are_not_guessed() {
        assert_eq!(nearest("21", ["any", "20"].into_iter()), None);
        assert_eq!(nearest("tsl", ["tls"].into_iter()), Some("tls"));
    }

    #[test]
    fn keys_of_later_versions_are_reported_once_and_not_entered() {
        for key in KEYS.iter().filter(|key| key.absent == Later) {
            let text = nested(key.path, "{ mode: require, lists: [{ a: b }] }");
            assert_eq!(one(&text).1, "Take it out.", "{text}");
        }
    }

    #[test]
    fn one_item_in_place_of_a_list_is_checked_like_an_item() {
        assert_eq!(problems("passive: { advertise: { address: local } }"), []);
        assert_eq!(one("passive: { advertise: { adress: local } }").0, "passive.advertise.adress");
    }

    #[test]
    fn the_reference_documents_exactly_these_keys_with_these_defaults() {
        let documented: BTreeSet<(String, String)> = REFERENCE
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|row| {
                let (key, rest) = row.split_once('`').expect("a key between backticks");
                let cell = rest.split('|').nth(1).expect("a second column").trim();
                (key.to_owned(), cell.trim_matches('`').to_owned())
            })
            .collect();
        let known: BTreeSet<(String, String)> = KEYS
            .iter()
            .map(|key| {
                let absent = match key.absent {
                    Required => "required",
                    Default(value) => value,
                    Nothing => "none",
                    Section => "section",
                    Later => "not in this version",
                };
                (key.path.to_owned(), absent.to_owned())
            })
            .collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn the_reference_file_names_every_key() {
        let file = include_str!("../../gateway.yaml");
        for key in KEYS.iter().filter(|key| key.path != "backends.<name>") {
            let word = last(key.path).trim_end_matches("[]");
            assert!(file.contains(word), "{}", key.path);
        }
    }

    /// `a[].b` and a value → `a: [{ b: value }]`.
    fn nested(path: &str, value: &str) -> String {
        path.rsplit('.').fold(value.to_owned(), |inner, segment| match segment.strip_suffix("[]") {
            Some(list) => format!("{{ {list}: [{inner}] }}"),
            None => format!("{{ {}: {inner} }}", segment.replace("<name>", "old")),
        })
    }
}
