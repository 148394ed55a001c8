//! `docs/interop.md`, from what the cells of one run have written. A run that left cells out writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::Cells;
use crate::cells::{label, setups};
use crate::failure::Failure;
use crate::outcome::{Done, Outcome, Verdict};
use crate::work::{ITEMS, Much};

const DOCUMENT: &str = "docs/interop.md";
/// Behind the items of work in the tables: what is seen at the end of a cell.
const BY_ITSELF: [&str; 3] = ["nothing left", "resumption", "HOST"];
/// Of a client's or server's own words.
const WORDS: usize = 300;

const HEAD: &str = "<!-- Written by `./tests/run --matrix` from what that run saw. Never edited by hand. -->

# Real clients, real servers

Does your client work through the gateway with your server? Find them in the tables. This file is written by `./tests/run --matrix`
from what that very run saw, and never edited by hand.

Every client works in front of every server with the gateway between them, and comes in by every way it has. Each pair is a cell with
a server, a gateway and clients of its own. Contents are compared by SHA-256, and after each cell the gateway must be back to no
session, no transfer and no reserved port. What fails is tried again with the same client at the bare server, without the gateway,
and at one of another kind:

- **ok**: done, and seen to be done.
- **–**: the client does not have it.
- **client**: it fails in the same way at both bare servers: the client's doing.
- **server**: it fails in the same way at this bare server and not at the other: the server's doing.
- **DEFECT**: it fails with the gateway and not, or not in the same way, without it.

