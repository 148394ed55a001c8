//! One function for each event that is worth a line.
//!
//! Invariants: the level follows blame (a client's doing is `debug` or `info`, a backend's `warn`, the gateway's own
//! `error`); a failure is told in full once, where its detail is known; what a peer sent goes through [`Printable`] and
//! is quoted; there is no password, because no event has one.

use std::net::SocketAddr;
use std::time::Duration;

use super::TARGET;
use super::severity::Severity;
use crate::event::{
    BackendFailure, By, Change, ChangeResult, Channel, DataMode, DataOutcome, Ended, Handshake, HandshakeResult, Leg,
    LoginResult, Object, Resumption, Stray, Transfer, TransferResult, Via, Who,
};
use crate::ftp::{Printable, Verb};
use crate::policy::{Ban, Refusal, canonical};

/// A line about a session: what every such line has, the line's own fields, the message.
macro_rules! line {
    ($level:ident, $who:expr, $($rest:tt)+) => {
        tracing::$level!(
            target: TARGET,
            session = %$who.session,
            listener = &*$who.listener,
            client = %address($who.client),
            $($rest)+
        )
    };
}

/// The same, with a [`Severity`].
macro_rules! line_at {
    ($severity:expr, $who:expr, $($rest:tt)+) => {
        match $severity {
            Severity::Debug => line!(debug, $who, $($rest)+),
            Severity::Info => line!(info, $who, $($rest)+),
            Severity::Warn => line!(warn, $who, $($rest)+),
            Severity::Error => line!(error, $who, $($rest)+),
        }
    };
}

pub(in crate::telemetry) fn turned(listener: &str, client: SocketAddr, refusal: Refusal) {
    tracing::info!(target: TARGET, listener, client = %address(client), reason = refusal.label(), "connection refused");
}

pub(in crate::telemetry) fn started(who: &Who) {
    match who.via {
        Via::Direct => line!(info, who, "session started"),
        Via::Balancer(balancer) => line!(info, who, balancer = %address(balancer), "session started"),
        Via::Check => line!(debug, who, "session started by a balancer itself"),
    }
}

pub(in crate::telemetry) fn handshake(who: &Who, handshake: Handshake, detail: &str) {
    let Handshake { leg, channel, version, kind, result, cipher: _ } = handshake;
    let (leg_label, channel_label) = (leg.label(), channel.label());
    if result == HandshakeResult::Ok {
        let (version, kind) = (version.label(), kind.label());
        line!(debug, who, leg = leg_label, channel = channel_label, version, kind, "TLS handshake done");
        return;
    }
    let severity = match (leg, channel) {
        // A balancer that looks whether the gateway is there may leave before TLS.
        (Leg::Front, Channel::Control) if who.via == Via::Check => Severity::Debug,
        (Leg::Front, Channel::Control | Channel::Data) => Severity::Info,
        // It is also the backend's failure, which has a line of its own.
        (Leg::Back, Channel::Control) => Severity::Debug,
        (Leg::Back, Channel::Data) => Severity::Warn,
    };
    let result = result.label();
    line_at!(severity, who, leg = leg_label, channel = channel_label, result, detail, "TLS handshake failed");
}

/// Who the client says it is, confirmed by an authority; the user comes later.
pub(in crate::telemetry) fn client_certificate(who: &Who, subject: &str, serial: &str) {
    line!(info, who, subject = shown(subject.as_bytes()), serial, "client certificate accepted");
}

/// With `tls.data_resumption: audit` it names the clients that `require` would lock out.
pub(in crate::telemetry) fn resumption(
    who: &Who,
    user: &[u8],
    software: Option<&[u8]>,
    resumption: Resumption,
    audited: bool,
) {
    let severity = match resumption {
        Resumption::Resumed => Severity::Debug,
        Resumption::NoneOffered
        | Resumption::OtherSession
        | Resumption::Expired
        | Resumption::NameDiffers
        | Resumption::CipherDiffers => match audited {
            true => Severity::Info,
            false => Severity::Debug,
        },
    };
    line_at!(
        severity,
        who,
        user = shown(user),
        software = software.map(shown),
        resumption = resumption.label(),
        "data connection seen for TLS resumption"
    );
}

pub(in crate::telemetry) fn login(who: &Who, user: &[u8], backend: Option<&str>, result: LoginResult) {
    match result {
        LoginResult::Accepted => line!(info, who, user = shown(user), backend, "logged in"),
        LoginResult::Rejected
        | LoginResult::NoRoute
        | LoginResult::Banned
        | LoginResult::CertificateMismatch
        | LoginResult::CodeWrong
        | LoginResult::CodeUsed
        | LoginResult::CodeUnknown
        | LoginResult::UserLimit
        | LoginResult::Unheard
        | LoginResult::BackendFailed => {
            line!(info, who, user = shown(user), backend, result = result.label(), "login failed");
        }
    }
}

pub(in crate::telemetry) fn banned(who: &Who, ban: &Ban, lasts: Duration) {
    let (kind, address, user) = subject(ban);
    line!(info, who, ban = kind, address, user, number = ban.id, seconds = lasts.as_secs_f64(), "banned");
}

pub(in crate::telemetry) fn ban_lifted(ban: &Ban) {
    let (kind, address, user) = subject(ban);
    tracing::info!(target: TARGET, ban = kind, address, user, number = ban.id, "ban lifted");
}

fn subject(ban: &Ban) -> (&'static str, Option<String>, Option<String>) {
    let subject = &ban.subject;
    let address = subject.origin().map(|origin| origin.to_string());
    (subject.kind().label(), address, subject.user().map(|user| shown(user.name())))
}

