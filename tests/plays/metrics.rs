//! What Prometheus is told, read as Prometheus reads it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{End, Scene, Setup, Stage};

/// The answer to a GET on the admin pages.
pub(crate) async fn get(stage: &Stage, path: &str) -> String {
    let address = stage.gateway.admin_address().unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stage.transcript.soon("the admin page", tcp.read_to_string(&mut answer)).await.unwrap();
    answer
}

fn with_admin() -> Setup {
    Setup::new().with("admin", "address: \"127.0.0.1:0\"")
}

#[tokio::test]
async fn the_pages_are_served() {
    let stage = Stage::start(with_admin()).await;
    let page = get(&stage, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("\nftps_gateway_build_info{version=\""), "{page}");
    assert!(get(&stage, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(&stage, "/readyz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_draining_gateway_is_not_ready() {
    let mut scene = Scene::open(with_admin()).await;
    let mut transfer = scene.begins("STOR file").await;
    let stage = &scene.stage;
    let drain = stage.gateway.drain();
    let play = async {
        // The drain has begun when the listeners are closed.
        while TcpStream::connect(stage.listener("explicit")).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(get(stage, "/readyz").await.starts_with("HTTP/1.1 503 "));
        assert!(get(stage, "/healthz").await.starts_with("HTTP/1.1 200 "));
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.ends().await, End::Fin);
        scene.backend.says("226 Stored").await;
    };
    stage.transcript.soon("the drain", async { tokio::join!(drain, play) }).await;
}

#[tokio::test]
async fn sessions_are_counted_by_listener_while_they_run_and_by_outcome_when_they_end() {
    let stage = Stage::plain().await;
    let mut explicit = stage.client().await;
    let mut implicit = stage.implicit_client().await;
    stage.counts("sessions_active{listener=\"explicit\"}", 1).await;
    stage.counts("sessions_active{listener=\"implicit\"}", 1).await;
    explicit.says_and_hears("QUIT", "221 ").await;
    implicit.talk.finishes().await;
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"quit\"}", 1).await;
    stage.counts("sessions_total{listener=\"implicit\",outcome=\"client_closed\"}", 1).await;
    stage.counts("session_duration_seconds_count", 2).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn bytes_move_while_a_transfer_runs() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    scene.stage.counts("transfers_active{direction=\"download\"}", 1).await;
    for round in 1..=3 {
        transfer.backend.sends([7; 1000]).await;
        transfer.client.receives([7; 1000]).await;
        scene.stage.counts("transfer_bytes_total{direction=\"download\"}", round * 1000).await;
    }
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 ").await;
    scene.stage.counts("transfers_active{direction=\"download\"}", 0).await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"completed\"}", 1).await;
    scene.stage.counts("transfer_duration_seconds_count{direction=\"download\"}", 1).await;
}

#[tokio::test]
async fn uploads_and_downloads_are_told_apart() {
    let mut scene = Scene::plain().await;
    scene.uploads().await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"completed\"}", 1).await;
    scene.stage.counts("transfer_bytes_total{direction=\"upload\"}", 13).await;
    scene.stage.counts("transfer_bytes_total{direction=\"download\"}", 0).await;
    scene.downloads().await;
    scene.stage.counts("transfer_bytes_total{direction=\"download\"}", 13).await;
    scene.stage.counts("transfer_bytes_total{direction=\"upload\"}", 13).await;
}

#[tokio::test]
async fn the_conversation_is_counted() {
    let mut scene = Scene::plain().await;
    scene.goes_on().await;
    scene.client.says("XYZZY").await;
    scene.backend.hears_and_says("XYZZY", "502 No").await;
    scene.client.hears("502 ").await;
    scene.client.says("CCC").await;
    scene.client.refused(534, "clear_control_refused").await;
    let stage = &scene.stage;
    stage.counts("logins_total{result=\"accepted\"}", 1).await;
    stage.counts("commands_total{verb=\"PWD\"}", 1).await;
    stage.counts("commands_total{verb=\"other\"}", 1).await;
    stage.counts("commands_refused_total{reason=\"clear_control_refused\"}", 1).await;
    stage.counts("replies_total{class=\"5xx\"}", 2).await;
    stage.counts("backend_up{backend=\"legacy\"}", 1).await;
    stage.counts("backend_connect_duration_seconds_count{backend=\"legacy\"}", 1).await;
}

#[tokio::test]
async fn handshakes_are_counted_by_leg_and_channel() {
    let mut scene = Scene::open(Setup::new().secured(crate::stage::Security::Explicit)).await;
    scene.uploads().await;
    let series = |leg: &str, channel: &str, kind: &str| {
        format!(
            "tls_handshakes_total{{channel=\"{channel}\",kind=\"{kind}\",leg=\"{leg}\",result=\"ok\",version=\"1.3\"}}"
        )
    };
    scene.stage.counts(&series("front", "control", "full"), 1).await;
    scene.stage.counts(&series("front", "data", "resumed"), 1).await;
    scene.stage.counts(&series("back", "control", "full"), 1).await;
    scene.stage.counts(&series("back", "data", "resumed"), 1).await;
}

#[tokio::test]
async fn data_connections_are_counted_by_mode_and_outcome() {
    let mut scene = Scene::plain().await;
    scene.downloads().await;
    let stage = &scene.stage;
    stage.counts("data_connections_total{leg=\"front\",mode=\"pasv\",outcome=\"opened\"}", 1).await;
    stage.counts("data_connections_total{leg=\"back\",mode=\"pasv\",outcome=\"opened\"}", 1).await;
    scene.goes_passive().await;
    scene.client.says_and_hears("ABOR", "226 ").await;
    scene.stage.counts("data_connections_total{leg=\"front\",mode=\"pasv\",outcome=\"unused\"}", 1).await;
}

#[tokio::test]
async fn passive_ports_are_counted_by_state() {
    let mut scene = Scene::open(Setup::new().ports(3)).await;
    scene.stage.counts("passive_ports{state=\"free\"}", 3).await;
    scene.goes_passive().await;
    scene.stage.counts("passive_ports{state=\"free\"}", 2).await;
    scene.stage.counts("passive_ports{state=\"reserved\"}", 1).await;
}

#[tokio::test]
async fn a_control_connection_without_close_notify_is_counted() {
    let mut scene = Scene::plain().await;
    scene.client.talk.fins().await;
    scene.backend.ends().await;
    scene.stage.counts("missing_close_notify_total{channel=\"control\",leg=\"front\"}", 1).await;
    scene.stage.is_empty().await;
}

/// Nobody outside can add a series: neither addresses nor names of users or files are labels.
#[tokio::test]
async fn what_peers_send_is_never_a_label() {
    let mut scene = Scene::plain().await;
    scene.client.says("FROBNICATE some-file").await;
    scene.backend.hears_and_says("FROBNICATE some-file", "502 No").await;
    scene.client.hears("502 ").await;
    let mut transfer = scene.begins("STOR some-file").await;
    transfer.client.finishes().await;
    transfer.backend.ends().await;
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 ").await;
    let page = scene.stage.metrics.render().unwrap();
    for sent in ["some-file", "FROBNICATE", "bob", "127.0.0.1"] {
        assert!(!page.contains(sent), "{sent}");
    }
}
