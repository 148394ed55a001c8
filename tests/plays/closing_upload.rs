//! Closing an upload: the client's `close_notify`, FIN to the backend, its confirmation, the reply (docs/protocol.md).

use crate::stage::{End, Scene, Setup};

#[tokio::test]
async fn close_notify_is_answered_at_once() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.client.finishes().await;
    // Long before the backend has said anything.
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.client.talk.hears_nothing().await;
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
}

#[tokio::test]
async fn the_backends_words_decide_for_good_and_bad() {
    for answer in ["226 Stored", "250 Stored", "226-Stored\r\n 12 bytes\r\n226 Done", "452 Disk full", "550 Quota"] {
        let mut scene = Scene::plain().await;
        let mut transfer = scene.begins("STOR file").await;
        transfer.client.sends("content").await;
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
        scene.backend.says(answer).await;
        assert_eq!(scene.client.hears(&answer[..3]).await.text(), format!("{answer}\r\n"));
        scene.goes_on().await;
    }
}

#[tokio::test]
async fn a_backend_that_gives_up_early_is_heard() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.backend.receives("content").await;
    scene.backend.says("452 Disk full").await;
    transfer.backend.finishes().await;
    scene.client.hears("452 Disk full").await;
    // The client's data connection does not end as if all were well.
    assert_ne!(transfer.client.ends().await, End::CloseNotify);
    scene.uploads().await;
}

#[tokio::test]
async fn a_backend_that_closes_its_data_connection_early_and_then_says_why() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.backend.receives("content").await;
    transfer.backend.resets();
    scene.client.talk.hears_nothing().await;
    scene.backend.says("452 Disk full").await;
    scene.client.hears("452 Disk full").await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_refused\"}", 1).await;
}

#[tokio::test]
async fn a_backend_that_resets_and_claims_success_is_not_believed() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.backend.receives("content").await;
    transfer.backend.resets();
    scene.backend.says("226 Stored").await;
    scene.client.refused(426, "backend_cut").await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_cut\"}", 1).await;
    scene.uploads().await;
}

#[tokio::test]
async fn large_content_arrives_whole() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    let content: Vec<u8> = (0..5_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
    let client = async {
        transfer.client.sends(&content).await;
        transfer.client.finishes().await;
    };
    let (_, (received, end)) = tokio::join!(client, transfer.backend.receives_all());
    assert!(received == content);
    assert_eq!(end, End::Fin);
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
    scene.stage.counts("transfer_bytes_total{direction=\"upload\"}", 5_000_000).await;
}

#[tokio::test]
async fn empty_content_is_a_file_too() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR empty").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.ends().await, End::Fin);
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
}

#[tokio::test]
async fn appe_and_stou_are_uploads() {
    for command in ["APPE log", "STOU"] {
        let mut scene = Scene::plain().await;
        let mut transfer = scene.begins(command).await;
        transfer.client.sends("content").await;
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
        scene.backend.says("226 Stored as x.1").await;
        scene.client.hears("226 Stored as x.1").await;
    }
}

#[tokio::test]
async fn in_clear_fin_is_the_proper_end() {
    let mut scene = Scene::open_clear(Setup::new()).await;
    let mut transfer = scene.begins_clear("STOR file").await;
    transfer.client.sends("content").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
    scene.stage.counts("missing_close_notify_total{channel=\"data\",leg=\"front\"}", 0).await;
}

/// The upload is whole and only the confirmation is missing: the backend must not lose its client in between.
#[tokio::test]
async fn a_client_that_goes_after_its_upload_does_not_break_it() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.client.talk.vanishes();
    scene.backend.talk.hears_nothing().await;
    scene.backend.says("226 Stored").await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"completed\"}", 1).await;
    scene.backend.ends().await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn thirty_uploads_in_a_row() {
    let mut scene = Scene::plain().await;
    for _ in 0..30 {
        scene.uploads().await;
    }
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
}
