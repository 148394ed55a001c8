//! QUIT, STAT, NOOP and HELP, alone and while a transfer runs.

use crate::stage::{End, Scene};

#[tokio::test]
async fn quit_ends_both_legs() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("QUIT", "221 ").await;
    scene.backend.hears("QUIT").await;
    assert_eq!(scene.backend.ends().await, End::Fin);
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"quit\"}", 1).await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn quit_during_a_transfer_waits_for_its_end() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    scene.client.says("QUIT").await;
    transfer.backend.sends("all of it").await;
    transfer.client.receives("all of it").await;
    scene.client.talk.hears_nothing().await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.client.hears("221 ").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.backend.hears("QUIT").await;
}

#[tokio::test]
async fn quit_during_an_upload_waits_for_its_confirmation() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    scene.client.says("QUIT").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.client.talk.hears_nothing().await;
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
    scene.client.hears("221 ").await;
}

#[tokio::test]
async fn stat_during_a_transfer_is_answered_at_once() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    let reply = scene.client.says_and_hears("STAT", "211-").await;
    assert!(reply.text().contains("A transfer is running"), "{reply:?}");
    // The backend has heard nothing of it.
    scene.backend.talk.hears_nothing().await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn stat_does_not_tell_where_the_backend_is() {
    let mut scene = Scene::plain().await;
    let reply = scene.client.says_and_hears("STAT", "211-").await;
    assert!(!reply.text().contains("127.0.0.1") && reply.text().contains("No transfer is running"), "{reply:?}");
    // Servers skip blanks.
    scene.client.says_and_hears("STAT  ", "211-").await;
    scene.backend.talk.hears_nothing().await;
    scene.goes_on().await;
}

/// pyftpdlib takes the last four letters for the verb.
#[tokio::test]
async fn a_verb_that_ends_in_stat_abor_or_quit_goes_nowhere() {
    let mut scene = Scene::plain().await;
    for verb in ["ZSTAT", "xyzstat", "XABOR", "AQUIT"] {
        scene.client.says(verb).await;
        scene.client.refused(502, "not_implemented").await;
    }
    scene.backend.talk.hears_nothing().await;
    scene.goes_on().await;
}

#[tokio::test]
async fn stat_of_a_path_is_the_backends() {
    let mut scene = Scene::plain().await;
    scene.client.says("STAT /pub").await;
    scene.backend.hears_and_says("STAT /pub", "213-Listing\r\n-rw-r--r-- 1 a\r\n213 End").await;
    let reply = scene.client.hears("213-Listing").await;
    assert_eq!(reply.text(), "213-Listing\r\n-rw-r--r-- 1 a\r\n213 End\r\n");
}

#[tokio::test]
async fn noop_keeps_the_backend_awake() {
    let mut scene = Scene::plain().await;
    scene.client.says("NOOP").await;
    scene.backend.hears_and_says("NOOP", "200 Awake").await;
    scene.client.hears("200 Awake").await;
}

#[tokio::test]
async fn noop_during_a_transfer_is_answered_behind_it() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    scene.client.says("NOOP").await;
    scene.client.talk.hears_nothing().await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.backend.hears_and_says("NOOP", "200 Awake").await;
    scene.client.hears("200 Awake").await;
    scene.client.talk.hears_nothing().await;
}

/// Programs that send NOOP every few seconds, and read no answer before the transfer is over (Apache commons-net,
/// FluentFTP).
#[tokio::test]
async fn keep_alives_during_a_transfer_never_end_it() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR long").await;
    for _ in 0..300 {
        scene.client.says("NOOP").await;
        transfer.backend.sends("a bit").await;
        transfer.client.receives("a bit").await;
    }
    scene.client.says("PWD").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    for number in 0..300 {
        scene.backend.hears_and_says("NOOP", &format!("200 {number}")).await;
        scene.client.hears(&format!("200 {number}\r\n")).await;
    }
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.client.hears("257 ").await;
    scene.client.talk.hears_nothing().await;
    scene.downloads().await;
}

#[tokio::test]
async fn help_is_the_gateways_own() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("HELP", "214-").await;
    scene.client.says_and_hears("HELP RETR", "214-").await;
    scene.goes_on().await;
}
