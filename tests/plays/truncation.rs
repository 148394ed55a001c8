//! A cut-off is passed on as a cut-off, in both directions; a reset is never an end (docs/protocol.md).

use crate::stage::{End, Log, Scene, Setup, Transfer};

/// An upload of which some has arrived.
async fn half_an_upload(scene: &mut Scene) -> Transfer {
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    transfer
}

/// A download of which some has arrived.
async fn half_a_download(scene: &mut Scene) -> Transfer {
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("half of").await;
    transfer.client.receives("half of").await;
    transfer
}

#[tokio::test]
async fn an_upload_that_is_reset_is_a_reset_for_the_backend() {
    for policy in ["truncated_uploads: tolerate", "truncated_uploads: reject"] {
        let mut scene = Scene::open(Setup::new().with("tls", policy)).await;
        let mut transfer = half_an_upload(&mut scene).await;
        transfer.client.resets();
        assert_eq!(transfer.backend.ends().await, End::Reset);
        // Whatever the backend says.
        scene.backend.says("226 Stored").await;
        scene.client.refused(426, "client_cut").await;
        scene.goes_on().await;
    }
}

#[tokio::test]
async fn an_upload_in_clear_that_is_reset_is_a_reset_for_the_backend() {
    let mut scene = Scene::open_clear(Setup::new()).await;
    let mut transfer = scene.begins_clear("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    transfer.client.resets();
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.client.refused(426, "client_cut").await;
    scene.backend.says("426 Lost it").await;
    scene.goes_on().await;
}

/// Old clients end every upload so, and their control connection goes on.
#[tokio::test]
async fn an_upload_without_close_notify_is_tolerated_and_counted() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    transfer.client.fins().await;
    assert_eq!(transfer.backend.ends().await, End::Fin);
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
    scene.stage.counts("missing_close_notify_total{channel=\"data\",leg=\"front\"}", 1).await;
    scene.uploads().await;
    let log = Log::text();
    let told: Vec<_> = log.lines().filter(|line| line.contains("ftps_gateway: transfer ")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("close_notify=\"missing\"") && !told[1].contains("close_notify"), "{told:?}");
}

#[tokio::test]
async fn an_upload_without_close_notify_is_a_cut_under_reject() {
    let mut scene = Scene::open(Setup::new().with("tls", "truncated_uploads: reject")).await;
    let mut transfer = half_an_upload(&mut scene).await;
    transfer.client.fins().await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.backend.says("226 Stored").await;
    scene.client.refused(426, "client_truncated").await;
    scene.stage.counts("missing_close_notify_total{channel=\"data\",leg=\"front\"}", 1).await;
    scene.goes_on().await;
    scene.uploads().await;
}

/// mod_proxy stores ten of ten such uploads as complete files.
#[tokio::test]
async fn an_upload_whose_client_dies_is_a_cut() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    transfer.client.vanishes();
    scene.client.talk.vanishes();
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"client_gone\"}", 1).await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn an_upload_whose_client_dies_is_a_cut_though_its_data_connection_went_first() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    transfer.client.fins().await;
    scene.stage.counts("missing_close_notify_total{channel=\"data\",leg=\"front\"}", 1).await;
    scene.client.talk.resets();
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.stage.is_empty().await;
}

/// On a machine that stood still for longer than the grace, the end of both is there at once.
#[tokio::test]
async fn an_upload_whose_client_dies_is_a_cut_however_late_that_is_looked_at() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    transfer.client.fins().await;
    scene.stage.counts("missing_close_notify_total{channel=\"data\",leg=\"front\"}", 1).await;
    scene.client.talk.resets();
    // The gateway runs on this thread.
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn an_upload_in_clear_whose_client_dies_is_a_cut() {
    let mut scene = Scene::open_clear(Setup::new()).await;
    let mut transfer = scene.begins_clear("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    scene.client.talk.vanishes();
    transfer.client.vanishes();
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn an_upload_whose_control_connection_goes_is_a_cut() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    scene.client.talk.finishes().await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.stage.is_empty().await;
}

/// The client is gone before the backend has said yes: the backend must not take an empty file for its content.
#[tokio::test]
async fn an_upload_whose_client_dies_before_the_150_is_a_cut() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    scene.client.says("STOR file").await;
    let mut back = door.accepts().await;
    scene.backend.hears("STOR file").await;
    client.vanishes();
    scene.client.talk.vanishes();
    assert_eq!(back.ends().await, End::Reset);
    scene.stage.is_empty().await;
}

