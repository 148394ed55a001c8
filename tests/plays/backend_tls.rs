//! Backends under TLS: verified, never left for plain, and with data connections that resume (docs/protocol.md).

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use crate::stage::{ClientTls, End, FEATURES, Scene, Security, Setup, Stage};

fn explicit() -> Setup {
    Setup::new().secured(Security::Explicit)
}

#[tokio::test]
async fn explicit_tls_is_asked_for_before_anything_else() {
    let mut scene = Scene::open(explicit()).await;
    // "AUTH TLS" came right behind the greeting, PBSZ and PROT P behind the login.
    scene.downloads().await;
    scene.uploads().await;
    let handshakes =
        "tls_handshakes_total{channel=\"data\",kind=\"resumed\",leg=\"back\",result=\"ok\",version=\"1.3\"}";
    scene.stage.counts(handshakes, 2).await;
}

#[tokio::test]
async fn implicit_tls_comes_before_the_greeting() {
    let mut scene = Scene::open(Setup::new().secured(Security::Implicit)).await;
    scene.downloads().await;
    scene.uploads().await;
}

#[tokio::test]
async fn both_legs_end_with_close_notify() {
    let mut scene = Scene::open(explicit()).await;
    scene.client.says_and_hears("QUIT", "221 ").await;
    scene.backend.hears("QUIT").await;
    assert_eq!(scene.backend.ends().await, End::CloseNotify);
    assert_eq!(scene.client.ends().await, End::CloseNotify);
}

#[tokio::test]
async fn a_backend_that_leaves_without_close_notify_is_counted() {
    let mut scene = Scene::open(explicit()).await;
    scene.backend.talk.wire.fin().await.unwrap();
    scene.client.refused(421, "backend_closed").await;
    scene.stage.counts("missing_close_notify_total{channel=\"control\",leg=\"back\"}", 1).await;
}

/// mod_proxy's default is to fall back to plain.
#[tokio::test]
async fn a_backend_that_refuses_auth_is_never_spoken_to_in_plain() {
    for answer in ["500 Unknown", "502 No", "534 Not now", "431 No certificate", "200 Sure"] {
        let stage = Stage::start(explicit().unprobed()).await;
        let mut probe = stage.backend().accepts().await;
        probe.says("220 Ready").await;
        probe.hears_and_says("AUTH TLS", answer).await;
        assert_eq!(probe.ends().await, End::Fin);
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().accepts().await;
        backend.says("220 Ready").await;
        backend.hears_and_says("AUTH TLS", answer).await;
        client.refused(421, "backend_tls_refused").await;
        assert_eq!(backend.ends().await, End::Fin);
        stage.is_empty().await;
    }
}

/// Whoever is on the wire inside could have put it there.
#[tokio::test]
async fn plaintext_behind_the_backends_234_is_refused() {
    let stage = Stage::start(explicit()).await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().accepts().await;
    backend.says("220 Ready").await;
    backend.hears("AUTH TLS").await;
    backend.talk.say_raw("234 Go on\r\n230 You are in\r\n").await;
    client.refused(421, "backend_nonsense").await;
    assert_eq!(backend.ends().await, End::Fin);
}

#[tokio::test]
async fn a_334_is_as_good_as_a_234() {
    let stage = Stage::start(explicit()).await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().accepts().await;
    backend.says("220 Ready").await;
    backend.hears_and_says("AUTH TLS", "334 Go on").await;
    backend.shakes_hands().await;
    backend.hears("USER bob").await;
}

/// The certificate is accepted under these settings.
async fn accepted(verify: &str) {
    let setup = explicit().unverified().backend(format!("verify: {{ {verify} }}"));
    Scene::open(setup).await.downloads().await;
}

