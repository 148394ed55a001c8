//! Single values that are no addresses: words, switches, numbers, sizes, durations, texts, paths.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::read::{Flaw, Read};
use crate::config::keys::nearest;
use crate::config::problems::quoted;
use crate::config::raw::{Node, Value};

/// Words of other programs for what is meant here.
const SYNONYMS: &[(&str, &str)] = &[
    ("starttls", "explicit"),
    ("ftpes", "explicit"),
    ("ftps", "implicit"),
    ("plain", "none"),
    ("off", "none"),
    ("warning", "warn"),
    ("tls1.2", "1.2"),
    ("tlsv1.2", "1.2"),
    ("tls1.3", "1.3"),
    ("tlsv1.3", "1.3"),
];

/// The units of sizes, the longest names first.
const UNITS: &[(&str, usize)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1), ("", 1)];

/// A scalar's text; numbers and `true` count as text.
pub(super) fn text(node: &Node) -> Read<&str> {
    match &node.value {
        Value::Bool(_) | Value::Integer(_) | Value::Number => Ok(&node.text),
        Value::Text if !node.text.trim().is_empty() => Ok(&node.text),
        Value::Text | Value::Null => Err(Flaw::new("has no value", "Write one, or take the key out.")),
        Value::List(items) => Err(Flaw::new("is a list where one value is expected", out_of_list(node, items))),
        Value::Map(_) => Err(Flaw::new("holds keys where one value is expected", "Write one value.")),
    }
}

/// What to write in place of a list.
fn out_of_list(node: &Node, items: &[Node]) -> String {
    let one = items.first().filter(|item| items.len() == 1 && !item.text.trim().is_empty());
    let Some(Node { text, .. }) = one else {
        return "Write one value. What begins with a bracket needs quotes.".to_owned();
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    write(node, if plain { text.clone() } else { quoted(text) }.as_str())
}

/// One of a few words.
pub(super) fn choice<T: Copy>(node: &Node, choices: &[(&str, T)]) -> Read<T> {
    let word = text(node)?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let lower = word.to_lowercase();
    let synonym = SYNONYMS.iter().find(|(foreign, own)| *foreign == lower && names.contains(own)).map(|(_, own)| *own);
    let remedy = match synonym.or_else(|| nearest(word, names.iter().copied())) {
        Some(near) => write(node, near),
        None => "Write one of these.".to_owned(),
    };
    Err(Flaw::new(format!("{} is not one of {}", quoted(word), names.join(", ")), remedy))
}

/// `true` or `false`.
pub(super) fn switch(node: &Node) -> Read<bool> {
    if let Value::Bool(value) = node.value {
        return Ok(value);
    }
    let word = text(node)?;
    let remedy = match word.to_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => write(node, "true"),
        "no" | "off" | "false" | "0" => write(node, "false"),
        _ => "Write one of these.".to_owned(),
    };
    Err(Flaw::new(format!("{} is not one of true, false", quoted(word)), remedy))
}

/// A whole number.
pub(super) fn count(node: &Node, range: RangeInclusive<usize>) -> Read<usize> {
    let word = text(node)?;
    let Some(number) = whole_number(node) else {
        let what = format!("{} is not a whole number", quoted(word));
        return Err(Flaw::new(what, format!("Write a number from {} to {}.", range.start(), range.end())));
    };
    check_range(number, word, &range, range.start(), range.end())
}

/// A size in bytes: `4096`, `4KiB`.
pub(super) fn size(node: &Node, range: RangeInclusive<usize>) -> Read<usize> {
    let word = text(node)?;
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let digits = word.strip_suffix(unit)?.trim_end();
        number::<usize>(digits)?.checked_mul(*factor)
    });
    let Some(bytes) = parsed else {
        let remedy = "Write bytes, or a number with B, KiB, MiB or GiB, like 64KiB.";
        return Err(Flaw::new(format!("{} is not a size", quoted(word)), remedy));
    };
    check_range(bytes, word, &range, range.start(), range.end())
}

/// A duration with its unit: `30s`, `1h 30m`.
pub(super) fn duration(node: &Node, range: RangeInclusive<Duration>) -> Read<Duration> {
    let word = text(node)?;
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let remedy = write(node, &format!("{word}s"));
        return Err(Flaw::new(format!("{} has no unit", quoted(word)), remedy));
    }
    let Ok(duration) = humantime::parse_duration(word) else {
        return Err(Flaw::new(
            format!("{} is not a duration", quoted(word)),
            "Write a number with its unit: 500ms, 30s, 5m or 1h.",
        ));
    };
    let (least, most) = (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
    check_range(duration, word, &range, &least, &most)
}

/// A line of text for people.
pub(super) fn line(node: &Node, longest: usize) -> Read<String> {
    let text = text(node)?;
    if text.chars().any(char::is_control) {
        return Err(Flaw::new("holds a line break or another control character", "Write one line of text."));
    }
    if text.len() > longest {
        return Err(Flaw::new(format!("is {} bytes long", text.len()), format!("Write {longest} bytes at most.")));
    }
    Ok(text.to_owned())
}

/// A path; a relative one is relative to the configuration's own directory.
pub(super) fn path(node: &Node, directory: &Path) -> Read<PathBuf> {
    Ok(directory.join(text(node)?))
}

/// The path of a file that can be read now.
pub(super) fn readable_file(node: &Node, directory: &Path) -> Read<PathBuf> {
    let path = path(node, directory)?;
    let shown = quoted(&path.to_string_lossy());
    match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(Flaw::new(format!("{shown} is not a file"), "Write the path of a file."))
        }
        // Opened only once it is known to be a file: opening a pipe would wait for a writer.
        Ok(_) => match std::fs::File::open(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(unreadable(&shown, &error)),
        },
        Err(error) => Err(unreadable(&shown, &error)),
    }
}

/// `key: value`, as it is to be written.
pub(super) fn write(node: &Node, value: &str) -> String {
    if node.path.ends_with(']') { format!("Write: {value}") } else { format!("Write: {}: {value}", node.key) }
}

/// Digits only: a sign or a space is no number.
pub(super) fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

fn whole_number(node: &Node) -> Option<usize> {
    match node.value {
        Value::Integer(value) => usize::try_from(value).ok(),
        Value::Text => number(&node.text),
        Value::Null | Value::Bool(_) | Value::Number | Value::List(_) | Value::Map(_) => None,
    }
}

fn check_range<T: PartialOrd>(
    value: T,
    word: &str,
    range: &RangeInclusive<T>,
    least: &dyn Display,
    most: &dyn Display,
) -> Read<T> {
    let flaw = |what: String| Err(Flaw::new(what, format!("Write {least} to {most}.")));
    if value < *range.start() {
        flaw(format!("{} is less than {least}", quoted(word)))
    } else if value > *range.end() {
        flaw(format!("{} is more than {most}", quoted(word)))
    } else {
        Ok(value)
    }
}

fn unreadable(shown: &str, error: &std::io::Error) -> Flaw {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Flaw::new(format!("there is no file {shown}"), "Mend the path, or put the file there.")
        }
        std::io::ErrorKind::PermissionDenied => {
            Flaw::new(format!("{shown} may not be read"), "Let the user that the gateway runs as read it.")
        }
        _ => Flaw::new(format!("{shown} cannot be read: {error}"), "Make it a file that can be read."),
    }
}
