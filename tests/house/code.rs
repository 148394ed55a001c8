//! Rules for source files, as functions from texts to complaints.

/// Where thinking ends and a file must be split.
const WALL: usize = 500;
/// What only `policy` can make.
const STAMPS: [&str; 3] = ["Permit", "Cleared", "Claim"];

/// A file of the project.
pub(crate) struct Source {
    /// Its path in the project.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl Source {
    /// Lines with their numbers, without comments. Good enough for code that rustfmt has been over.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, uncommented(line)))
    }

    /// The room a file is in: `src/tls/wire.rs` and `src/tls.rs` are in `tls`. `main.rs` and `lib.rs` are in none.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split_once('/').map_or_else(|| inside.strip_suffix(".rs"), |(room, _)| Some(room))?;
        (room != "main" && room != "lib").then_some(room)
    }

    /// How many `super::` lead from the file's own module to the crate's root.
    fn depth(&self) -> usize {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inside.split('/').count()
    }

    fn complaint(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn uncommented(line: &str) -> &str {
    let mut from = 0;
    while let Some(at) = line[from..].find("//") {
        let at = from + at;
        // Between an odd number of quotation marks and the next it is in a string.
        if line[..at].matches('"').count().is_multiple_of(2) {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    &text[..end]
}

/// The rooms in their order.
pub(crate) fn map(lib: &str) -> Vec<String> {
    let rooms = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    rooms.map(str::to_owned).collect()
}

/// Owners and modes changed by a path. By a handle it is `fchown` and `File::set_permissions`.
pub(crate) fn given_by_name(source: &Source) -> Vec<String> {
    let by_name = ["::chown(", " chown(", "lchown(", "::set_permissions(", " set_permissions("];
    let gives = |line: &str| by_name.iter().any(|call| line.contains(call));
    let lines = source.code().filter(|(_, line)| gives(line));
    lines.map(|(line, _)| source.complaint(line, "gives away a name; give what is held open")).collect()
}

/// Imports of rooms that come later in the map.
pub(crate) fn backward_imports(source: &Source, rooms: &[String]) -> Vec<String> {
    let Some(own) = source.room() else { return Vec::new() };
    let place = |room: &str| rooms.iter().position(|other| other == room);
    let Some(here) = place(own) else { return vec![source.complaint(1, &format!("the room {own} is not on the map"))] };
    let mut complaints = Vec::new();
    for (line, room) in imported(source) {
        if place(room).is_some_and(|there| there > here) {
            complaints.push(source.complaint(line, &format!("{own} imports from {room}, which builds on it")));
        }
    }
    complaints
}

/// What stands behind `crate::`, and behind as many `super::` as lead to the root; lists in braces included.
fn imported(source: &Source) -> Vec<(usize, &str)> {
    let root = "super::".repeat(source.depth());
    let mut found = Vec::new();
    let mut open = 0;
    for (number, line) in source.code() {
        for start in ["crate::", &root] {
            for (at, _) in line.match_indices(start) {
                // `$crate::` and `mycrate::` are others; `super::super::` further left is counted where it begins.
                if line[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
                    continue;
                }
                let rest = &line[at + start.len()..];
                match rest.strip_prefix('{') {
                    Some(list) => open = listed(number, list, 1, &mut found),
                    None => found.push((number, identifier(rest))),
                }
            }
        }
        if open > 0 && !line.contains("::{") {
            open = listed(number, line, open, &mut found);
        }
    }
    found
}

/// Names at the outermost level of a list in braces. Says how many braces are open at the line's end.
fn listed<'a>(number: usize, list: &'a str, mut open: usize, found: &mut Vec<(usize, &'a str)>) -> usize {
    let mut fresh = true;
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            ',' => fresh = true,
            ' ' => continue,
            _ if fresh && open == 1 => {
                fresh = false;
                found.push((number, identifier(&list[at..])));
            }
            _ => {}
        }
        if open == 0 {
            return 0;
        }
    }
    open
}

/// A file that does not begin with what it is.
pub(crate) fn without_heading(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let told = first.strip_prefix("//! ").is_some_and(|text| !text.trim().is_empty());
    (!told).then(|| source.complaint(1, "begins without //! and what it is"))
}

/// A file above the wall.
pub(crate) fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > WALL).then(|| source.complaint(lines, &format!("{WALL} lines are the wall")))
}

/// A word of code outside the one file it belongs in. Names in quotes are texts, not code.
pub(crate) fn confined(source: &Source, word: &str, home: &str) -> Vec<String> {
    if source.path == home {
        return Vec::new();
    }
    let uses = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let part = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
            let quoted = line[..at].matches('"').count() % 2 == 1;
            !quoted && !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next())
        })
    };
    source
        .code()
        .filter(|(_, line)| uses(line))
        .map(|(at, _)| source.complaint(at, &format!("{word} is for {home}")))
        .collect()
}

/// A stamp made outside `policy`.
pub(crate) fn forged_stamps(source: &Source) -> Vec<String> {
    if source.room() == Some("policy") {
        return Vec::new();
    }
    let forged = |line: &str, stamp: &str| {
        line.match_indices(stamp).any(|(at, _)| {
            let whole = !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
            // `-> Claim {` begins a function's body, `for Claim {` that of an impl.
            let body = [" for ", "-> ", "impl "].iter().any(|before| line[..at].ends_with(before));
            let rest = &line[at + stamp.len()..];
            whole && !body && (rest.starts_with(" {") || rest.starts_with('('))
        })
    };
    let mut complaints = Vec::new();
    for (at, line) in source.code() {
        for stamp in STAMPS.iter().filter(|stamp| forged(line, stamp)) {
            complaints.push(source.complaint(at, &format!("only policy makes a {stamp}")));
        }
    }
    complaints
}

