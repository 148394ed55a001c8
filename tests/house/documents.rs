//! Rules for documents: tables that are the code's, links that lead somewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ftps_gateway::event::{BackendFailure, HandshakeResult, LoginResult, Reason, Resumption, TransferResult, Why};
use ftps_gateway::ftp::Verb;
use ftps_gateway::policy::{Disposition, Group, Refusal, TransferKind, disposition, group};
use ftps_gateway::telemetry::{AuditEvent, AuditField};

use super::code::Source;

/// A table that a document takes from the code, but for its last column.
pub(crate) struct Table {
    /// Its name in the markers around it.
    pub(crate) name: &'static str,
    heading: [&'static str; 3],
    rows: Vec<[String; 2]>,
}

/// What a table must look like.
pub(crate) struct Generated {
    pub(crate) text: String,
    /// Rows without a last column.
    pub(crate) empty: Vec<String>,
}

macro_rules! closed {
    ($enum:ty) => {
        <$enum>::ALL.iter().map(|value| [code(value.label()), value.text().to_owned()]).collect()
    };
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// All tables, by the document they are in.
pub(crate) fn tables() -> Vec<(&'static str, Vec<Table>)> {
    let reasons = |name, rows| Table { name, heading: ["Label", "Meaning", "What to do"], rows };
    let refusals = Refusal::ALL.iter().map(|refusal| {
        let number = refusal.reply().code().number();
        [code(refusal.label()), format!("{number} {}", refusal.text())]
    });
    let failures = BackendFailure::ALL.iter().map(|&failure| {
        let labels = format!("{}, {}", code(Why::Backend(failure).label()), code(failure.label()));
        [labels, failure.text().to_owned()]
    });
    let verbs = Verb::ALL.iter().map(|&verb| [code(verb.label()), answered_by(verb).to_owned()]);
    let heading = ["Command", "After login", "What happens"];
    let groups = Group::ALL.iter().map(|&own| {
        let members = Verb::ALL.iter().filter(|&&verb| {
            let asked = disposition(verb) != Disposition::NotImplemented;
            asked && group(verb) == Some(own)
        });
        [code(own.label()), members.map(|verb| verb.label()).collect::<Vec<_>>().join(", ")]
    });
    let group_table = Table { name: "groups", heading: ["Group", "Commands", "For"], rows: groups.collect() };
    vec![
        ("docs/audit.md", audit()),
        ("docs/protocol.md", vec![Table { name: "commands", heading, rows: verbs.collect() }, group_table]),
        (
            "docs/operations.md",
            vec![
                reasons("refusals", refusals.collect()),
                reasons("endings", closed!(Reason)),
                reasons("backends", failures.collect()),
                reasons("transfers", closed!(TransferResult)),
                reasons("logins", closed!(LoginResult)),
                reasons("handshakes", closed!(HandshakeResult)),
                reasons("resumption", closed!(Resumption)),
            ],
        ),
    ]
}

/// Every kind of line in the audit file, and every field.
fn audit() -> Vec<Table> {
    const SESSION: [AuditField; 4] =
        [AuditField::Session, AuditField::Listener, AuditField::ClientAddress, AuditField::ClientPort];
    let events = AuditEvent::ALL.iter().map(|event| {
        let (of_session, own) = match event.fields().strip_prefix(&SESSION) {
            Some(own) => (true, own),
            None => (false, event.fields()),
        };
        let own = own.iter().map(|field| code(field.label()));
        let fields: Vec<_> = of_session.then(|| "the session's".to_owned()).into_iter().chain(own).collect();
        [code(event.label()), fields.join(", ")]
    });
    let fields = AuditField::ALL.iter().map(|field| [code(field.label()), field.of_type().label().to_owned()]);
    vec![
        Table { name: "audit-events", heading: ["Event", "Fields", "When"], rows: events.collect() },
        Table { name: "audit-fields", heading: ["Field", "Type", "Meaning"], rows: fields.collect() },
    ]
}

fn answered_by(verb: Verb) -> &'static str {
    match disposition(verb) {
        Disposition::Own => "gateway",
        Disposition::Arrange => "gateway, on both legs",
        Disposition::Transfer(TransferKind::Download) => "backend, download",
        Disposition::Transfer(TransferKind::Listing) => "backend, listing",
        Disposition::Transfer(TransferKind::Upload) => "backend, upload",
        Disposition::Forward => "backend",
        Disposition::NotImplemented => "nobody: 502",
    }
}

fn markers(name: &str) -> (String, String) {
    (format!("<!-- table {name}: begin -->\n"), format!("<!-- table {name}: end -->\n"))
}

fn bounds(document: &str, name: &str) -> (usize, usize) {
    let (begin, end) = markers(name);
    let start = document.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
    let length = document[start..].find(&end).unwrap_or_else(|| panic!("no {end}"));
    (start, start + length)
}

/// The table as it must be, with the last column that the document has.
pub(crate) fn generated(table: &Table, document: &str) -> Generated {
    let (start, end) = bounds(document, table.name);
    let written: BTreeMap<&str, &str> = document[start..end].lines().filter_map(first_and_last).collect();
    let [first, second, third] = table.heading;
    let mut text = format!("\n| {first} | {second} | {third} |\n|---|---|---|\n");
    let mut empty = Vec::new();
    for [key, meaning] in &table.rows {
        let last = written.get(key.as_str()).copied().unwrap_or_default();
        if last.is_empty() {
            empty.push(key.clone());
        }
        writeln!(text, "| {key} | {meaning} | {last} |").unwrap();
    }
    text.push('\n');
    Generated { text, empty }
}

fn first_and_last(row: &str) -> Option<(&str, &str)> {
    let inner = row.trim().strip_prefix('|')?.strip_suffix('|')?;
    let (first, rest) = inner.split_once('|')?;
    let (_, last) = rest.split_once('|')?;
    Some((first.trim(), last.trim()))
}

/// The document with this text between the table's markers.
pub(crate) fn replaced(document: &str, name: &str, text: &str) -> String {
    let (start, end) = bounds(document, name);
    format!("{}{text}{}", &document[..start], &document[end..])
}

/// Links to files that are not there.
pub(crate) fn dead_links(document: &Source, there: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
    let target = |link: &str| -> Option<PathBuf> {
        let path = link.split('#').next().unwrap_or_default();
        (!path.is_empty() && !path.contains("://") && !path.starts_with("mailto:")).then(|| folder.join(path))
    };
    let links = document.text.match_indices("](").map(|(at, _)| {
        let rest = &document.text[at + 2..];
        &rest[..rest.find(')').unwrap_or(rest.len())]
    });
    links
        .filter(|link| target(link).is_some_and(|path| !there(&path)))
        .map(|link| format!("{}: {link} is not there", document.path))
        .collect()
}

/// Documents that the index does not link.
pub(crate) fn missing_from_index(index: &str, documents: &[Source]) -> Vec<String> {
    // Decisions are linked as a folder: one link for as many as there will be.
    let linked = |path: &str| index.contains(&format!("({path})")) || path.starts_with("docs/decisions/");
    let missing = documents.iter().filter(|document| !linked(&document.path));
    missing.map(|document| format!("{} is not linked", document.path)).collect()
}

/// Whole configurations in a document.
pub(crate) fn yaml_blocks(document: &str) -> Vec<String> {
    let blocks = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("listeners:") && block.contains("backends:")).map(str::to_owned).collect()
}

