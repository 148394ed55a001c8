//! What stands in the file, and that nothing stands there that is not documented.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::event::{
    By, ChangeKind, HandshakeKind, Particulars, Reason, SessionId, Stage, TlsVersion, TransferResult, Why,
};
use crate::policy::{Origin, Protection, Subject, TransferKind, UserKey};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn who() -> Who {
    let client = "[::ffff:192.0.2.7]:4021".parse().unwrap();
    Who { session: SessionId(7), listener: "public".into(), client, via: Via::Direct }
}

fn shaken(result: HandshakeResult) -> Handshake {
    Handshake {
        leg: Leg::Front,
        channel: Channel::Control,
        version: TlsVersion::Tls13,
        kind: HandshakeKind::Resumed,
        result,
        cipher: Some("TLS_AES_256_GCM_SHA384"),
    }
}

fn particulars() -> Particulars {
    Particulars { resolved: Some(b"/in/b 1".to_vec()), stored_as: Some(b"b 1".to_vec()), offset: 5, ascii: true }
}

fn transfer(particulars: &Particulars) -> Transfer<'_> {
    Transfer {
        user: b"anna",
        backend: "legacy",
        verb: Verb::Stou,
        path: b"b",
        particulars,
        kind: TransferKind::Upload,
        bytes: 4096,
        took: Duration::from_millis(2500),
        front: Protection::Private,
        front_tls: Some(shaken(HandshakeResult::Ok)),
        back: Protection::Clear,
        close_notify_missing: true,
        result: TransferResult::Completed,
        code: 226,
    }
}

fn object(path: &str) -> Object {
    Object { given: path.into(), resolved: Some(format!("/home/{path}").into()) }
}

fn change(kind: ChangeKind) -> Change {
    let from = (kind == ChangeKind::Rename).then(|| object("old"));
    Change { kind, command: b"VERB".to_vec(), object: object("new"), from }
}

fn value(line: Line) -> Value {
    serde_json::from_slice(&line.finish()).unwrap()
}

/// One line of every kind, with all that it may hold.
fn all() -> Vec<Value> {
    let (who, particulars) = (who(), particulars());
    let brought = Who { via: Via::Balancer("10.1.0.5:40000".parse().unwrap()), ..who.clone() };
    let address = "192.0.2.7".parse().unwrap();
    let ban = Ban {
        id: 3,
        subject: Subject::Login(Origin::of(address), UserKey::of(b"anna")),
        until: std::time::Instant::now(),
    };
    let ended = Ended { by: By::Client, during: Stage::Commands, why: Why::Reason(Reason::Quit) };
    let (user, span) = (b"anna".as_slice(), Duration::from_millis(1500));
    let mut lines = vec![
        lines::started(NOW),
        lines::stopped(NOW),
        lines::lost(NOW, 9),
        lines::turned(NOW, "public", who.client, Refusal::AddressDenied),
        lines::session_started(NOW, &brought),
        lines::secured(NOW, &who, &shaken(HandshakeResult::Ok)),
        lines::not_secured(NOW, &who, &shaken(HandshakeResult::Alert), "unknown CA"),
        lines::client_certificate(NOW, &who, "CN=anna", "CN=ca", "0a"),
        lines::login(NOW, &who, user, Some("legacy"), LoginResult::Accepted, true),
        lines::login(NOW, &who, &[b'x'; 200], Some("legacy"), LoginResult::Rejected, false),
        lines::banned(NOW, &who, &ban, span),
        lines::ban_lifted(NOW, &ban),
        lines::refused(NOW, &who, Some(user), Some(&object("x")), Verb::Retr, Refusal::PathDenied),
        lines::transferred(NOW, &who, &transfer(&particulars)),
        lines::session_ended(NOW, &who, Some(user), ended, span),
        lines::reloaded(NOW, true),
    ];
    let outcome = (Some(250), ChangeResult::Completed);
    lines.extend(
        ChangeKind::ALL.iter().map(|kind| lines::changed(NOW, &who, (user, "legacy"), &change(*kind), outcome)),
    );
    lines.into_iter().map(value).collect()
}

