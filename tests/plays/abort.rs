//! ABOR: 426 and 226 for the client, once, whatever the backend makes of it (docs/protocol.md).

use crate::stage::{End, Scene, Setup, Transfer};

#[tokio::test]
async fn with_nothing_running_it_is_226_alone() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("ABOR", "226 ").await;
    scene.client.talk.hears_nothing().await;
    scene.goes_on().await;
}

async fn running(scene: &mut Scene) -> Transfer {
    let mut transfer = scene.begins("RETR big").await;
    transfer.backend.sends("the beginning").await;
    transfer.client.receives("the beginning").await;
    transfer
}

/// The client has one true set of replies, and the next command its own.
async fn one_true_set(answers: &[&str]) {
    let mut scene = Scene::plain().await;
    let mut transfer = running(&mut scene).await;
    scene.client.says("ABOR").await;
    scene.backend.hears("ABOR").await;
    for answer in answers {
        scene.backend.says(answer).await;
    }
    scene.client.refused(426, "aborted").await;
    if answers.len() == 1 {
        // Whether more will come is not a matter of time: the backend is asked.
        scene.backend.hears("PWD").await;
        scene.backend.says("257 \"/\"").await;
    }
    scene.client.hears("226 ").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.goes_on().await;
    scene.client.talk.hears_nothing().await;
    scene.downloads().await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"aborted\"}", 1).await;
}

#[tokio::test]
async fn a_backend_that_says_426_and_226() {
    one_true_set(&["426 Aborted", "226 Done"]).await;
}

#[tokio::test]
async fn a_backend_that_says_226_and_426() {
    one_true_set(&["226 Sent", "426 What?"]).await;
}

#[tokio::test]
async fn a_backend_that_says_226_and_225() {
    one_true_set(&["226 Sent", "225 Nothing to abort"]).await;
}

#[tokio::test]
async fn a_backend_that_says_225_alone() {
    one_true_set(&["225 Aborted"]).await;
}

#[tokio::test]
async fn a_backend_that_says_426_alone() {
    one_true_set(&["426-Aborted\r\n by you\r\n426 End"]).await;
}

#[tokio::test]
async fn a_backend_that_does_not_know_it() {
    one_true_set(&["500 Unknown", "226 Sent"]).await;
}

#[tokio::test]
async fn the_backends_data_connection_is_closed() {
    let mut scene = Scene::plain().await;
    let mut transfer = running(&mut scene).await;
    scene.client.says("ABOR").await;
    scene.backend.hears("ABOR").await;
    assert_ne!(transfer.backend.ends().await, End::CloseNotify);
}

#[tokio::test]
async fn an_aborted_upload_is_reset_at_the_backend() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    scene.client.says("ABOR").await;
    scene.backend.hears("ABOR").await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.backend.says("426 Aborted").await;
    scene.backend.says("226 Done").await;
    scene.client.refused(426, "aborted").await;
    scene.client.hears("226 ").await;
    scene.uploads().await;
}

#[tokio::test]
async fn before_the_150_it_aborts_too() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let _client = scene.client.opens(address).await;
    scene.client.says("RETR big").await;
    let _back = door.accepts().await;
    scene.backend.hears("RETR big").await;
    scene.client.says("ABOR").await;
    scene.backend.hears("ABOR").await;
    scene.client.refused(426, "aborted").await;
    scene.backend.says("426 Aborted").await;
    scene.backend.says("226 Done").await;
    scene.client.hears("226 ").await;
    scene.goes_on().await;
}

/// Nothing was to be transferred any more when it came.
#[tokio::test]
async fn after_the_last_byte_the_transfer_stays_done() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.client.says("ABOR").await;
    scene.client.talk.hears_nothing().await;
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
    scene.client.hears("226 ").await;
    scene.goes_on().await;
}

/// The client's handshake is under way: its connection ends without a reset.
#[tokio::test]
async fn in_the_middle_of_the_clients_handshake() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("RETR big", client, &door).await;
    scene.client.says("ABOR").await;
    scene.backend.hears("ABOR").await;
    scene.backend.says("426 Aborted").await;
    scene.backend.says("226 Done").await;
    scene.client.refused(426, "aborted").await;
    scene.client.hears("226 ").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.downloads().await;
}

/// Nobody knows whether the gateway has seen the end of the handshake when ABOR comes. It must not matter.
#[tokio::test]
async fn right_behind_the_clients_handshake() {
    let mut scene = Scene::plain().await;
    for _ in 0..20 {
        let (address, door) = scene.goes_passive().await;
        let client = scene.client.opens(address).await;
        let mut transfer = scene.commands("RETR big", client, &door).await;
        transfer.client.secures(&scene.client.tls).await;
        scene.client.says("ABOR").await;
        scene.backend.hears("ABOR").await;
        scene.backend.says("426 Aborted").await;
        scene.backend.says("226 Done").await;
        scene.client.refused(426, "aborted").await;
        scene.client.hears("226 ").await;
        assert_eq!(transfer.client.ends().await, End::Fin);
    }
}

#[tokio::test]
async fn it_forgets_an_arrangement() {
    let mut scene = Scene::plain().await;
    scene.goes_passive().await;
    scene.client.says_and_hears("ABOR", "226 ").await;
    scene.client.says("RETR file").await;
    scene.client.refused(425, "no_data_connection").await;
}

#[tokio::test]
async fn a_backend_that_never_answers_is_left() {
    let mut scene = Scene::open(Setup::new().with("timeouts", "backend_reply: 400ms")).await;
    let _transfer = running(&mut scene).await;
    scene.client.says("ABOR").await;
    scene.backend.hears("ABOR").await;
    scene.client.refused(426, "aborted").await;
    scene.client.refused(421, "backend_timeout").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
}