/// A stamp that is not there, or that others could make because a field is theirs to set.
pub(crate) fn open_stamps(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for stamp in STAMPS {
        let declared = sources.iter().filter(|source| source.room() == Some("policy")).find_map(|source| {
            let at = [" {", "("].iter().find_map(|end| source.text.find(&format!("pub struct {stamp}{end}")))?;
            Some((source, source.text[at + "pub ".len()..].split(['}', ';']).next().unwrap_or_default()))
        });
        match declared {
            None => complaints.push(format!("policy has no {stamp}")),
            Some((source, fields)) if fields.contains("pub ") || fields.contains("pub(") => {
                complaints.push(format!("{}: a field of {stamp} is open", source.path));
            }
            Some(_) => {}
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    fn rooms() -> Vec<String> {
        map("//! Map.\n\npub mod ftp;\npub mod policy;\npub mod tls;\n")
    }

    #[test]
    fn the_map_is_read_in_its_order() {
        assert_eq!(rooms(), ["ftp", "policy", "tls"]);
    }

    #[test]
    fn backward_imports_are_found_however_they_are_written() {
        for text in [
            "use crate::tls::Stream;",
            "use crate::{ftp, tls};",
            "use crate::{\n    ftp::Verb,\n    tls::Stream,\n};",
            "use crate::{ftp::{Verb, Reply}, tls};",
            "fn f() { crate::tls::g() }",
            "use super::super::tls::Stream;",
            "// fine\nuse crate::tls; // not fine",
        ] {
            assert_eq!(backward_imports(&source("src/policy/route.rs", text), &rooms()).len(), 1, "{text}");
        }
        assert_eq!(backward_imports(&source("src/policy/mod.rs", "use super::tls::Stream;"), &rooms()).len(), 1);
        assert_eq!(backward_imports(&source("src/policy.rs", "use crate::tls;"), &rooms()).len(), 1);
        assert_eq!(backward_imports(&source("src/unknown/mod.rs", "//! Is on no map."), &rooms()).len(), 1);
    }

    #[test]
    fn forward_imports_and_comments_are_fine() {
        for text in [
            "use crate::ftp::Verb;",
            "use crate::policy::Route;",
            "//! See [`crate::tls`].",
            "let url = \"x//y\"; use crate::ftp;",
            "use super::route::tls;",
            "use crate::{ftp::{tls, Verb}};",
        ] {
            assert_eq!(backward_imports(&source("src/policy/host.rs", text), &rooms()), [""; 0], "{text}");
        }
        assert_eq!(backward_imports(&source("src/main.rs", "use crate::tls;"), &rooms()), [""; 0]);
    }

    #[test]
    fn headings_and_lengths() {
        assert!(without_heading(&source("src/a.rs", "//! What it is.\n")).is_none());
        for text in ["", "use std::io;\n", "//!\n", "// A comment.\n"] {
            assert!(without_heading(&source("src/a.rs", text)).is_some(), "{text:?}");
        }
        assert!(too_long(&source("src/a.rs", &"x\n".repeat(WALL))).is_none());
        assert!(too_long(&source("src/a.rs", &"x\n".repeat(WALL + 1))).is_some());
    }

    #[test]
    fn confined_words() {
        let complain = |path, text| confined(&source(path, text), "yaml", "src/config/raw.rs").len();
        assert_eq!(complain("src/config/lower.rs", "use yaml::Value;"), 1);
        assert_eq!(complain("src/config/lower.rs", "let x = \"\"; yaml()"), 1);
        assert_eq!(complain("src/config/raw.rs", "use yaml::Value;"), 0);
        for fine in ["//! yaml is in raw", "let x = \"yaml\";", "my_yaml(yaml_of());"] {
            assert_eq!(complain("src/config/mod.rs", fine), 0, "{fine}");
        }
    }

    #[test]
    fn what_is_given_by_name() {
        let gives = |text| given_by_name(&source("src/app/privilege/user.rs", text)).len();
        for text in
            ["fs::set_permissions(folder, mode)?;", "std::os::unix::fs::chown(folder, a, b)", "    chown(&path, a, b)"]
        {
            assert_eq!(gives(text), 1, "{text}");
        }
        for fine in ["file.set_permissions(mode)?;", "fchown(&file, a, b)", "// chown(path)"] {
            assert_eq!(gives(fine), 0, "{fine}");
        }
    }

    #[test]
    fn forged_and_open_stamps() {
        let forge = |path, text| forged_stamps(&source(path, text)).len();
        assert_eq!(forge("src/session/serve.rs", "let cleared = Cleared(command);"), 1);
        assert_eq!(forge("src/data/open.rs", "let claim = Claim { peer };"), 1);
        assert_eq!(forge("src/policy/data_peer.rs", "Ok(Claim { peer })"), 0);
        assert_eq!(forge("src/data/open.rs", "fn f(claim: Claim) -> Claim {\n Step::Forward(Cleared)"), 0);
        let stamps = |claim: &str| {
            let text = format!("pub struct Permit {{\n a: u8,\n}}\npub struct Cleared(Command);\n{claim}");
            open_stamps(&[source("src/policy/all.rs", &text)]).len()
        };
        assert_eq!(stamps("pub struct Claim {\n    peer: SocketAddr,\n}"), 0);
        assert_eq!(stamps("pub struct Claim {\n    pub peer: SocketAddr,\n}"), 1);
        assert_eq!(stamps(""), 1);
    }
}
