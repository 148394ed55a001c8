//! Draining, stopping, and reading the configuration anew, with sessions that run.

use ftps_gateway::config;
use ftps_gateway::server::Drain;

use serde_json::json;

use crate::stage::{DEADLINE, Desk, End, Scene, Setup, Stage, holds};

#[tokio::test]
async fn a_drain_ends_sessions_that_have_nothing_running() {
    let mut scene = Scene::plain().await;
    let mut early = scene.stage.client().await;
    let stage = &scene.stage;
    let drain = tokio::time::timeout(DEADLINE, stage.gateway.drain());
    let clients = async {
        early.refused(421, "draining").await;
        assert_eq!(early.ends().await, End::Fin);
        scene.client.refused(421, "draining").await;
        assert_eq!(scene.client.ends().await, End::CloseNotify);
    };
    let (drain, ()) = tokio::join!(drain, clients);
    assert_eq!(drain.unwrap(), Drain::Finished);
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"drained\"}", 1).await;
    stage.is_empty().await;
}

/// A client that has said REIN and does not end TLS has nothing running either.
#[tokio::test]
async fn a_drain_does_not_wait_for_the_end_of_tls() {
    let mut scene = Scene::plain().await;
    let mut early = scene.stage.secured_client().await;
    for client in [&mut early, &mut scene.client] {
        client.says_and_hears("REIN", "220 ").await;
    }
    let drain = tokio::time::timeout(DEADLINE, scene.stage.gateway.drain()).await;
    assert_eq!(drain.unwrap(), Drain::Finished);
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"draining\"}", 2).await;
    scene.stage.is_empty().await;
}

/// The same of one that has said CCC.
#[tokio::test]
async fn a_drain_does_not_wait_for_ccc() {
    let mut scene = Scene::open(Setup::new().with("tls", "clear_command_channel: allow")).await;
    scene.client.says_and_hears("CCC", "200 ").await;
    let drain = tokio::time::timeout(DEADLINE, scene.stage.gateway.drain()).await;
    assert_eq!(drain.unwrap(), Drain::Finished);
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"draining\"}", 1).await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn a_drain_takes_no_new_sessions() {
    let scene = Scene::plain().await;
    let (explicit, implicit) = (scene.stage.listener("explicit"), scene.stage.listener("implicit"));
    scene.stage.gateway.drain().await;
    for address in [explicit, implicit] {
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn a_drain_lets_a_running_transfer_finish() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    let drain = tokio::time::timeout(DEADLINE, scene.stage.gateway.drain());
    let play = async {
        transfer.client.sends("half of").await;
        transfer.backend.receives("half of").await;
        scene.client.talk.hears_nothing().await;
        transfer.client.sends(" it").await;
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.receives_all().await, (b" it".to_vec(), End::Fin));
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
        scene.client.refused(421, "draining").await;
        assert_eq!(scene.client.ends().await, End::CloseNotify);
    };
    let (drain, ()) = tokio::join!(drain, play);
    assert_eq!(drain.unwrap(), Drain::Finished);
}

#[tokio::test]
async fn a_drain_cuts_what_takes_too_long_so_that_both_peers_can_see_it() {
    let mut scene = Scene::open(Setup::new().with("timeouts", "drain: 200ms")).await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    let drain = tokio::time::timeout(DEADLINE, scene.stage.gateway.drain());
    let play = async {
        assert_eq!(transfer.backend.ends().await, End::Reset);
        scene.client.refused(421, "stopped").await;
        assert_eq!(scene.client.ends().await, End::CloseNotify);
        assert_ne!(transfer.client.ends().await, End::CloseNotify);
    };
    let (drain, ()) = tokio::join!(drain, play);
    assert_eq!(drain.unwrap(), Drain::CutOff(1));
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"stopped\"}", 1).await;
}

#[tokio::test]
async fn a_stop_ends_every_session_with_421_and_close_notify() {
    let Scene { stage, mut client, backend: _backend } = Scene::plain().await;
    let mut early = stage.secured_client().await;
    let stop = tokio::time::timeout(DEADLINE, stage.gateway.stop());
    let clients = async {
        client.refused(421, "stopped").await;
        assert_eq!(client.ends().await, End::CloseNotify);
        early.talk.line("421").await;
        assert_eq!(early.ends().await, End::CloseNotify);
    };
    let (stopped, ()) = tokio::join!(stop, clients);
    stopped.unwrap();
}

