//! Floods, and a good client who goes on through each of them. Each has a bound and a metric.

use std::time::Duration;

use tokio::time::timeout;

use crate::stage::{Client, DEADLINE, End, Scene, Setup, Stage};

/// An address of this machine that the good client does not come from.
const ELSEWHERE: &str = "127.0.0.66";
/// How long nothing must be taken from a writer before it counts as held up.
const HELD_UP: Duration = Duration::from_millis(300);

/// An attacker on this listener, from another address than the good client's.
async fn attacker(stage: &Stage, listener: &str) -> Client {
    let (from, to) = (ELSEWHERE.parse().unwrap(), stage.listener(listener));
    Client::connect("attacker", from, to, stage.setup.client_tls.clone(), stage.transcript.clone()).await
}

/// Writes until nothing is taken any more; the bytes that were. `None`: the gateway takes whatever comes.
async fn until_held_up(client: &mut Client, piece: &[u8], most: usize) -> Option<usize> {
    let (mut sent, mut in_vain) = (0, 0);
    while sent < most {
        match timeout(HELD_UP, client.talk.wire.write(piece)).await {
            // Once may be a busy machine.
            Err(_) if in_vain < 3 => in_vain += 1,
            Err(_) | Ok(Err(_)) => return Some(sent),
            Ok(Ok(())) => (sent, in_vain) = (sent + piece.len(), 0),
        }
    }
    None
}

/// Little waits between the client and the gateway, so that what is taken is what the gateway has taken.
fn has_small_buffers(client: &Client) {
    let buffers = socket2::SockRef::from(client.talk.wire.tcp().unwrap());
    buffers.set_send_buffer_size(16 << 10).unwrap();
    buffers.set_recv_buffer_size(16 << 10).unwrap();
}

#[tokio::test]
async fn half_open_handshakes_take_the_places_of_their_address_and_for_a_while() {
    let limits = Setup::new().with("limits", "sessions_per_address: 10").with("timeouts", "tls_handshake: 500ms");
    let mut scene = Scene::open(limits).await;
    let mut flood = Vec::new();
    for _ in 0..30 {
        let mut client = attacker(&scene.stage, "implicit").await;
        // The beginning of a ClientHello. One that was turned away may be gone already.
        let _ = client.talk.wire.write(b"\x16\x03\x01\x02\x00\x01\x00").await;
        flood.push(client);
    }
    let turned_away = "connections_refused_total{listener=\"implicit\",reason=\"too_many_sessions_from_address\"}";
    scene.stage.counts(turned_away, 20).await;
    scene.downloads().await;
    let ended = "sessions_total{listener=\"implicit\",outcome=\"tls_failed\"}";
    scene.stage.counts(ended, 10).await;
    scene.stage.counts("sessions_active{listener=\"implicit\"}", 0).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn senders_of_single_bytes_are_given_the_time_of_a_login_and_no_more() {
    let mut scene = Scene::open(Setup::new().with("timeouts", "login: 2s")).await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        let mut client = attacker(&scene.stage, "explicit").await;
        client.hears("220 ").await;
        flood.push(client);
    }
    scene.goes_on().await;
    // Each byte is news, none of them is a command.
    for byte in b"USERUSER" {
        for client in &mut flood {
            client.talk.say_raw([*byte]).await;
        }
    }
    scene.downloads().await;
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"login_timeout\"}", 20).await;
    for client in &mut flood {
        client.refused(421, "login_timeout").await;
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn idle_connections_in_clear_fill_the_places_and_no_more() {
    let limits = Setup::new().with("limits", "sessions: 1001").with("limits", "sessions_per_address: 1000");
    let mut scene = Scene::open(limits).await;
    let mut flood = Vec::new();
    for _ in 0..1000 {
        flood.push(attacker(&scene.stage, "explicit").await);
    }
    scene.stage.counts("sessions_active{listener=\"explicit\"}", 1001).await;
    let mut one_more = attacker(&scene.stage, "explicit").await;
    one_more.refused(421, "too_many_sessions").await;
    let turned_away = "connections_refused_total{listener=\"explicit\",reason=\"too_many_sessions\"}";
    scene.stage.counts(turned_away, 1).await;
    scene.downloads().await;
    scene.uploads().await;
    drop(flood);
    scene.stage.counts("sessions_active{listener=\"explicit\"}", 1).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_flood_of_pasv_holds_one_port_for_each_session() {
    let mut scene = Scene::open(Setup::new().ports(3)).await;
    let mut client = attacker(&scene.stage, "explicit").await;
    client.hears("220 ").await;
    client.secures().await;
    let mut actor = scene.stage.logs_in(&mut client).await;
    for _ in 0..100 {
        client.says("PASV").await;
        actor.goes_passive().await;
        client.hears("227 ").await;
    }
    scene.stage.counts("passive_ports{state=\"reserved\"}", 1).await;
    scene.downloads().await;
    client.talk.resets();
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    scene.downloads().await;
}

/// Nothing is kept for a client that does not take its replies: it is not read any more.
#[tokio::test]
async fn a_pipelined_flood_waits_in_the_client() {
    let mut scene = Scene::plain().await;
    let mut client = attacker(&scene.stage, "explicit").await;
    client.hears("220 ").await;
    has_small_buffers(&client);
    let flood = "NOOP\r\n".repeat(1000);
    let taken = until_held_up(&mut client, flood.as_bytes(), 16 << 20).await;
    assert!(taken.is_some(), "the gateway takes whatever comes");
    scene.downloads().await;
    // The half minute that a client may leave its replies.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"client_stalled\"}", 1).await;
    scene.goes_on().await;
}

/// The same behind a command that the backend does not answer.
#[tokio::test]
async fn a_pipelined_flood_behind_a_command_waits_in_the_client() {
    let mut scene = Scene::plain().await;
    let mut client = attacker(&scene.stage, "explicit").await;
    client.hears("220 ").await;
    client.secures().await;
    let mut actor = scene.stage.logs_in(&mut client).await;
    has_small_buffers(&client);
    client.says("SITE SLOW").await;
    actor.hears("SITE SLOW").await;
    let flood = "NOOP\r\n".repeat(1000);
    let taken = until_held_up(&mut client, flood.as_bytes(), 8 << 20).await;
    assert!(taken.is_some(), "the gateway takes whatever comes");
    scene.downloads().await;
    // `timeouts.backend_reply`, as it is by itself.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"backend_timeout\"}", 1).await;
    scene.goes_on().await;
}

/// During a transfer everything is read, because ABOR must be seen; so there the flood ends the session.
#[tokio::test]
async fn a_pipelined_flood_during_a_transfer_ends_the_session() {
    let mut scene = Scene::plain().await;
    let mut good = scene.stage.client_from("good", "127.0.0.67").await;
    good.secures().await;
    let mut transfer = scene.begins("RETR long").await;
    transfer.backend.sends("the first bytes").await;
    scene.client.talk.say_raw("SIZE a\r\n".repeat(300)).await;
    let refused = "commands_refused_total{reason=\"command_pipeline_full\"}";
    scene.stage.counts(refused, 1).await;
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"command_pipeline_full\"}", 1).await;
    let mut actor = scene.stage.logs_in(&mut good).await;
    good.says("PWD").await;
    actor.hears_and_says("PWD", "257 \"/\"").await;
    good.hears("257 ").await;
}

#[tokio::test]
async fn a_line_without_an_end_is_kept_nowhere_and_ends_with_the_login() {
    let mut scene = Scene::open(Setup::new().with("timeouts", "login: 1s")).await;
    let mut client = attacker(&scene.stage, "explicit").await;
    client.hears("220 ").await;
    let endless = async {
        let mut sent = 0;
        while client.talk.wire.write(&[b'x'; 65536]).await.is_ok() {
            sent += 65536;
        }
        sent
    };
    let (sent, ()) = tokio::join!(timeout(DEADLINE, endless), scene.downloads());
    let sent = sent.expect("the gateway takes whatever comes");
    assert!(sent > 1 << 20, "{sent} bytes show nothing");
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"login_timeout\"}", 1).await;
    scene.goes_on().await;
}

