//! A peer vanishes, at each stage: every socket and port is given back, and other sessions are untouched.

use crate::stage::{Actor, Client, Data, Scene, Setup, Stage, Talker};

/// How a peer goes: its process dies, it resets, or it closes politely.
#[derive(Debug, Clone, Copy)]
enum Way {
    Dies,
    Resets,
    Closes,
}

const WAYS: [Way; 3] = [Way::Dies, Way::Resets, Way::Closes];

async fn goes(talk: &mut Talker, way: Way) {
    match way {
        Way::Dies => talk.vanishes(),
        Way::Resets => talk.resets(),
        Way::Closes => talk.finishes().await,
    }
}

/// A session from another address that is logged in and shall not notice anything.
async fn bystander(stage: &Stage) -> (Client, Actor) {
    let mut client = stage.client_from("bystander", "127.0.0.2").await;
    client.secures().await;
    let backend = stage.logs_in(&mut client).await;
    client.protects().await;
    (client, backend)
}

/// Only the bystander is left, and it works.
async fn only_the_bystander_is_left(stage: Stage, client: Client, backend: Actor) {
    stage.counts("sessions_active{listener=\"explicit\"}", 1).await;
    stage.counts("sessions_active{listener=\"implicit\"}", 0).await;
    stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    stage.counts("transfers_active{direction=\"download\"}", 0).await;
    stage.counts("transfers_active{direction=\"upload\"}", 0).await;
    let mut scene = Scene { stage, client, backend };
    scene.downloads().await;
    scene.uploads().await;
    scene.client.says_and_hears("QUIT", "221 ").await;
    scene.backend.hears("QUIT").await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn the_client_before_auth() {
    for way in WAYS {
        let stage = Stage::plain().await;
        let (other, actor) = bystander(&stage).await;
        let mut client = stage.client().await;
        goes(&mut client.talk, way).await;
        only_the_bystander_is_left(stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_in_the_middle_of_a_line() {
    for way in WAYS {
        let stage = Stage::plain().await;
        let (other, actor) = bystander(&stage).await;
        let mut client = stage.secured_client().await;
        client.talk.say_raw("USER b").await;
        goes(&mut client.talk, way).await;
        only_the_bystander_is_left(stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_in_the_middle_of_its_handshake() {
    for way in WAYS {
        let stage = Stage::plain().await;
        let (other, actor) = bystander(&stage).await;
        let mut client = stage.client().await;
        client.says_and_hears("AUTH TLS", "234 ").await;
        client.talk.say_raw(b"\x16\x03\x01\x02\x00\x01").await;
        goes(&mut client.talk, way).await;
        only_the_bystander_is_left(stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_between_user_and_pass() {
    for way in WAYS {
        let stage = Stage::plain().await;
        let (other, actor) = bystander(&stage).await;
        let mut client = stage.secured_client().await;
        let mut backend = stage.asks_for_a_password("bob", &mut client).await;
        goes(&mut client.talk, way).await;
        backend.hears("QUIT").await;
        backend.ends().await;
        only_the_bystander_is_left(stage, other, actor).await;
    }
}

/// The backend takes a minute over its answer. The place is free when it has given it, and the password has counted.
#[tokio::test]
async fn the_client_while_the_backend_thinks_about_its_password() {
    for way in WAYS {
        let stage = Stage::plain().await;
        let (other, actor) = bystander(&stage).await;
        let mut client = stage.secured_client().await;
        let mut backend = stage.asks_for_a_password("bob", &mut client).await;
        client.says("PASS sesame").await;
        backend.hears("PASS sesame").await;
        goes(&mut client.talk, way).await;
        backend.talk.hears_nothing().await;
        backend.says("530 No").await;
        backend.hears("QUIT").await;
        backend.ends().await;
        stage.counts("logins_total{result=\"rejected\"}", 1).await;
        only_the_bystander_is_left(stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_while_the_backend_never_answers_its_password() {
    for way in WAYS {
        let stage = Stage::start(Setup::new().with("timeouts", "backend_reply: 1s")).await;
        let (other, actor) = bystander(&stage).await;
        let mut client = stage.secured_client().await;
        let mut backend = stage.asks_for_a_password("bob", &mut client).await;
        client.says("PASS sesame").await;
        backend.hears("PASS sesame").await;
        goes(&mut client.talk, way).await;
        only_the_bystander_is_left(stage, other, actor).await;
        backend.talk.vanishes();
    }
}

#[tokio::test]
async fn the_client_while_the_backend_is_greeting() {
    let stage = Stage::plain().await;
    let (other, actor) = bystander(&stage).await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let _backend = stage.backend().accepts().await;
    goes(&mut client.talk, Way::Dies).await;
    only_the_bystander_is_left(stage, other, actor).await;
}

/// A scene beside a bystander.
async fn beside() -> (Scene, Client, Actor) {
    let stage = Stage::plain().await;
    let (other, actor) = bystander(&stage).await;
    let mut client = stage.secured_client().await;
    let backend = stage.logs_in(&mut client).await;
    client.protects().await;
    (Scene { stage, client, backend }, other, actor)
}

#[tokio::test]
async fn the_client_between_commands() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_while_its_command_is_with_the_backend() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        scene.client.says("SITE SLEEP").await;
        scene.backend.hears("SITE SLEEP").await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_after_pasv() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        scene.goes_passive().await;
        scene.stage.counts("passive_ports{state=\"reserved\"}", 1).await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_while_the_backend_thinks_about_pasv() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        scene.client.says("PASV").await;
        scene.backend.hears("PASV").await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_after_port() {
    let (mut scene, other, actor) = beside().await;
    let listener = scene.client.listens().await;
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    scene.client.says(format!("PORT 127,0,0,1,{high},{low}")).await;
    let _door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
    goes(&mut scene.client.talk, Way::Dies).await;
    scene.backend.ends().await;
    only_the_bystander_is_left(scene.stage, other, actor).await;
}

#[tokio::test]
async fn the_client_with_its_data_connection_in_a_handshake() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let (address, _door) = scene.goes_passive().await;
        let mut data = scene.client.opens(address).await;
        data.sends(b"\x16\x03\x01\x02\x00\x01").await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        data.ends().await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_during_a_download() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let mut transfer = scene.begins("RETR file").await;
        transfer.backend.sends("half of").await;
        transfer.client.receives("half of").await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        is_closed(&mut transfer.backend).await;
        is_closed(&mut transfer.client).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_client_during_an_upload() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let mut transfer = scene.begins("STOR file").await;
        transfer.client.sends("half of").await;
        transfer.backend.receives("half of").await;
        goes(&mut scene.client.talk, way).await;
        scene.backend.ends().await;
        is_closed(&mut transfer.backend).await;
        is_closed(&mut transfer.client).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

/// The gateway has closed this data connection, one way or another.
async fn is_closed(data: &mut Data) {
    data.receives_all().await;
}

/// The client hears 421 with the reason, which depends on how the backend went.
async fn told(scene: &mut Scene, way: Way) {
    let label = if let Way::Resets = way { "backend_reset" } else { "backend_closed" };
    scene.client.refused(421, label).await;
    scene.client.ends().await;
}

#[tokio::test]
async fn the_backend_between_commands() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_while_a_command_is_with_it() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        scene.client.says("SIZE file").await;
        scene.backend.hears("SIZE file").await;
        scene.backend.talk.say_raw("213-Half a rep").await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_at_pasv() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        scene.client.says("PASV").await;
        scene.backend.hears("PASV").await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_after_pasv() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let _door = scene.goes_passive().await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_before_the_150() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let (address, door) = scene.goes_passive().await;
        let mut client = scene.client.opens(address).await;
        scene.client.says("STOR file").await;
        let mut back = door.accepts().await;
        scene.backend.hears("STOR file").await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        is_closed(&mut back).await;
        is_closed(&mut client).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_during_a_download() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let mut transfer = scene.begins("RETR file").await;
        transfer.backend.sends("half of").await;
        transfer.client.receives("half of").await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        assert_eq!(transfer.client.ends().await, crate::stage::End::Fin);
        is_closed(&mut transfer.backend).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_during_an_upload() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let mut transfer = scene.begins("STOR file").await;
        transfer.client.sends("half of").await;
        transfer.backend.receives("half of").await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        assert_eq!(transfer.backend.ends().await, crate::stage::End::Reset);
        is_closed(&mut transfer.client).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

#[tokio::test]
async fn the_backend_before_its_last_reply() {
    for way in WAYS {
        let (mut scene, other, actor) = beside().await;
        let mut transfer = scene.begins("STOR file").await;
        transfer.client.finishes().await;
        is_closed(&mut transfer.backend).await;
        goes(&mut scene.backend.talk, way).await;
        told(&mut scene, way).await;
        only_the_bystander_is_left(scene.stage, other, actor).await;
    }
}

/// With both legs busy and nothing read by anyone.
#[tokio::test]
async fn everybody_at_once() {
    let stage = Stage::start(Setup::new()).await;
    let mut scene = {
        let mut client = stage.secured_client().await;
        let backend = stage.logs_in(&mut client).await;
        client.protects().await;
        Scene { stage, client, backend }
    };
    let mut transfer = scene.begins("RETR file").await;
    let filling = async { while transfer.backend.wire.write(&[0; 64 * 1024]).await.is_ok() {} };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(300), filling).await;
    transfer.client.vanishes();
    transfer.backend.vanishes();
    scene.client.talk.vanishes();
    scene.backend.talk.vanishes();
    scene.stage.is_empty().await;
}
