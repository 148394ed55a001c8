//! YAML text to a tree in which every node knows its key path and its line. `serde_yaml` is used here and nowhere else.
//!
//! Invariants: a mapping of the tree holds each key once (a second one is a problem); every key is text; the tree is at
//! most as deep as `serde_yaml` allows, so it may be walked by recursion.

use std::fmt;
use std::rc::Rc;

use serde::de::{self, Deserialize, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};

use super::positions::{self, Position};
use super::problems::{Problem, printable, quoted};

/// One value of the file and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// The whole path, like `backends.legacy.servers[0]`.
    pub(super) path: String,
    /// The last key of the path.
    pub(super) key: String,
    /// The line of the key, or of the item of a list.
    pub(super) line: Option<usize>,
    /// A scalar as it is written, without quotes: a user named `007` or a version `1.20` keep their looks.
    pub(super) text: String,
    /// What it is.
    pub(super) value: Value,
}

/// What a node is. The text of every scalar is [`Node::text`].
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from 0.
    Integer(u64),
    /// Any other number.
    Number,
    /// Text.
    Text,
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<Node>),
}

/// Reads a text. Keys that are no text and keys that stand twice become problems and are left out of the tree.
///
/// # Errors
/// The one problem of a text that is no YAML.
pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    // Editors of Windows put one in front. It is no part of the text (YAML 1.2 §5.2).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw: Raw = serde_yaml::from_str(text).map_err(|error| syntax_problem(text, &error))?;
    let positions = positions::read(text);
    let root = Place { path: String::new(), key: String::new(), line: None };
    Ok(Builder { problems }.node(raw, root, positions.as_deref()))
}

/// What `serde_yaml` makes of a node.
enum Raw {
    Null,
    Bool(bool),
    Integer(u64),
    Number(String),
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

struct Place {
    path: String,
    key: String,
    line: Option<usize>,
}

/// Lays the tree of values over the tree of positions.
struct Builder<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Builder<'_> {
    fn node(&mut self, raw: Raw, place: Place, position: Option<&Position>) -> Node {
        let written = position.and_then(|position| position.text.clone());
        let (text, value) = match raw {
            Raw::Null => (String::new(), Value::Null),
            Raw::Bool(value) => (written.unwrap_or_else(|| value.to_string()), Value::Bool(value)),
            Raw::Integer(value) => (written.unwrap_or_else(|| value.to_string()), Value::Integer(value)),
            Raw::Number(value) => (written.unwrap_or(value), Value::Number),
            Raw::Text(value) => (value, Value::Text),
            Raw::List(items) => (String::new(), Value::List(self.list(items, &place, position))),
            Raw::Map(entries) => (String::new(), Value::Map(self.map(entries, &place, position))),
        };
        let Place { path, key, line } = place;
        Node { path, key, line, text, value }
    }

    fn list(&mut self, items: Vec<Raw>, place: &Place, position: Option<&Position>) -> Vec<Node> {
        let position = position.filter(|position| position.children.len() == items.len());
        let item = |(index, item): (usize, Raw)| {
            let position = position.and_then(|position| position.children.get(index)).map(Rc::as_ref);
            let line = position.map(|position| position.line).or(place.line);
            let place = Place { path: format!("{}[{index}]", place.path), key: place.key.clone(), line };
            self.node(item, place, position)
        };
        items.into_iter().enumerate().map(item).collect()
    }

    fn map(&mut self, entries: Vec<(Raw, Raw)>, place: &Place, position: Option<&Position>) -> Vec<Node> {
        let position = position.filter(|position| position.children.len() == 2 * entries.len());
        let mut nodes: Vec<Node> = Vec::with_capacity(entries.len());
        for (index, (key, value)) in entries.into_iter().enumerate() {
            let child = |index: usize| position.and_then(|position| position.children.get(index)).map(Rc::as_ref);
            let (key_position, value_position) = (child(2 * index), child(2 * index + 1));
            let line = key_position.map(|position| position.line).or(place.line);
            let Some(key) = key_text(key, key_position) else {
                let what = "a key here is not text".to_owned();
                let remedy = "Keys are words, like listeners.".to_owned();
                self.problems.push(Problem { line, key: place.path.clone(), what, remedy });
                continue;
            };
            let path = join(&place.path, &key);
            if let Some(first) = nodes.iter().find(|node| node.key == key) {
                let first = first.line.map_or(String::new(), |line| format!(", the first is in line {line}"));
                let what = format!("stands here a second time{first}");
                self.problems.push(Problem { line, key: path, what, remedy: "Keep one of the two.".to_owned() });
                continue;
            }
            nodes.push(self.node(value, Place { path, key, line }, value_position));
        }
        nodes
    }
}

/// A key below a path. Odd keys are quoted, so that a path stays one printable word or two.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    let key = if !key.is_empty() && key.chars().all(plain) { printable(key) } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn key_text(key: Raw, position: Option<&Position>) -> Option<String> {
    let written = position.and_then(|position| position.text.clone());
    match key {
        Raw::Text(text) => Some(text),
        Raw::Bool(value) => Some(written.unwrap_or_else(|| value.to_string())),
        Raw::Integer(value) => Some(written.unwrap_or_else(|| value.to_string())),
        Raw::Number(value) => Some(written.unwrap_or(value)),
        Raw::Null | Raw::List(_) | Raw::Map(_) => None,
    }
}