Each of these is explained [below](#what-is-not-ok), in the words of the client.
";

const VERSIONS: &str = "
## Versions

Of Debian where not said otherwise. `-resuming`: the same client with the few lines that make its data connections resume.
`dotnet-like`: a script that does as .NET's FtpWebRequest: data connection before the command, no `close_notify`.
";

const SERVERS: &str = "
## Client × server

All work; the client's way differs from server to server. `plain`, `explicit` and `implicit` say how the gateway comes to the server.
Servers under TLS demand that data connections resume, where they can, and then the gateway demands it of the clients that can. The
server opens the data connections itself by turns, but not pyftpdlib, which then loses some of its other sessions'.
";

const WAYS: &str = "
## Client × way

How clients come in, in front of ProFTPD: the work that a way could matter for. `e` explicit, `i` implicit; `2` TLS 1.2, `3` TLS 1.3; P
and C: PROT P and PROT C; a 6: over IPv6. `!` stands behind a way in which something is a client's or a server's fault.
";

const NAMES: &str = "
## By name, and strict

The client is given a name instead of an address: SNI, and HOST from those that send it. The gateway is as strict as the client can
bear: under `data_resumption: require` data connections must resume, under `truncated_uploads: reject` an upload must end with
`close_notify`.
";

/// Writes the document when every cell has its result. Without success when there are defects, too.
pub(crate) fn write(cells: &[Cells]) -> ExitCode {
    let (mut outcomes, mut missing) = (Vec::new(), Vec::new());
    for (driver, cells) in cells {
        let Ok(cells) = cells else {
            missing.push(driver.name.clone());
            continue;
        };
        for cell in cells.iter().filter(|cell| cell.much != Much::Fast) {
            match Outcome::read(&cell.name) {
                Some(outcome) => outcomes.push(outcome),
                None => missing.push(cell.name.clone()),
            }
        }
    }
    if !missing.is_empty() || outcomes.is_empty() {
        let shown = missing.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
        eprintln!("{DOCUMENT} is left as it is: {} cells have no result: {shown}", missing.len());
        return ExitCode::FAILURE;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    std::fs::write(path, document(&outcomes)).unwrap();
    let defects = outcomes.iter().filter(|outcome| outcome.has_defect()).count();
    eprintln!("{DOCUMENT} is written: {} cells, {defects} with defects", outcomes.len());
    if defects == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn document(outcomes: &[Outcome]) -> String {
    let drivers: BTreeSet<&str> = outcomes.iter().map(|outcome| &*outcome.driver).collect();
    let drivers: Vec<_> = drivers.into_iter().collect();
    let mut text = HEAD.to_owned();
    sum(&mut text, outcomes);
    versions(&mut text, outcomes, &drivers);
    servers(&mut text, outcomes, &drivers);
    ways(&mut text, outcomes, &drivers);
    names(&mut text, outcomes, &drivers);
    works(&mut text, outcomes, &drivers);
    explanations(&mut text, outcomes, &drivers);
    text
}

fn sum(text: &mut String, outcomes: &[Outcome]) {
    let done = outcomes.iter().flat_map(|outcome| &outcome.done).filter(|done| done.verdict != Verdict::Cannot);
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("an unknown system");
    let (cells, version) = (outcomes.len(), env!("CARGO_PKG_VERSION"));
    let system = system.trim_matches('"');
    writeln!(
        text,
        "\nftps-gateway {version} on {system}: {cells} cells with {} pieces of work, {}.",
        done.clone().count(),
        told(done)
    )
    .unwrap();
}

fn table(text: &mut String, heading: &str, columns: &[&str], rows: impl IntoIterator<Item = (String, Vec<String>)>) {
    writeln!(text, "\n| {heading} | {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len() + 1)).unwrap();
    for (name, fields) in rows {
        writeln!(text, "| {name} | {} |", fields.join(" | ")).unwrap();
    }
}

fn versions(text: &mut String, outcomes: &[Outcome], drivers: &[&str]) {
    let first = |of: &dyn Fn(&Outcome) -> bool| outcomes.iter().find(|outcome| of(outcome)).unwrap();
    text.push_str(VERSIONS);
    let rows = drivers.iter().map(|driver| {
        let found = first(&|outcome| outcome.driver == *driver);
        ((*driver).to_owned(), vec![plain(&found.version)])
    });
    table(text, "Client", &["Version"], rows);
    let kinds: BTreeMap<&str, &str> =
        outcomes.iter().map(|outcome| (outcome.server.split('-').next().unwrap(), &*outcome.server_version)).collect();
    table(text, "Server", &["Version"], kinds.into_iter().map(|(kind, version)| (kind.into(), vec![plain(version)])));
}

/// How much of the work was done, and what became of the rest: `ok` when all was.
fn counted<'a>(done: impl Iterator<Item = &'a Done> + Clone) -> String {
    if done.clone().all(|done| done.verdict == Verdict::Cannot) {
        return "–".into();
    }
    if done.clone().all(|done| matches!(done.verdict, Verdict::Ok | Verdict::Cannot)) {
        "ok".into()
    } else {
        told(done)
    }
}

/// The same in numbers.
fn told<'a>(done: impl Iterator<Item = &'a Done>) -> String {
    let mut counts = [0; 4];
    for done in done {
        match done.verdict {
            Verdict::Ok => counts[0] += 1,
            Verdict::Client => counts[1] += 1,
            Verdict::Server => counts[2] += 1,
            Verdict::Defect => counts[3] += 1,
            Verdict::Cannot => {}
        }
    }
    let names = ["ok", "client", "server", "**DEFECT**"];
    let told = counts.iter().zip(names).filter(|(count, _)| **count > 0);
    told.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn servers(text: &mut String, outcomes: &[Outcome], drivers: &[&str]) {
    text.push_str(SERVERS);
    let columns: Vec<_> = setups().into_iter().map(label).collect();
    let rows = drivers.iter().map(|driver| {
        let field = |server: &String| {
            let name = format!("server::{driver}::{server}");
            outcomes
                .iter()
                .find(|outcome| outcome.cell == name)
                .map_or("–".into(), |outcome| counted(outcome.done.iter()))
        };
        ((*driver).to_owned(), columns.iter().map(field).collect())
    });
    table(text, "Client", &columns.iter().map(String::as_str).collect::<Vec<_>>(), rows);
}

fn ways(text: &mut String, outcomes: &[Outcome], drivers: &[&str]) {
    text.push_str(WAYS);
    let data = ["pasv", "epsv", "epsv6", "port", "eprt", "eprt6"];
    let columns: Vec<_> = ["P", "C"].iter().flat_map(|prot| data.map(|data| format!("{data}-{prot}"))).collect();
    let rows = drivers.iter().map(|driver| {
        let field = |column: &String| {
            let mut shown = Vec::new();
            for (tls, version) in [("explicit", "1.2"), ("explicit", "1.3"), ("implicit", "1.2"), ("implicit", "1.3")] {
                let name = format!("way::{driver}::{tls}-{version}-{column}");
                let Some(outcome) = outcomes.iter().find(|outcome| outcome.cell == name) else { continue };
                let faults = outcome.done.iter().any(|done| matches!(done.verdict, Verdict::Client | Verdict::Server));
                let mark = if outcome.has_defect() {
                    " **DEFECT**"
                } else if faults {
                    "!"
                } else {
                    ""
                };
                shown.push(format!("{}{}{mark}", &tls[..1], &version[2..]));
            }
            if shown.is_empty() { "–".into() } else { shown.join(" ") }
        };
        ((*driver).to_owned(), columns.iter().map(field).collect())
    });
    let heads: Vec<_> = columns.iter().map(|column| column.to_uppercase().replace('-', " ")).collect();
    table(text, "Client", &heads.iter().map(String::as_str).collect::<Vec<_>>(), rows);
}

fn names(text: &mut String, outcomes: &[Outcome], drivers: &[&str]) {
    text.push_str(NAMES);
    let named = drivers.iter().filter_map(|driver| {
        let name = format!("name::{driver}");
        let outcome = outcomes.iter().find(|outcome| outcome.cell == name)?;
        let fields = [&*outcome.way, &*plain(&outcome.gateway), &*counted(outcome.done.iter())].map(str::to_owned);
        Some(((*driver).to_owned(), fields.to_vec()))
    });
    table(text, "Client", &["Way", "Gateway", "Work"], named);
}

fn works(text: &mut String, outcomes: &[Outcome], drivers: &[&str]) {
    text.push_str("\n## Work × client\n\nOver all cells of the client. A number says in how many of them.\n");
    let items = ITEMS.iter().map(|item| item.name).chain(BY_ITSELF);
    let rows = items.map(|item| {
        let field = |driver: &&str| {
            let of_it = outcomes.iter().filter(|outcome| outcome.driver == **driver).flat_map(|outcome| &outcome.done);
            counted(of_it.filter(|done| done.item == item))
        };
        (item.to_owned(), drivers.iter().map(field).collect())
    });
    table(text, "Work", drivers, rows);
}

/// Failures that tell the same, whatever the work and the cell.
struct Entry<'a> {
    items: BTreeSet<(usize, &'a str)>,
    cells: Vec<&'a str>,
    first: &'a Done,
}

fn explanations(text: &mut String, outcomes: &[Outcome], drivers: &[&str]) {
    text.push_str("\n## What is not ok\n");
    for driver in drivers {
        let of_it: Vec<_> = outcomes.iter().filter(|outcome| outcome.driver == *driver).collect();
        let lacks: BTreeSet<&str> = of_it
            .iter()
            .flat_map(|outcome| &outcome.done)
            .filter(|done| done.verdict == Verdict::Cannot && !BY_ITSELF.contains(&&*done.item))
            .map(|done| &*done.item)
            .collect();
        let lacks: Vec<_> = lacks.into_iter().collect();
        let mut entries: BTreeMap<_, Entry<'_>> = BTreeMap::new();
        for outcome in &of_it {
            for done in &outcome.done {
                let Some(failure) = &done.failure else { continue };
                let key = (word(&done.verdict), numberless(&brief(&failure.text)));
                let new = || Entry { items: BTreeSet::new(), cells: Vec::new(), first: done };
                let entry = entries.entry(key).or_insert_with(new);
                entry.items.insert((rank(&done.item), &done.item));
                if entry.cells.last() != Some(&&*outcome.cell) {
                    entry.cells.push(&outcome.cell);
                }
            }
        }
        if lacks.is_empty() && entries.is_empty() {
            continue;
        }
        writeln!(text, "\n### {driver}\n").unwrap();
        if !lacks.is_empty() {
            writeln!(text, "- Cannot: {}.", lacks.join(", ")).unwrap();
        }
        let mut entries: Vec<_> = entries.into_values().collect();
        entries.sort_by_key(|entry| entry.items.first().copied());
        for entry in &entries {
            entry.write(text);
        }
    }
}

impl Entry<'_> {
    /// The evidence is that of its first piece of work.
    fn write(&self, text: &mut String) {
        let Self { items, cells, first } = self;
        let failure = |failure: &Failure| format!("at `{}`: `{}`", failure.at, brief(&failure.text));
        let own = first.failure.as_ref().map(&failure).unwrap_or_default();
        let items = items.iter().map(|(_, item)| *item).collect::<Vec<_>>().join(", ");
        let some = cells.iter().take(3).map(|cell| format!("`{cell}`")).collect::<Vec<_>>().join(", ");
        let more = if cells.len() > 3 { format!(" and {} more", cells.len() - 3) } else { String::new() };
        writeln!(text, "- **{items}**: {}, {own}\n  - in {some}{more}", word(&first.verdict)).unwrap();
        for bare in &first.bare {
            let said = bare.failure.as_ref().map_or("ok".to_owned(), &failure);
            writeln!(text, "  - without the gateway, {}: {said}", bare.server).unwrap();
        }
    }
}

fn rank(item: &str) -> usize {
    ITEMS.iter().position(|own| own.name == item).unwrap_or(ITEMS.len())
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Cannot => "cannot",
        Verdict::Client => "the client's fault",
        Verdict::Server => "the server's fault",
        Verdict::Defect => "DEFECT",
    }
}

/// Sizes and times make no other failure of it.
fn numberless(text: &str) -> String {
    text.split(|letter: char| letter.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("N")
}

/// On one line, within `` ` ``.
fn brief(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'");
    let short: String = line.chars().take(WORDS).collect();
    if short.len() < line.len() { format!("{short} …") } else { short }
}

/// In a table.
fn plain(text: &str) -> String {
    brief(text).replace('|', "/")
}

/// No failure gets lost on its way into the document.
pub(crate) fn selftest() {
    use crate::outcome::Bare;

    let failed = |verdict, text: &str| Done {
        failure: Some(Failure::wrong("get", text.into())),
        verdict,
        bare: vec![Bare { server: "proftpd-explicit".into(), failure: None }],
        ..Done::plainly("down", Verdict::Ok)
    };
    let outcome = |cell: &str, done: Vec<Done>| Outcome {
        cell: cell.into(),
        driver: "some".into(),
        version: "some 1".into(),
        server: "vsftpd-plain".into(),
        server_version: "3".into(),
        way: "explicit-1.3-pasv-P".into(),
        gateway: String::new(),
        done,
    };
    let cut = failed(Verdict::Client, "5 of `6`\nbytes");
    let good = outcome("server::some::vsftpd-plain", vec![Done::plainly("up", Verdict::Ok), cut]);
    let lacking = Done::plainly("append", Verdict::Cannot);
    let bad = outcome("way::some::explicit-1.3-pasv-P", vec![lacking, failed(Verdict::Defect, "none")]);
    let text = document(&[good, bad]);
    for wanted in [
        "| some | some 1 |",
        "2 cells with 3 pieces of work, 1 ok, 1 client, 1 **DEFECT**.",
        "| some | 1 ok, 1 client | – |",
        "| some | e3 **DEFECT** | – |",
        "| down | 1 client, 1 **DEFECT** |",
        "| append | – |",
        "- Cannot: append.",
        "- **down**: the client's fault, at `get`: `5 of '6' bytes`\n  - in `server::some::vsftpd-plain`",
        "- **down**: DEFECT, at `get`: `none`",
        "  - without the gateway, proftpd-explicit: ok",
    ] {
        assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
    }
    assert!(text.lines().take(5).any(|line| line.contains("written by `./tests/run --matrix`")));
}
