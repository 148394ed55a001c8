//! `access.totp`: the second factor.

use super::names::{EVERYBODY, named, user_glob};
use super::read::{Read, Reader, Section};
use super::scalars::{count, readable_file, text};
use crate::config::raw::{Node, Value};
use crate::policy::{Glob, MOST_SKEW, RequiredFor, SecondFactorSettings};

/// RFC 6238 §5.2 recommends one period. With each more, three codes at once become two more.
const SKEW: usize = 1;

/// The second factor; absent: none.
pub(super) fn totp(reader: &mut Reader<'_>, access: Section<'_>) -> Option<SecondFactorSettings> {
    let section = reader.section(access.get("totp")?)?;
    let directory = reader.directory;
    let secrets = reader
        .required(section, "secrets", "Write: secrets: /etc/ftps-gateway/totp.secrets")
        .and_then(|node| reader.keep(node, readable_file(node, directory)));
    let required = section.get("required").map_or(RequiredFor::Everyone, |node| required(reader, section, node));
    let skew = reader.value(section, "skew", SKEW, |node| count(node, 0..=MOST_SKEW));
    Some(SecondFactorSettings { secrets: secrets?, required, skew: skew as u64 })
}

/// Beside [`EVERYBODY`]: words that as patterns would be for a user of that name, so that nobody would be asked for a code.
const ON: &[&str] = &["true", "yes", "y", "on", "1", "always", "required"];
/// The same for nobody.
const OFF: &[&str] = &["false", "no", "n", "off", "0", "none", "never", "nobody", "optional"];

/// `true`, `false`, or patterns.
fn required(reader: &mut Reader<'_>, section: Section<'_>, node: &Node) -> RequiredFor {
    match node.value {
        Value::Bool(true) => RequiredFor::Everyone,
        Value::Bool(false) => RequiredFor::Users(Vec::new()),
        Value::Null | Value::Integer(_) | Value::Number | Value::Text | Value::List(_) | Value::Map(_) => {
            RequiredFor::Users(reader.each(section, "required", pattern).unwrap_or_default())
        }
    }
}

fn pattern(node: &Node) -> Read<Glob> {
    let word = text(node)?;
    let lower = word.trim().to_lowercase();
    let switch = match lower.as_str() {
        word if EVERYBODY.contains(&word) || ON.contains(&word) => "true",
        word if OFF.contains(&word) => "false",
        _ => return user_glob(node),
    };
    let remedy = format!("Write: required: {switch}, without quotes and brackets");
    Err(named(word, &remedy))
}
