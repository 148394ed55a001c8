//! Who may come: `access.allow` and `access.deny`.

use std::fmt::Write;

use crate::stage::{Client, End, Scene, Setup, Stage};

async fn from(stage: &Stage, address: &str, listener: &str) -> Client {
    let (from, to) = (address.parse().unwrap(), stage.listener(listener));
    Client::connect("stranger", from, to, stage.setup.client_tls.clone(), stage.transcript.clone()).await
}

#[tokio::test]
async fn an_address_that_is_denied_hears_so_in_clear_and_takes_no_place() {
    // Also where the same addresses are allowed.
    let setup =
        Setup::new().with("access", "allow: 127.0.0.0/8, deny: [127.0.0.2, 127.0.0.3]").with("limits", "sessions: 1");
    let stage = Stage::start(setup).await;
    for address in ["127.0.0.2", "127.0.0.3"] {
        let mut stranger = from(&stage, address, "explicit").await;
        stranger.refused(421, "address_denied").await;
        assert_eq!(stranger.ends().await, End::Fin);
    }
    stage.counts("connections_refused_total{listener=\"explicit\",reason=\"address_denied\"}", 2).await;
    assert_eq!(stage.number("sessions_total{listener=\"explicit\",outcome=\"client_closed\"}"), Some(0.0));
    stage.client().await;
}

#[tokio::test]
async fn an_implicit_listener_ends_without_a_word_and_without_a_handshake() {
    let stage = Stage::start(Setup::new().with("access", "allow: [127.0.0.1]")).await;
    let mut stranger = from(&stage, "127.0.0.2", "implicit").await;
    assert_eq!(stranger.ends().await, End::Fin);
    stage.counts("connections_refused_total{listener=\"implicit\",reason=\"address_not_allowed\"}", 1).await;
    stage.implicit_client().await;
}

/// On a dual-stack listener the system shows an IPv4 client as `::ffff:127.0.0.2`.
#[tokio::test]
async fn ipv4_through_an_ipv6_socket_is_ipv4() {
    let setup = Setup::new().listening_on(&["::"]).with("access", "allow: [127.0.0.2]");
    let stage = Stage::start(setup).await;
    let mut to = stage.listener("explicit");
    let mut stranger = from(&stage, "::1", "explicit").await;
    stranger.refused(421, "address_not_allowed").await;
    to.set_ip([127, 0, 0, 1].into());
    let (tls, transcript) = (stage.setup.client_tls.clone(), stage.transcript.clone());
    let mut client = Client::connect("client", "127.0.0.2".parse().unwrap(), to, tls, transcript).await;
    client.hears("220 ").await;
}

/// A hundred thousand networks, of which some hold clients here.
#[tokio::test]
async fn of_a_hundred_thousand_networks_each_counts() {
    let mut networks = String::new();
    for at in 0..100_000u32 {
        let [_, high, middle, low] = (at * 2).to_be_bytes();
        write!(networks, "{}.{high}.{middle}.{low},", if at < 50_000 { 126 } else { 127 }).unwrap();
    }
    let stage = Stage::start(Setup::new().with("access", format!("deny: [{networks}]"))).await;
    // The last of them, one in the midst, and their neighbours.
    for (address, denied) in [("127.3.13.62", true), ("127.3.13.63", false), ("127.2.0.4", true), ("127.2.0.5", false)]
    {
        let mut client = from(&stage, address, "explicit").await;
        match denied {
            true => drop(client.refused(421, "address_denied").await),
            false => drop(client.hears("220 ").await),
        }
    }
}

#[tokio::test]
async fn a_reload_is_for_new_connections_and_running_sessions_go_on() {
    let mut scene = Scene::plain().await;
    scene.stage.reloads(&Setup::new().with("access", "deny: [\"127.0.0.0/8\"]")).await;
    let mut late = scene.stage.connects("late").await;
    late.refused(421, "address_denied").await;
    scene.goes_on().await;
    scene.downloads().await;
    scene.stage.reloads(&Setup::new()).await;
    scene.stage.client().await;
}

/// Strangers knock as fast as they can while a transfer runs.
#[tokio::test]
async fn a_good_client_goes_on_while_strangers_knock() {
    let mut scene = Scene::open(Setup::new().with("access", "deny: [127.0.0.2]")).await;
    let mut transfer = scene.begins("RETR big").await;
    for _ in 0..50 {
        let mut stranger = from(&scene.stage, "127.0.0.2", "explicit").await;
        transfer.backend.sends("more").await;
        transfer.client.receives("more").await;
        stranger.refused(421, "address_denied").await;
    }
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (Vec::new(), End::CloseNotify));
    scene.client.hears("226 Sent").await;
}
