//! Opening data connections: clients and backends do it in every order there is (docs/protocol.md).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{Data, End, Scene, Setup};

/// The rest of a download, for plays about its beginning.
async fn completes(scene: &mut Scene, mut client: Data, mut backend: Data) {
    backend.sends("content").await;
    backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
}

/// .NET's FtpWebRequest.
#[tokio::test]
async fn the_client_may_connect_before_its_command() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    scene.client.says("TYPE I").await;
    scene.backend.hears_and_says("TYPE I", "200 Binary").await;
    scene.client.hears("200 ").await;
    let mut transfer = scene.commands("RETR file", client, &door).await;
    transfer.client.secures(&scene.client.tls).await;
    completes(&mut scene, transfer.client, transfer.backend).await;
}

/// aioftp and ArxOne finish the handshake before they send the command.
#[tokio::test]
async fn the_client_may_finish_its_handshake_before_its_command() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    client.secures(&scene.client.tls).await;
    let transfer = scene.commands("RETR file", client, &door).await;
    completes(&mut scene, transfer.client, transfer.backend).await;
}

#[tokio::test]
async fn the_client_may_finish_its_handshake_before_an_upload() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    client.secures(&scene.client.tls).await;
    let mut transfer = scene.commands("STOR file", client, &door).await;
    transfer.client.sends("content").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
}

/// Most clients, and lftp even connects only then.
#[tokio::test]
async fn the_client_may_connect_after_the_150_which_is_not_held_back_for_it() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    scene.client.says("RETR file").await;
    let backend = door.accepts().await;
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 Here").await;
    let mut client = scene.client.opens(address).await;
    client.secures(&scene.client.tls).await;
    completes(&mut scene, client, backend).await;
}

/// mod_proxy#283: else the backend may say 425.
#[tokio::test]
async fn the_backends_port_is_connected_before_the_command_is_forwarded() {
    let mut scene = Scene::plain().await;
    let (_, door) = scene.goes_passive().await;
    drop(door);
    scene.client.says("RETR file").await;
    scene.client.refused(425, "backend_data_failed").await;
    // The command never came.
    scene.goes_on().await;
}

/// Some servers serve the port only once the command has come.
#[tokio::test]
async fn nothing_is_awaited_on_the_backends_port_before_the_command() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    scene.client.says("RETR file").await;
    scene.backend.hears("RETR file").await;
    // It is in the backlog and nobody has looked at it.
    scene.backend.says("150 Here").await;
    scene.client.hears("150 ").await;
    client.secures(&scene.client.tls).await;
    let backend = door.accepts().await;
    completes(&mut scene, client, backend).await;
}

