//! Every way of a client's data connection against every way of a backend's, over IPv4 and IPv6 on either side: the
//! request is translated in place.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::stage::{Data, Door, End, Scene, Setup};

/// How the client asks.
#[derive(Debug, Clone, Copy)]
enum Front {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

/// How the backend is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

/// Where the client's data connection will be.
enum FrontWay {
    Connects(SocketAddr),
    Listens(TcpListener),
}

/// Where the backend's data connection will be.
enum BackWay {
    Waits(Door),
    Connects(SocketAddr),
}

/// The client asks, the backend is asked, and the client is told.
async fn arrange(scene: &mut Scene, front: Front, back: Back) -> (FrontWay, BackWay) {
    let listener = scene.client.listens().await;
    let address = listener.local_addr().unwrap();
    let [high, low] = address.port().to_be_bytes();
    let family = if address.is_ipv4() { 1 } else { 2 };
    let host = address.ip().to_string();
    match front {
        Front::Pasv => scene.client.says("PASV").await,
        Front::Epsv => scene.client.says("EPSV").await,
        Front::Port => scene.client.says(format!("PORT {},{high},{low}", host.replace('.', ","))).await,
        Front::Eprt => scene.client.says(format!("EPRT |{family}|{host}|{}|", address.port())).await,
    }
    let back = match back {
        Back::Pasv => BackWay::Waits(scene.backend.goes_passive().await),
        Back::Epsv => {
            let door = scene.backend.door().await;
            scene.backend.hears("EPSV").await;
            scene.backend.says(door.epsv_reply()).await;
            BackWay::Waits(door)
        }
        Back::Port | Back::Eprt => {
            let address = scene.backend.hears_where().await;
            assert_eq!(address.is_ipv4(), back == Back::Port);
            scene.backend.says("200 Noted").await;
            BackWay::Connects(address)
        }
    };
    let front = match front {
        Front::Pasv | Front::Epsv => {
            let code = if let Front::Pasv = front { "227 " } else { "229 " };
            let reply = scene.client.hears(code).await;
            FrontWay::Connects(scene.client.passive_address(&reply))
        }
        Front::Port | Front::Eprt => {
            scene.client.hears("200 ").await;
            FrontWay::Listens(listener)
        }
    };
    (front, back)
}

/// The command, and both data connections secured and ready.
async fn begin(scene: &mut Scene, command: &str, front: Front, back: Back) -> (Data, Data) {
    let (front, back) = arrange(scene, front, back).await;
    scene.client.says(command).await;
    let backend = match back {
        BackWay::Waits(door) => {
            let data = door.accepts().await;
            scene.backend.hears_and_says(command, "150 Here").await;
            data
        }
        BackWay::Connects(address) => {
            scene.backend.hears_and_says(command, "150 Here").await;
            scene.backend.connects(address).await
        }
    };
    scene.client.hears("150 Here").await;
    let mut client = match front {
        FrontWay::Connects(address) => scene.client.opens(address).await,
        FrontWay::Listens(listener) => scene.client.accepts(&listener).await,
    };
    client.secures(&scene.client.tls).await;
    (client, backend)
}

/// A download, an upload and another download, since a session must find its way a second time too.
async fn works(client_on: &'static str, backend_on: &str, front: Front, back: Back) {
    let mut setup = Setup::new().listening_on(&[client_on]).backend_on(backend_on);
    if let Back::Port | Back::Eprt = back {
        setup = setup.backend("data: active");
    }
    let mut scene = Scene::open(setup).await;
    if back == Back::Epsv && backend_on == "127.0.0.1" {
        // On IPv4 it is asked PASV first, and knows it not.
        scene.client.says("EPSV").await;
        scene.backend.hears_and_says("PASV", "502 Unknown").await;
        scene.backend.hears_and_says("EPSV", "425 Not yet").await;
        scene.client.refused(425, "backend_data_failed").await;
        let (address, door) = {
            scene.client.says("EPSV").await;
            scene.backend.hears_and_says("PASV", "502 Unknown").await;
            let door = scene.backend.door().await;
            scene.backend.hears("EPSV").await;
            scene.backend.says(door.epsv_reply()).await;
            let reply = scene.client.hears("229 ").await;
            (scene.client.passive_address(&reply), door)
        };
        let client = scene.client.opens(address).await;
        let mut transfer = scene.commands("RETR first", client, &door).await;
        transfer.client.secures(&scene.client.tls).await;
        transfer.backend.finishes().await;
        scene.backend.says("226 Sent").await;
        assert_eq!(transfer.client.ends().await, End::CloseNotify);
        scene.client.hears("226 Sent").await;
    }
    for _ in 0..2 {
        let (mut client, mut backend) = begin(&mut scene, "RETR down", front, back).await;
        backend.sends("downwards").await;
        backend.finishes().await;
        scene.backend.says("226 Sent").await;
        assert_eq!(client.receives_all().await, (b"downwards".to_vec(), End::CloseNotify));
        scene.client.hears("226 Sent").await;

        let (mut client, mut backend) = begin(&mut scene, "STOR up", front, back).await;
        client.sends("upwards").await;
        client.finishes().await;
        assert_eq!(backend.receives_all().await, (b"upwards".to_vec(), End::Fin));
        backend.finishes().await;
        scene.backend.says("226 Stored").await;
        scene.client.hears("226 Stored").await;
    }
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
}

macro_rules! pairs {
    ($($name:ident: $client_on:literal $front:ident, $backend_on:literal $back:ident;)+) => {
        $(#[tokio::test]
        async fn $name() {
            works($client_on, $backend_on, Front::$front, Back::$back).await;
        })+
    };
}

pairs! {
    pasv_on_ipv4_to_pasv_on_ipv4: "127.0.0.1" Pasv, "127.0.0.1" Pasv;
    pasv_on_ipv4_to_epsv_on_ipv4: "127.0.0.1" Pasv, "127.0.0.1" Epsv;
    pasv_on_ipv4_to_port_on_ipv4: "127.0.0.1" Pasv, "127.0.0.1" Port;
    pasv_on_ipv4_to_epsv_on_ipv6: "127.0.0.1" Pasv, "::1" Epsv;
    pasv_on_ipv4_to_eprt_on_ipv6: "127.0.0.1" Pasv, "::1" Eprt;
    epsv_on_ipv4_to_pasv_on_ipv4: "127.0.0.1" Epsv, "127.0.0.1" Pasv;
    epsv_on_ipv4_to_epsv_on_ipv4: "127.0.0.1" Epsv, "127.0.0.1" Epsv;
    epsv_on_ipv4_to_port_on_ipv4: "127.0.0.1" Epsv, "127.0.0.1" Port;
    epsv_on_ipv4_to_epsv_on_ipv6: "127.0.0.1" Epsv, "::1" Epsv;
    epsv_on_ipv4_to_eprt_on_ipv6: "127.0.0.1" Epsv, "::1" Eprt;
    port_on_ipv4_to_pasv_on_ipv4: "127.0.0.1" Port, "127.0.0.1" Pasv;
    port_on_ipv4_to_epsv_on_ipv4: "127.0.0.1" Port, "127.0.0.1" Epsv;
    port_on_ipv4_to_port_on_ipv4: "127.0.0.1" Port, "127.0.0.1" Port;
    port_on_ipv4_to_epsv_on_ipv6: "127.0.0.1" Port, "::1" Epsv;
    port_on_ipv4_to_eprt_on_ipv6: "127.0.0.1" Port, "::1" Eprt;
    eprt_on_ipv4_to_pasv_on_ipv4: "127.0.0.1" Eprt, "127.0.0.1" Pasv;
    eprt_on_ipv4_to_epsv_on_ipv4: "127.0.0.1" Eprt, "127.0.0.1" Epsv;
    eprt_on_ipv4_to_port_on_ipv4: "127.0.0.1" Eprt, "127.0.0.1" Port;
    eprt_on_ipv4_to_epsv_on_ipv6: "127.0.0.1" Eprt, "::1" Epsv;
    eprt_on_ipv4_to_eprt_on_ipv6: "127.0.0.1" Eprt, "::1" Eprt;
    epsv_on_ipv6_to_pasv_on_ipv4: "::1" Epsv, "127.0.0.1" Pasv;
    epsv_on_ipv6_to_epsv_on_ipv4: "::1" Epsv, "127.0.0.1" Epsv;
    epsv_on_ipv6_to_port_on_ipv4: "::1" Epsv, "127.0.0.1" Port;
    epsv_on_ipv6_to_epsv_on_ipv6: "::1" Epsv, "::1" Epsv;
    epsv_on_ipv6_to_eprt_on_ipv6: "::1" Epsv, "::1" Eprt;
    eprt_on_ipv6_to_pasv_on_ipv4: "::1" Eprt, "127.0.0.1" Pasv;
    eprt_on_ipv6_to_epsv_on_ipv4: "::1" Eprt, "127.0.0.1" Epsv;
    eprt_on_ipv6_to_port_on_ipv4: "::1" Eprt, "127.0.0.1" Port;
    eprt_on_ipv6_to_epsv_on_ipv6: "::1" Eprt, "::1" Epsv;
    eprt_on_ipv6_to_eprt_on_ipv6: "::1" Eprt, "::1" Eprt;
}

/// An IPv4 client of a dual-stack listener is an IPv4 client.
#[tokio::test]
async fn ipv4_through_a_dual_stack_listener() {
    let stage = crate::stage::Stage::start(Setup::new().listening_on(&["::"])).await;
    let mut to = stage.listener("explicit");
    to.set_ip([127, 0, 0, 1].into());
    let (from, tls) = ([127, 0, 0, 1].into(), stage.setup.client_tls.clone());
    let mut client = crate::stage::Client::connect("client", from, to, tls, stage.transcript.clone()).await;
    client.hears("220 ").await;
    client.secures().await;
    let backend = stage.logs_in(&mut client).await;
    client.protects().await;
    let mut scene = Scene { stage, client, backend };
    scene.downloads().await;
    for front in [Front::Epsv, Front::Port, Front::Eprt] {
        let (mut client, mut backend) = begin(&mut scene, "RETR down", front, Back::Pasv).await;
        backend.finishes().await;
        scene.backend.says("226 Sent").await;
        assert_eq!(client.ends().await, End::CloseNotify);
        scene.client.hears("226 Sent").await;
    }
}

#[tokio::test]
async fn port_on_ipv6_names_a_stranger() {
    let mut scene = Scene::open(Setup::new().listening_on(&["::1"])).await;
    scene.client.says("PORT 127,0,0,1,200,10").await;
    scene.client.refused(504, "foreign_address").await;
    scene.goes_on().await;
}
