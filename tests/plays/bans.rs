//! Wrong passwords and bans: who is shut out, who is not, and how an operator sees and ends it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use ftps_gateway::ftp::Printable;

use crate::stage::{Actor, Client, End, Scene, Setup, Stage};

/// Few attempts, so that plays are short.
fn strict() -> Setup {
    Setup::new().with("limits", "failed_logins: { attempts: 2, within: 1h, ban: 1h }")
}

async fn comes(stage: &Stage, from: &str) -> Client {
    let (from, to) = (from.parse().unwrap(), stage.listener("explicit"));
    Client::connect("guest", from, to, stage.setup.client_tls.clone(), stage.transcript.clone()).await
}

async fn secured(stage: &Stage, from: &str) -> Client {
    let mut client = comes(stage, from).await;
    client.hears("220 ").await;
    client.secures().await;
    client
}

/// USER and PASS, which the backend answers with this. What the client hears is for the play.
async fn tries(stage: &Stage, client: &mut Client, user: &str, answer: &str) -> Actor {
    client.says(format!("USER {user}")).await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says(&format!("USER {user}"), "331 Password").await;
    client.hears("331 ").await;
    client.says("PASS x").await;
    backend.hears_and_says("PASS x", answer).await;
    if answer.starts_with('2') {
        client.hears("230 ").await;
    }
    backend
}

/// A session that ends with a wrong password and QUIT.
async fn fails(stage: &Stage, from: &str, user: &str) {
    let mut client = secured(stage, from).await;
    let _backend = tries(stage, &mut client, user, "530 No").await;
    client.hears("530 ").await;
    client.says_and_hears("QUIT", "221 ").await;
}

/// The same, and the password is one too many.
async fn fails_for_the_last_time(stage: &Stage, from: &str, user: &str) {
    let mut client = secured(stage, from).await;
    let _backend = tries(stage, &mut client, user, "530 No").await;
    client.refused(421, "too_many_login_attempts").await;
    assert_eq!(client.ends().await, End::CloseNotify);
}

async fn is_banned(stage: &Stage, from: &str, user: &str, label: &str) {
    let mut client = secured(stage, from).await;
    client.says(format!("USER {user}")).await;
    client.refused(421, label).await;
    assert_eq!(client.ends().await, End::CloseNotify);
    stage.backend().is_not_dialled().await;
}

async fn logs_in(stage: &Stage, from: &str, user: &str) {
    let mut client = secured(stage, from).await;
    let _backend = tries(stage, &mut client, user, "230 In").await;
    client.says_and_hears("QUIT", "221 ").await;
}

#[tokio::test]
async fn a_user_is_shut_out_where_he_failed_and_nobody_else_is() {
    let stage = Stage::start(strict()).await;
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
    is_banned(&stage, "127.0.0.1", "bob", "login_banned").await;
    stage.counts("logins_total{result=\"banned\"}", 1).await;
    stage.counts("bans_total{kind=\"login\"}", 1).await;
    stage.counts("bans_active{kind=\"login\"}", 1).await;
    logs_in(&stage, "127.0.0.1", "anna").await;
    logs_in(&stage, "127.0.0.2", "bob").await;
}

#[tokio::test]
async fn an_address_that_guesses_at_users_is_shut_out_before_tls() {
    let stage = Stage::start(strict()).await;
    fails(&stage, "127.0.0.2", "a").await;
    fails_for_the_last_time(&stage, "127.0.0.2", "b").await;
    let mut guest = comes(&stage, "127.0.0.2").await;
    guest.refused(421, "address_banned").await;
    assert_eq!(guest.ends().await, End::Fin);
    stage.counts("connections_refused_total{listener=\"explicit\",reason=\"address_banned\"}", 1).await;
    logs_in(&stage, "127.0.0.1", "a").await;
}

