//! Passwords are seen by the backend and by nobody else: not in a log line of any level, not on an admin page, not in a
//! reply.

use std::time::{Duration, Instant};

use crate::stage::{Log, Scene, Setup, Stage};

/// Far more than writing a line takes.
const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

const PASSWORD: &str = "correct-horse-battery-staple";

/// The audit file, in the stage's own folder.
const AUDIT: &str = "audit.jsonl";

/// Everything is recorded.
fn audited() -> Setup {
    Setup::new().line(format!("audit_log: {{ path: STATE/{AUDIT} }}"))
}

/// What is recorded, once all sessions have ended there: it is written beside them.
async fn recorded(stage: &Stage) -> String {
    let path = stage.folder.path().join(AUDIT);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let audit = std::fs::read_to_string(&path).unwrap();
        let [started, ended] = ["session_started", "session_ended"].map(|event| audit.matches(event).count());
        if started > 0 && started == ended {
            return audit;
        }
        assert!(Instant::now() < deadline, "{started} sessions and {ended} ends are recorded: {audit}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Nothing of it has been written or told.
async fn is_nowhere(stage: &Stage, secret: &str) {
    let log = Log::text();
    assert!(log.contains("session started"), "the log was not kept: {log}");
    let line = log.lines().find(|line| line.contains(secret));
    assert_eq!(line, None);
    let audit = recorded(stage).await;
    assert!(!audit.contains(secret), "{audit}");
    assert!(!stage.metrics.render().unwrap().contains(secret));
}

#[tokio::test]
async fn no_password_in_any_log_line() {
    let stage = Stage::start(audited()).await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    // Wrong, right, an account, and another one after login.
    client.says(format!("PASS wrong-{PASSWORD}")).await;
    backend.hears_and_says(&format!("PASS wrong-{PASSWORD}"), "530 No").await;
    client.hears("530 ").await;
    client.says("USER bob").await;
    backend.hears_and_says("USER bob", "331 Password").await;
    client.hears("331 ").await;
    client.says(format!("PASS {PASSWORD}")).await;
    backend.hears_and_says(&format!("PASS {PASSWORD}"), "332 Account").await;
    client.hears("332 ").await;
    client.says(format!("ACCT {PASSWORD}")).await;
    backend.hears_and_says(&format!("ACCT {PASSWORD}"), "230 In").await;
    client.hears("230 ").await;
    client.says(format!("PASS {PASSWORD}")).await;
    client.refused(503, "user_first").await;
    client.says_and_hears("QUIT", "221 ").await;
    stage.is_empty().await;
    is_nowhere(&stage, PASSWORD).await;
}

/// Where a code is asked for, the password waits for it; both are as secret.
#[tokio::test]
async fn no_code_and_no_password_beside_it() {
    use std::os::unix::fs::PermissionsExt;
    let (secret, code) = ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "27182818");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("totp.secrets");
    std::fs::write(&file, format!("bob:{secret}:8\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let totp = format!("totp: {{ secrets: \"{}\" }}", file.display());
    let stage = Stage::start(audited().with("access", totp)).await;
    let mut client = stage.secured_client().await;
    for proofs in [&[format!("PASS {PASSWORD}:{code}")][..], &[format!("PASS {PASSWORD}"), format!("ACCT {code}")]] {
        let _backend = stage.asks_for_a_password("bob", &mut client).await;
        for proof in proofs {
            client.says(proof).await;
            client.reply("332 or 530").await;
        }
    }
    client.says_and_hears("QUIT", "221 ").await;
    stage.is_empty().await;
    for hidden in [secret, code, PASSWORD] {
        is_nowhere(&stage, hidden).await;
    }
}

#[tokio::test]
async fn no_password_of_a_refused_line() {
    let secret = "hunter-of-refused-lines";
    let stage = Stage::start(audited().with("limits", "command_length: 512")).await;
    let mut plain = stage.client().await;
    plain.says(format!("PASS {secret}")).await;
    plain.refused(530, "tls_required").await;
    let mut client = stage.secured_client().await;
    for (line, code, label) in [
        (format!("PASS {secret}"), 503, "user_first"),
        (format!("PASS {secret}\0"), 501, "line_with_nul"),
        (format!("PASS {secret}\rx"), 501, "line_with_bare_cr"),
        (format!("PASS {}{secret}", "x".repeat(600)), 500, "line_too_long"),
        (format!("P-ASS {secret}"), 500, "not_a_command"),
    ] {
        client.says(line).await;
        let reply = client.refused(code, label).await;
        assert!(!reply.text().contains(secret));
    }
    for session in [&mut plain, &mut client] {
        session.says_and_hears("QUIT", "221 ").await;
    }
    stage.is_empty().await;
    is_nowhere(&stage, secret).await;
}

/// The end of a password must not become a line of its own.
#[tokio::test]
async fn no_password_when_the_backend_breaks_over_it() {
    let secret = "hunter-of-broken-backends";
    for answer in ["421 No more", "nonsense", ""] {
        let stage = Stage::start(audited()).await;
        let mut client = stage.secured_client().await;
        let mut backend = stage.asks_for_a_password("bob", &mut client).await;
        client.says(format!("PASS {secret}")).await;
        backend.hears(&format!("PASS {secret}")).await;
        if answer.is_empty() {
            backend.talk.resets();
        } else {
            backend.says(answer).await;
        }
        let reply = client.hears("421 ").await;
        assert!(!reply.text().contains(secret));
        stage.is_empty().await;
        is_nowhere(&stage, secret).await;
    }
}

/// Users and paths are for the log, and cannot forge its lines.
#[tokio::test]
async fn what_peers_send_cannot_forge_log_lines() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR \x1b[31mforged\" level=ERROR").await;
    transfer.client.finishes().await;
    transfer.backend.ends().await;
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 ").await;
    let log = Log::text();
    let line = log.lines().find(|line| line.contains("forged")).unwrap_or_default();
    assert!(!line.contains('\x1b'), "{line:?}");
    assert!(line.contains("forged\\\" level=ERROR"), "{line:?}");
}
