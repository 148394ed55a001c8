//! Data connections resume their own control connection's TLS session (docs/protocol.md).

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::rustls::crypto::aws_lc_rs::cipher_suite;

use crate::stage::{ClientTls, Data, End, Scene, Setup, Stage};

/// Tickets on the control connection: some clients use each once.
const CONTROL_TICKETS: usize = 8;

async fn resumed(stage: &Stage, cause: &str, times: u32) {
    stage.counts(&format!("data_resumptions_total{{cause=\"{cause}\"}}"), times).await;
}

fn policy(value: &str) -> Setup {
    Setup::new().with("tls", format!("data_resumption: {value}"))
}

#[tokio::test]
async fn tls_1_3_resumes() {
    let mut scene = Scene::plain().await;
    let transfer = scene.begins("RETR file").await;
    assert!(transfer.client.is_resumed());
    resumed(&scene.stage, "resumed", 1).await;
}

#[tokio::test]
async fn tls_1_2_resumes_by_ticket() {
    let mut scene = Scene::open(policy("require").client_tls(ClientTls::tls12())).await;
    for _ in 0..5 {
        scene.downloads().await;
        scene.uploads().await;
    }
    resumed(&scene.stage, "resumed", 10).await;
}

#[tokio::test]
async fn tls_1_2_resumes_by_session_number() {
    let mut scene = Scene::open(policy("require").client_tls(ClientTls::tls12().with_session_ids())).await;
    for _ in 0..12 {
        scene.downloads().await;
        scene.uploads().await;
    }
    resumed(&scene.stage, "resumed", 24).await;
}

#[tokio::test]
async fn the_control_connection_hands_out_eight_tickets() {
    let scene = Scene::plain().await;
    assert_eq!(scene.client.tls.tickets_received(), CONTROL_TICKETS);
}

#[tokio::test]
async fn downloads_and_listings_hand_out_two_tickets() {
    for command in ["RETR file", "LIST", "MLSD"] {
        let mut scene = Scene::plain().await;
        let mut transfer = scene.begins(command).await;
        transfer.backend.finishes().await;
        scene.backend.says("226 Sent").await;
        assert_eq!(transfer.client.ends().await, End::CloseNotify);
        assert_eq!(scene.client.tls.tickets_received(), CONTROL_TICKETS + 2);
    }
}

#[tokio::test]
async fn uploads_hand_out_a_ticket_behind_the_clients_end_and_not_before() {
    for command in ["STOR file", "APPE file", "STOU"] {
        let mut scene = Scene::plain().await;
        let mut transfer = scene.begins(command).await;
        transfer.client.sends("content").await;
        transfer.backend.receives("content").await;
        transfer.client.stays_open().await;
        assert_eq!(scene.client.tls.tickets_received(), CONTROL_TICKETS);
        transfer.client.finishes().await;
        assert_eq!(transfer.client.ends().await, End::CloseNotify);
        assert_eq!(scene.client.tls.tickets_received(), CONTROL_TICKETS + 1);
    }
}

/// PHP keeps the newest session alone, and OpenSSL offers each once.
#[tokio::test]
async fn uploads_alone_resume_for_ever() {
    let mut scene = Scene::open(policy("require")).await;
    for _ in 0..30 {
        let mut transfer = scene.begins("STOR file").await;
        transfer.client.finishes().await;
        // It reads to the end, as PHP does.
        assert_eq!(transfer.client.ends().await, End::CloseNotify);
        transfer.backend.receives_all().await;
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 ").await;
    }
    resumed(&scene.stage, "resumed", 30).await;
}

/// Nobody knows yet what it will be for.
#[tokio::test]
async fn a_handshake_before_the_command_hands_out_no_tickets() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    client.secures(&scene.client.tls).await;
    let mut transfer = scene.commands("RETR file", client, &door).await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    assert_eq!(scene.client.tls.tickets_received(), CONTROL_TICKETS);
}

/// curl#6149, proftpd#744, libunftp#285: what such a client has not read when it closes turns its close into a reset,
/// which can destroy the tail of the upload.
#[tokio::test]
async fn a_client_that_only_writes_and_closes_without_reading_loses_nothing() {
    const LENGTH: usize = 1_000_000;
    let mut scene = Scene::plain().await;
    for _ in 0..8 {
        let mut transfer = scene.begins("STOR file").await;
        let content = vec![b'x'; LENGTH];
        let client = async {
            transfer.client.sends(&content).await;
            transfer.client.finishes().await;
            transfer.client.vanishes();
        };
        let ((), (received, end)) = tokio::join!(client, transfer.backend.receives_all());
        assert_eq!((received.len(), end), (LENGTH, End::Fin));
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
    }
}

/// The gateway sends nothing on an upload's data connection, after the handshake and before `close_notify`.
#[tokio::test]
async fn nothing_is_sent_to_a_client_that_only_writes() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("content").await;
    transfer.backend.receives("content").await;
    let mut byte = [0];
    let peeked = tokio::time::timeout(Duration::from_millis(60), transfer.client.wire.tcp().unwrap().peek(&mut byte));
    assert!(peeked.await.is_err());
}