/// Many behind one address. One who is known there works while another one guesses until there is a ban.
#[tokio::test]
async fn one_of_many_behind_an_address_does_not_shut_out_the_others() {
    let mut scene = Scene::open(strict()).await;
    let mut transfer = scene.begins("RETR big").await;
    transfer.backend.sends("one").await;
    fails(&scene.stage, "127.0.0.1", "a").await;
    transfer.client.receives("one").await;
    fails_for_the_last_time(&scene.stage, "127.0.0.1", "b").await;
    is_banned(&scene.stage, "127.0.0.1", "c", "address_banned").await;
    transfer.backend.sends("two").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"two".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
    // And comes again.
    logs_in(&scene.stage, "127.0.0.1", "bob").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn strangers_do_not_shut_a_user_out_of_his_own_address() {
    let stage = Stage::start(strict()).await;
    logs_in(&stage, "127.0.0.1", "bob").await;
    fails(&stage, "127.0.0.2", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.3", "bob").await;
    is_banned(&stage, "127.0.0.4", "bob", "login_banned").await;
    logs_in(&stage, "127.0.0.1", "bob").await;
}

/// A wrong password, a user without a route, a user the server does not know: the same words, the same count.
#[tokio::test]
async fn users_without_a_route_are_banned_like_others() {
    let stage = Stage::start(strict().line("routes: [{ user: [\"acme-*\"], backend: legacy }]")).await;
    for reply in ["530 Login incorrect.", "421 Too many login attempts"] {
        let mut client = secured(&stage, "127.0.0.1").await;
        client.says_and_hears("USER nobody", "331 ").await;
        client.says_and_hears("PASS x", reply).await;
    }
    is_banned(&stage, "127.0.0.1", "nobody", "login_banned").await;
}

/// The answer to each further one waits twice as long. A computer can be slower than that, and never faster.
#[tokio::test]
async fn each_wrong_password_is_answered_later_than_the_one_before() {
    let stage = Stage::start(Setup::new().with("limits", "failed_logins: { attempts: 9, within: 1h, ban: 1h }")).await;
    let mut client = secured(&stage, "127.0.0.1").await;
    let mut backend = None;
    for least in [0, 250, 500, 1000].map(Duration::from_millis) {
        let backend = stage.guesses(&mut client, &mut backend).await;
        let began = Instant::now();
        backend.says("530 No").await;
        client.hears("530 No").await;
        assert!(began.elapsed() >= least, "{:?} instead of {least:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_ban_is_over_after_its_time() {
    let stage = Stage::start(Setup::new().with("limits", "failed_logins: { attempts: 2, within: 1h, ban: 1s }")).await;
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
    stage.counts("bans_total{kind=\"login\"}", 1).await;
    stage.counts("bans_active{kind=\"login\"}", 0).await;
    logs_in(&stage, "127.0.0.1", "bob").await;
}

#[tokio::test]
async fn what_failed_longer_ago_does_not_count() {
    let stage = Stage::start(Setup::new().with("limits", "failed_logins: { attempts: 2, within: 1s, ban: 1h }")).await;
    let mut client = secured(&stage, "127.0.0.1").await;
    let began = Instant::now();
    fails(&stage, "127.0.0.1", "bob").await;
    while began.elapsed() < Duration::from_millis(1500) {
        client.talk.hears_nothing().await;
    }
    fails(&stage, "127.0.0.1", "bob").await;
    stage.counts("bans_total{kind=\"login\"}", 0).await;
}

#[tokio::test]
async fn a_right_password_wipes_out_the_wrong_ones_before_it() {
    let stage = Stage::start(strict()).await;
    for _ in 0..2 {
        fails(&stage, "127.0.0.1", "bob").await;
        logs_in(&stage, "127.0.0.1", "bob").await;
    }
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
}

/// Guesses side by side at two users of one address: the right one comes back behind the ban, and hears what a wrong one
/// would.
#[tokio::test]
async fn a_right_password_behind_the_ban_wins_nothing() {
    let stage = Stage::start(strict()).await;
    let mut clients = Vec::new();
    for user in ["anna", "bob", "anna", "bob"] {
        let mut client = secured(&stage, "127.0.0.1").await;
        client.says(format!("USER {user}")).await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears_and_says(&format!("USER {user}"), "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS guess").await;
        backend.hears("PASS guess").await;
        clients.push((client, backend));
    }
    let mut late = secured(&stage, "127.0.0.1").await;
    let mut behind = stage.asks_for_a_password("bob", &mut late).await;
    for (at, (mut client, mut backend)) in clients.into_iter().enumerate() {
        backend.says(if at == 2 { "230 In" } else { "530 No" }).await;
        match at {
            0 => drop(client.hears("530 ").await),
            1 => drop(client.refused(421, "too_many_login_attempts").await),
            _ => drop(client.refused(421, "address_banned").await),
        }
    }
    // Whoever has only said a name so far: the backend does not hear the password any more.
    late.says("PASS sesame").await;
    late.refused(421, "address_banned").await;
    behind.hears("QUIT").await;
}

#[tokio::test]
async fn a_reload_changes_the_rule_and_ends_bans_only_where_nothing_is_counted() {
    let rule = |rule: &str| Setup::new().with("limits", format!("failed_logins: {rule}"));
    let stage = Stage::start(strict()).await;
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
    stage.reloads(&rule("{ attempts: 3, within: 1h, ban: 1h }")).await;
    is_banned(&stage, "127.0.0.1", "bob", "login_banned").await;
    fails(&stage, "127.0.0.1", "anna").await;
    fails(&stage, "127.0.0.1", "anna").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "anna").await;
    stage.reloads(&rule("off")).await;
    stage.counts("bans_active{kind=\"login\"}", 0).await;
    for user in ["bob", "anna"] {
        logs_in(&stage, "127.0.0.1", user).await;
    }
}

#[tokio::test]
async fn off_counts_nothing() {
    let stage = Stage::start(Setup::new().with("limits", "failed_logins: off")).await;
    for _ in 0..6 {
        fails(&stage, "127.0.0.1", "bob").await;
    }
    logs_in(&stage, "127.0.0.1", "bob").await;
}

fn shown(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A name that would be an entry of its own, and one that moves a terminal's cursor and turns its text.
const FORGED: &str = "Bob\u{fc}\",\"x\":\"\\\u{9b}2J\u{202e}";

#[tokio::test]
async fn an_operator_sees_bans_and_ends_them() {
    let stage = Stage::start(strict().with("admin", "address: \"127.0.0.1:0\"")).await;
    assert_eq!(shown(&stage.asks_admin("GET /bans HTTP/1.1").await)["total"], 0);
    fails(&stage, "127.0.0.1", FORGED).await;
    fails_for_the_last_time(&stage, "127.0.0.1", FORGED).await;
    let page = stage.asks_admin("GET /bans HTTP/1.1").await;
    let bans = shown(&page);
    let ban = &bans["bans"][0];
    assert_eq!((&bans["total"], &ban["kind"], &ban["address"]), (&1.into(), &"login".into(), &"127.0.0.1".into()));
    // What would end the text, and what a terminal would obey.
    assert_eq!((bans["bans"].as_array().unwrap().len(), ban.get("x")), (1, None));
    assert_eq!(ban["user"], Printable(FORGED.to_lowercase().as_bytes()).to_string());
    assert!(page.chars().all(|char| matches!(char, '\r' | '\n' | ' '..='~') || char.is_alphanumeric()), "{page}");
    let lift = format!("/bans/lift/{}", ban["number"]);
    for (request, status) in [
        (format!("GET {lift} HTTP/1.1"), "405"),
        (format!("POST {lift} HTTP/1.1\r\nOrigin: http://evil.example"), "403"),
        ("POST /bans/lift/999 HTTP/1.1".into(), "404"),
        ("POST /bans/lift/all HTTP/1.1".into(), "404"),
        (format!("POST {lift} HTTP/1.1"), "200"),
        (format!("POST {lift} HTTP/1.1"), "404"),
    ] {
        let answer = stage.asks_admin(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    stage.counts("bans_lifted_total{kind=\"login\"}", 1).await;
    stage.counts("bans_active{kind=\"login\"}", 0).await;
    logs_in(&stage, "127.0.0.1", FORGED).await;
}

async fn stops(stage: Stage) {
    let Stage { gateway, .. } = stage;
    gateway.stop().await;
}

async fn bans_bob_in(folder: &Path) {
    let stage = Stage::start(strict().state_dir(folder)).await;
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
    stops(stage).await;
}

#[tokio::test]
async fn bans_outlast_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    bans_bob_in(folder.path()).await;
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    is_banned(&stage, "127.0.0.1", "bob", "login_banned").await;
    logs_in(&stage, "127.0.0.1", "anna").await;
}

async fn is_written(stage: &Stage, file: &Path) {
    let written = async {
        while !file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    stage.transcript.soon(&file.display().to_string(), written).await;
}

/// With a reload. What was known before goes along, although nothing new happens; and what happens afterwards is kept there.
#[tokio::test]
async fn bans_go_along_into_another_folder() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let stage = Stage::start(strict().state_dir(old.path())).await;
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
    is_written(&stage, &old.path().join("bans.jsonl")).await;
    assert!(stage.reloads(&strict().state_dir(new.path())).await.is_empty());
    is_written(&stage, &new.path().join("bans.jsonl")).await;
    let before = std::fs::read_to_string(old.path().join("bans.jsonl")).unwrap();
    fails(&stage, "127.0.0.2", "anna").await;
    fails_for_the_last_time(&stage, "127.0.0.2", "anna").await;
    stops(stage).await;
    assert_eq!(std::fs::read_to_string(old.path().join("bans.jsonl")).unwrap(), before);
    let stage = Stage::start(strict().state_dir(new.path())).await;
    for (address, user) in [("127.0.0.1", "bob"), ("127.0.0.2", "anna")] {
        is_banned(&stage, address, user, "login_banned").await;
    }
}

/// He is known at his address, and strangers do not shut him out there, whatever the gateway's age.
#[tokio::test]
async fn who_is_known_from_where_outlasts_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    logs_in(&stage, "127.0.0.1", "bob").await;
    stops(stage).await;
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    fails(&stage, "127.0.0.2", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.3", "bob").await;
    is_banned(&stage, "127.0.0.4", "bob", "login_banned").await;
    logs_in(&stage, "127.0.0.1", "bob").await;
}

/// The gateway dies a moment after the ban, without a good-bye.
#[tokio::test]
async fn bans_are_kept_while_the_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    fails(&stage, "127.0.0.1", "bob").await;
    fails_for_the_last_time(&stage, "127.0.0.1", "bob").await;
    let file = folder.path().join("bans.jsonl");
    is_written(&stage, &file).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"kind\":\"login\"") && !text.contains("PASS"), "{text}");
    // Who has failed where is nobody else's business.
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_broken_of_the_kept_bans_is_set_aside_and_the_rest_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    bans_bob_in(folder.path()).await;
    let file = folder.path().join("bans.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("nonsense\n{text}")).unwrap();
    let stage = Stage::start(strict().state_dir(folder.path())).await;
    is_banned(&stage, "127.0.0.1", "bob", "login_banned").await;
    assert!(folder.path().join("bans.jsonl.broken").exists());
    assert!(crate::stage::Log::text().contains("lines of the kept bans cannot be read"));
    logs_in(&stage, "127.0.0.1", "anna").await;
}