/// The certificate is not accepted under these settings, and the password never sent.
async fn rejected(setup: Setup) {
    let stage = Stage::start(setup.unprobed()).await;
    let mut client = stage.secured_client().await;
    for dialled_by in ["probe", "login"] {
        if dialled_by == "login" {
            client.says("USER bob").await;
        }
        let mut backend = stage.backend().accepts().await;
        backend.says("220 Ready").await;
        backend.hears_and_says("AUTH TLS", "234 Go on").await;
        backend.fails_to_shake_hands().await;
    }
    client.refused(421, "backend_tls_failed").await;
    assert_eq!(client.ends().await, End::CloseNotify);
    let rejected = "tls_handshakes_total{channel=\"control\",kind=\"none\",leg=\"back\",result=\"certificate_rejected\",version=\"none\"}";
    stage.counts(rejected, 1).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn a_certificate_of_the_given_authority_is_accepted() {
    accepted("authorities: \"AUTHORITY\"").await;
}

#[tokio::test]
async fn a_certificate_with_the_given_name_is_accepted() {
    accepted("authorities: \"AUTHORITY\", name: ftp.inside.example").await;
}

#[tokio::test]
async fn a_pinned_certificate_is_accepted() {
    accepted("fingerprint: \"FINGERPRINT\"").await;
}

#[tokio::test]
async fn a_certificate_with_another_name_is_rejected() {
    let verify = "verify: { authorities: \"AUTHORITY\", name: elsewhere.example }";
    rejected(explicit().unverified().backend(verify)).await;
}

#[tokio::test]
async fn a_certificate_other_than_the_pinned_is_rejected() {
    let verify = format!("verify: {{ fingerprint: \"sha256:{}\" }}", "ab".repeat(32));
    rejected(explicit().unverified().backend(verify)).await;
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_rejected() {
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        // Without the system's authorities the gateway does not start; that is another play.
        return;
    }
    rejected(explicit().unverified()).await;
}

#[tokio::test]
async fn a_backend_that_refuses_prot_p_is_left() {
    for (refused, answer) in [("PBSZ 0", "500 Unknown"), ("PROT P", "536 No")] {
        let stage = Stage::start(explicit()).await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears_and_says("USER bob", "230 In").await;
        if refused == "PROT P" {
            backend.hears_and_says("PBSZ 0", "200 PBSZ=0").await;
        }
        backend.hears_and_says(refused, answer).await;
        // The client has not been told that it is in.
        client.refused(421, "backend_protection_refused").await;
        assert_eq!(backend.ends().await, End::CloseNotify);
        stage.is_empty().await;
    }
}

/// The hundredth upload resumes, as vsftpd and ProFTPD demand.
async fn hundred_uploads_resume(data_tickets: usize) {
    let mut scene = Scene::open(explicit()).await;
    let mut tls = ServerConfig::clone(&scene.backend.tls);
    tls.send_tls13_tickets = data_tickets;
    scene.backend.tls = Arc::new(tls);
    for number in 0..100 {
        let mut transfer = scene.begins("STOR file").await;
        assert!(transfer.backend.is_resumed(), "upload {number} did not resume");
        transfer.client.sends("content").await;
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::CloseNotify));
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
    }
}

/// As OpenSSL does it.
#[tokio::test]
async fn the_hundredth_upload_resumes_with_two_tickets_on_each_connection() {
    hundred_uploads_resume(2).await;
}

/// As ProFTPD does it.
#[tokio::test]
async fn the_hundredth_upload_resumes_with_tickets_on_the_control_connection_alone() {
    hundred_uploads_resume(0).await;
}

#[tokio::test]
async fn data_goes_on_resuming_after_uploads_that_were_cut() {
    let mut scene = Scene::open(explicit()).await;
    for _ in 0..20 {
        let mut transfer = scene.begins("STOR file").await;
        assert!(transfer.backend.is_resumed());
        transfer.client.sends("half of").await;
        transfer.backend.receives("half of").await;
        transfer.client.resets();
        assert_eq!(transfer.backend.ends().await, End::Reset);
        scene.client.refused(426, "client_cut").await;
        scene.backend.says("426 Lost it").await;
    }
    scene.uploads().await;
}