/// The verb only: an argument may be a password or a path, and the line for a transfer has the path.
pub(in crate::telemetry) fn command(who: &Who, verb: Verb) {
    line!(debug, who, verb = verb.label(), "command");
}

/// `path`: where a record is kept, what it was about, as far as that is no secret.
pub(in crate::telemetry) fn refused(
    who: &Who,
    user: Option<&[u8]>,
    object: Option<&Object>,
    verb: Verb,
    refusal: Refusal,
) {
    let path = object.filter(|object| !object.given.is_empty()).map(|object| shown(&object.given));
    let (user, reason) = (user.map(shown), refusal.label());
    line_at!(Severity::of(refusal), who, user, verb = verb.label(), path, reason, "command refused");
}

pub(in crate::telemetry) fn data(who: &Who, leg: Leg, mode: DataMode, outcome: DataOutcome, detail: &str) {
    let severity = match (outcome, leg) {
        // What failed in TLS has the handshake's line or the resumption's.
        (DataOutcome::Opened | DataOutcome::Unused | DataOutcome::TlsFailed | DataOutcome::NotResumed, _) => {
            Severity::Debug
        }
        (DataOutcome::Timeout | DataOutcome::ConnectFailed, Leg::Front) => Severity::Info,
        (DataOutcome::Timeout | DataOutcome::ConnectFailed, Leg::Back) => Severity::Warn,
    };
    let detail = Some(detail).filter(|detail| !detail.is_empty());
    let (leg, mode, outcome) = (leg.label(), mode.label(), outcome.label());
    line_at!(severity, who, leg, mode, outcome, detail, "data connection");
}

/// A backend's 4xx or 5xx to a transfer that never ran is an answer ("no such file"), not a failure.
pub(in crate::telemetry) fn transferred(who: &Who, transfer: &Transfer<'_>, ran: bool) {
    let by = transfer.result.by();
    let severity = match (by, transfer.result, ran) {
        (By::Client, ..) | (By::Backend, TransferResult::BackendRefused, false) => Severity::Info,
        (By::Backend, ..) => Severity::Warn,
        (By::Gateway, ..) => Severity::Error,
    };
    line_at!(
        severity,
        who,
        user = shown(transfer.user),
        backend = transfer.backend,
        verb = transfer.verb.label(),
        path = shown(transfer.path),
        direction = transfer.direction().label(),
        bytes = transfer.bytes,
        seconds = transfer.took.as_secs_f64(),
        front = transfer.front.label(),
        back = transfer.back.label(),
        code = transfer.code,
        close_notify = transfer.close_notify_missing.then_some("missing"),
        by = by.label(),
        result = transfer.result.label(),
        "transfer"
    );
}

/// What a user does beside transfers is for the audit file; here it stands for whoever looks for a fault.
pub(in crate::telemetry) fn changed(
    who: &Who,
    (user, backend): (&[u8], &str),
    change: &Change,
    (code, result): (Option<u16>, ChangeResult),
) {
    let (from, result) = (change.from.as_ref().map(|from| shown(&from.given)), result.label());
    let (verb, path) = (shown(&change.command), shown(&change.object.given));
    line!(info, who, user = shown(user), backend, verb, from, path, code, result, "change");
}

/// Old servers and clients do this on every connection. The transfer's line says whether it did harm.
pub(in crate::telemetry) fn missing_close_notify(who: &Who, leg: Leg, channel: Channel) {
    line!(debug, who, leg = leg.label(), channel = channel.label(), "closed without close_notify");
}

pub(in crate::telemetry) fn backend_probed(backend: &str, failed: Option<(BackendFailure, &str)>) {
    match failed {
        None => tracing::debug!(target: TARGET, backend, "backend can be used"),
        Some((failure, detail)) => {
            tracing::warn!(target: TARGET, backend, reason = failure.label(), detail, "backend cannot be used");
        }
    }
}

pub(in crate::telemetry) fn backend_connected(who: &Who, backend: &str, took: Duration) {
    line!(debug, who, backend, seconds = took.as_secs_f64(), "backend connected");
}

pub(in crate::telemetry) fn backend_failed(who: &Who, backend: &str, failure: BackendFailure, detail: &str) {
    line!(warn, who, backend, reason = failure.label(), detail, "backend failed");
}

/// A passive port sees every scanner of the internet.
pub(in crate::telemetry) fn stray(peer: SocketAddr, port: u16, stray: Stray) {
    tracing::debug!(target: TARGET, client = %address(peer), port, cause = stray.label(), "stray connection dropped");
}

/// `info`: a failure that ended the session has had its line. A balancer's look at the gateway is not worth one.
pub(in crate::telemetry) fn ended(who: &Who, user: Option<&[u8]>, ended: Ended, lasted: Duration) {
    let severity = match who.via {
        Via::Check if user.is_none() => Severity::Debug,
        Via::Direct | Via::Balancer(_) | Via::Check => Severity::Info,
    };
    line_at!(
        severity,
        who,
        user = user.map(shown),
        by = ended.by.label(),
        during = ended.during.label(),
        reason = ended.why.label(),
        seconds = lasted.as_secs_f64(),
        "session ended"
    );
}

pub(in crate::telemetry) fn reloaded(accepted: bool) {
    match accepted {
        true => tracing::info!(target: TARGET, "configuration reloaded"),
        false => tracing::error!(target: TARGET, "configuration refused, the old one stays"),
    }
}

/// An IPv4 client of a dual-stack listener is found by its IPv4 address.
fn address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(canonical(address.ip()), address.port())
}

/// As a string, so that `tracing` quotes it: a name with blanks or quotes cannot pass itself off as another field.
fn shown(bytes: &[u8]) -> String {
    Printable(bytes).to_string()
}

#[cfg(test)]
mod tests;
