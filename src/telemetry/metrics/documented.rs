//! Holds `docs/metrics.md`, `names.rs` and what a scrape really shows to each other.
//!
//! The tables of the document are generated: `UPDATE_DOCS=1 cargo nextest run documented` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fs};

use prometheus::proto::{MetricFamily, MetricType};

use super::names::{self, Kind, Name};
use super::*;
use crate::event::{HandshakeKind, HandshakeResult, TlsVersion};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// What a label may say.
enum Values {
    /// A name from elsewhere; in words.
    Named(&'static str),
    /// A title and every value, with its meaning.
    Closed(&'static str, Vec<(&'static str, &'static str)>),
}

macro_rules! closed {
    ($title:literal, $enum:ty) => {
        Values::Closed($title, <$enum>::ALL.iter().map(|value| (value.label(), value.text())).collect())
    };
}

fn values(name: &Name, label: &str) -> Values {
    match (name.name.trim_start_matches("ftps_gateway_"), label) {
        (_, "listener") => Values::Named("the listener's `name` in `gateway.yaml`"),
        (_, "backend") => Values::Named("the backend's key in `gateway.yaml`"),
        (_, "certificate") => Values::Named("the certificate's name in the gateway's log"),
        (_, "version") if name.name.ends_with("build_info") => {
            Values::Named("on `ftps_gateway_build_info`, the gateway's version")
        }
        (_, "version") => closed!("TLS versions", TlsVersion),
        (_, "leg") => closed!("Legs", Leg),
        (_, "channel") => closed!("Channels", Channel),
        (_, "direction") => closed!("Directions", Direction),
        (_, "verb") => {
            let known = Verb::ALL.iter().map(|verb| (verb.label(), "")).chain([("other", "")]);
            Values::Closed("Verbs", known.collect())
        }
        (_, "class") => Values::Closed(
            "Classes of replies",
            vec![
                ("1xx", "another reply follows"),
                ("2xx", "done"),
                ("3xx", "more is needed"),
                ("4xx", "failed, may be tried again"),
                ("5xx", "failed"),
            ],
        ),
        ("sessions_total", "outcome") => {
            Values::Closed("Endings of sessions", Why::all().map(|why| (why.label(), why.text())).collect())
        }
        ("connections_refused_total" | "commands_refused_total", "reason") => closed!("Refusals", Refusal),
        ("logins_total", "result") => closed!("Results of logins", LoginResult),
        ("bans_total" | "bans_active" | "bans_lifted_total", "kind") => closed!("Kinds of bans", BanKind),
        ("tls_handshakes_total", "kind") => closed!("Kinds of handshakes", HandshakeKind),
        ("tls_handshakes_total", "result") => closed!("Results of handshakes", HandshakeResult),
        ("data_resumptions_total", "cause") => closed!("Resumption of data connections", Resumption),
        ("data_connections_total", "mode") => closed!("Modes of data connections", DataMode),
        ("data_connections_total", "outcome") => closed!("Outcomes of data connections", DataOutcome),
        ("stray_connections_total", "cause") => closed!("Stray connections", Stray),
        ("passive_ports", "state") => Values::Closed(
            "States of passive ports",
            vec![("free", "no reservation is on the port"), ("reserved", "at least one reservation is on the port")],
        ),
        ("transfers_total", "result") => closed!("Results of transfers", TransferResult),
        ("backend_failures_total", "reason") => closed!("Failures of backends", BackendFailure),
        ("config_reloads_total", "result") => Values::Closed(
            "Results of reloads",
            vec![("accepted", "the new configuration is in force"), ("refused", "the old configuration stays")],
        ),
        (metric, label) => panic!("{metric}: the label {label} has no values here"),
    }
}

fn kind(name: &Name) -> &'static str {
    match name.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    }
}

