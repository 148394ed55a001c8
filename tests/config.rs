//! Files that are good load; files that are not give exactly the problems beside them; no text makes the room panic.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use ftps_gateway::config::{self, Settings};
use proptest::prelude::*;

/// What a fragment of a file needs beside it.
const LISTENERS: &str = "listeners: [{ address: \"127.0.0.1:21\" }]\n";
const BACKENDS: &str = "backends: { legacy: { servers: [\"10.20.0.11:21\"] } }\n";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn good(text: &str) -> Settings {
    config::parse(text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n\nin\n{text}"))
}

#[test]
fn valid_files_load() {
    for path in files("tests/config/valid") {
        config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// `BLESS=1` writes the expectations anew; read them before committing.
#[test]
fn invalid_files_give_exactly_the_expected_problems() {
    for path in files("tests/config/invalid") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let problems = config::parse(&read(&path), name).expect_err(name);
        let text = format!("{problems}\n");
        let expected = path.with_extension("expected");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        assert_eq!(text, read(&expected), "{name}");
    }
}

#[test]
fn a_minimal_file_is_under_fifteen_lines() {
    assert!(read(&project("tests/config/valid/minimal.yaml")).lines().count() < 15);
}

#[test]
fn the_reference_file_loads_and_shows_the_defaults() {
    let reference = config::load(&project("gateway.yaml")).unwrap_or_else(|problems| panic!("{problems}"));
    let listeners =
        "listeners:\n  - { address: \"[::]:21\", name: public }\n  - { address: \"[::]:990\", tls: implicit }\n";
    let defaults = good(&format!("{listeners}{BACKENDS}"));
    assert_eq!(format!("{reference:?}"), format!("{defaults:?}"));
}

#[test]
fn the_examples_of_the_documentation_load() {
    let page = read(&project("docs/configuration.md"));
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(examples.len() > 8);
    for example in examples {
        let has = |section: &str| example.lines().any(|line| line.starts_with(section));
        let listeners = if has("listeners:") { "" } else { LISTENERS };
        let backends = if has("backends:") { "" } else { BACKENDS };
        let Err(problems) = config::parse(&format!("{listeners}{backends}{example}"), "example.yaml") else { continue };
        // The certificates of an example are on nobody's machine.
        let missing = |problem: &config::Problem| problem.what.starts_with("there is no file");
        assert!(problems.as_slice().iter().all(missing), "{problems}\n\nin\n{example}");
    }
}

#[test]
fn long_lists_of_networks_load() {
    let networks: Vec<String> = (0..100_000u32).map(|at| format!("{}/31", std::net::Ipv4Addr::from(at * 4))).collect();
    let text = format!("{LISTENERS}{BACKENDS}access:\n  deny:\n  - {}\n", networks.join("\n  - "));
    let access = good(&text).access;
    assert!(access.check("0.0.0.1".parse().unwrap()).is_err());
    assert!(access.check("0.0.0.2".parse().unwrap()).is_ok());
    assert!(access.check("0.6.26.125".parse().unwrap()).is_err());
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let missing = config::load(Path::new("/nonexistent/gateway.yaml")).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/gateway.yaml: cannot be read: "), "{missing}");
    let directory = tempfile::tempdir().unwrap();
    let latin1 = directory.path().join("gateway.yaml");
    std::fs::write(&latin1, b"banner: Gr\xfc\xdfe\n").unwrap();
    assert!(config::load(&latin1).unwrap_err().to_string().ends_with("Save it as UTF-8."));
}

#[test]
fn relative_paths_begin_at_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.yaml");
    for pem in ["chain.pem", "key.pem"] {
        std::fs::write(directory.path().join(pem), "").unwrap();
    }
    let tls = "tls: { certificates: [{ certificate: chain.pem, private_key: ./key.pem }] }\nstate_dir: state\n";
    std::fs::write(&file, format!("{LISTENERS}{BACKENDS}{tls}")).unwrap();
    let settings = config::load(&file).unwrap();
    assert_eq!(settings.tls.certificates[0].certificate, directory.path().join("chain.pem"));
    assert_eq!(settings.tls.state_dir, Some(directory.path().join("state")));
}

#[test]
fn numbers_and_missing_quotes_mean_what_is_written() {
    let settings = config::load(&project("tests/config/valid/lenient.yaml")).unwrap();
    let user = settings.routes.choose(&ftps_gateway::policy::Traveller {
        user: b"007",
        host: None,
        client: "192.0.2.1".parse().unwrap(),
        listener: "explicit-21",
    });
    assert_eq!(user, Some("2024"));
    assert_eq!(settings.banner, "220");
    assert_eq!(settings.limits.sessions, 100);
    assert_eq!(settings.data.ports, 50000..=50000);
    assert_eq!(settings.tls.minimum_version, ftps_gateway::tls::MinimumVersion::Tls13);
    assert_eq!(settings.backends[0].server.to_string(), "10.20.0.11:21");
}

#[test]
fn listeners_without_a_name_get_one() {
    let settings = config::load(&project("tests/config/valid/ports-by-the-system.yaml")).unwrap();
    let names: Vec<&str> = settings.listeners.iter().map(|listener| &*listener.name).collect();
    assert_eq!(names, ["explicit-0", "explicit-0-2"]);
    assert_eq!(settings.admin, None);
}

fn seeds() -> Vec<String> {
    let folders = ["tests/config/valid", "tests/config/invalid"];
    let mut seeds: Vec<String> = folders.into_iter().flat_map(files).map(|path| read(&path)).collect();
    seeds.push(read(&project("gateway.yaml")));
    seeds
}

/// What may be put anywhere into a file.
fn snippet() -> impl Strategy<Value = String> {
    let words = [
        "",
        " ",
        "\n",
        "\n  ",
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "&a ",
        "*a",
        "!x ",
        "!!int ",
        "~",
        "|\n",
        ">\n",
        "? ",
        "<<: ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "#",
        "0",
        "-1",
        "1e999",
        "99999999999999999999999",
        "0-0",
        "-",
        "::",
        "[::]:0",
        "sha256:",
        "ä",
        "\u{feff}",
        "\u{0}",
        "\r",
        "\u{85}",
        "\u{2028}",
    ];
    prop_oneof![4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}", 1 => ".{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "(.|\n){0,200}") {
        let _ = config::parse(&text, "x.yaml");
    }

    #[test]
    fn no_soup_of_yaml_makes_it_panic(parts in proptest::collection::vec(snippet(), 0..40)) {
        let _ = config::parse(&parts.concat(), "x.yaml");
    }

    #[test]
    fn no_damaged_file_makes_it_panic(
        seed in proptest::sample::select(seeds()),
        wounds in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..12, snippet()), 1..6),
    ) {
        let mut text: Vec<char> = seed.chars().collect();
        for (place, cut, snippet) in wounds {
            let start = place.index(text.len() + 1);
            let end = (start + cut).min(text.len());
            text.splice(start..end, snippet.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = config::parse(&text, "x.yaml") {
            prop_assert!(!problems.as_slice().is_empty());
            let lines = problems.to_string().lines().count();
            prop_assert_eq!(lines, problems.as_slice().len(), "one line a problem: {}", problems);
            // YAML breaks lines at more characters than Rust does, and ends in a line behind the last.
            let last = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 2;
            prop_assert!(problems.as_slice().iter().all(|problem| problem.line.is_none_or(|line| (1..=last).contains(&line))));
        }
    }
}

/// Anchors that multiply and brackets without end must not eat time or memory.
#[test]
fn hostile_shapes_end_soon() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    for text in [laughs, "[".repeat(2_000), "a: ".repeat(2_000), "- ".repeat(2_000), "{a: ".repeat(2_000)] {
        assert!(config::parse(&text, "x.yaml").is_err());
    }
}
