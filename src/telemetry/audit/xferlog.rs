//! One line of the audit file as wu-ftpd, ProFTPD and vsftpd write it: xferlog(5).
//!
//! Transfers of files that began, and deletions; listings and everything else have no place in it. Times are in UTC, as
//! vsftpd's are. Blanks and control characters of names become `_`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::event::{Change, ChangeKind, ChangeResult, Direction, Object, Transfer, TransferResult, Who};
use crate::ftp::is_plain;
use crate::policy::TransferKind;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Whom servers let in without a password of his own.
const ANONYMOUS: [&[u8]; 2] = [b"anonymous", b"ftp"];

/// What differs from line to line.
struct Fields<'a> {
    who: &'a Who,
    took: Duration,
    bytes: u64,
    name: &'a [u8],
    ascii: bool,
    direction: char,
    user: &'a [u8],
    complete: bool,
}

/// `None`: it has no place here.
pub(super) fn transferred(now: SystemTime, who: &Who, transfer: &Transfer<'_>, ran: bool) -> Option<Vec<u8>> {
    if !ran || transfer.kind == TransferKind::Listing {
        return None;
    }
    let particulars = transfer.particulars;
    let name = particulars.resolved.as_deref().or(particulars.stored_as.as_deref()).unwrap_or(transfer.path);
    Some(line(
        now,
        &Fields {
            who,
            took: transfer.took,
            bytes: transfer.bytes,
            name,
            ascii: particulars.ascii,
            direction: match transfer.direction() {
                Direction::Download => 'o',
                Direction::Upload => 'i',
            },
            user: transfer.user,
            complete: transfer.result == TransferResult::Completed,
        },
    ))
}

/// `None`: it has no place here.
pub(super) fn changed(
    now: SystemTime,
    who: &Who,
    user: &[u8],
    change: &Change,
    result: ChangeResult,
) -> Option<Vec<u8>> {
    if change.kind != ChangeKind::Delete || result == ChangeResult::BackendRefused {
        return None;
    }
    let Object { given, resolved } = &change.object;
    Some(line(
        now,
        &Fields {
            who,
            took: Duration::ZERO,
            bytes: 0,
            name: resolved.as_deref().unwrap_or(given),
            ascii: false,
            direction: 'd',
            user,
            complete: result == ChangeResult::Completed,
        },
    ))
}

fn line(now: SystemTime, fields: &Fields<'_>) -> Vec<u8> {
    let now = OffsetDateTime::from(now);
    let day = DAYS[usize::from(now.weekday().number_days_from_monday()) % DAYS.len()];
    let month = MONTHS[usize::from(u8::from(now.month()) - 1) % MONTHS.len()];
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write!(
        text,
        "{day} {month} {:2} {:02}:{:02}:{:02} {:04} {} {} {} ",
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.year(),
        // A transfer takes a second at least, as everywhere in this format.
        fields.took.as_secs().max(1),
        fields.who.client.ip().to_canonical(),
        fields.bytes,
    );
    let mut line = text.into_bytes();
    line.extend(word(fields.name));
    let kind = if fields.ascii { 'a' } else { 'b' };
    let anonymous = ANONYMOUS.iter().any(|name| name.eq_ignore_ascii_case(fields.user));
    let mode = if anonymous { 'a' } else { 'r' };
    line.extend(format!(" {kind} _ {} {mode} ", fields.direction).bytes());
    line.extend(word(fields.user));
    let status = if fields.complete { 'c' } else { 'i' };
    line.extend(format!(" ftp 0 * {status}\n").bytes());
    line
}

/// A name as one word. An empty one would take its neighbour's place.
fn word(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return b"_".to_vec();
    }
    let shown = |char: char| if char != ' ' && is_plain(char) { char } else { '_' };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().map(shown).collect::<String>().into_bytes(),
        Err(_) => bytes.iter().map(|byte| if matches!(byte, 0..=b' ' | 0x7f..=0xa0) { b'_' } else { *byte }).collect(),
    }
}