#[test]
fn every_kind_has_exactly_the_fields_that_are_documented() {
    let all = all();
    let kinds: BTreeSet<&str> = all.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, AuditEvent::ALL.iter().map(|event| event.label()).collect());
    for line in &all {
        let event = AuditEvent::ALL.iter().find(|event| event.label() == line["event"]).unwrap();
        let always = [AuditField::Time, AuditField::Event];
        let told: BTreeSet<_> = event.fields().iter().chain(&always).map(|field| field.label()).collect();
        let own: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(own, told, "{event:?}");
        for field in event.fields().iter().chain(&always) {
            let value = &line[field.label()];
            let right = match field.of_type() {
                FieldType::Word | FieldType::Text => value.is_string(),
                FieldType::Number => value.is_number(),
                FieldType::Switch => value.is_boolean(),
            };
            assert!(right, "{}: {value}", field.label());
        }
    }
    let used: BTreeSet<_> =
        AuditEvent::ALL.iter().flat_map(|event| event.fields()).map(|field| field.label()).collect();
    let unused = AuditField::ALL.iter().map(|field| field.label()).filter(|field| !used.contains(field));
    assert_eq!(unused.collect::<Vec<_>>(), ["time", "event"]);
}

#[test]
fn a_name_without_a_login_makes_no_long_line() {
    let line = |name: &[u8], result| lines::login(NOW, &who(), name, Some("legacy"), result, false);
    let long = line(&[0xfe; 4000], LoginResult::Banned).finish();
    assert!(long.len() < 2048, "{}", long.len());
    let shown = |name: &str, result| {
        let line = value(line(name.as_bytes(), result));
        (line["user"].as_str().unwrap().to_owned(), line["user_length"].as_u64())
    };
    let name = |bytes: usize| "ä".repeat(bytes / 2) + &"x".repeat(bytes % 2);
    assert_eq!(shown(&name(128), LoginResult::Rejected), (name(128), None));
    assert_eq!(shown(&name(300), LoginResult::Rejected), (name(128), Some(300)));
    let odd = format!("x{}", name(300));
    assert_eq!(shown(&odd, LoginResult::Rejected), (odd[..127].to_owned(), Some(301)));
    // Who has logged in has his whole name.
    assert_eq!(shown(&name(300), LoginResult::Accepted), (name(300), None));
}

#[test]
fn a_transfer_is_one_line_with_all_of_it() {
    let particulars = particulars();
    let line = value(lines::transferred(NOW, &who(), &transfer(&particulars)));
    let expected = json!({
        "time": "1970-01-01T00:00:00.000Z", "event": "transfer", "session": "00000007", "listener": "public",
        "client_address": "192.0.2.7", "client_port": 4021, "user": "anna", "backend": "legacy", "verb": "STOU",
        "direction": "upload", "path": "b", "resolved_path": "/in/b 1", "stored_as": "b 1", "offset": 5,
        "type": "ascii", "bytes": 4096, "seconds": 2.5, "front": "private", "tls_version": "1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384", "tls_resumed": true, "back": "clear", "close_notify": "missing",
        "code": 226, "by": "client", "result": "completed",
    });
    assert_eq!(line, expected);
}

#[test]
fn xferlog_is_as_ftp_servers_write_it() {
    let particulars = particulars();
    let upload = transfer(&particulars);
    // 4 March 2021, 08:12:30 UTC.
    let now = NOW + Duration::from_secs(1_614_845_550);
    let shown = |line: Option<Vec<u8>>| line.map(|line| String::from_utf8_lossy(&line).into_owned());
    let line = shown(xferlog::transferred(now, &who(), &upload, true)).unwrap();
    assert_eq!(line, "Thu Mar  4 08:12:30 2021 2 192.0.2.7 4096 /in/b_1 a _ i r anna ftp 0 * c\n");

    let plain = Particulars::default();
    let cut = Transfer {
        user: b"ftp",
        verb: Verb::Retr,
        path: b"a\tb\xfc\x1b\n",
        particulars: &plain,
        kind: TransferKind::Download,
        took: Duration::from_millis(3),
        result: TransferResult::ClientCut,
        ..upload.clone()
    };
    let line = xferlog::transferred(now, &who(), &cut, true).unwrap();
    assert_eq!(line, b"Thu Mar  4 08:12:30 2021 1 192.0.2.7 4096 a_b\xfc__ b _ o a ftp ftp 0 * i\n");

    let listing = Transfer { kind: TransferKind::Listing, ..cut.clone() };
    assert_eq!(xferlog::transferred(now, &who(), &listing, true), None);
    assert_eq!(xferlog::transferred(now, &who(), &cut, false), None);
    let deleted = |kind, result| shown(xferlog::changed(now, &who(), b"a b", &change(kind), result));
    assert_eq!(
        deleted(ChangeKind::Delete, ChangeResult::Completed).unwrap(),
        "Thu Mar  4 08:12:30 2021 1 192.0.2.7 0 /home/new b _ d r a_b ftp 0 * c\n"
    );
    assert_eq!(deleted(ChangeKind::Delete, ChangeResult::BackendRefused), None);
    assert_eq!(deleted(ChangeKind::Rename, ChangeResult::Completed), None);
}