/// FEAT is the one reply that is collected: as many lines as any server needs.
#[tokio::test]
async fn features_are_collected_within_bounds() {
    let mut scene = Scene::plain().await;
    let mut good = scene.stage.client_from("good", "127.0.0.67").await;
    good.secures().await;
    let mut actor = scene.stage.logs_in(&mut good).await;
    scene.client.says("FEAT").await;
    scene.backend.hears("FEAT").await;
    scene.backend.talk.say_raw("211-Features:\r\n").await;
    let many: String = (0..5000).map(|number| format!(" X{number:04}\r\n")).collect();
    scene.backend.talk.say_raw(&many).await;
    good.says("PWD").await;
    actor.hears_and_says("PWD", "257 \"/\"").await;
    good.hears("257 ").await;
    scene.backend.says("211 End").await;
    let heard = scene.client.hears("211-").await;
    assert!(heard.lines().len() < 300, "{} lines", heard.lines().len());
    scene.goes_on().await;
}

#[tokio::test]
async fn a_greeting_without_end_is_no_greeting() {
    let mut scene = Scene::plain().await;
    let mut client = attacker(&scene.stage, "explicit").await;
    client.hears("220 ").await;
    client.secures().await;
    client.says("USER bob").await;
    let mut hostile = scene.stage.backend().accepts().await;
    let endless = async {
        let lines = "220-Welcome to a long story\r\n".repeat(1000);
        while hostile.talk.wire.write(lines.as_bytes()).await.is_ok() {}
    };
    let heard = async {
        client.refused(421, "backend_nonsense").await;
        assert_eq!(client.ends().await, End::CloseNotify);
    };
    tokio::join!(endless, heard, scene.downloads());
    scene.stage.counts("backend_failures_total{backend=\"legacy\",reason=\"nonsense\"}", 1).await;
    scene.goes_on().await;
}
