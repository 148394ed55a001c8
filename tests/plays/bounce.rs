//! The bounce attack and port stealing (RFC 2577 §3): data connections go to the two peers and to nobody else.

use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

use crate::stage::{Data, End, Scene, Setup, Stage};

/// Nobody connects there.
async fn is_left_alone(victim: &TcpListener) {
    assert!(timeout(Duration::from_millis(60), victim.accept()).await.is_err(), "the victim was connected to");
}

#[tokio::test]
async fn port_to_another_host_is_refused_and_never_connected() {
    let mut scene = Scene::plain().await;
    let victim = TcpListener::bind("127.0.0.9:0").await.unwrap();
    let [high, low] = victim.local_addr().unwrap().port().to_be_bytes();
    scene.client.says(format!("PORT 127,0,0,9,{high},{low}")).await;
    scene.client.refused(504, "foreign_address").await;
    scene.client.says("RETR file").await;
    scene.client.refused(425, "no_data_connection").await;
    is_left_alone(&victim).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn eprt_to_another_host_is_refused_and_never_connected() {
    let mut scene = Scene::plain().await;
    let victim = TcpListener::bind("[::1]:0").await.unwrap();
    let port = victim.local_addr().unwrap().port();
    for command in [format!("EPRT |1|127.0.0.9|{port}|"), format!("EPRT |2|::1|{port}|")] {
        scene.client.says(command).await;
        scene.client.refused(504, "foreign_address").await;
    }
    scene.client.says("LIST").await;
    scene.client.refused(425, "no_data_connection").await;
    is_left_alone(&victim).await;
}

#[tokio::test]
async fn privileged_ports_are_refused() {
    let mut scene = Scene::plain().await;
    for command in ["PORT 127,0,0,1,0,25", "PORT 127,0,0,1,3,255", "EPRT |1|127.0.0.1|22|", "PORT 127,0,0,1,0,0"] {
        scene.client.says(command).await;
        scene.client.refused(504, "privileged_port").await;
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn a_refused_port_leaves_what_was_arranged_before() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    scene.client.says("PORT 127,0,0,9,200,10").await;
    scene.client.refused(504, "foreign_address").await;
    let client = scene.client.opens(address).await;
    scene.commands("RETR file", client, &door).await;
}

/// FXP is out.
#[tokio::test]
async fn server_to_server_commands_are_502() {
    let mut scene = Scene::plain().await;
    for command in ["CPSV", "SSCN ON", "LPSV", "LPRT 4,4,127,0,0,1,2,200,10", "ADAT x", "MIC x", "ENC x", "CONF x"] {
        scene.client.says(command).await;
        scene.client.refused(502, "not_implemented").await;
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn a_stranger_on_a_passive_port_is_dropped_and_the_client_is_served() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let tcp = socket.connect(address).await.unwrap();
    let mut stranger = Data::new("stranger", tcp, scene.stage.transcript.clone());
    stranger.ends().await;
    scene.stage.counts("stray_connections_total{cause=\"no_reservation\"}", 1).await;
    let client = scene.client.opens(address).await;
    let mut transfer = scene.commands("RETR secret", client, &door).await;
    transfer.client.secures(&scene.client.tls).await;
    transfer.backend.sends("for the client alone").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await.0, b"for the client alone");
}

#[tokio::test]
async fn a_second_connection_to_a_passive_port_is_dropped() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    // The first is taken when the reservation is gone.
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    let mut second = scene.client.opens(address).await;
    assert_eq!(second.ends().await, End::Fin);
    scene.commands("RETR file", client, &door).await;
    scene.stage.counts("stray_connections_total{cause=\"no_reservation\"}", 1).await;
}

#[tokio::test]
async fn a_backend_cannot_send_the_gateway_elsewhere() {
    let mut scene = Scene::plain().await;
    let victim = TcpListener::bind("127.0.0.9:0").await.unwrap();
    let [high, low] = victim.local_addr().unwrap().port().to_be_bytes();
    scene.client.says("PASV").await;
    scene.backend.hears_and_says("PASV", &format!("227 Come (127,0,0,9,{high},{low})")).await;
    scene.client.hears("227 ").await;
    scene.client.says("RETR file").await;
    // At the backend's own address nobody listens on that port.
    scene.client.refused(425, "backend_data_failed").await;
    is_left_alone(&victim).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_stranger_on_the_backends_active_port_is_dropped_and_the_backend_is_served() {
    let mut scene = Scene::open(Setup::new().backend("data: active")).await;
    scene.client.says("PASV").await;
    let address = scene.backend.hears_where().await;
    scene.backend.says("200 Noted").await;
    let reply = scene.client.hears("227 ").await;
    let mut data = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.client.says("RETR file").await;
    scene.backend.hears("RETR file").await;
    let mut stranger = scene.backend.connects_from([127, 0, 0, 9].into(), address).await;
    assert_eq!(stranger.ends().await, End::Fin);
    let mut back = scene.backend.connects(address).await;
    scene.backend.says("150 Here").await;
    scene.client.hears("150 ").await;
    data.secures(&scene.client.tls).await;
    back.sends("genuine").await;
    back.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(data.receives_all().await, (b"genuine".to_vec(), End::CloseNotify));
}

#[tokio::test]
async fn one_clients_port_is_no_other_clients() {
    let stage = Stage::plain().await;
    let mut one = stage.client_from("one", "127.0.0.1").await;
    one.secures().await;
    let mut backend = stage.logs_in(&mut one).await;
    one.says("PASV").await;
    backend.goes_passive().await;
    let reply = one.hears("227 ").await;
    let two = stage.client_from("two", "127.0.0.2").await;
    let mut thief = two.opens(one.passive_address(&reply)).await;
    thief.ends().await;
    stage.counts("stray_connections_total{cause=\"no_reservation\"}", 1).await;
}
