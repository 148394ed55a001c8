//! The second factor (`access.totp`, RFC 6238).

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use totp_rs::{Builder, Secret};

use crate::stage::{Actor, Client, Setup, Stage};

const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const PERIOD: u64 = 30;

/// A file with `bob`'s secret, for as long as it is held.
struct Secrets {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Secrets {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("totp.secrets");
        std::fs::write(&path, format!("bob:{SECRET}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        Self { _folder: folder, path }
    }

    fn setup(&self, more: &str) -> Setup {
        Setup::new().with("access", format!("totp: {{ secrets: \"{}\"{more} }}", self.path.display()))
    }
}

/// The code of so many periods from now.
fn code(periods: u64) -> String {
    let totp = Builder::new().with_secret(Secret::try_from_base32(SECRET).unwrap()).build().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    totp.generate(now + periods * PERIOD).to_string()
}

/// USER, up to the password.
async fn names(stage: &Stage, client: &mut Client, user: &str) -> Actor {
    client.says(format!("USER {user}")).await;
    let mut actor = stage.backend().welcomes().await;
    actor.hears(format!("USER {user}")).await;
    actor.says("331 Password please").await;
    client.hears("331 Password required.\r\n").await;
    actor
}

async fn lets_in(client: &mut Client, actor: &mut Actor) {
    actor.hears("PASS sesame").await;
    actor.says("230 Welcome").await;
    client.hears("230 Welcome").await;
}

async fn login(stage: &Stage, result: &str, times: u32) {
    stage.counts(&format!("logins_total{{result=\"{result}\"}}"), times).await;
}

#[tokio::test]
async fn the_code_is_asked_for_and_the_backend_hears_the_password_alone() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    let mut client = stage.secured_client().await;
    let mut actor = names(&stage, &mut client, "bob").await;
    client.says_and_hears("PASS sesame", "332 ").await;
    actor.talk.hears_nothing().await;
    client.says(format!("ACCT {}", code(0))).await;
    lets_in(&mut client, &mut actor).await;
    login(&stage, "accepted", 1).await;
}

#[tokio::test]
async fn the_code_may_stand_behind_the_password() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    let mut client = stage.secured_client().await;
    let mut actor = names(&stage, &mut client, "bob").await;
    client.says(format!("PASS sesame:{}", code(0))).await;
    lets_in(&mut client, &mut actor).await;
}

#[tokio::test]
async fn a_wrong_code_looks_like_a_wrong_password_and_the_backend_does_not_hear_of_it() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    let mut client = stage.secured_client().await;
    for wrong in [code(50), "12345".to_owned()] {
        let mut actor = names(&stage, &mut client, "bob").await;
        client.says_and_hears("PASS sesame", "332 ").await;
        client.says_and_hears(&format!("ACCT {wrong}"), "530 Login incorrect.\r\n").await;
        actor.talk.hears_nothing().await;
        client.says("PASS sesame").await;
        client.refused(503, "user_first").await;
    }
    let mut actor = names(&stage, &mut client, "bob").await;
    client.says_and_hears(&format!("PASS sesame:{}", code(50)), "530 Login incorrect.\r\n").await;
    actor.talk.hears_nothing().await;
    login(&stage, "code_wrong", 3).await;
    // And so does a wrong password with the right code.
    let mut actor = names(&stage, &mut client, "bob").await;
    client.says(format!("PASS wrong:{}", code(0))).await;
    actor.hears_and_says("PASS wrong", "530 Not with me").await;
    client.hears("530 Login incorrect.\r\n").await;
    login(&stage, "rejected", 1).await;
}

