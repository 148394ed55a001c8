//! Every wait on a peer has a deadline, with its reason in the reply; and idle time does not run during a transfer.

use std::time::{Duration, Instant};

use crate::stage::{End, Scene, Setup, Stage};

fn timeouts(entry: &str) -> Setup {
    Setup::new().with("timeouts", entry)
}

#[tokio::test]
async fn tls_handshake_of_the_control_connection() {
    let stage = Stage::start(timeouts("tls_handshake: 150ms")).await;
    let mut explicit = stage.client().await;
    explicit.says_and_hears("AUTH TLS", "234 ").await;
    assert_eq!(explicit.ends().await, End::Fin);
    let mut implicit = stage.connects_implicitly().await;
    implicit.talk.say_raw(b"\x16\x03\x01").await;
    implicit.ends().await;
    for listener in ["explicit", "implicit"] {
        stage.counts(&format!("sessions_total{{listener=\"{listener}\",outcome=\"tls_failed\"}}"), 1).await;
    }
    let handshake =
        "tls_handshakes_total{channel=\"control\",kind=\"none\",leg=\"front\",result=\"timeout\",version=\"none\"}";
    stage.counts(handshake, 2).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn login_from_accept_on() {
    let stage = Stage::start(timeouts("login: 300ms")).await;
    let mut client = stage.secured_client().await;
    // Commands do not make it longer.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(100) {
        client.says_and_hears("NOOP", "200 ").await;
    }
    client.refused(421, "login_timeout").await;
    assert_eq!(client.ends().await, End::CloseNotify);
    stage.is_empty().await;
}

#[tokio::test]
async fn login_is_not_made_longer_by_rein() {
    let stage = Stage::start(timeouts("login: 300ms")).await;
    let mut client = stage.implicit_client().await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(100) {
        client.says_and_hears("REIN", "220 ").await;
    }
    client.refused(421, "login_timeout").await;
    stage.is_empty().await;
}

/// The client's `close_notify` never comes.
#[tokio::test]
async fn login_is_not_made_longer_by_the_end_of_tls() {
    let stage = Stage::start(timeouts("login: 300ms")).await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("REIN", "220 ").await;
    // The gateway would have given it a second to be first with it.
    assert_eq!(client.ends().await, End::Fin);
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"login_timeout\"}", 1).await;
    stage.is_empty().await;
}

/// Each handshake has time of its own, but not more than is left for the login.
#[tokio::test]
async fn login_is_not_made_longer_by_a_handshake() {
    let stage = Stage::start(timeouts("login: 300ms")).await;
    let mut explicit = stage.client().await;
    explicit.says_and_hears("AUTH TLS", "234 ").await;
    assert_eq!(explicit.ends().await, End::Fin);
    let mut implicit = stage.connects_implicitly().await;
    implicit.ends().await;
    for listener in ["explicit", "implicit"] {
        stage.counts(&format!("sessions_total{{listener=\"{listener}\",outcome=\"tls_failed\"}}"), 1).await;
    }
    stage.is_empty().await;
}

/// Commands that are there already do not win over the deadline, one after the other.
#[tokio::test]
async fn login_is_not_made_longer_by_commands_sent_ahead() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("NOOP", "200 ").await;
    client.talk.say_raw("NOOP\r\n".repeat(50)).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let mut answered = 0;
    let told = loop {
        let reply = client.reply("200 or 421").await.text();
        if !reply.starts_with("200 ") {
            break reply;
        }
        answered += 1;
    };
    assert!(told.contains("[login_timeout]") && answered <= 1, "{told:?} behind {answered} answers");
    stage.is_empty().await;
}

#[tokio::test]
async fn login_between_user_and_pass() {
    let stage = Stage::start(timeouts("login: 300ms")).await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    client.refused(421, "login_timeout").await;
    backend.hears("QUIT").await;
    assert_eq!(backend.ends().await, End::Fin);
    stage.is_empty().await;
}