/// There always is a client that does not begin the handshake it has asked for.
#[tokio::test]
async fn a_stop_ends_sessions_that_hear_of_nothing_and_each_has_its_end() {
    let desk = Desk::new();
    let Scene { stage, client: _client, backend: _backend } = Scene::open(desk.setup()).await;
    let mut silent = stage.client().await;
    silent.says("AUTH TLS").await;
    silent.hears("234 ").await;
    let metrics = std::sync::Arc::clone(&stage.metrics);
    tokio::time::timeout(DEADLINE, stage.gateway.stop()).await.unwrap();
    let ends = desk.lines("session_ended");
    assert_eq!((desk.lines("session_started").len(), ends.len()), (2, 2), "{ends:?}");
    holds(&ends[0], &json!({ "user": "bob", "by": "gateway", "during": "commands", "reason": "stopped" }));
    holds(&ends[1], &json!({ "user": null, "by": "gateway", "during": "handshake", "reason": "stopped" }));
    let page = metrics.render().unwrap();
    assert!(page.contains("\nftps_gateway_sessions_active{listener=\"explicit\"} 0\n"), "{page}");
}

#[tokio::test]
async fn a_reload_does_not_touch_running_sessions() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    let setup = Setup::new().line("banner: \"New\"").with("active", "enabled: false");
    assert!(scene.stage.reloads(&setup).await.is_empty());
    transfer.backend.sends("content").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
    scene.downloads().await;
    let listener = scene.client.listens().await;
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    scene.client.says(format!("PORT 127,0,0,1,{high},{low}")).await;
    let _door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
}

/// At a kibibyte a second it would take minutes.
#[tokio::test]
async fn other_limits_of_bandwidth_hold_for_running_transfers() {
    let content = vec![7; 300_000];
    let mut scene = Scene::open(Setup::new().with("limits", "bandwidth: { user: 1KiB }")).await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("first").await;
    transfer.backend.receives("first").await;
    assert!(scene.stage.reloads(&Setup::new()).await.is_empty());
    let client = async {
        transfer.client.sends(&content).await;
        transfer.client.finishes().await;
    };
    let ((), received) = tokio::join!(client, transfer.backend.receives_all());
    assert!(received == (content.clone(), End::Fin));
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 Stored").await;
}

#[tokio::test]
async fn a_reload_is_in_force_for_new_sessions() {
    let stage = Stage::plain().await;
    stage.reloads(&Setup::new().line("banner: \"New\"").with("tls", "control: optional")).await;
    let mut client = stage.connects("client").await;
    client.hears("220 New").await;
    let _backend = stage.logs_in(&mut client).await;
    stage.counts("config_reloads_total{result=\"accepted\"}", 1).await;
}

#[tokio::test]
async fn new_limits_are_in_force_at_once_and_take_no_place_away() {
    let stage = Stage::plain().await;
    let mut one = stage.client().await;
    let mut two = stage.client().await;
    stage.reloads(&Setup::new().with("limits", "sessions: 1")).await;
    one.says_and_hears("NOOP", "200 ").await;
    two.says_and_hears("NOOP", "200 ").await;
    stage.connects("three").await.refused(421, "too_many_sessions").await;
}

#[tokio::test]
async fn a_bad_configuration_is_refused_whole_and_the_old_one_stays() {
    let stage = Stage::start(Setup::new().line("banner: \"Old\"").certificates(&["a.example"])).await;
    let setup = Setup::new().line("banner: \"New\"");
    let text = setup.yaml(stage.folder.path(), &stage.backends, &stage.identity, &[&stage.own[0]]);
    let settings = config::parse(&text, "gateway.yaml").unwrap();
    // The file is there and does not hold a certificate.
    std::fs::write(&stage.own[0].certificate, "not a certificate").unwrap();
    let problem = stage.gateway.reload(settings).unwrap_err().to_string();
    assert!(problem.contains("a.example-certificate.pem"), "{problem}");
    stage.counts("config_last_reload_successful", 0).await;
    stage.counts("config_reloads_total{result=\"refused\"}", 1).await;
    let mut client = stage.connects("client").await;
    client.hears("220 Old").await;
    client.secures().await;
}

#[tokio::test]
async fn what_needs_a_restart_says_so() {
    let stage = Stage::plain().await;
    let restart = stage.reloads(&Setup::new().listening_on(&["127.0.0.1", "127.0.0.2"])).await;
    assert_eq!(restart, ["listeners"]);
    stage.client().await;
}
