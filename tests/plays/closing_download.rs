//! Closing a download: all bytes, the backend's last word, `close_notify`, the reply (docs/protocol.md).

use std::time::{Duration, Instant};

use crate::stage::{End, Scene, Setup};

#[tokio::test]
async fn data_then_reply() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    transfer.client.receives("content").await;
    // What the backend thinks of it is not known yet, so neither is the end.
    transfer.client.stays_open().await;
    scene.client.talk.hears_nothing().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
}

#[tokio::test]
async fn a_226_before_the_end_of_the_data_waits_for_the_bytes() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    scene.backend.says("226 Sent").await;
    transfer.backend.sends("first").await;
    transfer.client.receives("first").await;
    scene.client.talk.hears_nothing().await;
    transfer.backend.sends("last").await;
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.receives_all().await, (b"last".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
}

#[tokio::test]
async fn large_content_arrives_whole() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    let content: Vec<u8> = (0..5_000_000u32).map(|number| (number * 7 % 251) as u8).collect();
    let backend = async {
        transfer.backend.sends(&content).await;
        transfer.backend.finishes().await;
    };
    let (_, (received, end)) = tokio::join!(backend, transfer.client.receives_all());
    scene.backend.says("226 Sent").await;
    assert!(received == content);
    assert_eq!(end, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.stage.counts("transfer_bytes_total{direction=\"download\"}", 5_000_000).await;
}

#[tokio::test]
async fn empty_content_is_a_file_too() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR empty").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"completed\"}", 1).await;
}

/// Python's ftplib waits for the gateway's `close_notify` before it closes, and only then looks for the reply.
#[tokio::test]
async fn the_client_need_not_close_first() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
    transfer.client.finishes().await;
    scene.downloads().await;
}

/// A client may say that it has nothing to say before it has read anything.
#[tokio::test]
async fn a_clients_early_close_notify_stops_nothing() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.client.wire.close_notify().await.unwrap();
    transfer.backend.sends("content").await;
    transfer.client.receives("content").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    scene.client.hears("226 Sent").await;
}

#[tokio::test]
async fn after_close_notify_comes_fin() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    transfer.client.wire.plain_again();
    assert_eq!(transfer.client.ends().await, End::Fin);
}

#[tokio::test]
async fn a_late_226_is_waited_for_about_three_seconds() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    let since = Instant::now();
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    let waited = since.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
    // The reply is the backend's, whenever it comes.
    scene.client.talk.hears_nothing().await;
    scene.backend.says("226 Sent at last").await;
    scene.client.hears("226 Sent at last").await;
}

#[tokio::test]
async fn a_listing_is_closed_as_a_file() {
    for command in ["LIST", "NLST -a", "MLSD /pub"] {
        let mut scene = Scene::plain().await;
        let mut transfer = scene.begins(command).await;
        transfer.backend.sends("a\r\nb\r\n").await;
        transfer.backend.finishes().await;
        scene.backend.says("226 Listed").await;
        assert_eq!(transfer.client.receives_all().await, (b"a\r\nb\r\n".to_vec(), End::CloseNotify));
        scene.client.hears("226 Listed").await;
    }
}

#[tokio::test]
async fn in_clear_the_end_is_fin() {
    let mut scene = Scene::open_clear(Setup::new()).await;
    let mut transfer = scene.begins_clear("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.client.hears("226 Sent").await;
}

#[tokio::test]
async fn thirty_downloads_in_a_row() {
    let mut scene = Scene::plain().await;
    for _ in 0..30 {
        scene.downloads().await;
    }
    scene.stage.counts("data_resumptions_total{cause=\"resumed\"}", 30).await;
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
}

/// All is with the client's system and nothing with the client: what it resets now it has not got. The gateway looks for
/// a moment whether that comes, so in one of a few tries it must be seen.
#[tokio::test]
async fn a_client_that_resets_with_the_end_unread_is_426() {
    let mut scene = Scene::plain().await;
    for _ in 0..50 {
        let mut transfer = scene.begins("RETR file").await;
        transfer.backend.sends("content").await;
        transfer.client.receives("content").await;
        transfer.backend.finishes().await;
        scene.backend.says("226 Sent").await;
        let mut byte = [0];
        let peeked = transfer.client.wire.tcp().unwrap().peek(&mut byte);
        scene.stage.transcript.soon("close_notify", peeked).await.unwrap();
        transfer.client.resets();
        if scene.client.reply("226 or 426").await.text().contains("[client_cut]") {
            return;
        }
    }
    panic!("no reset was ever seen");
}

/// A client that is slow to end its side, and still sends: a reset would take from it what it has not read yet.
#[tokio::test]
async fn what_the_client_sends_after_the_end_is_not_answered_with_a_reset() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
    // The first would be answered with a reset, the second would fail of it.
    transfer.client.sends("late").await;
    transfer.client.sends("later").await;
}