/// PHP offers one session for ever: a ticket is accepted as often as it comes. The same ClientHello comes again and
/// again here, which is all that a client can offer of it.
#[tokio::test]
async fn a_ticket_is_accepted_as_often_as_it_comes() {
    let mut scene = Scene::open(Setup::new().client_tls(ClientTls::new())).await;
    let tls = scene.client.tls.clone();
    let mut session = tokio_rustls::rustls::ClientConnection::new(tls.config(), tls.name()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    for _ in 0..20 {
        let (address, _) = scene.goes_passive().await;
        let mut data = scene.client.opens(address).await;
        data.wire.tcp_mut().write_all(&hello).await.unwrap();
        assert!(is_answered_with_the_offered_session(&mut data).await);
        data.resets();
    }
}

/// Reads a TLS 1.3 ServerHello and looks for the extension `pre_shared_key` (41).
async fn is_answered_with_the_offered_session(data: &mut Data) -> bool {
    use tokio::io::AsyncReadExt;
    let tcp = data.wire.tcp_mut();
    let mut header = [0; 5];
    tokio::time::timeout(crate::stage::DEADLINE, tcp.read_exact(&mut header)).await.unwrap().unwrap();
    assert_eq!(header[0], 22, "no handshake record");
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut hello).await.unwrap();
    // Message header 4, version 2, random 32, session id, cipher 2, compression 1, length of the extensions 2.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(hello[at]) + 2 + 1 + 2;
    while at + 4 <= hello.len() {
        let (kind, length) =
            (u16::from_be_bytes([hello[at], hello[at + 1]]), u16::from_be_bytes([hello[at + 2], hello[at + 3]]));
        if kind == 41 {
            return true;
        }
        at += 4 + usize::from(length);
    }
    false
}

#[tokio::test]
async fn off_hands_out_no_tickets_and_transfers_work() {
    let mut scene = Scene::open(policy("off")).await;
    assert_eq!(scene.client.tls.tickets_received(), 0);
    scene.downloads().await;
    scene.uploads().await;
    assert_eq!(scene.client.tls.tickets_received(), 0);
    resumed(&scene.stage, "resumed", 0).await;
    resumed(&scene.stage, "none_offered", 2).await;
}

/// Python's ftplib.
#[tokio::test]
async fn prefer_takes_clients_that_cannot_resume() {
    let mut scene = Scene::open(policy("prefer").client_tls(ClientTls::new().without_resumption())).await;
    scene.downloads().await;
    scene.uploads().await;
    resumed(&scene.stage, "none_offered", 2).await;
}

#[tokio::test]
async fn audit_takes_clients_that_cannot_resume_and_names_them() {
    let mut scene = Scene::open(policy("audit").client_tls(ClientTls::new().without_resumption())).await;
    scene.client.says_and_hears("CLNT old-client-of-the-audit", "200 ").await;
    scene.downloads().await;
    resumed(&scene.stage, "none_offered", 1).await;
    let log = crate::stage::Log::text();
    let line = log.lines().find(|line| line.contains("old-client-of-the-audit")).unwrap_or_default();
    assert!(line.contains("INFO") && line.contains("none_offered") && line.contains("bob"), "{line}");
}

/// Each data connection that `require` would refuse has its line, with the cause, the user, and what the client calls
/// itself where it does.
#[tokio::test]
async fn audit_tells_causes_apart_by_user_and_software() {
    let mut scene = Scene::open(policy("audit")).await;
    let mut other = scene.stage.client().await;
    other.tls = ClientTls::new();
    other.secures().await;
    other.says_and_hears("NOOP", "200 ").await;
    for (tls, cause, software) in [
        (other.tls.clone(), "other_session", None),
        (scene.client.tls.clone().nameless(), "name_differs", Some("careless/1.0")),
        (scene.client.tls.clone().without_resumption(), "none_offered", Some("old/0.9")),
    ] {
        if let Some(software) = software {
            scene.client.says_and_hears(&format!("CLNT {software}"), "200 ").await;
        }
        let (address, door) = scene.goes_passive().await;
        let client = scene.client.opens(address).await;
        let mut transfer = scene.commands("STOR file", client, &door).await;
        transfer.client.secures(&tls).await;
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.ends().await, End::Fin);
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
        resumed(&scene.stage, cause, 1).await;
        let log = crate::stage::Log::text();
        let told =
            log.lines().filter(|line| line.contains("INFO") && line.contains(&format!("resumption=\"{cause}\"")));
        let told: Vec<_> = told.collect();
        let whole = |line: &str| {
            line.contains("user=\"bob\"")
                && software.is_none_or(|software| line.contains(&format!("software=\"{software}\"")))
        };
        assert!(told.len() == 1 && whole(told[0]), "{cause}: {told:?}");
    }
}