fn opened(path: &Path, format: AuditFormat) -> Option<(AuditSettings, AuditFile)> {
    Some((AuditSettings { path: path.to_owned(), format }, AuditFile::open(path).unwrap()))
}

fn events(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned();
    text.lines().map(event).collect()
}

#[test]
fn the_file_changes_without_a_lost_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let audit = Audit::new(Arc::new(Metrics::new().unwrap()));
    audit.reloaded(true);
    audit.set(opened(&path("a"), AuditFormat::Json)).unwrap();
    audit.reloaded(true);
    // As logrotate does it.
    std::fs::rename(path("a"), path("a.1")).unwrap();
    audit.reloaded(true);
    audit.reopen().unwrap();
    audit.reloaded(true);
    audit.set(opened(&path("b"), AuditFormat::Json)).unwrap();
    audit.reloaded(true);
    audit.set(opened(&path("c"), AuditFormat::Xferlog)).unwrap();
    audit.reloaded(true);
    audit.set(opened(&path("d"), AuditFormat::Json)).unwrap();
    audit.set(None).unwrap();
    audit.reloaded(true);
    audit.stop();
    // Where the writer has not come to the first change before the second, the lines between are in the older file.
    let moved = [events(&path("a.1")), events(&path("a"))];
    assert!(moved[0].len() >= 3, "{moved:?}");
    assert_eq!(moved.concat(), ["audit_started", "reloaded", "reloaded", "reloaded", "audit_stopped"]);
    assert_eq!(events(&path("b")), ["audit_started", "reloaded", "audit_stopped"]);
    assert_eq!(std::fs::read(path("c")).unwrap(), b"");
    assert_eq!(events(&path("d")), ["audit_started", "audit_stopped"]);
    assert!(audit.can_record());
}

#[test]
fn what_cannot_be_a_file_of_lines_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pipe = path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(path("file"), "").unwrap();
    for (wrong, why) in [
        (pipe.as_path(), "audit_log.path: "),
        (folder.path(), "is a folder. Write the path of a file"),
        (&path("file/below"), "lies below a file. "),
    ] {
        for error in [AuditFile::open(wrong).map(drop).unwrap_err(), AuditFile::check(wrong).unwrap_err()] {
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    let missing = AuditFile::open(&path("no/such")).unwrap_err().to_string();
    assert!(
        missing.ends_with("lies in a folder that is not there. Make the folder for the user that the gateway runs as."),
        "{missing}"
    );
    assert!(AuditFile::check(&path("no/such")).is_ok() && !path("no").exists());
}

#[test]
fn a_line_that_was_torn_long_ago_is_not_gone_on_with() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    std::fs::write(&path, "{\"event\":\"tor").unwrap();
    let audit = Audit::new(Arc::new(Metrics::new().unwrap()));
    audit.set(opened(&path, AuditFormat::Json)).unwrap();
    audit.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"event\":\"tor\n{\"time\":"), "{text}");
    let new = folder.path().join("new");
    AuditFile::open(&new).unwrap();
    assert_eq!(new.metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

/// The writer may be in the middle of one.
#[test]
fn a_file_that_is_opened_again_goes_on_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let audit = Audit::new(Arc::new(Metrics::new().unwrap()));
    audit.set(opened(&path, AuditFormat::Json)).unwrap();
    audit.reloaded(true);
    let writes = || std::fs::read_to_string(&path).unwrap();
    while !writes().contains("reloaded") {
        std::thread::yield_now();
    }
    let begun = writes() + "{\"half\":";
    std::fs::write(&path, &begun).unwrap();
    audit.reopen().unwrap();
    audit.set(opened(&path, AuditFormat::Json)).unwrap();
    audit.reloaded(false);
    audit.stop();
    assert!(writes().starts_with(&format!("{begun}{{\"time\"")), "{}", writes());
}

