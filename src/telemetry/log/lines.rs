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
    LoginResult, Resumption, Stray, Transfer, TransferResult, Via, Who,
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

pub(in crate::telemetry) fn refused(who: &Who, verb: Verb, refusal: Refusal) {
    line_at!(Severity::of(refusal), who, verb = verb.label(), reason = refusal.label(), "command refused");
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
mod tests {
    use super::*;
    use crate::event::{HandshakeKind, Particulars, Reason, SessionId, Stage, TlsVersion, Why};
    use crate::policy::{Protection, TransferKind};
    use crate::telemetry::log::captured;
    use crate::telemetry::settings::{LogFormat, LogLevel};
    use serde_json::{Value, json};

    fn who() -> Who {
        let client = "[::ffff:192.0.2.7]:4021".parse().unwrap();
        Who { session: SessionId(7), listener: "public".into(), client, via: Via::Direct }
    }

    static PARTICULARS: Particulars = Particulars { resolved: None, stored_as: None, offset: 0, ascii: false };

    fn transfer(user: &'static [u8], path: &'static [u8], result: TransferResult) -> Transfer<'static> {
        Transfer {
            user,
            backend: "legacy",
            verb: Verb::Stor,
            path,
            kind: TransferKind::Upload,
            bytes: 4096,
            took: Duration::from_millis(1500),
            particulars: &PARTICULARS,
            front: Protection::Private,
            front_tls: None,
            back: Protection::Clear,
            close_notify_missing: false,
            result,
            code: 226,
        }
    }

    fn json(level: LogLevel, write: impl FnOnce()) -> Vec<Value> {
        let log = captured(LogFormat::Json, level, |_| write());
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn only(mut lines: Vec<Value>) -> Value {
        assert_eq!(lines.len(), 1, "{lines:?}");
        let mut line = lines.remove(0);
        line.as_object_mut().unwrap().remove("timestamp").unwrap();
        line
    }

    fn level(write: impl FnOnce()) -> String {
        only(json(LogLevel::Trace, write))["level"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_transfer_is_one_line_with_all_of_it() {
        let done = transfer(b"anna", b"in/a b.txt", TransferResult::Completed);
        let line = only(json(LogLevel::Info, || transferred(&who(), &done, true)));
        let expected = json!({
            "level": "INFO", "target": "ftps_gateway", "message": "transfer",
            "session": "00000007", "listener": "public", "client": "192.0.2.7:4021",
            "user": "anna", "backend": "legacy", "verb": "STOR", "path": "in/a b.txt", "direction": "upload",
            "bytes": 4096, "seconds": 1.5, "front": "private", "back": "clear", "code": 226,
            "by": "client", "result": "completed",
        });
        assert_eq!(line, expected);
        let text = captured(LogFormat::Text, LogLevel::Info, |_| transferred(&who(), &done, true));
        for (name, value) in expected.as_object().unwrap() {
            let shown = match name.as_str() {
                "level" | "message" => value.as_str().unwrap().to_owned(),
                "target" => "ftps_gateway: ".to_owned(),
                "session" | "client" => format!("{name}={}", value.as_str().unwrap()),
                _ => format!("{name}={value}"),
            };
            assert!(text.contains(&shown), "no {shown} in {text}");
        }
    }

    /// Old clients do it on every upload, so it is told with the upload and not as a failure.
    #[test]
    fn an_upload_that_is_believed_without_close_notify_says_so() {
        let doubtful = Transfer { close_notify_missing: true, ..transfer(b"anna", b"x", TransferResult::Completed) };
        let line = only(json(LogLevel::Info, || transferred(&who(), &doubtful, true)));
        assert_eq!((&line["close_notify"], &line["result"]), (&json!("missing"), &json!("completed")));
    }

    #[test]
    fn a_session_tells_its_start_login_and_end() {
        let lines = json(LogLevel::Info, || {
            started(&who());
            login(&who(), b"anna", Some("legacy"), LoginResult::Accepted);
            command(&who(), Verb::Pwd);
            let why = Why::Reason(Reason::Idle);
            let end = Ended { by: By::Client, during: Stage::Commands, why };
            ended(&who(), Some(b"anna"), end, Duration::from_secs(300));
        });
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["session started", "logged in", "session ended"]);
        assert!(lines.iter().all(|line| line["session"] == "00000007" && line["client"] == "192.0.2.7:4021"));
        assert_eq!((&lines[1]["user"], &lines[1]["backend"]), (&json!("anna"), &json!("legacy")));
        let end = &lines[2];
        assert_eq!(
            (&end["by"], &end["during"], &end["reason"]),
            (&json!("client"), &json!("commands"), &json!("idle"))
        );
        assert_eq!(end["seconds"], json!(300.0));
    }

    #[test]
    fn levels_follow_blame() {
        let ended_by = |result, ran| level(|| transferred(&who(), &transfer(b"a", b"p", result), ran));
        assert_eq!(ended_by(TransferResult::ClientCut, true), "INFO");
        assert_eq!(ended_by(TransferResult::BackendCut, true), "WARN");
        assert_eq!(ended_by(TransferResult::BackendRefused, true), "WARN");
        assert_eq!(ended_by(TransferResult::BackendRefused, false), "INFO");
        assert_eq!(ended_by(TransferResult::Stopped, true), "ERROR");
        assert_eq!(level(|| command(&who(), Verb::Pass)), "DEBUG");
        assert_eq!(level(|| backend_failed(&who(), "legacy", BackendFailure::Reset, "x")), "WARN");
        assert_eq!(level(|| refused(&who(), Verb::Pasv, Refusal::AdvertiseUnavailable)), "ERROR");
        assert_eq!(level(|| refused(&who(), Verb::Port, Refusal::ForeignAddress)), "INFO");
        assert_eq!(level(|| refused(&who(), Verb::User, Refusal::TlsRequired)), "DEBUG");
        assert_eq!(level(|| reloaded(false)), "ERROR");
    }

    #[test]
    fn a_failure_is_told_once() {
        let failed = |leg, channel| Handshake {
            leg,
            channel,
            version: TlsVersion::Unknown,
            kind: HandshakeKind::None,
            result: HandshakeResult::Alert,
            cipher: None,
        };
        let line = only(json(LogLevel::Info, || {
            handshake(&who(), failed(Leg::Back, Channel::Control), "unknown CA");
            backend_failed(&who(), "legacy", BackendFailure::TlsFailed, "unknown CA");
        }));
        assert_eq!((&line["reason"], &line["detail"]), (&json!("tls_failed"), &json!("unknown CA")));
        let line = only(json(LogLevel::Info, || {
            handshake(&who(), failed(Leg::Front, Channel::Data), "unknown CA");
            data(&who(), Leg::Front, DataMode::Pasv, DataOutcome::TlsFailed, "unknown CA");
        }));
        assert_eq!((&line["result"], &line["detail"]), (&json!("alert"), &json!("unknown CA")));
    }

    #[test]
    fn peers_bytes_cannot_forge_a_line() {
        let user = b"eve\r\n2026-01-01T00:00:00Z INFO session ended\x1b[2J";
        let path = b"x\" result=\"completed\" y=\"\xff\0";
        let forged = transfer(user, path, TransferResult::ClientCut);
        let text = captured(LogFormat::Text, LogLevel::Info, |_| transferred(&who(), &forged, true));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        assert!(text.contains("path=\"x\\\" result=\\\"completed\\\" y=\\\"\\\\xff\\\\u{0}\" "), "{text}");
        let line = only(json(LogLevel::Info, || transferred(&who(), &forged, true)));
        assert_eq!(line["result"], "client_cut");
        assert_eq!(line["path"], "x\" result=\"completed\" y=\"\\xff\\u{0}");
        assert!(line["user"].as_str().unwrap().starts_with("eve\\r\\n2026"), "{line}");
    }

    /// A password is a `Secret`. No event holds one, nor a whole command: of a command there is the verb.
    #[test]
    fn no_event_carries_a_password() {
        let events = include_str!("../../event.rs");
        let events = events.split("#[cfg(test)]").next().unwrap();
        assert!(!events.contains("Secret") && !events.contains("Command<"));
        let line = only(json(LogLevel::Trace, || command(&who(), Verb::Pass)));
        let fields: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["client", "level", "listener", "message", "session", "target", "verb"]);
    }

    #[test]
    fn a_balancer_is_named_once_and_its_own_look_is_quiet() {
        let balancer = "[::ffff:10.1.0.5]:40000".parse().unwrap();
        let brought = Who { via: Via::Balancer(balancer), ..who() };
        let line = only(json(LogLevel::Info, || started(&brought)));
        assert_eq!((&line["client"], &line["balancer"]), (&json!("192.0.2.7:4021"), &json!("10.1.0.5:40000")));
        let check = Who { via: Via::Check, ..who() };
        let why = Why::Reason(Reason::ClientClosed);
        let closed = Ended { by: By::Client, during: Stage::Greeting, why };
        assert_eq!(level(|| started(&check)), "DEBUG");
        assert_eq!(level(|| ended(&check, None, closed, Duration::ZERO)), "DEBUG");
        assert_eq!(level(|| ended(&check, Some(b"bob"), closed, Duration::ZERO)), "INFO");
        assert_eq!(level(|| ended(&brought, None, closed, Duration::ZERO)), "INFO");
    }
}