/// The client's TLS breaks in the middle: a record that nobody sealed.
#[tokio::test]
async fn an_upload_with_a_forged_record_is_a_cut() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    let forged = [&[23, 3, 3, 0, 32][..], &[0x5a; 32]].concat();
    tokio::io::AsyncWriteExt::write_all(transfer.client.wire.tcp_mut(), &forged).await.unwrap();
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.client.refused(426, "client_cut").await;
}

#[tokio::test]
async fn a_download_that_the_backend_resets_ends_without_close_notify() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.backend.resets();
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.backend.says("426 Lost it").await;
    scene.client.hears("426 Lost it").await;
    scene.downloads().await;
}

#[tokio::test]
async fn a_download_that_the_backend_resets_and_calls_complete_is_426() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.backend.resets();
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.client.refused(426, "backend_cut").await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"backend_cut\"}", 1).await;
}

#[tokio::test]
async fn a_download_that_the_backend_fails_ends_without_close_notify() {
    for answer in ["426 Lost it", "451 Disk broke", "551 Page type"] {
        let mut scene = Scene::plain().await;
        let mut transfer = half_a_download(&mut scene).await;
        // The bytes look complete; only the reply says otherwise.
        transfer.backend.finishes().await;
        transfer.client.stays_open().await;
        scene.backend.says(answer).await;
        assert_eq!(transfer.client.ends().await, End::Fin);
        scene.client.hears(answer).await;
        scene.downloads().await;
    }
}

#[tokio::test]
async fn a_download_failed_by_the_backend_before_its_last_bytes_delivers_them() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    scene.backend.says("451 Disk broke").await;
    transfer.backend.sends(" it").await;
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.receives_all().await, (b" it".to_vec(), End::Fin));
    scene.client.hears("451 Disk broke").await;
}

#[tokio::test]
async fn a_download_in_clear_that_breaks_ends_with_a_reset() {
    for answer in ["426 Lost it", "226 Sent"] {
        let mut scene = Scene::open_clear(Setup::new()).await;
        let mut transfer = scene.begins_clear("RETR file").await;
        transfer.backend.sends("half of").await;
        transfer.client.receives("half of").await;
        transfer.backend.resets();
        scene.backend.says(answer).await;
        assert_eq!(transfer.client.ends().await, End::Reset);
        scene.client.hears("426 ").await;
    }
}

/// No byte has moved, and the relay has perhaps not begun: an empty file that ends properly would be a whole one.
#[tokio::test]
async fn a_download_in_clear_whose_backend_goes_right_behind_its_150_ends_with_a_reset() {
    // What the gateway looks at first behind the 150 is chance.
    for _ in 0..12 {
        let mut scene = Scene::open_clear(Setup::new()).await;
        let (address, door) = scene.goes_passive().await;
        let mut client = scene.client.opens(address).await;
        let arrived = "data_connections_total{leg=\"back\",mode=\"pasv\",outcome=\"opened\"}";
        scene.client.says("RETR file").await;
        let back = door.accepts().await;
        scene.backend.hears("RETR file").await;
        scene.stage.counts(arrived, 1).await;
        scene.backend.talk.say_raw("150 Here it comes\r\n421 Going down\r\n").await;
        scene.client.hears("150 ").await;
        scene.client.refused(421, "backend_said_goodbye").await;
        assert_eq!(client.ends().await, End::Reset);
        drop(back);
    }
}

/// The same where nothing is there yet that the client could have been sent.
#[tokio::test]
async fn a_download_in_clear_whose_backend_goes_before_its_data_connection_ends_with_a_reset() {
    let mut scene = Scene::open_clear(Setup::new().backend("data: active")).await;
    scene.client.says("PASV").await;
    scene.backend.hears_where().await;
    scene.backend.says("200 Noted").await;
    let reply = scene.client.hears("227 ").await;
    let mut client = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.client.says("RETR file").await;
    scene.backend.hears_and_says("RETR file", "150 Here it comes").await;
    scene.client.hears("150 ").await;
    scene.backend.talk.vanishes();
    scene.client.refused(421, "backend_closed").await;
    assert_eq!(client.ends().await, End::Reset);
}

