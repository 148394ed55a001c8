//! One function for each event that is worth a line in the audit file.
//!
//! Invariants: nobody without an account can fill the file faster than by opening connections: what a client can provoke
//! many times before login has no line, and a line of his is short. There is no password, because no event has one.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::json::Line;
use super::kinds::{AuditEvent, AuditField as F};
use crate::event::{Change, ChangeKind, ChangeResult, Ended, Handshake, LoginResult, Object, Transfer, Via, Who};
use crate::ftp::Verb;
use crate::policy::{Ban, Protection, Refusal};

/// Bytes of a name without a login.
const UNPROVEN: usize = 128;

pub(super) fn started(now: SystemTime) -> Line {
    let mut line = Line::new(AuditEvent::AuditStarted, now);
    line.put(F::Version, env!("CARGO_PKG_VERSION"));
    line
}

pub(super) fn stopped(now: SystemTime) -> Line {
    Line::new(AuditEvent::AuditStopped, now)
}

pub(super) fn lost(now: SystemTime, lines: u64) -> Line {
    let mut line = Line::new(AuditEvent::AuditLinesLost, now);
    line.put(F::Lines, &lines);
    line
}

pub(super) fn turned(now: SystemTime, listener: &str, client: SocketAddr, refusal: Refusal) -> Line {
    let mut line = Line::new(AuditEvent::ConnectionRefused, now);
    line.client(listener, client);
    line.put(F::Reason, refusal.label());
    line
}

pub(super) fn session_started(now: SystemTime, who: &Who) -> Line {
    let mut line = Line::of(AuditEvent::SessionStarted, now, who);
    if let Via::Balancer(balancer) = who.via {
        line.address(F::Balancer, balancer);
    }
    line
}

/// Of the client's control connection.
pub(super) fn secured(now: SystemTime, who: &Who, handshake: &Handshake) -> Line {
    let mut line = Line::of(AuditEvent::Tls, now, who);
    tls(&mut line, handshake);
    line
}

pub(super) fn not_secured(now: SystemTime, who: &Who, handshake: &Handshake, detail: &str) -> Line {
    let mut line = Line::of(AuditEvent::TlsFailed, now, who);
    line.put(F::Reason, handshake.result.label());
    line.text(F::Detail, detail.as_bytes());
    line
}

fn tls(line: &mut Line, handshake: &Handshake) {
    line.put(F::TlsVersion, handshake.version.label());
    line.put_some(F::TlsCipher, handshake.cipher);
    line.put(F::TlsResumed, &(handshake.kind == crate::event::HandshakeKind::Resumed));
}

pub(super) fn client_certificate(now: SystemTime, who: &Who, subject: &str, issuer: &str, serial: &str) -> Line {
    let mut line = Line::of(AuditEvent::ClientCertificate, now, who);
    line.text(F::Subject, subject.as_bytes());
    line.text(F::Issuer, issuer.as_bytes());
    line.put(F::Serial, serial);
    line
}

pub(super) fn login(
    now: SystemTime,
    who: &Who,
    user: &[u8],
    backend: Option<&str>,
    result: LoginResult,
    second_factor: bool,
) -> Line {
    let accepted = result == LoginResult::Accepted;
    let event = if accepted { AuditEvent::Login } else { AuditEvent::LoginFailed };
    let mut line = Line::of(event, now, who);
    let shown = if accepted { user } else { cut(user) };
    line.text(F::User, shown);
    line.put_some(F::UserLength, (shown.len() < user.len()).then_some(user.len()));
    line.put_some(F::Backend, backend);
    match accepted {
        true => line.put(F::SecondFactor, &second_factor),
        false => line.put(F::Reason, result.label()),
    }
    line
}

/// Of a name that nobody has shown to be his, what the bans tell users apart by. Within a letter it is not cut.
fn cut(user: &[u8]) -> &[u8] {
    let inside = |at: usize| user.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (UNPROVEN - 3..=UNPROVEN).rev().find(|end| !inside(*end)).unwrap_or(UNPROVEN);
    user.get(..end).unwrap_or(user)
}

pub(super) fn banned(now: SystemTime, who: &Who, ban: &Ban, lasts: Duration) -> Line {
    let mut line = Line::of(AuditEvent::Banned, now, who);
    subject(&mut line, ban);
    line.seconds(lasts);
    line
}

pub(super) fn ban_lifted(now: SystemTime, ban: &Ban) -> Line {
    let mut line = Line::new(AuditEvent::BanLifted, now);
    subject(&mut line, ban);
    line
}

