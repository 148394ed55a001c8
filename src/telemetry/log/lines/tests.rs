//! What the log says of each event, at which level, and what it never says.

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
    assert_eq!((&end["by"], &end["during"], &end["reason"]), (&json!("client"), &json!("commands"), &json!("idle")));
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
    assert_eq!(level(|| refused(&who(), None, None, Verb::Pasv, Refusal::AdvertiseUnavailable)), "ERROR");
    assert_eq!(level(|| refused(&who(), None, None, Verb::Port, Refusal::ForeignAddress)), "INFO");
    assert_eq!(level(|| refused(&who(), None, None, Verb::User, Refusal::TlsRequired)), "DEBUG");
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
    let events = include_str!("../../../event.rs");
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

/// What is said of a refusal names the user once there is one, and the place where a record is kept.
#[test]
fn a_refusal_says_whose() {
    let object = Object { given: b"x\ny".to_vec(), resolved: None };
    let line =
        only(json(LogLevel::Info, || refused(&who(), Some(b"anna"), Some(&object), Verb::Retr, Refusal::PathDenied)));
    assert_eq!((&line["user"], &line["path"], &line["verb"]), (&json!("anna"), &json!("x\\ny"), &json!("RETR")));
    let line = only(json(LogLevel::Info, || refused(&who(), None, None, Verb::Retr, Refusal::PathDenied)));
    assert_eq!((line.get("user"), line.get("path")), (None, None));
}