/// vsftpd demands this control connection's session, not any of the server's.
#[tokio::test]
async fn each_session_resumes_its_own_control_connection() {
    let mut stage = Stage::start(explicit()).await;
    let mut scenes = Vec::new();
    for (name, from) in [("one", "127.0.0.1"), ("two", "127.0.0.2")] {
        // Tickets of this control connection open on no other.
        stage.backends[0].tls = Arc::new(stage.identity.server());
        let mut client = stage.client_from(name, from).await;
        client.secures().await;
        let backend = stage.logs_in(&mut client).await;
        client.protects().await;
        scenes.push((client, backend));
    }
    for _ in 0..3 {
        for (client, backend) in &mut scenes {
            client.says("PASV").await;
            let door = backend.goes_passive().await;
            let reply = client.hears("227 ").await;
            let mut data = client.opens(client.passive_address(&reply)).await;
            client.says("RETR file").await;
            let mut back = door.accepts().await;
            backend.hears_and_says("RETR file", "150 Here").await;
            client.hears("150 ").await;
            tokio::join!(back.secures_as_server(Arc::clone(&backend.tls)), data.secures(&client.tls));
            assert!(back.is_resumed());
            back.finishes().await;
            backend.says("226 Sent").await;
            assert_eq!(data.ends().await, End::CloseNotify);
            client.hears("226 Sent").await;
        }
    }
}

/// It is dialled once more with TLS 1.2 on offer, and remembered.
/// The gateway's first dial finds out that the backend does not speak TLS 1.3.
async fn is_found_old(stage: &Stage) {
    let mut first = stage.backend().accepts().await;
    first.says("220 Ready").await;
    first.hears_and_says("AUTH TLS", "234 Go on").await;
    first.fails_to_shake_hands().await;
    stage.backend().answers_probe(FEATURES).await;
}

async fn ten_uploads_resume(mut scene: Scene) {
    for _ in 0..10 {
        let mut transfer = scene.begins("STOR file").await;
        assert!(transfer.backend.is_resumed());
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.ends().await, End::CloseNotify);
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
    }
}

#[tokio::test]
async fn a_backend_without_tls_1_3() {
    let mut stage = Stage::start(explicit().unprobed()).await;
    stage.backends[0].tls = Arc::new(stage.identity.server_tls12());
    is_found_old(&stage).await;
    let mut client = stage.secured_client().await;
    let backend = stage.logs_in(&mut client).await;
    client.protects().await;
    ten_uploads_resume(Scene { stage, client, backend }).await;
}

/// Two dials at the same time, and one finds out while the other is under way.
#[tokio::test]
async fn a_backend_without_tls_1_3_is_found_out_twice() {
    let mut stage = Stage::start(explicit().unprobed()).await;
    stage.backends[0].tls = Arc::new(stage.identity.server_tls12());
    let mut probe = stage.backend().accepts().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut session = stage.backend().accepts().await;
    for dial in [&mut probe, &mut session] {
        dial.says("220 Ready").await;
        dial.hears_and_says("AUTH TLS", "234 Go on").await;
    }
    probe.fails_to_shake_hands().await;
    stage.backend().answers_probe(FEATURES).await;
    session.fails_to_shake_hands().await;
    stage.backend().welcomes().await.hears_and_says("USER bob", "331 Password").await;
    client.hears("331 ").await;
}

/// The server is upgraded while the gateway runs.
#[tokio::test]
async fn a_backend_that_learns_tls_1_3() {
    let mut stage = Stage::start(explicit().unprobed()).await;
    let new = std::mem::replace(&mut stage.backends[0].tls, Arc::new(stage.identity.server_tls12()));
    is_found_old(&stage).await;
    stage.backends[0].tls = new;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    stage.backend().welcomes().await.hears("QUIT").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER bob", "331 Password").await;
    client.hears("331 ").await;
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 In").await;
    backend.protects().await;
    client.hears("230 ").await;
    client.protects().await;
    ten_uploads_resume(Scene { stage, client, backend }).await;
}