#[tokio::test]
async fn a_transfer_without_an_arranged_data_connection_is_425_at_once() {
    let mut scene = Scene::plain().await;
    for command in ["RETR file", "STOR file", "LIST", "NLST", "MLSD", "APPE file", "STOU"] {
        scene.client.says(command).await;
        scene.client.refused(425, "no_data_connection").await;
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn an_arrangement_serves_one_transfer() {
    let mut scene = Scene::plain().await;
    scene.downloads().await;
    scene.client.says("RETR file").await;
    scene.client.refused(425, "no_data_connection").await;
}

/// A refused command: the client's connection is ended with FIN, and a reset would be fatal for Node's basic-ftp.
async fn is_refused(scene: &mut Scene, command: &str) {
    scene.client.says(command).await;
    scene.backend.hears_and_says(command, "550 No such file").await;
    scene.client.hears("550 No such file").await;
}

/// What the client was about to send when the gateway ended is taken: the first byte would be answered with a reset, and
/// the second fail of it.
async fn is_not_reset(client: &mut Data) {
    for _ in 0..2 {
        client.wire.tcp_mut().write_all(&[0x16]).await.unwrap();
    }
}

#[tokio::test]
async fn refused_with_the_client_connected_ends_its_connection_with_fin() {
    let mut scene = Scene::plain().await;
    let (address, _door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    is_refused(&mut scene, "RETR file").await;
    assert_eq!(client.ends().await, End::Fin);
    scene.downloads().await;
}

#[tokio::test]
async fn refused_with_the_client_secured_ends_its_connection_with_close_notify() {
    let mut scene = Scene::plain().await;
    let (address, _door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    client.secures(&scene.client.tls).await;
    is_refused(&mut scene, "STOR file").await;
    assert_eq!(client.ends().await, End::CloseNotify);
    scene.uploads().await;
}

/// The client is about to send the last part of its handshake when the refusal comes.
#[tokio::test]
async fn refused_in_the_middle_of_the_clients_handshake_does_not_reset() {
    let mut scene = Scene::plain().await;
    let (address, _door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    let tls = scene.client.tls.clone().without_resumption();
    let mut session = tokio_rustls::rustls::ClientConnection::new(tls.config(), tls.name()).unwrap();
    let mut flight = Vec::new();
    session.write_tls(&mut flight).unwrap();
    client.sends(&flight).await;
    // The gateway's flight is there, the client's answer is not sent yet.
    let mut byte = [0];
    let peeked = client.wire.tcp().unwrap().peek(&mut byte);
    scene.stage.transcript.soon("the ServerHello", peeked).await.unwrap();
    is_refused(&mut scene, "RETR file").await;
    let mut flight = Vec::new();
    while session.is_handshaking() {
        let mut block = vec![0; 16 * 1024];
        let read = client.wire.tcp_mut().read(&mut block).await.unwrap();
        session.read_tls(&mut &block[..read]).unwrap();
        session.process_new_packets().unwrap();
        session.write_tls(&mut flight).unwrap();
    }
    client.sends(&flight).await;
    let (_, end) = client.receives_all().await;
    assert_eq!(end, End::Fin);
    is_not_reset(&mut client).await;
    scene.downloads().await;
}

#[tokio::test]
async fn refused_before_the_client_connects_its_connection_is_still_taken_and_ended_with_fin() {
    let mut scene = Scene::plain().await;
    let (address, _door) = scene.goes_passive().await;
    is_refused(&mut scene, "RETR file").await;
    let mut client = scene.client.opens(address).await;
    // The ClientHello is on its way already.
    client.sends(b"\x16\x03\x01\x02\x00\x01").await;
    assert_eq!(client.ends().await, End::Fin);
    is_not_reset(&mut client).await;
    scene.downloads().await;
}

#[tokio::test]
async fn refused_in_clear_ends_the_clients_connection_with_fin() {
    let mut scene = Scene::open_clear(Setup::new()).await;
    let (address, _door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    is_refused(&mut scene, "RETR file").await;
    assert_eq!(client.ends().await, End::Fin);
    is_not_reset(&mut client).await;
}

#[tokio::test]
async fn refused_with_4xx_may_be_tried_again() {
    let mut scene = Scene::plain().await;
    for answer in ["425 Cannot open data connection", "450 Busy", "451 Trouble", "452 Full"] {
        let (address, _door) = scene.goes_passive().await;
        let _client = scene.client.opens(address).await;
        scene.client.says("STOR file").await;
        scene.backend.hears_and_says("STOR file", answer).await;
        scene.client.hears(answer).await;
    }
    scene.uploads().await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_refused\"}", 4).await;
}

/// In active mode nobody is connected to before the backend has said yes.
#[tokio::test]
async fn refused_in_active_mode_the_client_is_not_connected_to() {
    let mut scene = Scene::plain().await;
    let listener = scene.client.listens().await;
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    scene.client.says(format!("PORT 127,0,0,1,{high},{low}")).await;
    let _door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
    is_refused(&mut scene, "RETR file").await;
    let moment = std::time::Duration::from_millis(60);
    assert!(tokio::time::timeout(moment, listener.accept()).await.is_err());
}

/// The client's handshake has failed before its command: the backend need not create or empty a file for it.
#[tokio::test]
async fn an_upload_whose_handshake_has_failed_already_never_reaches_the_backend() {
    let mut scene = Scene::plain().await;
    let (address, _door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    client.sends("in clear, after PROT P").await;
    scene.stage.counts("data_connections_total{leg=\"front\",mode=\"pasv\",outcome=\"tls_failed\"}", 1).await;
    scene.client.says("STOR file").await;
    scene.client.refused(522, "client_tls_failed").await;
    scene.goes_on().await;
    scene.uploads().await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_is_522_and_nothing_is_stored() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("STOR file", client, &door).await;
    transfer.client.sends("in clear, after PROT P").await;
    scene.client.refused(522, "client_tls_failed").await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.backend.says("426 Lost it").await;
    scene.uploads().await;
}
