//! Data that trickles: one byte in each segment, and under TLS in each record. However small the pieces are, they all
//! arrive, in order.

use crate::stage::{End, Scene, Security, Setup};

/// Enough to see that none is lost, few enough for a record of TLS around each.
const LENGTH: usize = 600;

fn content() -> Vec<u8> {
    (0..LENGTH).map(|place| (place % 251) as u8).collect()
}

async fn scenes() -> [Scene; 2] {
    let plain = Scene::open(Setup::new()).await;
    [plain, Scene::open(Setup::new().secured(Security::Explicit)).await]
}

#[tokio::test]
async fn an_upload_of_one_byte_per_record() {
    for mut scene in scenes().await {
        let mut transfer = scene.begins("STOR file").await;
        for byte in content() {
            transfer.client.wire.write(&[byte]).await.unwrap();
        }
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.receives_all().await.0, content());
        transfer.backend.finishes().await;
        scene.backend.talk.say_byte_by_byte("226 Stored\r\n").await;
        scene.client.hears("226 Stored").await;
        scene.goes_on().await;
    }
}

#[tokio::test]
async fn a_download_of_one_byte_per_segment() {
    for mut scene in scenes().await {
        let mut transfer = scene.begins("RETR file").await;
        for byte in content() {
            transfer.backend.wire.write(&[byte]).await.unwrap();
        }
        transfer.backend.finishes().await;
        scene.backend.talk.say_byte_by_byte("226 Sent\r\n").await;
        assert_eq!(transfer.client.receives_all().await, (content(), End::CloseNotify));
        scene.client.hears("226 Sent").await;
        scene.goes_on().await;
    }
}

/// Nothing is held back until there is more: each byte arrives before the next is sent.
#[tokio::test]
async fn each_byte_is_handed_on_as_it_comes() {
    for mut scene in scenes().await {
        let mut transfer = scene.begins("STOR file").await;
        for byte in content().into_iter().take(50) {
            transfer.client.sends([byte]).await;
            transfer.backend.receives([byte]).await;
        }
        transfer.client.finishes().await;
        transfer.backend.ends().await;
        transfer.backend.finishes().await;
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
        let mut transfer = scene.begins("RETR file").await;
        for byte in content().into_iter().take(50) {
            transfer.backend.sends([byte]).await;
            transfer.client.receives([byte]).await;
        }
        transfer.backend.finishes().await;
        scene.backend.says("226 Sent").await;
        assert_eq!(transfer.client.ends().await, End::CloseNotify);
        scene.client.hears("226 Sent").await;
    }
}

/// The whole conversation of a transfer, by a client and a backend that write each byte by itself.
#[tokio::test]
async fn a_conversation_of_single_bytes() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_byte_by_byte("PASV\r\n").await;
    scene.backend.hears("PASV").await;
    let door = scene.backend.door().await;
    scene.backend.talk.say_byte_by_byte(format!("{}\r\n", door.pasv_reply())).await;
    let reply = scene.client.hears("227 ").await;
    let mut client = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.client.talk.say_byte_by_byte("RETR file\r\n").await;
    let mut back = door.accepts().await;
    scene.backend.hears("RETR file").await;
    scene.backend.talk.say_byte_by_byte("150-Soon\r\n150 Here\r\n").await;
    scene.client.hears("150-Soon").await;
    client.secures(&scene.client.tls).await;
    back.sends("content").await;
    back.finishes().await;
    scene.backend.talk.say_byte_by_byte("226 Sent\r\n").await;
    assert_eq!(client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
}