fn syntax_problem(text: &str, error: &serde_yaml::Error) -> Problem {
    let line = error.location().map(|location| location.line());
    let broken = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
    let message = printable_message(&error.to_string());
    let remedy = if message.contains(TAG) {
        "Take the tag out."
    } else if line.is_none() && message.contains("more than one document") {
        "Keep one document: take the lines of three dashes out."
    } else if broken.starts_with('\t') || broken.trim_start_matches(' ').starts_with('\t') {
        "Indent with spaces, YAML takes no tabs."
    } else if broken.contains("]:") {
        "An address in brackets needs quotes: \"[::]:21\""
    } else {
        "Check indentation, quotes and brackets in this line and those before."
    };
    let what = format!("cannot be read as YAML: {message}");
    Problem { line, key: String::new(), what, remedy: remedy.to_owned() }
}

/// The parser's message names the line and column itself; it may repeat text of the file.
fn printable_message(message: &str) -> String {
    message.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

const TAG: &str = "a tag (!word) stands here, and no key takes one";

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    /// An empty file.
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(u64::try_from(value).map_or_else(|_| Raw::Number(value.to_string()), Raw::Integer))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }

    /// A tag like `!secret`.
    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Raw, A::Error> {
        Err(de::Error::custom(TAG))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_well(text: &str) -> Node {
        let mut problems = Vec::new();
        let node = read(text, &mut problems).unwrap();
        assert_eq!(problems, []);
        node
    }

    fn children(node: &Node) -> &[Node] {
        match &node.value {
            Value::List(nodes) | Value::Map(nodes) => nodes,
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text => &[],
        }
    }

    #[test]
    fn every_node_knows_its_path_and_line() {
        let root = read_well("a:\n  b:\n    - x\n    - \"c d\": 1\n");
        let b = &children(&children(&root)[0])[0];
        assert_eq!((b.path.as_str(), b.line), ("a.b", Some(2)));
        let items = children(b);
        assert_eq!((items[0].path.as_str(), items[0].line, items[0].text.as_str()), ("a.b[0]", Some(3), "x"));
        assert_eq!((children(&items[1])[0].path.as_str(), items[1].line), ("a.b[1].\"c d\"", Some(4)));
    }

    #[test]
    fn scalars_keep_their_looks() {
        let root = read_well("[007, 1.20, 0x10, true, yes, ~, -1, 99999999999999999999]");
        let texts: Vec<&str> = children(&root).iter().map(|node| node.text.as_str()).collect();
        assert_eq!(texts, ["007", "1.20", "0x10", "true", "yes", "", "-1", "99999999999999999999"]);
        assert!(matches!(children(&root)[2].value, Value::Integer(16)));
        assert!(matches!(children(&root)[4].value, Value::Text));
    }

    #[test]
    fn a_key_that_stands_twice_is_a_problem_and_the_first_stays() {
        let mut problems = Vec::new();
        let root = read("a: 1\nb: 2\na: 3\n? [x]\n: 4\n", &mut problems).unwrap();
        assert_eq!(children(&root).len(), 2);
        assert_eq!(children(&root)[0].text, "1");
        assert_eq!(problems.len(), 2);
        assert_eq!((problems[0].line, problems[0].key.as_str()), (Some(3), "a"));
        assert!(problems[0].what.contains("line 1"));
    }

    #[test]
    fn an_empty_file_is_null_and_an_alias_is_what_it_names() {
        assert!(matches!(read_well("").value, Value::Null));
        assert!(matches!(read_well("# nothing\n").value, Value::Null));
        let root = read_well("a: &x [1, 2]\nb: *x\n");
        assert_eq!(children(&children(&root)[1]).len(), 2);
    }

    #[test]
    fn a_byte_order_mark_in_front_is_no_text() {
        let root = read_well("\u{feff}a: 1\r\nb: 2\r\n");
        let keys: Vec<_> = children(&root).iter().map(|node| (node.key.as_str(), node.line)).collect();
        assert_eq!(keys, [("a", Some(1)), ("b", Some(2))]);
        assert!(read("a: 1\n\u{feff}b: 2\n", &mut Vec::new()).is_err());
    }

    #[test]
    fn broken_yaml_is_a_problem_with_its_line() {
        for (text, line, hint) in [
            ("a: 1\n\tb: 2\n", 2, "tabs"),
            ("a:\n  - b: [::]:21\n", 2, "quotes"),
            ("a: [1\nb: 2\n", 2, "indentation"),
            ("a: !secret x\n", 1, "tag"),
        ] {
            let problem = read(text, &mut Vec::new()).unwrap_err();
            assert_eq!(problem.line, Some(line), "{problem:?}");
            assert!(problem.remedy.to_lowercase().contains(hint), "{problem:?}");
        }
    }
}