/// Rows of a table of traps whose remedy is not in the code, or whose test is not there.
pub(crate) fn unfounded_traps(document: &str, sources: &[Source]) -> Vec<String> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, remedy, tests] = cells[..] else { return vec![format!("not three cells: {row}")] };
        let mut complaints = Vec::new();
        let remedy = quoted(remedy);
        let [path, code] = remedy[..] else { return vec![format!("not a file and a piece of it: {row}")] };
        if !sources.iter().any(|source| source.path == path && source.text.contains(code)) {
            complaints.push(format!("{path} has no {code}"));
        }
        let tests = quoted(tests);
        if tests.is_empty() {
            complaints.push(format!("no test: {row}"));
        }
        complaints.extend(tests.iter().filter(|test| !is_there(test, sources)).map(|test| format!("no test {test}")));
        complaints
    })
    .collect()
}

/// Attacks without a test, or with one that is not there.
pub(crate) fn unshown_attacks(document: &str, sources: &[Source]) -> Vec<String> {
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Attack |"));
    rows.flat_map(|row| {
        let tests = quoted(row.trim_matches('|').rsplit(" | ").next().unwrap_or_default());
        let missing = tests.iter().filter(|test| !is_there(test, sources)).map(|test| format!("no test {test}"));
        let none = tests.is_empty().then(|| format!("no test: {row}"));
        missing.chain(none).collect::<Vec<_>>()
    })
    .collect()
}

