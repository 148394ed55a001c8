//! Reading nodes: sections, keys that must be there, keys that may be absent, lists. Every value goes through here, so
//! that a problem always gets its line and key path, and reading goes on after it.

use std::path::Path;

use crate::config::problems::Problem;
use crate::config::raw::{Node, Value, join};

/// The remedy for a list that need not be there.
pub(super) const EMPTY: &str = "List at least one, or take the key out.";

/// What is wrong with a value and what to do about it. The reader adds where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Flaw {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// Turns one value of the file into one of the program.
pub(super) type Read<T> = Result<T, Flaw>;

/// The keys below one key. Absent sections have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'n> {
    path: &'n str,
    line: Option<usize>,
    entries: &'n [Node],
}

impl<'n> Section<'n> {
    /// No keys.
    pub(super) const ABSENT: Self = Self { path: "", line: None, entries: &[] };

    /// The node of a key.
    pub(super) fn get(self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// All nodes, for sections whose keys are names.
    pub(super) fn entries(self) -> &'n [Node] {
        self.entries
    }
}

/// Reads on after a problem and keeps it.
#[derive(Debug)]
pub(super) struct Reader<'p> {
    /// What relative paths of the file are relative to.
    pub(super) directory: &'p Path,
    problems: &'p mut Vec<Problem>,
}

impl<'p> Reader<'p> {
    pub(super) fn new(directory: &'p Path, problems: &'p mut Vec<Problem>) -> Self {
        Self { directory, problems }
    }

    /// Keeps a problem with a node.
    pub(super) fn report(&mut self, node: &Node, flaw: Flaw) {
        let Flaw { what, remedy } = flaw;
        self.problems.push(Problem { line: node.line, key: node.path.clone(), what, remedy });
    }

    /// The value of a node, or none and a problem.
    pub(super) fn keep<T>(&mut self, node: &Node, read: Read<T>) -> Option<T> {
        read.map_err(|flaw| self.report(node, flaw)).ok()
    }

    /// A key that may be absent; a wrong value counts as absent once it is reported.
    pub(super) fn optional<'n, T>(
        &mut self,
        section: Section<'n>,
        key: &str,
        read: impl FnOnce(&'n Node) -> Read<T>,
    ) -> Option<T> {
        let node = section.get(key)?;
        self.keep(node, read(node))
    }

    /// A key with a default.
    pub(super) fn value<'n, T>(
        &mut self,
        section: Section<'n>,
        key: &str,
        default: T,
        read: impl FnOnce(&'n Node) -> Read<T>,
    ) -> T {
        self.optional(section, key, read).unwrap_or(default)
    }

    /// The node of a key that must be there.
    pub(super) fn required<'n>(&mut self, section: Section<'n>, key: &str, remedy: &str) -> Option<&'n Node> {
        let node = section.get(key);
        if node.is_none() {
            let (what, remedy) = ("is missing".to_owned(), remedy.to_owned());
            self.problems.push(Problem { line: section.line, key: join(section.path, key), what, remedy });
        }
        node
    }

    /// The section of a node, or none and a problem. A key with nothing below it is an empty section: its keys may all
    /// be commented out.
    pub(super) fn section<'n>(&mut self, node: &'n Node) -> Option<Section<'n>> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text | Value::List(_) => {
                let remedy = "Write `key: value` lines below it, indented.";
                self.report(node, Flaw::new("must hold keys of its own", remedy));
                return None;
            }
        };
        Some(Section { path: &node.path, line: node.line, entries })
    }

    /// The section below a key that may be absent.
    pub(super) fn subsection<'n>(&mut self, section: Section<'n>, key: &str) -> Section<'n> {
        section.get(key).and_then(|node| self.section(node)).unwrap_or(Section::ABSENT)
    }

    /// The items of a list that may not be empty; the remedy is for one that is.
    pub(super) fn list<'n>(&mut self, node: &'n Node, remedy: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) if !items.is_empty() => items,
            Value::List(_) | Value::Null => {
                self.report(node, Flaw::new("is empty", remedy));
                &[]
            }
            Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text | Value::Map(_) => {
                self.report(node, Flaw::new("must be a list", "Begin each item with a dash."));
                &[]
            }
        }
    }

    /// As [`Self::list`]; a single item may stand without dash and brackets.
    pub(super) fn one_or_more<'n>(&mut self, node: &'n Node, remedy: &str) -> &'n [Node] {
        match &node.value {
            Value::List(_) | Value::Null => self.list(node, remedy),
            Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text | Value::Map(_) => {
                std::slice::from_ref(node)
            }
        }
    }

    /// Each item of a list of values that may be absent.
    pub(super) fn each<'n, T>(
        &mut self,
        section: Section<'n>,
        key: &str,
        mut read: impl FnMut(&'n Node) -> Read<T>,
    ) -> Option<Vec<T>> {
        let items = self.one_or_more(section.get(key)?, EMPTY);
        Some(items.iter().filter_map(|item| self.keep(item, read(item))).collect())
    }
}