fn subject(line: &mut Line, ban: &Ban) {
    let subject = &ban.subject;
    line.put(F::Ban, subject.kind().label());
    line.put_some(F::BannedAddress, subject.origin().map(|origin| origin.to_string()));
    if let Some(user) = subject.user() {
        line.text(F::BannedUser, user.name());
    }
    line.put(F::Number, &ban.id);
}

pub(super) fn refused(
    now: SystemTime,
    who: &Who,
    user: Option<&[u8]>,
    object: Option<&Object>,
    verb: Verb,
    refusal: Refusal,
) -> Line {
    let mut line = Line::of(AuditEvent::CommandRefused, now, who);
    if let Some(user) = user {
        line.text(F::User, user);
    }
    line.put(F::Verb, verb.label());
    if let Some(object) = object.filter(|object| !object.given.is_empty()) {
        line.object(F::Path, F::ResolvedPath, object);
    }
    line.put(F::Reason, refusal.label());
    line
}

pub(super) fn transferred(now: SystemTime, who: &Who, transfer: &Transfer<'_>) -> Line {
    let mut line = Line::of(AuditEvent::Transfer, now, who);
    let particulars = transfer.particulars;
    line.text(F::User, transfer.user);
    line.put(F::Backend, transfer.backend);
    line.put(F::Verb, transfer.verb.label());
    line.put(F::Direction, transfer.direction().label());
    line.text(F::Path, transfer.path);
    if let Some(path) = &particulars.resolved {
        line.text(F::ResolvedPath, path);
    }
    if let Some(name) = &particulars.stored_as {
        line.text(F::StoredAs, name);
    }
    line.put_some(F::Offset, Some(particulars.offset).filter(|offset| *offset > 0));
    line.put(F::Type, if particulars.ascii { "ascii" } else { "binary" });
    line.put(F::Bytes, &transfer.bytes);
    line.seconds(transfer.took);
    line.put(F::Front, transfer.front.label());
    if let Some(handshake) = transfer.front_tls.as_ref().filter(|_| transfer.front == Protection::Private) {
        tls(&mut line, handshake);
    }
    line.put(F::Back, transfer.back.label());
    line.put_some(F::CloseNotify, transfer.close_notify_missing.then_some("missing"));
    line.put(F::Code, &transfer.code);
    line.put(F::By, transfer.result.by().label());
    line.put(F::Result, transfer.result.label());
    line
}

pub(super) fn changed(
    now: SystemTime,
    who: &Who,
    (user, backend): (&[u8], &str),
    change: &Change,
    (code, result): (Option<u16>, ChangeResult),
) -> Line {
    let mut line = Line::of(event(change.kind), now, who);
    line.text(F::User, user);
    line.put(F::Backend, backend);
    line.text(F::Verb, &change.command);
    if let Some(from) = &change.from {
        line.object(F::FromPath, F::FromResolvedPath, from);
    }
    match change.kind {
        ChangeKind::Other => {}
        ChangeKind::Site if change.object.given.is_empty() => {}
        ChangeKind::Site => line.text(F::Path, &change.object.given),
        ChangeKind::Delete
        | ChangeKind::Rename
        | ChangeKind::MakeDirectory
        | ChangeKind::RemoveDirectory
        | ChangeKind::SetTime => line.object(F::Path, F::ResolvedPath, &change.object),
    }
    line.put_some(F::Code, code);
    line.put(F::Result, result.label());
    line
}

fn event(kind: ChangeKind) -> AuditEvent {
    match kind {
        ChangeKind::Delete => AuditEvent::Delete,
        ChangeKind::Rename => AuditEvent::Rename,
        ChangeKind::MakeDirectory => AuditEvent::MakeDirectory,
        ChangeKind::RemoveDirectory => AuditEvent::RemoveDirectory,
        ChangeKind::SetTime => AuditEvent::SetTime,
        ChangeKind::Site => AuditEvent::Site,
        ChangeKind::Other => AuditEvent::OtherCommand,
    }
}

pub(super) fn session_ended(now: SystemTime, who: &Who, user: Option<&[u8]>, ended: Ended, lasted: Duration) -> Line {
    let mut line = Line::of(AuditEvent::SessionEnded, now, who);
    if let Some(user) = user {
        line.text(F::User, user);
    }
    line.put(F::By, ended.by.label());
    line.put(F::During, ended.during.label());
    line.put(F::Reason, ended.why.label());
    line.seconds(lasted);
    line
}

pub(super) fn reloaded(now: SystemTime, accepted: bool) -> Line {
    let mut line = Line::new(AuditEvent::Reloaded, now);
    line.put(F::Result, if accepted { "accepted" } else { "refused" });
    line
}