#[tokio::test]
async fn a_download_that_the_client_leaves_is_426() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.client.resets();
    // Until the gateway notices that nobody takes it.
    while transfer.backend.try_send(vec![b'x'; 64 * 1024]).await.is_ok() {}
    scene.client.refused(426, "client_cut").await;
    scene.backend.says("426 Lost it").await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"client_cut\"}", 1).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_download_that_the_client_resets_at_its_very_end_is_426() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.client.resets();
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    scene.client.refused(426, "client_cut").await;
}

#[tokio::test]
async fn a_download_whose_backend_dies_is_421_and_no_close_notify() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.backend.vanishes();
    scene.backend.talk.vanishes();
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.client.refused(421, "backend_closed").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.stage.is_empty().await;
}

/// The client has gone from its data connection in the middle of its handshake, before the backend has said yes: the
/// 150 is passed on, and then the truth.
#[tokio::test]
async fn a_data_connection_that_breaks_before_the_150_is_522_and_both_legs_are_cut() {
    for command in ["RETR file", "STOR file"] {
        let mut scene = Scene::plain().await;
        let (address, door) = scene.goes_passive().await;
        let mut client = scene.client.opens(address).await;
        client.sends(b"\x16\x03\x01\x02\x00\x01").await;
        scene.client.says(command).await;
        let mut back = door.accepts().await;
        scene.backend.hears(command).await;
        client.resets();
        scene.stage.counts("data_connections_total{leg=\"front\",mode=\"pasv\",outcome=\"tls_failed\"}", 1).await;
        scene.backend.says("150 Here it comes").await;
        scene.client.hears("150 Here it comes").await;
        scene.client.refused(522, "client_tls_failed").await;
        assert_eq!(back.ends().await, End::Reset);
        scene.backend.says("226 Done").await;
        scene.goes_on().await;
    }
}

/// The backend's data connection is reset before the backend has said that it begins; its 226 is not believed.
#[tokio::test]
async fn a_backend_whose_data_breaks_before_its_150_is_not_believed() {
    for command in ["RETR file", "STOR file"] {
        let mut scene = Scene::plain().await;
        let (address, door) = scene.goes_passive().await;
        let client = scene.client.opens(address).await;
        scene.client.says(command).await;
        let mut back = door.accepts().await;
        scene.backend.hears(command).await;
        back.resets();
        scene.backend.says("150 Here it comes").await;
        scene.client.hears("150 Here it comes").await;
        let mut client = client;
        // The connection may be cut as soon as it is secured.
        let shaken = client.try_secure(&scene.client.tls).await;
        scene.backend.says("226 Done").await;
        scene.client.refused(426, "backend_cut").await;
        if shaken.is_ok() {
            assert_ne!(client.receives_all().await.1, End::CloseNotify);
        }
        scene.goes_on().await;
    }
}

/// Every byte has come and nobody has said that these were all.
#[tokio::test]
async fn a_download_whose_backend_says_421_in_place_of_226_ends_without_close_notify() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.backend.finishes().await;
    transfer.client.stays_open().await;
    scene.backend.says("421 Going down").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.client.refused(421, "backend_said_goodbye").await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"backend_gone\"}", 1).await;
    scene.stage.is_empty().await;
}

/// The upload is whole; what became of it nobody knows.
#[tokio::test]
async fn an_upload_whose_backend_says_421_in_place_of_226_is_421() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_an_upload(&mut scene).await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.ends().await, End::Fin);
    scene.backend.says("421 Going down").await;
    scene.client.refused(421, "backend_said_goodbye").await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_gone\"}", 1).await;
    scene.stage.is_empty().await;
}

/// A client that ends its data connection with FIN in the middle of a download takes no more.
#[tokio::test]
async fn a_download_whose_client_closes_early_is_426() {
    let mut scene = Scene::plain().await;
    let mut transfer = half_a_download(&mut scene).await;
    transfer.client.vanishes();
    while transfer.backend.try_send(vec![b'x'; 64 * 1024]).await.is_ok() {}
    scene.client.refused(426, "client_cut").await;
    scene.backend.says("226 Sent").await;
    scene.goes_on().await;
}