/// An upload over this data connection is refused with 522, in which the client reads why.
async fn required_and_refused(scene: &mut Scene, tls: ClientTls, cause: &str, words: &str) {
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("STOR file", client, &door).await;
    transfer.client.secures(&tls).await;
    let sent = transfer.client.try_send("not to be stored").await;
    let reply = scene.client.refused(522, "client_not_resumed").await;
    assert!(reply.text().contains(words), "{reply:?} does not say {words:?}; {sent:?}");
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.backend.says("426 Lost it").await;
    resumed(&scene.stage, cause, 1).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn require_refuses_a_client_that_offers_no_session() {
    let mut scene = Scene::open(policy("require")).await;
    let tls = scene.client.tls.clone().without_resumption();
    required_and_refused(&mut scene, tls, "none_offered", "offered no session").await;
    // The same session, resuming.
    scene.uploads().await;
    scene.downloads().await;
}

#[tokio::test]
async fn require_refuses_the_session_of_another_control_connection() {
    let mut scene = Scene::open(policy("require")).await;
    let mut other = scene.stage.client().await;
    other.tls = ClientTls::new();
    other.secures().await;
    other.says_and_hears("NOOP", "200 ").await;
    let tls = other.tls.clone();
    required_and_refused(&mut scene, tls, "other_session", "not this control connection's").await;
    scene.uploads().await;
}

#[tokio::test]
async fn require_refuses_another_name() {
    for version in [ClientTls::new(), ClientTls::tls12()] {
        let mut scene = Scene::open(policy("require").client_tls(version)).await;
        let tls = scene.client.tls.clone().nameless();
        required_and_refused(&mut scene, tls, "name_differs", "another host (SNI)").await;
    }
}

#[tokio::test]
async fn require_refuses_another_cipher() {
    let first = ClientTls::with_suites(&[cipher_suite::TLS13_AES_128_GCM_SHA256]);
    let mut scene = Scene::open(policy("require").client_tls(first)).await;
    // Suites with the same hash: the client may offer the session, and the gateway may not take it up.
    let suites = [cipher_suite::TLS13_CHACHA20_POLY1305_SHA256, cipher_suite::TLS13_AES_128_GCM_SHA256];
    let tls = scene.client.tls.clone().preferring(&suites);
    required_and_refused(&mut scene, tls, "cipher_differs", "another cipher").await;
    scene.uploads().await;
}

#[tokio::test]
async fn require_refuses_an_early_handshake_before_the_backend_hears_of_the_command() {
    let mut scene = Scene::open(policy("require")).await;
    let (address, _door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    client.secures(&scene.client.tls.clone().without_resumption()).await;
    resumed(&scene.stage, "none_offered", 1).await;
    scene.client.says("STOR file").await;
    scene.client.refused(522, "client_not_resumed").await;
    scene.goes_on().await;
    scene.uploads().await;
}

/// Whoever took the client's place once must not be taken for it the next time, with what it got there.
#[tokio::test]
async fn a_refused_data_connection_wins_no_session_for_the_next_one() {
    for (client, thief) in [(ClientTls::new(), ClientTls::new()), (ClientTls::tls12(), ClientTls::tls12())] {
        let mut scene = Scene::open(policy("require").client_tls(client)).await;
        for _ in 0..2 {
            let (address, door) = scene.goes_passive().await;
            let data = scene.client.opens(address).await;
            let mut transfer = scene.commands("RETR file", data, &door).await;
            transfer.client.secures(&thief).await;
            scene.client.refused(522, "client_not_resumed").await;
            // Takes the tickets in, if there are any.
            transfer.client.receives_all().await;
            scene.backend.says("426 Lost it").await;
        }
        resumed(&scene.stage, "resumed", 0).await;
        scene.downloads().await;
    }
}

#[tokio::test]
async fn require_takes_clear_data_where_that_is_allowed() {
    let mut scene = Scene::open_clear(policy("require")).await;
    let mut transfer = scene.begins_clear("RETR file").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.client.hears("226 ").await;
}

#[tokio::test]
async fn an_implicit_listeners_sessions_resume_too() {
    let stage = Stage::start(policy("require")).await;
    let mut client = stage.implicit_client().await;
    let backend = stage.logs_in(&mut client).await;
    let mut scene = Scene { stage, client, backend };
    scene.uploads().await;
    scene.downloads().await;
}

/// RFC 4217 §15.1.1: a client compares the two.
#[tokio::test]
async fn a_reload_does_not_change_the_certificate_of_a_running_session() {
    let mut scene = Scene::open(Setup::new().certificates(&["old.example", "new.example"])).await;
    let [old, new] = &scene.stage.own[..] else { unreachable!() };
    let (old, new) = (old.leaf().to_vec(), new.leaf().to_vec());
    assert_eq!(scene.client.tls.certificates(), std::slice::from_ref(&old));
    scene.stage.reloads_with_the_other_certificate_first().await;
    // Resuming, and with a full handshake.
    scene.downloads().await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("RETR file", client, &door).await;
    transfer.client.secures(&scene.client.tls.clone().without_resumption()).await;
    assert_eq!(scene.client.tls.certificates(), [old.clone(), old]);
    let mut client = scene.stage.client().await;
    client.tls = ClientTls::new();
    client.secures().await;
    assert_eq!(client.tls.certificates(), [new]);
}
