//! `limits` and `timeouts`.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::read::{Reader, Section};
use super::scalars::{count, duration, size, text};
use crate::data::Bandwidth;
use crate::policy::{FailedLogins, Limits};
use crate::session::Timeouts;

/// Each session has at least two sockets; more than this no machine gives.
const SESSIONS: RangeInclusive<usize> = 1..=1_000_000;

/// RFC 959 names no length; paths of 4 KiB exist, and a line is held in memory per session.
const COMMAND_LENGTH: RangeInclusive<usize> = 512..=64 << 10;

/// One line of a reply; long path names come back in them.
const REPLY_LENGTH: RangeInclusive<usize> = 512..=1 << 20;

/// Bytes a second: less is a stall, more than this no network moves.
const BANDWIDTH: RangeInclusive<usize> = 1 << 10..=64 << 30;

/// A deadline of nothing refuses everyone; one of days is none.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;

/// A drain may be none at all.
const DRAIN: RangeInclusive<Duration> = Duration::ZERO..=DAY;

/// One wrong password is a slip of the finger; more than this is no limit.
const ATTEMPTS: RangeInclusive<usize> = 2..=100;

/// Bans of days are for `access.deny`.
const BAN: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many sessions.
pub(super) fn limits(reader: &mut Reader<'_>, section: Section<'_>) -> Limits {
    let failed_logins = failed_logins(reader, section);
    let mut limit = |key, default| reader.value(section, key, default, |node| count(node, SESSIONS));
    Limits {
        sessions: limit("sessions", 10_000),
        sessions_per_address: limit("sessions_per_address", 50),
        sessions_per_user: limit("sessions_per_user", 50),
        failed_logins,
    }
}

/// How many bytes a second.
pub(super) fn bandwidth(reader: &mut Reader<'_>, section: Section<'_>) -> Bandwidth {
    let section = reader.subsection(section, "bandwidth");
    let mut rate = |key| reader.optional(section, key, |node| size(node, BANDWIDTH)).and_then(NonZeroUsize::new);
    Bandwidth { session: rate("session"), user: rate("user"), total: rate("total") }
}

/// Wrong passwords; `off`: they are not counted.
fn failed_logins(reader: &mut Reader<'_>, section: Section<'_>) -> Option<FailedLogins> {
    if section.get("failed_logins").is_some_and(|node| text(node) == Ok("off")) {
        return None;
    }
    let section = reader.subsection(section, "failed_logins");
    let attempts = reader.value(section, "attempts", 5, |node| count(node, ATTEMPTS));
    let mut time =
        |key, minutes: u64| reader.value(section, key, Duration::from_secs(60 * minutes), |node| duration(node, BAN));
    let (within, ban) = (time("within", 10), time("ban", 15));
    Some(FailedLogins { attempts, within, ban })
}

/// The longest command line in bytes.
pub(super) fn command_length(reader: &mut Reader<'_>, section: Section<'_>) -> usize {
    reader.value(section, "command_length", 4096, |node| size(node, COMMAND_LENGTH))
}

/// The longest line of a reply in bytes.
pub(super) fn reply_length(reader: &mut Reader<'_>, section: Section<'_>) -> usize {
    reader.value(section, "reply_length", 8192, |node| size(node, REPLY_LENGTH))
}

/// Deadlines of sessions.
pub(super) fn timeouts(reader: &mut Reader<'_>, section: Section<'_>) -> Timeouts {
    let mut timeout =
        |key, seconds| reader.value(section, key, Duration::from_secs(seconds), |node| duration(node, TIMEOUT));
    Timeouts {
        tls_handshake: timeout("tls_handshake", 10),
        login: timeout("login", 60),
        idle: timeout("idle", 5 * 60),
        data_connect: timeout("data_connect", 30),
        data_stall: timeout("data_stall", 2 * 60),
        backend_connect: timeout("backend_connect", 5),
        backend_reply: timeout("backend_reply", 60),
    }
}

/// How long a drain waits.
pub(super) fn drain(reader: &mut Reader<'_>, section: Section<'_>) -> Duration {
    reader.value(section, "drain", Duration::from_secs(5 * 60), |node| duration(node, DRAIN))
}