#[test]
fn another_format_loses_no_line() {
    const FILES: usize = 10;
    const LINES: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let audit = Audit::new(Arc::new(Metrics::new().unwrap()));
    audit.set(opened(&path("json"), AuditFormat::Json)).unwrap();
    // So many lines for each file, and while the next one comes.
    let (files, lines) = (AtomicUsize::new(1), AtomicUsize::new(0));
    let works = |thread: usize| {
        for at in 0..FILES * LINES {
            while at / LINES >= files.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let object = Object { given: format!("/{thread}-{at}").into(), resolved: None };
            let change = Change { kind: ChangeKind::Delete, command: b"DELE".to_vec(), object, from: None };
            audit.changed(&who(), (b"anna", "legacy"), &change, (Some(250), ChangeResult::Completed));
            lines.fetch_add(1, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..3 {
            scope.spawn(move || works(thread));
        }
        for file in 1..FILES {
            while lines.load(Ordering::Relaxed) < (file - 1) * 3 * LINES + LINES / 2 {
                std::thread::yield_now();
            }
            match file % 2 {
                0 => audit.set(opened(&path("json"), AuditFormat::Json)).unwrap(),
                _ => audit.set(opened(&path("xferlog"), AuditFormat::Xferlog)).unwrap(),
            }
            files.fetch_add(1, Ordering::Relaxed);
        }
    });
    audit.stop();
    let mut told = BTreeSet::new();
    for line in std::fs::read_to_string(path("json")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["event"] == "delete" {
            assert!(told.insert(line["path"].as_str().unwrap().to_owned()), "{line}");
        }
    }
    let in_json = told.len();
    for line in std::fs::read_to_string(path("xferlog")).unwrap().lines() {
        assert!(told.insert(line.split_whitespace().nth(8).unwrap().to_owned()), "{line}");
    }
    assert!(in_json > 0 && in_json < told.len(), "{in_json} of {}", told.len());
    assert_eq!(told.len(), 3 * FILES * LINES);
}

/// A disk that hangs says nothing. What waits says it.
#[test]
fn a_disk_that_hangs_stops_what_would_begin_and_costs_no_line_of_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut audit = hangs(&path("a"));
    let (who, particulars) = (who(), particulars());
    let transfer = transfer(&particulars);
    let mut lines = 0;
    assert!(audit.can_record());
    while audit.can_record() {
        audit.transferred(&who, &transfer, true);
        lines += 1;
    }
    let shows = |audit: &Audit, series: &str| {
        let page = audit.metrics.render().unwrap();
        assert!(page.contains(&format!("\nftps_gateway_{series}\n")), "{series} in\n{page}");
    };
    shows(&audit, "audit_writable 0");
    for _ in 0..1000 {
        audit.transferred(&who, &transfer, true);
    }
    shows(&audit, "audit_lines_lost_total 0");

    // Another file gets it all.
    audit.set(opened(&path("b"), AuditFormat::Json)).unwrap();
    audit.patience = PATIENCE;
    audit.stop();
    shows(&audit, "audit_lines_lost_total 0");
    let all = events(&path("b"));
    assert_eq!(all.iter().filter(|event| *event == "transfer").count(), lines + 1000);
    assert_eq!((&*all[0], &*all[all.len() - 1]), ("audit_started", "audit_stopped"));
}

#[test]
fn without_a_file_nothing_waits_for_a_disk_that_hangs_and_what_waits_is_counted_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let audit = hangs(&folder.path().join("a"));
    while audit.can_record() {
        audit.reloaded(true);
    }
    audit.set(None).unwrap();
    assert!(audit.can_record());
    audit.reloaded(true);
    let page = || audit.metrics.render().unwrap();
    assert!(page().contains("\nftps_gateway_audit_writable 1\n"));
    let waiting = audit.queue.waiting();
    audit.stop();
    let lines = page().lines().find_map(|line| line.strip_prefix("ftps_gateway_audit_lines_lost_total ")?.parse().ok());
    let lines: usize = lines.unwrap();
    assert!(lines > 10_000 && waiting / lines < 100, "{lines} of {waiting} bytes");
}

/// With a writer that has begun and does nothing, and is not waited for any longer.
fn hangs(path: &Path) -> Audit {
    let mut audit = Audit::new(Arc::new(Metrics::new().unwrap()));
    audit.patience = Duration::from_millis(1);
    let (AuditSettings { path, format }, AuditFile { file, identity }) = opened(path, AuditFormat::Json).unwrap();
    audit.queue.change(Some((file, format)));
    *audit.place() = Some(Place { path, identity });
    drop(audit.queue.take_over());
    audit
}
