//! The rules of the house: which room may import from which, what every file begins with, what the documents must say.
//!
//! Every check is a function from texts to complaints, so that it can be shown to complain: see the last tests.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "house/code.rs"]
mod code;
#[path = "house/documents.rs"]
mod documents;

use std::path::{Path, PathBuf};
use std::process::Command;

use code::{
    Source, backward_imports, confined, forged_stamps, given_by_name, map, open_stamps, too_long, without_heading,
};
use documents::{
    dead_links, generated, missing_from_index, replaced, tables, unfounded_traps, unknown_metrics, unshown_attacks,
    unsmoked, yaml_blocks,
};
use ftps_gateway::config;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below a folder of the project, by their paths in it.
fn files(folder: &str, ending: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![project(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|own| own == ending) {
                let name = path.strip_prefix(project("")).unwrap().to_str().unwrap().to_owned();
                found.push(Source { text: read(&name), path: name });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn sources() -> Vec<Source> {
    let sources: Vec<_> =
        ["src", "tests", "benches", "bench/load/src", "fuzz"].into_iter().flat_map(|in_| files(in_, "rs")).collect();
    assert!(sources.len() > 50);
    sources
}

fn documents() -> Vec<Source> {
    let mut documents = files("docs", "md");
    for path in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        documents.push(Source { path: path.into(), text: read(path) });
    }
    documents
}

#[track_caller]
fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_room_imports_only_from_rooms_above_it() {
    let rooms = map(&read("src/lib.rs"));
    assert_eq!((rooms.first().map(String::as_str), rooms.last().map(String::as_str)), (Some("ftp"), Some("app")));
    assert_none(sources().iter().flat_map(|source| backward_imports(source, &rooms)).collect());
}

#[test]
fn every_file_says_first_what_it_is() {
    assert_none(sources().iter().filter_map(without_heading).collect());
}

#[test]
fn no_file_is_longer_than_the_wall() {
    assert_none(sources().iter().filter_map(too_long).collect());
}

#[test]
fn yaml_is_read_in_one_place() {
    assert_none(sources().iter().flat_map(|source| confined(source, "serde_yaml", "src/config/raw.rs")).collect());
}

#[test]
fn the_demos_server_is_known_to_the_demo_alone() {
    assert_none(sources().iter().flat_map(|source| confined(source, "libunftp", "src/app/demo/server.rs")).collect());
}

#[test]
fn nothing_is_unsafe() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    assert_none(sources().iter().flat_map(|source| confined(source, "unsafe", "nowhere")).collect());
}

#[test]
fn only_policy_makes_the_stamps() {
    let sources = files("src", "rs");
    assert_none(sources.iter().flat_map(forged_stamps).collect());
    assert_none(open_stamps(&sources));
}

/// `cargo tree` asks the lock file and nobody else.
#[test]
fn a_build_without_features_has_no_ftp_server_in_it() {
    let tree = |features: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"])
            .args(features)
            .current_dir(project(""))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!tree(&[]).contains("unftp"));
    assert!(tree(&["--features", "demo"]).contains("libunftp"));
}

/// `UPDATE_DOCS=1 cargo nextest run --test house` writes the tables anew. The last column is written by hand and kept.
#[test]
fn the_tables_of_the_documents_are_those_of_the_code() {
    for (path, tables) in tables() {
        let mut text = read(path);
        let mut complaints = Vec::new();
        for table in tables {
            let wanted = generated(&table, &text);
            if std::env::var_os("UPDATE_DOCS").is_some() {
                text = replaced(&text, table.name, &wanted.text);
            }
            if replaced(&text, table.name, &wanted.text) != text {
                complaints.push(format!("{path}: the table {} is not the code's: UPDATE_DOCS=1 mends it", table.name));
            }
            complaints.extend(wanted.empty.iter().map(|row| format!("{path}: {row} has nothing in its last column")));
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(project(path), text).unwrap();
        }
        assert_none(complaints);
    }
}

#[test]
fn who_breaks_when_is_told_as_the_code_tells_it() {
    let lifecycle = read("docs/lifecycle.md");
    let end = read("src/session/dialogue/end.rs");
    let rows: Vec<_> = end.lines().filter_map(|line| line.strip_prefix("//! |")).collect();
    assert!(rows.len() > 5);
    let missing = rows.iter().filter(|row| !lifecycle.lines().any(|line| line.strip_prefix('|') == Some(**row)));
    assert_none(missing.map(|row| format!("docs/lifecycle.md lacks |{row}")).collect());
}