#[tokio::test]
async fn a_code_counts_once_also_after_a_reload() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    let mut client = stage.secured_client().await;
    let mut actor = names(&stage, &mut client, "bob").await;
    let used = code(0);
    client.says(format!("PASS sesame:{used}")).await;
    lets_in(&mut client, &mut actor).await;
    let mut thief = stage.secured_client().await;
    let _actor = names(&stage, &mut thief, "bob").await;
    thief.says_and_hears(&format!("PASS sesame:{used}"), "530 Login incorrect.\r\n").await;
    stage.reloads(&stage.setup).await;
    let mut thief = stage.secured_client().await;
    let _actor = names(&stage, &mut thief, "bob").await;
    thief.says_and_hears("PASS sesame", "332 ").await;
    thief.says_and_hears(&format!("ACCT {used}"), "530 Login incorrect.\r\n").await;
    login(&stage, "code_used", 2).await;
    // The next one is new.
    let mut client = stage.secured_client().await;
    let mut actor = names(&stage, &mut client, "bob").await;
    client.says(format!("PASS sesame:{}", code(1))).await;
    lets_in(&mut client, &mut actor).await;
}

/// Of a second gateway, behind a stop of the first or behind its death a moment later; and behind a reload with another
/// `state_dir`.
#[tokio::test]
async fn a_code_counts_once_also_after_a_restart() {
    for (dies, moves) in [(false, false), (true, false), (false, true), (true, true)] {
        let (secrets, folder, other) = (Secrets::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = if moves { &other } else { &folder };
        let start = || Stage::start(secrets.setup("").state_dir(folder.path()));
        let stage = Stage::start(secrets.setup("").state_dir(first.path())).await;
        let mut client = stage.secured_client().await;
        let mut actor = names(&stage, &mut client, "bob").await;
        let used = code(0);
        client.says(format!("PASS sesame:{used}")).await;
        lets_in(&mut client, &mut actor).await;
        if moves {
            stage.reloads(&secrets.setup("").state_dir(folder.path())).await;
        }
        if dies {
            let written = async {
                while !folder.path().join("used-codes.jsonl").exists() {
                    client.talk.hears_nothing().await;
                }
            };
            stage.transcript.soon("the file of used codes", written).await;
        } else {
            let Stage { gateway, .. } = stage;
            gateway.stop().await;
        }
        let stage = start().await;
        let mut thief = stage.secured_client().await;
        let _actor = names(&stage, &mut thief, "bob").await;
        thief.says_and_hears(&format!("PASS sesame:{used}"), "530 Login incorrect.\r\n").await;
        login(&stage, "code_used", 1).await;
        let mut client = stage.secured_client().await;
        let mut actor = names(&stage, &mut client, "bob").await;
        client.says(format!("PASS sesame:{}", code(1))).await;
        lets_in(&mut client, &mut actor).await;
    }
}

/// Of the clock a client has, and of how wrong it may be.
#[tokio::test]
async fn how_wrong_a_clock_may_be_is_a_setting() {
    let secrets = Secrets::new();
    for (more, ahead, counts) in
        [(", skew: 0", 2, false), ("", 1, true), ("", 3, false), (", skew: 3", 3, true), (", skew: 3", 5, false)]
    {
        let stage = Stage::start(secrets.setup(more)).await;
        let mut client = stage.secured_client().await;
        let mut actor = names(&stage, &mut client, "bob").await;
        client.says(format!("PASS sesame:{}", code(ahead))).await;
        match counts {
            true => lets_in(&mut client, &mut actor).await,
            false => drop(client.hears("530 Login incorrect.\r\n").await),
        }
        login(&stage, if counts { "accepted" } else { "code_wrong" }, 1).await;
    }
}

/// Whoever can read it has everybody's codes. A reload with such a file changes nothing.
#[tokio::test]
async fn a_file_of_secrets_that_others_can_read_is_not_taken() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    std::fs::set_permissions(&secrets.path, PermissionsExt::from_mode(0o644)).unwrap();
    let refused = stage.refuses_to_reload();
    assert!(refused.contains("access.totp.secrets") && refused.contains("others can read it"), "{refused}");
    assert!(!refused.contains(SECRET), "{refused}");
    let mut client = stage.secured_client().await;
    let _actor = names(&stage, &mut client, "bob").await;
    client.says_and_hears("PASS sesame", "332 ").await;
}