/// It could refuse the command, and then there is nobody to shake hands with (mod_proxy#244).
#[tokio::test]
async fn the_handshake_waits_for_the_150() {
    let mut scene = Scene::open(explicit()).await;
    let (address, door) = scene.goes_passive().await;
    let _client = scene.client.opens(address).await;
    scene.client.says("RETR file").await;
    let mut back = door.accepts().await;
    scene.backend.hears("RETR file").await;
    back.stays_open().await;
    scene.backend.says("150 Here").await;
    scene.client.hears("150 ").await;
    back.secures_as_server(Arc::clone(&scene.backend.tls)).await;
}

#[tokio::test]
async fn there_is_no_handshake_when_the_command_is_refused() {
    for answer in ["550 No such file", "425 Cannot open"] {
        let mut scene = Scene::open(explicit()).await;
        let (address, door) = scene.goes_passive().await;
        let _client = scene.client.opens(address).await;
        scene.client.says("RETR file").await;
        let mut back = door.accepts().await;
        scene.backend.hears_and_says("RETR file", answer).await;
        scene.client.hears(answer).await;
        // Not one byte of a ClientHello.
        assert_eq!(back.ends().await, End::Fin);
        scene.downloads().await;
    }
}

#[tokio::test]
async fn a_data_handshake_that_fails_is_425_and_the_session_goes_on() {
    let mut scene = Scene::open(explicit()).await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("RETR file", client, &door).await;
    transfer.backend.sends("in clear, after PROT P").await;
    scene.client.refused(425, "backend_data_failed").await;
    scene.backend.says("426 Lost it").await;
    scene.goes_on().await;
    scene.downloads().await;
}

#[tokio::test]
async fn a_download_without_the_backends_close_notify_and_a_226_is_whole_and_counted() {
    let mut scene = Scene::open(explicit()).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.fins().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
    scene.stage.counts("missing_close_notify_total{channel=\"data\",leg=\"back\"}", 1).await;
}

/// Neither the data connection nor the control connection vouches for it.
#[tokio::test]
async fn a_download_without_close_notify_and_without_a_reply_is_not_whole() {
    let mut scene = Scene::open(explicit().with("timeouts", "backend_reply: 500ms")).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.fins().await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::Fin));
    scene.client.refused(421, "backend_timeout").await;
}

#[tokio::test]
async fn a_download_without_the_backends_close_notify_and_a_426_is_cut() {
    let mut scene = Scene::open(explicit()).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.backend.fins().await;
    transfer.client.receives("content").await;
    scene.backend.says("426 Lost it").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.client.hears("426 Lost it").await;
}

#[tokio::test]
async fn the_clients_clear_data_stays_private_inside() {
    let mut scene = Scene::open_clear(explicit()).await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("STOR file", client, &door).await;
    transfer.backend.secures_as_server(Arc::clone(&scene.backend.tls)).await;
    transfer.client.sends("content").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.receives_all().await, (b"content".to_vec(), End::CloseNotify));
}

#[tokio::test]
async fn in_active_mode_the_gateway_is_the_backends_tls_client_too() {
    let mut scene = Scene::open(explicit().backend("data: active")).await;
    scene.client.says("PASV").await;
    let address = scene.backend.hears_where().await;
    scene.backend.says("200 Noted").await;
    let reply = scene.client.hears("227 ").await;
    let mut client = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.client.says("RETR file").await;
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 ").await;
    let mut back = scene.backend.connects(address).await;
    tokio::join!(back.secures_as_server(Arc::clone(&scene.backend.tls)), client.secures(&scene.client.tls));
    assert!(back.is_resumed());
    back.sends("content").await;
    back.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
}

#[tokio::test]
async fn large_content_passes_between_two_tls_legs() {
    let mut scene = Scene::open(explicit().client_tls(ClientTls::tls12())).await;
    let mut transfer = scene.begins("STOR file").await;
    let content: Vec<u8> = (0..3_000_000u32).map(|number| (number * 11 % 253) as u8).collect();
    let client = async {
        transfer.client.sends(&content).await;
        transfer.client.finishes().await;
    };
    let ((), (received, end)) = tokio::join!(client, transfer.backend.receives_all());
    assert!(received == content);
    assert_eq!(end, End::CloseNotify);
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
}
