//! REIN (RFC 4217 §13): everything begins anew.

use crate::stage::{End, Scene, Stage};

/// Ends TLS from the client's side and speaks clear from then on.
async fn ends_tls(client: &mut crate::stage::Client) {
    assert_eq!(client.ends().await, End::CloseNotify);
    client.talk.wire.close_notify().await.unwrap();
    client.talk.wire.plain_again();
}

#[tokio::test]
async fn the_reply_comes_under_tls_and_then_tls_ends() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("REIN", "220 ").await;
    ends_tls(&mut scene.client).await;
    scene.client.says("PWD").await;
    scene.client.refused(530, "tls_required").await;
}

#[tokio::test]
async fn the_backend_is_left() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("REIN", "220 ").await;
    scene.backend.hears("QUIT").await;
    assert_eq!(scene.backend.ends().await, End::Fin);
}

#[tokio::test]
async fn the_login_and_protection_begin_anew() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("REIN", "220 ").await;
    ends_tls(&mut scene.client).await;
    scene.client.secures().await;
    scene.client.says("PWD").await;
    scene.client.refused(530, "not_logged_in").await;
    scene.client.says("PROT P").await;
    scene.client.refused(503, "pbsz_first").await;
    scene.backend = scene.stage.logs_in(&mut scene.client).await;
    scene.client.protects().await;
    scene.downloads().await;
    scene.uploads().await;
}

#[tokio::test]
async fn on_an_implicit_listener_tls_stays() {
    let stage = Stage::plain().await;
    let mut client = stage.implicit_client().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.says_and_hears("REIN", "220 ").await;
    backend.hears("QUIT").await;
    client.says("PWD").await;
    client.refused(530, "not_logged_in").await;
    let backend = stage.logs_in(&mut client).await;
    Scene { stage, client, backend }.downloads().await;
}

/// A client that sends everything in one go: each command has its reply, also those that waited behind another.
#[tokio::test]
async fn what_was_sent_ahead_is_answered_after_it() {
    for (verb, reply) in [("REIN\r\nUSER bob", "220 "), ("USER bob", "331 ")] {
        let stage = Stage::plain().await;
        let mut client = stage.implicit_client().await;
        let mut old = stage.logs_in(&mut client).await;
        client.talk.say_raw(format!("NOOP\r\n{verb}\r\nPASS sesame\r\nBAD\0LINE\r\nPWD\r\n")).await;
        old.hears_and_says("NOOP", "200 Awake").await;
        client.hears("200 Awake").await;
        old.hears("QUIT").await;
        let mut new = stage.backend().welcomes().await;
        new.hears_and_says("USER bob", "331 Password").await;
        if reply != "331 " {
            client.hears(reply).await;
        }
        client.hears("331 ").await;
        new.hears_and_says("PASS sesame", "230 In").await;
        client.hears("230 In").await;
        client.refused(501, "line_with_nul").await;
        new.hears_and_says("PWD", "257 \"/\"").await;
        client.hears("257 ").await;
    }
}

#[tokio::test]
async fn before_login_it_forgets_what_was_said() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.protects().await;
    client.says_and_hears("REIN", "220 ").await;
    ends_tls(&mut client).await;
    client.secures().await;
    client.says("PROT P").await;
    client.refused(503, "pbsz_first").await;
}

#[tokio::test]
async fn during_a_transfer_it_waits_for_its_end() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    scene.client.says("REIN").await;
    transfer.client.sends("content").await;
    scene.client.talk.hears_nothing().await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
    scene.client.hears("220 ").await;
    scene.backend.hears("QUIT").await;
}
