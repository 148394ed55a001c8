//! `gateway.yaml` → every room's settings.
//!
//! Invariants: [`Settings`] come out only when nothing is wrong; otherwise every problem does, each with file, line where
//! it can be had, key path, and what to write instead. No text makes this room panic. A key that the gateway does not
//! know is a problem, never ignored: a misspelt limit must not be no limit.
//!
//! Not in this room: what the settings mean (each room's own), what is in certificate files (`tls`), DNS.
//!
//! ```text
//! raw        text → tree with paths and lines; serde_yaml lives only here
//! positions  the lines
//! keys       the table of all keys; unknown ones
//! lower      tree → settings
//! problems   how problems read
//! advice     what is not wrong and yet worth a word
//! ```

mod advice;
mod keys;
mod lower;
mod positions;
mod problems;
mod raw;
mod settings;

use std::path::Path;

pub use advice::Advice;
pub use problems::{Problem, Problems};
pub use settings::{RunAs, Settings};

use raw::{Node, Value};

/// Reads and checks a file.
///
/// # Errors
/// Everything that is wrong with it; also that it cannot be read.
pub fn load(path: &Path) -> Result<Settings, Problems> {
    let file_name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &file_name),
        Err(error) => Err(Problems::new(file_name, vec![unreadable(&error)])),
    }
}

/// A problem that was found in what a file names, as [`Problems`] are written: with the file, and the line of the key that
/// it begins with, where there is one. Paths in it print, whatever they are.
pub fn located(path: &Path, problem: &str) -> String {
    let problem = problems::on_one_line(problem);
    let line = || {
        let (key, _) = problem.split_once(": ")?;
        let root = raw::read(&std::fs::read_to_string(path).ok()?, &mut Vec::new()).ok()?;
        line_of(&root, key)
    };
    let file = path.display();
    line().map_or_else(|| format!("{file}: {problem}"), |line| format!("{file}:{line}: {problem}"))
}

fn line_of(node: &Node, key: &str) -> Option<usize> {
    match &node.value {
        _ if node.path == key => node.line,
        Value::List(nodes) | Value::Map(nodes) => nodes.iter().find_map(|node| line_of(node, key)),
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text => None,
    }
}

/// Checks the text of a file. Relative paths in it are relative to the directory of `file_name`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str) -> Result<Settings, Problems> {
    let mut problems = Vec::new();
    let root = raw::read(text, &mut problems).map_err(|problem| Problems::new(file_name, vec![problem]))?;
    if let Some(problem) = not_keys(&root) {
        return Err(Problems::new(file_name, vec![problem]));
    }
    keys::check(&root, &mut problems);
    let directory = Path::new(file_name).parent().unwrap_or(Path::new(""));
    let settings = lower::lower(&root, directory, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(Problems::new(file_name, problems)) }
}

/// A file that is a list or a word. One that is empty goes on: it lacks what is required.
fn not_keys(root: &Node) -> Option<Problem> {
    let what = match root.value {
        Value::Map(_) | Value::Null => return None,
        Value::List(_) => "the file is a list",
        Value::Bool(_) | Value::Integer(_) | Value::Number | Value::Text => "the file is a single value",
    };
    let remedy = "Begin with the keys listeners: and backends:, without a dash.";
    Some(Problem { line: None, key: String::new(), what: what.to_owned(), remedy: remedy.to_owned() })
}

fn unreadable(error: &std::io::Error) -> Problem {
    let remedy = match error.kind() {
        std::io::ErrorKind::NotFound => "Name the file with --config.",
        std::io::ErrorKind::PermissionDenied => "Let the user that the gateway runs as read it.",
        std::io::ErrorKind::InvalidData => "Save it as UTF-8.",
        _ => "Make it a file that can be read.",
    };
    Problem { line: None, key: String::new(), what: format!("cannot be read: {error}"), remedy: remedy.to_owned() }
}
