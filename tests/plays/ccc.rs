//! CCC (RFC 4217 §12.3): refused promptly, or TLS ends on the control connection and nowhere else.

use tokio::io::AsyncWriteExt;

use crate::stage::{End, Scene, Setup, Stage};

fn allowed() -> Setup {
    Setup::new().with("tls", "clear_command_channel: allow")
}

async fn clears(scene: &mut Scene) {
    scene.client.says_and_hears("CCC", "200 ").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.client.talk.wire.close_notify().await.unwrap();
    scene.client.talk.wire.plain_again();
}

#[tokio::test]
async fn it_is_534_where_the_control_connection_stays_secured() {
    let mut scene = Scene::plain().await;
    scene.client.says("CCC").await;
    scene.client.refused(534, "clear_control_refused").await;
    scene.goes_on().await;
    let mut client = scene.stage.secured_client().await;
    client.says("CCC").await;
    client.refused(534, "clear_control_refused").await;
}

#[tokio::test]
async fn the_control_connection_goes_on_in_clear() {
    let mut scene = Scene::open(allowed()).await;
    clears(&mut scene).await;
    scene.goes_on().await;
    let reply = scene.client.says_and_hears("STAT", "211-").await;
    assert!(reply.text().contains("Control connection in clear, data connections private"), "{reply:?}");
}

/// curl and lftp: the client says `close_notify` first, and the gateway answers it without a pause.
#[tokio::test]
async fn the_client_may_end_tls_first() {
    let mut scene = Scene::open(allowed()).await;
    scene.client.says_and_hears("CCC", "200 ").await;
    scene.client.talk.wire.close_notify().await.unwrap();
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.client.talk.wire.plain_again();
    scene.goes_on().await;
}

#[tokio::test]
async fn data_stays_as_prot_said() {
    let mut scene = Scene::open(allowed()).await;
    clears(&mut scene).await;
    scene.downloads().await;
    scene.uploads().await;
}

#[tokio::test]
async fn data_goes_on_resuming_the_session() {
    let mut scene = Scene::open(allowed().with("tls", "data_resumption: require")).await;
    clears(&mut scene).await;
    let transfer = scene.begins("RETR file").await;
    assert!(transfer.client.is_resumed());
}

/// lftp sends its next command right behind its `close_notify`, in the same segment.
#[tokio::test]
async fn plain_bytes_right_behind_close_notify_are_not_lost() {
    let mut scene = Scene::open(allowed()).await;
    scene.client.says_and_hears("CCC", "200 ").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    let mut bytes = Vec::new();
    if let crate::stage::Wire::Tls(tls) = &mut scene.client.talk.wire {
        let session = tls.get_mut().1;
        session.send_close_notify();
        if let tokio_rustls::TlsStream::Client(tls) = &mut **tls {
            tls.get_mut().1.write_tls(&mut bytes).unwrap();
        }
    }
    bytes.extend_from_slice(b"PWD\r\nSY");
    scene.client.talk.wire.tcp_mut().write_all(&bytes).await.unwrap();
    scene.client.talk.wire.plain_again();
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.client.hears("257 ").await;
    scene.client.talk.say_raw("ST\r\n").await;
    scene.backend.hears_and_says("SYST", "215 UNIX").await;
    scene.client.hears("215 ").await;
}

#[tokio::test]
async fn a_second_ccc_is_503_and_auth_secures_again() {
    let mut scene = Scene::open(allowed()).await;
    clears(&mut scene).await;
    scene.client.says("CCC").await;
    scene.client.refused(503, "secure_first").await;
    scene.client.says_and_hears("AUTH TLS", "234 ").await;
    scene.backend.hears("QUIT").await;
    scene.client.shakes_hands().await;
    scene.client.says("PWD").await;
    scene.client.refused(530, "not_logged_in").await;
}

#[tokio::test]
async fn before_login_it_is_refused_and_a_password_in_clear_behind_it_too() {
    let stage = Stage::start(allowed()).await;
    let mut client = stage.client().await;
    client.says("CCC").await;
    client.refused(530, "tls_required").await;
    client.secures().await;
    client.protects().await;
    client.says("CCC").await;
    client.refused(530, "not_logged_in").await;
    let backend = stage.logs_in(&mut client).await;
    let mut scene = Scene { stage, client, backend };
    scene.client.says_and_hears("CCC", "200 ").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.client.talk.wire.close_notify().await.unwrap();
    scene.client.talk.wire.plain_again();
    scene.client.says("USER other").await;
    scene.client.refused(530, "tls_required").await;
}

/// What comes under TLS behind CCC is not a clear command.
#[tokio::test]
async fn a_client_that_goes_on_under_tls_is_left() {
    let mut scene = Scene::open(allowed()).await;
    scene.client.says_and_hears("CCC", "200 ").await;
    scene.client.says("DELE everything").await;
    scene.client.ends().await;
    scene.backend.hears("QUIT").await;
    assert_eq!(scene.backend.ends().await, End::Fin);
    scene.stage.is_empty().await;
}