#[tokio::test]
async fn who_must_have_a_secret_and_has_none_does_not_come_in() {
    let secrets = Secrets::new();
    for more in ["", ", required: true", ", required: [\"a*\"]"] {
        let stage = Stage::start(secrets.setup(more)).await;
        let mut client = stage.secured_client().await;
        let mut actor = names(&stage, &mut client, "anna").await;
        client.says_and_hears("PASS sesame", "332 ").await;
        client.says_and_hears(&format!("ACCT {}", code(0)), "530 Login incorrect.\r\n").await;
        actor.talk.hears_nothing().await;
        login(&stage, "code_unknown", 1).await;
    }
    for more in [", required: false", ", required: [\"b*\"]"] {
        let stage = Stage::start(secrets.setup(more)).await;
        let mut client = stage.secured_client().await;
        let mut actor = names(&stage, &mut client, "anna").await;
        client.says("PASS sesame").await;
        lets_in(&mut client, &mut actor).await;
    }
}

#[tokio::test]
async fn a_user_without_a_route_is_asked_like_any_other() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("").line("routes: [{ user: bob, backend: legacy }]")).await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("USER eve", "331 Password required.\r\n").await;
    client.says_and_hears("PASS sesame", "332 ").await;
    client.says_and_hears("ACCT 123456", "530 Login incorrect.\r\n").await;
    login(&stage, "no_route", 1).await;
    stage.backend().is_not_dialled().await;
}

#[tokio::test]
async fn a_backend_that_asks_for_no_password_does_not_open_the_door_alone() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    for proof in ["ACCT CODE", "PASS x:CODE"] {
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut actor = stage.backend().welcomes().await;
        actor.hears_and_says("USER bob", "230 Come in").await;
        client.hears("332 ").await;
        client.says_and_hears("PASS x", "332 ").await;
        client.says_and_hears("ACCT 000000", "530 Login incorrect.\r\n").await;
        client.says("USER bob").await;
        let mut actor = stage.backend().welcomes().await;
        actor.hears_and_says("USER bob", "230 Come in").await;
        client.hears("332 ").await;
        let period = u64::from(proof.starts_with("PASS"));
        client.says_and_hears(&proof.replace("CODE", &code(period)), "230 Come in").await;
    }
}

#[tokio::test]
async fn a_backends_own_332_is_asked_behind_it() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("")).await;
    let mut client = stage.secured_client().await;
    let mut actor = names(&stage, &mut client, "bob").await;
    client.says("ACCT early").await;
    client.refused(503, "account_not_asked").await;
    client.says(format!("PASS sesame:{}", code(0))).await;
    actor.hears_and_says("PASS sesame", "332 Which account?").await;
    client.hears("332 Which account?").await;
    client.says("ACCT sales").await;
    actor.hears_and_says("ACCT sales", "230 In").await;
    client.hears("230 In").await;
}

#[tokio::test]
async fn the_audit_file_says_whether_a_code_has_counted() {
    let secrets = Secrets::new();
    let stage = Stage::start(secrets.setup("").line("audit_log: { path: STATE/audit.jsonl }")).await;
    let mut client = stage.secured_client().await;
    let first = names(&stage, &mut client, "bob").await;
    client.says_and_hears(&format!("PASS sesame:{}", code(50)), "530 Login incorrect.\r\n").await;
    drop(first);
    let mut actor = names(&stage, &mut client, "bob").await;
    let right = code(0);
    client.says(format!("PASS sesame:{right}")).await;
    lets_in(&mut client, &mut actor).await;
    drop((client, actor));
    stage.is_empty().await;
    let audit = stage.folder.path().join("audit.jsonl");
    stage.gateway.stop().await;
    let text = std::fs::read_to_string(audit).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap();
    assert_eq!(of("login_failed")["reason"], "code_wrong");
    assert_eq!(of("login")["second_factor"], true);
    assert!(!text.contains(&right) && !text.contains("sesame"), "{text}");
}