#[test]
fn every_trap_has_its_remedy_and_its_test() {
    let document = read("docs/traps.md");
    assert!(document.lines().filter(|line| line.starts_with("| ")).count() > 40);
    assert_none(unfounded_traps(&document, &sources()));
}

/// A file that is not in the list is closed by Landlock, and the first SIGHUP in the field would be the first to tell.
#[test]
fn every_key_that_takes_a_path_is_among_the_files_that_stay_open() {
    let takes_a_path = |row: &&str| row.split('|').nth(3).is_some_and(|write| write.contains("path"));
    let reference = read("docs/configuration.md");
    let open = read("src/app/privilege/files.rs");
    let rows: Vec<_> = reference.lines().filter(|line| line.starts_with("| `")).filter(takes_a_path).collect();
    assert!(rows.len() >= 4, "{rows:?}");
    let key = |row: &&str| row.split('`').nth(1).unwrap_or_default().to_owned();
    let missing = rows.iter().map(key).filter(|key| !open.contains(&format!("`{key}`")));
    assert_none(missing.map(|key| format!("src/app/privilege/files.rs does not name {key}")).collect());
}

/// Between making something and giving it away by its name somebody may have put a link in its place.
#[test]
fn nothing_is_given_away_by_its_name() {
    let mut privilege = files("src/app/privilege", "rs");
    assert!(privilege.len() >= 4, "{}", privilege.len());
    privilege.extend(files("src/telemetry/audit", "rs"));
    assert_none(privilege.iter().flat_map(given_by_name).collect());
}

#[test]
fn every_attack_has_its_test() {
    let document = read("docs/security/attacks.md");
    assert!(document.lines().filter(|line| line.starts_with("| ")).count() > 50);
    assert_none(unshown_attacks(&document, &sources()));
}

/// Those that the gateway's readers of peers' bytes have from the beginning, and all that came since.
#[test]
fn every_fuzzer_is_gone_through_in_each_run() {
    let targets = files("fuzz/targets", "rs");
    let names: Vec<_> = targets
        .iter()
        .map(|target| Path::new(&target.path).file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in ["line", "command", "reply", "endpoint", "dialogue", "config", "proxy"] {
        assert!(names.iter().any(|own| own == name), "fuzz/targets/{name}.rs");
    }
    let has_corpus = |name: &str| project("fuzz/corpus").join(name).is_dir();
    assert_none(unsmoked(&names, &read("tests/fuzz.rs"), has_corpus));
}

#[test]
fn metrics_in_the_documents_are_there() {
    let reference = read("docs/metrics.md");
    assert_none(documents().iter().flat_map(|document| unknown_metrics(document, &reference)).collect());
}

#[test]
fn links_lead_somewhere() {
    let there = |path: &Path| project(path.to_str().unwrap()).exists();
    assert_none(documents().iter().flat_map(|document| dead_links(document, there)).collect());
}

#[test]
fn the_readme_leads_to_every_document() {
    let readme = read("README.md");
    assert_none(missing_from_index(&readme, &files("docs", "md")));
}

#[test]
fn the_readmes_commands_are_there() {
    use std::os::unix::fs::PermissionsExt;
    let readme = read("README.md");
    for command in ["cargo run --release --features demo -- demo", "./tests/run"] {
        assert!(readme.lines().any(|line| line == command), "{command}");
    }
    assert!(read("Cargo.toml").lines().any(|line| line.starts_with("demo = [")));
    assert!(read("src/main.rs").contains("Demo(app::DemoOptions)"));
    for script in ["tests/run", ".ci/run", "tests/peers/install", "bench/run"] {
        assert!(project(script).metadata().unwrap().permissions().mode() & 0o111 != 0, "{script}");
    }
}

/// Certificates and keys that an example names are not on this machine; any file will do for them.
fn with_files(block: &str) -> String {
    let file = project("Cargo.toml").display().to_string();
    let named = block.split("/etc/ftps-gateway/").skip(1).map(|rest| {
        let end = rest.find(|letter: char| " ,}\n".contains(letter)).unwrap_or(rest.len());
        format!("/etc/ftps-gateway/{}", &rest[..end])
    });
    named.fold(block.to_owned(), |block, name| block.replace(&name, &file))
}

#[test]
fn configurations_in_the_documents_load() {
    let mut seen = 0;
    for document in documents() {
        for block in yaml_blocks(&document.text) {
            seen += 1;
            let block = with_files(&block);
            config::parse(&block, &document.path).unwrap_or_else(|problems| panic!("{problems}\n\nin\n{block}"));
        }
    }
    assert!(seen >= 3, "{seen}");
}