fn generated() -> String {
    let mut text = String::from("\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    let mut sets = BTreeMap::new();
    let mut named = BTreeMap::new();
    for name in names::ALL {
        let mut labels = Vec::new();
        for label in name.labels {
            match values(name, label) {
                Values::Named(words) => {
                    named.insert(words, *label);
                    labels.push(format!("`{label}`"));
                }
                Values::Closed(title, rows) => {
                    labels.push(format!("[`{label}`](#{})", title.to_lowercase().replace(' ', "-")));
                    sets.insert(title, rows);
                }
            }
        }
        writeln!(text, "| `{}` | {} | {} | {} |", name.name, kind(name), labels.join(", "), name.help).unwrap();
    }
    text.push_str("\nLabels without a closed set get their values from the configuration or the build:\n\n");
    for (words, label) in named {
        writeln!(text, "- `{label}`: {words}").unwrap();
    }
    text.push_str("\nHistograms have these buckets:\n\n");
    for name in names::ALL {
        if let Kind::Histogram(buckets) = name.kind {
            writeln!(text, "- `{}`: {buckets:?} seconds", name.name).unwrap();
        }
    }
    text.push_str("\n## Closed values of labels\n");
    for (title, rows) in sets {
        writeln!(text, "\n### {title}\n").unwrap();
        if rows.iter().all(|(_, meaning)| meaning.is_empty()) {
            let values: Vec<_> = rows.iter().map(|(value, _)| format!("`{value}`")).collect();
            writeln!(text, "{}", values.join(", ")).unwrap();
            continue;
        }
        text.push_str("| Value | Meaning |\n|---|---|\n");
        for (value, meaning) in rows {
            writeln!(text, "| `{value}` | {meaning} |").unwrap();
        }
    }
    text.push('\n');
    text
}

/// Everything has happened once.
fn scraped() -> Vec<MetricFamily> {
    let metrics = Metrics::new().unwrap();
    metrics.started("public");
    metrics.backend_connected("legacy", Duration::from_millis(3));
    metrics.watch_passive_ports(|| (99, 1));
    metrics.watch_bans(|| [1, 0, 2]);
    metrics.set_certificates(&[("default".into(), 1_900_000_000)]);
    for &version in TlsVersion::ALL {
        for &kind in HandshakeKind::ALL {
            for &result in HandshakeResult::ALL {
                let (leg, channel) = (Leg::Front, Channel::Control);
                metrics.handshake(Handshake { leg, channel, version, kind, result, cipher: None });
                metrics.handshake(Handshake {
                    leg: Leg::Back,
                    channel: Channel::Data,
                    version,
                    kind,
                    result,
                    cipher: None,
                });
            }
        }
    }
    metrics.render().unwrap();
    metrics.registry.gather()
}

#[test]
fn the_registry_shows_what_names_describe() {
    let scraped = scraped();
    let own: Vec<_> = scraped.iter().filter(|family| !family.name().starts_with("process_")).collect();
    let (shown, named): (BTreeSet<_>, BTreeSet<_>) =
        (own.iter().map(|family| family.name()).collect(), names::ALL.iter().map(|name| name.name).collect());
    assert_eq!(shown, named);
    for family in own {
        let name = names::ALL.iter().find(|name| name.name == family.name()).unwrap();
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY | MetricType::UNTYPED => "none of ours",
        };
        assert_eq!((kind, family.help()), (self::kind(name), name.help), "{}", name.name);
        for label in name.labels {
            let shown: BTreeSet<_> = family
                .get_metric()
                .iter()
                .filter_map(|metric| metric.get_label().iter().find(|pair| pair.name() == *label))
                .map(|pair| pair.value())
                .collect();
            assert!(!shown.is_empty(), "{}: {label}", name.name);
            if let Values::Closed(_, rows) = values(name, label) {
                let described: BTreeSet<_> = rows.into_iter().map(|(value, _)| value).collect();
                assert_eq!(shown, described, "{}: {label}", name.name);
            }
        }
        let series = &family.get_metric()[0];
        assert_eq!(series.get_label().len(), name.labels.len(), "{}", name.name);
    }
}

#[test]
fn names_follow_the_conventions() {
    const PERSONAL: [&str; 9] = ["address", "client", "ip", "peer", "port", "user", "path", "session", "software"];
    let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    for name in names::ALL {
        assert!(name.name.starts_with("ftps_gateway_") && lower(name.name), "{}", name.name);
        assert_eq!(name.name.ends_with("_total"), kind(name) == "counter", "{}", name.name);
        assert_eq!(name.name.ends_with("_duration_seconds"), kind(name) == "histogram", "{}", name.name);
        for odd in ["milli", "micro", "minutes", "kilo", "mega", "_count", "_sum", "_bucket"] {
            assert!(!name.name.contains(odd), "{}: {odd}", name.name);
        }
        assert!(name.help.len() > 10 && name.help.ends_with('.'), "{}", name.name);
        for label in name.labels {
            assert!(lower(label) && !PERSONAL.contains(label), "{}: {label}", name.name);
        }
    }
}

#[test]
fn the_tables_of_the_document_are_up_to_date() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the mark where the tables begin");
    let (tables, after) = rest.split_once(END).expect("the mark where the tables end");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(DOCUMENT, format!("{before}{BEGIN}{}{END}{after}", generated())).unwrap();
        return;
    }
    assert!(tables == generated(), "docs/metrics.md is out of date: UPDATE_DOCS=1 cargo nextest run documented");
}

/// Alert rules and prose too: a metric that is gone, a misspelt label or value would make an alert that never rings.
#[test]
fn the_document_names_only_what_exists() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    for (start, _) in document.match_indices("ftps_gateway_") {
        let rest = &document[start..];
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_')).unwrap_or(rest.len());
        let word = &rest[..end];
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
        let Some(name) = names::ALL.iter().find(|name| name.name == word || name.name == base) else {
            assert_eq!(word, "ftps_gateway_", "docs/metrics.md names {word}");
            continue;
        };
        let Some(selector) = rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}')) else { continue };
        for matcher in selector.0.split(',') {
            let (label, value) = matcher.split_once(['=', '!']).unwrap_or((matcher, ""));
            assert!(name.labels.contains(&label.trim()), "docs/metrics.md: {word} has no label {label}");
            let value = value.trim_start_matches(['=', '~']).trim_matches('"');
            if let Values::Closed(_, rows) = values(name, label.trim()) {
                for value in value.split('|').filter(|value| !value.is_empty()) {
                    assert!(rows.iter().any(|row| row.0 == value), "docs/metrics.md: {word}: {label} is never {value}");
                }
            }
        }
    }
}

#[test]
fn the_figures_of_the_process_are_there_and_documented() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let scraped = scraped();
    let shown: Vec<_> =
        scraped.iter().map(|family| family.name()).filter(|name| name.starts_with("process_")).collect();
    for name in &shown {
        assert!(document.contains(&format!("| `{name}` |")), "docs/metrics.md lacks {name}");
    }
    for needed in ["process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"] {
        assert!(shown.contains(&needed) || cfg!(not(target_os = "linux")), "{needed}");
    }
}
