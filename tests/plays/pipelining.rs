//! Commands that come early wait their turn: one is with the backend at a time.

use crate::stage::{End, Scene};

#[tokio::test]
async fn commands_of_one_segment_are_answered_in_their_order() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw("TYPE I\r\nSTAT\r\nPWD\r\nPBSZ 0\r\nSIZE a\r\nXYZ\r\n").await;
    scene.backend.hears_and_says("TYPE I", "200 Binary").await;
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.backend.hears_and_says("SIZE a", "213 7").await;
    scene.backend.hears_and_says("XYZ", "502 No").await;
    for start in ["200 Binary", "211-", "257 ", "200 PBSZ=0", "213 7", "502 No"] {
        scene.client.hears(start).await;
    }
}

#[tokio::test]
async fn one_command_at_a_time_is_with_the_backend() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw("SIZE a\r\nSIZE b\r\n").await;
    scene.backend.hears("SIZE a").await;
    scene.backend.talk.hears_nothing().await;
    // Half a reply does not free the way.
    scene.backend.says("213-One").await;
    scene.backend.talk.hears_nothing().await;
    scene.backend.says("213 End").await;
    scene.backend.hears_and_says("SIZE b", "213 2").await;
    scene.client.hears("213-One\r\n213 End").await;
    scene.client.hears("213 2").await;
}

#[tokio::test]
async fn many_commands_at_once_are_all_answered() {
    let mut scene = Scene::plain().await;
    let many: Vec<String> = (0..500).map(|number| format!("SIZE {number}")).collect();
    scene.client.talk.say_raw(many.join("\r\n") + "\r\n").await;
    for (number, command) in many.iter().enumerate() {
        scene.backend.hears_and_says(command, &format!("213 {number}")).await;
    }
    for number in 0..500 {
        scene.client.hears(&format!("213 {number}\r\n")).await;
    }
}

#[tokio::test]
async fn commands_behind_a_transfer_wait_for_its_end() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    scene.client.talk.say_raw("PWD\r\nSIZE a\r\n").await;
    scene.backend.talk.hears_nothing().await;
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.client.hears("257 ").await;
    scene.backend.hears_and_says("SIZE a", "213 7").await;
    scene.client.hears("213 7").await;
}

/// lftp sends PASV and RETR without waiting for the 227.
#[tokio::test]
async fn pasv_and_retr_may_come_together() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw("PASV\r\nRETR file\r\n").await;
    let door = scene.backend.goes_passive().await;
    let reply = scene.client.hears("227 ").await;
    let mut back = door.accepts().await;
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 ").await;
    let mut data = scene.client.opens(scene.client.passive_address(&reply)).await;
    data.secures(&scene.client.tls).await;
    back.sends("content").await;
    back.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(data.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 ").await;
}

#[tokio::test]
async fn rest_stands_right_before_retr_and_pasv_before_it() {
    let mut scene = Scene::plain().await;
    scene.client.says("PASV").await;
    let door = scene.backend.goes_passive().await;
    let reply = scene.client.hears("227 ").await;
    let mut data = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.client.says("REST 4").await;
    scene.backend.hears_and_says("REST 4", "350 From 4").await;
    scene.client.hears("350 ").await;
    scene.client.says("RETR file").await;
    let mut back = door.accepts().await;
    // Nothing of the gateway's own in between.
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 ").await;
    data.secures(&scene.client.tls).await;
    back.sends("rest").await;
    back.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(data.receives_all().await.0, b"rest");
    scene.client.hears("226 ").await;
}

/// Replies that a client does not read must not fill the gateway's memory: the backend is not read either.
#[tokio::test]
async fn a_client_that_does_not_read_holds_the_backend_up() {
    let mut scene = Scene::plain().await;
    scene.client.says("STAT /").await;
    scene.backend.hears("STAT /").await;
    let line = format!(" {}\r\n", "x".repeat(4000));
    scene.backend.talk.wire.write(b"211-Long\r\n").await.unwrap();
    let mut lines = 0;
    // Until nothing more is taken.
    let stuck = loop {
        let writing = scene.backend.talk.wire.write(line.as_bytes());
        match tokio::time::timeout(std::time::Duration::from_millis(300), writing).await {
            Ok(result) => result.unwrap(),
            Err(_) => break true,
        }
        lines += 1;
        if lines > 20_000 {
            break false;
        }
    };
    assert!(stuck, "the gateway swallowed {lines} lines");
}
