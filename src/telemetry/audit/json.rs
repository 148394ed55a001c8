//! One line of the audit file as a JSON object.
//!
//! Invariants: a line is valid JSON in one line, whatever peers send; every byte of theirs can be had back; nothing in it
//! moves a terminal's cursor, hides text or turns its direction; a field that its kind does not list is a fault that the
//! tests find.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::kinds::{AuditEvent, AuditField};
use crate::event::{Object, Who};
use crate::ftp::is_plain;
use crate::policy::canonical;

/// A line that is being written.
pub(super) struct Line {
    event: AuditEvent,
    bytes: Vec<u8>,
}

/// What most lines need.
const USUAL: usize = 512;

impl Line {
    /// Begins a line.
    pub(super) fn new(event: AuditEvent, now: SystemTime) -> Self {
        let mut line = Self { event, bytes: Vec::with_capacity(USUAL) };
        line.put(AuditField::Time, &humantime::format_rfc3339_millis(now).to_string());
        line.put(AuditField::Event, event.label());
        line
    }

    /// Begins a line about a session.
    pub(super) fn of(event: AuditEvent, now: SystemTime, who: &Who) -> Self {
        let mut line = Self::new(event, now);
        line.put(AuditField::Session, &who.session.to_string());
        line.client(&who.listener, who.client);
        line
    }

    /// Listener and client.
    pub(super) fn client(&mut self, listener: &str, client: SocketAddr) {
        self.put(AuditField::Listener, listener);
        self.put(AuditField::ClientAddress, &canonical(client.ip()).to_string());
        self.put(AuditField::ClientPort, &client.port());
    }

    /// A word, number or switch.
    pub(super) fn put<T: Serialize + ?Sized>(&mut self, field: AuditField, value: &T) {
        debug_assert!(
            matches!(field, AuditField::Time | AuditField::Event) || self.event.fields().contains(&field),
            "{field:?} is no field of {:?}",
            self.event
        );
        self.entry(field.label(), "", value);
    }

    /// The same, where there is one.
    pub(super) fn put_some<T: Serialize>(&mut self, field: AuditField, value: Option<T>) {
        if let Some(value) = value {
            self.put(field, &value);
        }
    }

    /// Bytes of a peer.
    pub(super) fn text(&mut self, field: AuditField, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.put(field, text),
            Err(_) => {
                self.put(field, &*String::from_utf8_lossy(bytes));
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                self.entry(field.label(), "_hex", &hex);
            }
        }
    }

    /// A file or folder.
    pub(super) fn object(&mut self, given: AuditField, resolved: AuditField, object: &Object) {
        self.text(given, &object.given);
        if let Some(path) = &object.resolved {
            self.text(resolved, path);
        }
    }

    /// A span of time, in seconds with three decimals.
    pub(super) fn seconds(&mut self, span: Duration) {
        self.put(AuditField::Seconds, &rounded(span));
    }

    /// An address with its port.
    pub(super) fn address(&mut self, field: AuditField, address: SocketAddr) {
        self.put(field, &SocketAddr::new(canonical(address.ip()), address.port()).to_string());
    }

    /// The whole line, with its end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(b"}\n");
        self.bytes
    }

    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, ending: &str, value: &T) {
        self.bytes.extend_from_slice(if self.bytes.is_empty() { b"{\"" } else { b",\"" });
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(ending.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        // Words, numbers and texts can always be written into memory.
        let written = value.serialize(&mut Serializer::with_formatter(&mut self.bytes, Plain));
        debug_assert!(written.is_ok(), "{name}");
    }
}

fn rounded(span: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let milliseconds = span.as_millis() as f64;
    milliseconds / 1000.0
}

/// Everything but letters, digits and the visible signs of ASCII is escaped: what is read with `less` shows what it is.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut units = [0; 2];
        for char in fragment.chars() {
            if is_plain(char) {
                write!(writer, "{char}")?;
                continue;
            }
            for unit in char.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(bytes: &[u8]) -> String {
        let mut line = Line::new(AuditEvent::Transfer, SystemTime::UNIX_EPOCH);
        line.text(AuditField::Path, bytes);
        String::from_utf8(line.finish()).unwrap()
    }

    #[test]
    fn what_is_no_utf8_stands_there_twice() {
        assert_eq!(
            path(b"m\xfcll"),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"transfer\",\"path\":\"m\\ufffdll\",\"path_hex\":\"6dfc6c6c\"}\n"
        );
        assert!(!path("müll".as_bytes()).contains("_hex"));
    }

    #[test]
    fn nothing_can_forge_a_line_or_move_a_cursor() {
        let line = path("a\n{\"event\":\"login\"}\r\u{1b}[2J\u{7f}\u{9b}1A\u{202e}\u{2028}\"\\\u{1f600}".as_bytes());
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.contains("\\u202e") && line.contains("\\ud83d\\ude00") && line.contains("\\u009b"), "{line}");
        assert!(line.trim_end().chars().all(is_plain), "{line}");
    }

    proptest! {
        #[test]
        fn every_byte_can_be_had_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let line = path(&bytes);
            prop_assert!(line.trim_end_matches('\n').chars().all(is_plain));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let text = value["path"].as_str().unwrap();
            match value.get("path_hex") {
                None => prop_assert_eq!(text.as_bytes(), &bytes[..]),
                Some(hex) => {
                    let hex = hex.as_str().unwrap().as_bytes();
                    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
                    let back: Vec<u8> = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
                    prop_assert_eq!(back, bytes);
                }
            }
        }
    }
}
