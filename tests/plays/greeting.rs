//! The gateway greets in its own name, and answers for itself until there is a user to ask a backend for.

use crate::stage::{Scene, Setup, Stage};

#[tokio::test]
async fn the_greeting_is_the_gateways_own() {
    let stage = Stage::start(Setup::new().line("banner: \"Welcome to the DMZ\"")).await;
    let mut client = stage.connects("client").await;
    let reply = client.hears("220 ").await;
    assert_eq!(reply.text(), "220 Welcome to the DMZ\r\n");
}

#[tokio::test]
async fn an_implicit_listener_greets_under_tls() {
    let stage = Stage::plain().await;
    let mut client = stage.connects_implicitly().await;
    client.talk.hears_nothing().await;
    client.shakes_hands().await;
    client.hears("220 ").await;
}

#[tokio::test]
async fn the_backend_is_dialled_at_user_and_not_before() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    for (command, code) in [("FEAT", "211-"), ("NOOP", "200 "), ("CLNT x", "200 "), ("OPTS UTF8 ON", "200 ")] {
        client.says_and_hears(command, code).await;
    }
    client.secures().await;
    client.protects().await;
    stage.backend().is_not_dialled().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER bob", "331 Password please").await;
    client.hears("331 ").await;
}

#[tokio::test]
async fn the_backends_greeting_is_never_relayed() {
    let mut scene = Scene::plain().await;
    // The backend said "220 Old server at 10.1.2.3 ready"; what came instead was only what the login needs.
    scene.goes_on().await;
}

#[tokio::test]
async fn before_tls_only_harmless_commands_are_answered() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    for command in ["USER bob", "PASS sesame", "ACCT x", "PWD", "SYST", "PASV", "RETR x", "SITE EXEC rm", "XYZZY"] {
        client.says(command).await;
        client.refused(530, "tls_required").await;
    }
    client.says_and_hears("HELP", "214-").await;
    client.says_and_hears("NOOP", "200 ").await;
    stage.backend().is_not_dialled().await;
}

#[tokio::test]
async fn under_tls_a_command_before_login_is_refused() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    for command in ["PWD", "PASV", "RETR x", "STOR x", "LIST", "SITE HELP"] {
        client.says(command).await;
        client.refused(530, "not_logged_in").await;
    }
    stage.backend().is_not_dialled().await;
}

#[tokio::test]
async fn quit_before_login_says_goodbye() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("QUIT", "221 ").await;
    assert_eq!(client.ends().await, crate::stage::End::CloseNotify);
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"quit\"}", 1).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn a_banner_that_comes_byte_by_byte_is_read() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().accepts().await;
    backend.talk.say_byte_by_byte("220-Hello\r\n220 Ready\r\n").await;
    backend.hears_and_says("USER bob", "230 In").await;
    client.hears("230 In").await;
}