#[tokio::test]
async fn idle() {
    let mut scene = Scene::open(timeouts("idle: 200ms")).await;
    scene.goes_on().await;
    scene.client.refused(421, "idle").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.backend.ends().await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn each_command_begins_the_idle_time_anew() {
    let mut scene = Scene::open(timeouts("idle: 400ms")).await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(900) {
        scene.goes_on().await;
        // The client pauses, but never for long.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.client.refused(421, "idle").await;
}

#[tokio::test]
async fn idle_does_not_run_during_a_transfer() {
    let mut scene = Scene::open(timeouts("idle: 150ms")).await;
    let mut transfer = scene.begins("RETR file").await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(600) {
        transfer.backend.sends("a bit").await;
        transfer.client.receives("a bit").await;
        // The backend's disk is slow.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    scene.client.refused(421, "idle").await;
}

#[tokio::test]
async fn data_connect_when_the_client_never_connects() {
    let mut scene = Scene::open(timeouts("data_connect: 200ms")).await;
    let (_, door) = scene.goes_passive().await;
    scene.client.says("STOR file").await;
    let mut back = door.accepts().await;
    scene.backend.hears_and_says("STOR file", "150 Send").await;
    scene.client.hears("150 ").await;
    scene.client.refused(425, "client_data_failed").await;
    assert_eq!(back.ends().await, End::Reset);
    scene.backend.says("426 Lost it").await;
    scene.goes_on().await;
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    scene.uploads().await;
}

#[tokio::test]
async fn data_connect_when_the_client_never_shakes_hands() {
    let mut scene = Scene::open(timeouts("data_connect: 200ms")).await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("STOR file", client, &door).await;
    scene.client.refused(522, "client_tls_failed").await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    scene.backend.says("426 Lost it").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn data_connect_of_an_arrangement_that_is_never_used() {
    let mut scene = Scene::open(timeouts("data_connect: 150ms")).await;
    scene.goes_passive().await;
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    scene.client.says("RETR file").await;
    scene.client.refused(425, "no_data_connection").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn data_stall_of_a_client_that_sends_nothing() {
    let mut scene = Scene::open(timeouts("data_stall: 200ms")).await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    scene.client.refused(426, "client_stalled").await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    assert_ne!(transfer.client.ends().await, End::CloseNotify);
    scene.backend.says("426 Lost it").await;
    scene.uploads().await;
}

/// What the backend says on an upload's data connection is no byte of the client's.
#[tokio::test]
async fn data_stall_of_a_client_that_sends_nothing_to_a_backend_that_talks() {
    let mut scene = Scene::open(timeouts("data_stall: 400ms")).await;
    let mut transfer = scene.begins("STOR file").await;
    let talks = async {
        while transfer.backend.wire.write(b"x").await.is_ok() {
            // It is slow in talking.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(talks, scene.client.refused(426, "client_stalled"));
    scene.backend.says("426 Lost it").await;
    scene.uploads().await;
}

#[tokio::test]
async fn data_stall_of_a_backend_that_sends_nothing() {
    let mut scene = Scene::open(timeouts("data_stall: 200ms")).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("half of").await;
    transfer.client.receives("half of").await;
    scene.client.refused(426, "backend_stalled").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    transfer.backend.ends().await;
    scene.backend.says("426 Lost it").await;
    scene.downloads().await;
}

#[tokio::test]
async fn data_stall_of_a_client_that_takes_nothing() {
    let mut scene = Scene::open(timeouts("data_stall: 300ms")).await;
    let mut transfer = scene.begins("RETR file").await;
    let filling = async { while transfer.backend.wire.write(&[0; 256 * 1024]).await.is_ok() {} };
    let told = scene.client.refused(426, "client_stalled");
    tokio::join!(filling, told);
    scene.stage.counts("transfers_total{direction=\"download\",result=\"client_stalled\"}", 1).await;
}

#[tokio::test]
async fn data_stall_of_a_backend_that_takes_nothing() {
    let mut scene = Scene::open(timeouts("data_stall: 300ms")).await;
    let mut transfer = scene.begins("STOR file").await;
    let filling = async { while transfer.client.wire.write(&[0; 256 * 1024]).await.is_ok() {} };
    let told = scene.client.refused(426, "backend_stalled");
    tokio::join!(filling, told);
    let (_, end) = transfer.backend.receives_all().await;
    assert_eq!(end, End::Reset);
}

#[tokio::test]
async fn backend_reply_to_a_command() {
    let mut scene = Scene::open(timeouts("backend_reply: 250ms")).await;
    scene.client.says("SITE SLEEP").await;
    scene.backend.hears("SITE SLEEP").await;
    scene.client.refused(421, "backend_timeout").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.backend.ends().await;
    scene.stage.is_empty().await;
}

/// A long listing on the control connection takes its time.
#[tokio::test]
async fn each_line_of_a_reply_begins_the_backends_time_anew() {
    let mut scene = Scene::open(timeouts("backend_reply: 300ms")).await;
    scene.client.says("STAT /").await;
    scene.backend.hears("STAT /").await;
    scene.backend.says("213-Long").await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        scene.backend.says(" line").await;
    }
    scene.backend.says("213 End").await;
    scene.client.hears("213-Long").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn backend_reply_to_pasv() {
    let mut scene = Scene::open(timeouts("backend_reply: 250ms")).await;
    scene.client.says("PASV").await;
    scene.backend.hears("PASV").await;
    scene.client.refused(421, "backend_timeout").await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn backend_reply_to_a_transfer_command() {
    let mut scene = Scene::open(timeouts("backend_reply: 250ms")).await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    scene.client.says("RETR file").await;
    let _back = door.accepts().await;
    scene.backend.hears("RETR file").await;
    scene.client.refused(421, "backend_timeout").await;
    assert_ne!(client.ends().await, End::Reset);
}

#[tokio::test]
async fn backend_reply_after_the_last_byte_of_an_upload() {
    let mut scene = Scene::open(timeouts("backend_reply: 250ms")).await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.ends().await, End::Fin);
    scene.client.refused(421, "backend_timeout").await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_silent\"}", 1).await;
}

#[tokio::test]
async fn tls_handshake_of_the_backend() {
    let setup = timeouts("tls_handshake: 250ms").secured(crate::stage::Security::Explicit);
    let stage = Stage::start(setup).await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().accepts().await;
    backend.says("220 Ready").await;
    backend.hears_and_says("AUTH TLS", "234 Go on").await;
    client.refused(421, "backend_tls_failed").await;
}

#[tokio::test]
async fn an_active_backend_that_never_connects() {
    let setup = timeouts("data_connect: 200ms, backend_reply: 200ms").backend("data: active");
    let mut scene = Scene::open(setup).await;
    scene.client.says("PASV").await;
    scene.backend.hears_where().await;
    scene.backend.says("200 Noted").await;
    let reply = scene.client.hears("227 ").await;
    let mut client = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.client.says("RETR file").await;
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 ").await;
    client.secures(&scene.client.tls).await;
    scene.client.refused(425, "backend_data_failed").await;
    scene.backend.says("425 Could not connect").await;
    assert_ne!(client.ends().await, End::CloseNotify);
    scene.goes_on().await;
}

/// STAT is answered at once in the middle of a transfer, so there can always be one more.
#[tokio::test]
async fn no_flood_of_commands_holds_a_deadline_up() {
    let mut scene = Scene::open(timeouts("data_connect: 300ms")).await;
    let (_, door) = scene.goes_passive().await;
    scene.client.says("RETR file").await;
    let _data = door.accepts().await;
    scene.backend.hears_and_says("RETR file", "150 Here it comes").await;
    scene.client.hears("150 ").await;
    let since = Instant::now();
    for _ in 0..300 {
        scene.client.says("STAT").await;
    }
    while scene.client.reply("211 or 425").await.code != 425 {
        scene.client.says("STAT").await;
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    }
}

/// What is behind a transfer that has failed is a command of its own.
#[tokio::test]
async fn the_backend_has_its_time_for_a_command_behind_a_failed_transfer() {
    let mut scene = Scene::open(timeouts("backend_reply: 600ms")).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.resets();
    scene.client.says("NOOP").await;
    let thinks = async |client: &mut crate::stage::Client| {
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(400) {
            client.talk.hears_nothing().await;
        }
    };
    thinks(&mut scene.client).await;
    scene.backend.says("226 Sent").await;
    scene.client.hears("426 ").await;
    scene.backend.hears("NOOP").await;
    thinks(&mut scene.client).await;
    scene.backend.says("200 Awake").await;
    scene.client.hears("200 Awake").await;
}
