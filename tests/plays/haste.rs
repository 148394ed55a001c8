//! A user who is unknown, has no route, no code or a ban takes as long as one with a wrong password (RFC 2577 §7).
//!
//! Nothing is measured but the order of things: a backend takes its time, and what is answered without it takes as long.
//! Wrong passwords are not counted here, where that would make answers wait as well.

use std::os::unix::fs::PermissionsExt;

use crate::stage::{Actor, Client, Setup, Stage};

/// What no system needs for an answer of its own.
async fn takes_its_time(client: &mut Client) {
    for _ in 0..5 {
        client.talk.hears_nothing().await;
    }
}

fn uncounted() -> Setup {
    Setup::new().with("limits", "failed_logins: off")
}

fn routed() -> Setup {
    uncounted().line("routes: [{ user: [\"acme-*\"], backend: legacy }]")
}

/// USER, which is answered at once.
async fn names(stage: &Stage, client: &mut Client, user: &str) -> Actor {
    client.says(format!("USER {user}")).await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says(&format!("USER {user}"), "331 Password").await;
    client.hears("331 ").await;
    backend
}

/// A wrong password, to which the backend says no after a while.
async fn fails_slowly(client: &mut Client, backend: &mut Actor, password: &str) {
    client.says(format!("PASS {password}")).await;
    backend.hears("PASS wrong").await;
    takes_its_time(client).await;
    backend.says("530 Wrong").await;
    client.hears("530 ").await;
}

#[tokio::test]
async fn a_name_without_a_route_takes_as_long_as_one_with_it() {
    let stage = Stage::start(routed()).await;
    let mut client = stage.secured_client().await;
    client.says("USER acme-1").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears("USER acme-1").await;
    takes_its_time(&mut client).await;
    backend.says("331 Password").await;
    client.hears("331 ").await;
    let mut stranger = stage.secured_client().await;
    stranger.says("USER nobody").await;
    stranger.talk.hears_nothing().await;
    stranger.hears("331 ").await;
}

#[tokio::test]
async fn a_password_without_a_route_takes_as_long_as_a_wrong_one() {
    let stage = Stage::start(routed()).await;
    let mut client = stage.secured_client().await;
    let mut backend = names(&stage, &mut client, "acme-1").await;
    fails_slowly(&mut client, &mut backend, "wrong").await;
    let mut stranger = stage.secured_client().await;
    stranger.says_and_hears("USER nobody", "331 ").await;
    stranger.says("PASS wrong").await;
    stranger.talk.hears_nothing().await;
    stranger.hears("530 ").await;
}

/// Servers that say no to a name they do not know say it at once.
#[tokio::test]
async fn a_name_that_the_backend_refuses_takes_as_long_as_a_wrong_password() {
    let stage = Stage::start(routed()).await;
    let mut client = stage.secured_client().await;
    let mut backend = names(&stage, &mut client, "acme-1").await;
    fails_slowly(&mut client, &mut backend, "wrong").await;
    let mut stranger = stage.secured_client().await;
    stranger.says("USER acme-2").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER acme-2", "530 Who").await;
    stranger.hears("331 ").await;
    stranger.says("PASS wrong").await;
    stranger.talk.hears_nothing().await;
    stranger.hears("530 ").await;
}

#[tokio::test]
async fn a_wrong_code_takes_as_long_as_a_wrong_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totp.secrets");
    std::fs::write(&path, "bob:GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let totp = format!("totp: {{ secrets: \"{}\", required: false }}", path.display());
    let stage = Stage::start(uncounted().with("access", totp)).await;
    let mut client = stage.secured_client().await;
    let mut backend = names(&stage, &mut client, "anna").await;
    fails_slowly(&mut client, &mut backend, "wrong").await;
    let mut client = stage.secured_client().await;
    let _backend = names(&stage, &mut client, "bob").await;
    client.says("PASS sesame:000000x").await;
    client.hears("332 ").await;
    client.says("ACCT 12345").await;
    client.talk.hears_nothing().await;
    client.hears("530 ").await;
}

/// Guesses side by side, the right one last: it is answered like a wrong one, and not sooner.
#[tokio::test]
async fn a_right_password_behind_a_ban_takes_as_long_as_a_wrong_one() {
    let setup = Setup::new().with("limits", "failed_logins: { attempts: 2, within: 1h, ban: 1h }");
    let stage = Stage::start(setup).await;
    let mut sides = Vec::new();
    for user in ["anna", "bob", "anna"] {
        let mut client = stage.secured_client().await;
        let mut backend = names(&stage, &mut client, user).await;
        client.says("PASS guess").await;
        backend.hears("PASS guess").await;
        sides.push((client, backend));
    }
    let (mut last, mut right) = sides.pop().unwrap();
    for (client, _) in &mut sides {
        takes_its_time(client).await;
    }
    for ((client, backend), code) in sides.iter_mut().zip(["530 ", "421 "]) {
        backend.says("530 No").await;
        client.hears(code).await;
    }
    right.says("230 In").await;
    last.talk.hears_nothing().await;
    last.refused(421, "address_banned").await;
}

/// It tells nobody which users have a route: the backend is not asked, and its haste is not learnt from.
#[tokio::test]
async fn an_account_that_nobody_asked_for_is_refused_without_the_backend() {
    let stage = Stage::start(routed()).await;
    let mut client = stage.secured_client().await;
    let mut backend = names(&stage, &mut client, "acme-1").await;
    let mut stranger = stage.secured_client().await;
    stranger.says_and_hears("USER nobody", "331 ").await;
    for client in [&mut client, &mut stranger] {
        client.says("ACCT x").await;
        client.refused(503, "account_not_asked").await;
    }
    backend.talk.hears_nothing().await;
    // The login goes on where it was.
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 In").await;
    client.hears("230 In").await;
}

/// A no to an account is none to a password, and mostly as quick as a lookup.
#[tokio::test]
async fn a_no_to_an_account_is_not_taken_for_one_to_a_password() {
    let stage = Stage::start(routed()).await;
    let mut client = stage.secured_client().await;
    let mut backend = names(&stage, &mut client, "acme-1").await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "332 Account").await;
    client.hears("332 ").await;
    client.says("ACCT x").await;
    backend.hears_and_says("ACCT x", "530 No such account").await;
    client.hears("530 ").await;
    // Nothing is measured yet, so it takes what servers take.
    let mut stranger = stage.secured_client().await;
    stranger.says_and_hears("USER nobody", "331 ").await;
    stranger.says("PASS wrong").await;
    stranger.talk.hears_nothing().await;
    stranger.hears("530 ").await;
}