/// Fuzzers that no test run goes through, or that have nothing to begin with; and the other way round.
pub(crate) fn unsmoked(fuzzers: &[String], smoke: &str, has_corpus: impl Fn(&str) -> bool) -> Vec<String> {
    let smoked: Vec<_> = smoke.split("holds(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let left_out = fuzzers.iter().filter(|name| !smoked.contains(&name.as_str()));
    let bare = fuzzers.iter().filter(|name| !has_corpus(name));
    let alone = smoked.iter().filter(|name| !fuzzers.iter().any(|own| own == *name));
    left_out
        .map(|name| format!("tests/fuzz.rs leaves {name} out"))
        .chain(bare.map(|name| format!("fuzz/corpus/{name} is not there")))
        .chain(alone.map(|name| format!("fuzz/targets/{name}.rs is not there")))
        .collect()
}

/// Metrics that a document names and the reference does not.
pub(crate) fn unknown_metrics(document: &Source, reference: &str) -> Vec<String> {
    const PREFIX: &str = "ftps_gateway_";
    let names = document.text.match_indices(PREFIX).map(|(at, _)| {
        let rest = &document.text[at + PREFIX.len()..];
        &rest[..rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(rest.len())]
    });
    let is_known = |name: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        [name, series].iter().any(|name| reference.contains(&format!("| `{PREFIX}{name}` |")))
    };
    names
        .filter(|name| !name.is_empty() && !is_known(name))
        .map(|name| format!("{}: there is no metric {PREFIX}{name}", document.path))
        .collect()
}

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A play is named by its file, a unit test by its path in the crate.
fn is_there(test: &str, sources: &[Source]) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else { return false };
    let folder = module.replace("::", "/");
    let inline = folder.strip_suffix("/tests").unwrap_or(&folder);
    let homes = [
        format!("tests/plays/{folder}.rs"),
        format!("tests/{folder}.rs"),
        format!("src/{folder}.rs"),
        format!("src/{inline}.rs"),
        format!("src/{inline}/mod.rs"),
    ];
    let function = format!("fn {name}(");
    sources.iter().any(|source| homes.contains(&source.path) && source.text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let rows = vec![["`a`".into(), "one".into()], ["`b`".into(), "two".into()]];
        Table { name: "t", heading: ["L", "M", "W"], rows }
    }

    fn document(rows: &str) -> String {
        format!(
            "before\n<!-- table t: begin -->\n\n| L | M | W |\n|---|---|---|\n{rows}\n<!-- table t: end -->\nafter\n"
        )
    }

    #[test]
    fn a_table_keeps_its_last_column_and_takes_the_rest_from_the_code() {
        let good = document("| `a` | one | do this |\n| `b` | two | do that |\n");
        let made = generated(&table(), &good);
        assert_eq!((replaced(&good, "t", &made.text), made.empty.len()), (good, 0));
    }

    #[test]
    fn tables_that_are_not_the_codes_are_found() {
        for rows in [
            "| `a` | one | do this |\n",
            "| `a` | one | do this |\n| `b` | 2 | do that |\n",
            "| `b` | two | do that |\n| `a` | one | do this |\n",
            "| `a` | one | do this |\n| `b` | two | do that |\n| `c` | three | nothing |\n",
        ] {
            let bad = document(rows);
            assert_ne!(replaced(&bad, "t", &generated(&table(), &bad).text), bad, "{rows}");
        }
        let silent = document("| `a` | one | do this |\n| `b` | two |  |\n");
        assert_eq!(generated(&table(), &silent).empty, ["`b`"]);
    }

    #[test]
    fn dead_links_are_found() {
        let text = "[a](there.md) [b](gone.md) [c](https://x.example/y) [d](there.md#part) [e](#here)";
        let document = Source { path: "docs/x.md".into(), text: text.into() };
        let complaints = dead_links(&document, |path| path == Path::new("docs/there.md"));
        assert_eq!(complaints, ["docs/x.md: gone.md is not there"]);
    }

    #[test]
    fn documents_that_nobody_links_are_found() {
        let documents = ["docs/a.md", "docs/b.md"].map(|path| Source { path: path.into(), text: String::new() });
        assert_eq!(missing_from_index("[A](docs/a.md)", &documents), ["docs/b.md is not linked"]);
    }

    #[test]
    fn traps_without_remedy_or_test_are_found() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources =
            [source("src/a.rs", "const NET: u8 = 1;\nfn falls()"), source("tests/plays/pit.rs", "async fn is_seen()")];
        let row = |remedy: &str, test: &str| {
            format!("| Trap | Remedy | Test |\n|---|---|---|\n| Pit | {remedy} | {test} |\n")
        };
        let good = row("`src/a.rs` `NET`", "`pit::is_seen` `a::tests::falls`");
        assert!(unfounded_traps(&good, &sources).is_empty());
        for (remedy, test) in [
            ("`src/a.rs` `ROPE`", "`pit::is_seen`"),
            ("`src/b.rs` `NET`", "`pit::is_seen`"),
            ("`src/a.rs`", "`pit::is_seen`"),
            ("`src/a.rs` `NET`", "none"),
            ("`src/a.rs` `NET`", "`pit::is_not_seen`"),
            ("`src/a.rs` `NET`", "`hole::is_seen`"),
        ] {
            assert_eq!(unfounded_traps(&row(remedy, test), &sources).len(), 1, "{remedy} {test}");
        }
    }

    #[test]
    fn attacks_without_a_test_are_found() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [source("tests/siege.rs", "fn holds()")];
        let row = |tests: &str| format!("| Attack | What | Test |\n|---|---|---|\n| a `b` | c | {tests} |\n");
        assert!(unshown_attacks(&row("`siege::holds`"), &sources).is_empty());
        for tests in ["none", "`siege::falls`", "`siege::holds` `moat::holds`"] {
            assert_eq!(unshown_attacks(&row(tests), &sources).len(), 1, "{tests}");
        }
    }

    #[test]
    fn fuzzers_that_no_run_goes_through_are_found() {
        let fuzzers = ["line", "reply"].map(str::to_owned);
        let smoke = "holds(\"line\", x); holds(\"reply\", y);";
        assert!(unsmoked(&fuzzers, smoke, |_| true).is_empty());
        assert_eq!(unsmoked(&fuzzers, "holds(\"line\", x);", |_| true), ["tests/fuzz.rs leaves reply out"]);
        assert_eq!(unsmoked(&fuzzers, smoke, |name| name == "line"), ["fuzz/corpus/reply is not there"]);
        assert_eq!(unsmoked(&fuzzers[..1], smoke, |_| true), ["fuzz/targets/reply.rs is not there"]);
    }

    #[test]
    fn metrics_that_are_not_there_are_found() {
        let reference = "| `ftps_gateway_a_total` | counter | |\n| `ftps_gateway_b_seconds` | histogram | |\n";
        let text = "ftps_gateway_a_total, `ftps_gateway_b_seconds_bucket` and ftps_gateway_c{x}; ftps_gateway_*";
        let document = Source { path: "docs/x.md".into(), text: text.into() };
        assert_eq!(unknown_metrics(&document, reference), ["docs/x.md: there is no metric ftps_gateway_c"]);
    }

    #[test]
    fn whole_configurations_are_told_from_pieces() {
        let text = "```yaml\nlisteners: []\nbackends: {}\n```\n```yaml\ntls: {}\n```\n";
        assert_eq!(yaml_blocks(text), ["listeners: []\nbackends: {}\n"]);
    }
}
