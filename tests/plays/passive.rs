//! PASV and EPSV: the gateway's own address and port, and who may come there.

use crate::stage::{End, Scene, Setup, Stage};

#[tokio::test]
async fn pasv_names_the_address_the_client_dialled_and_a_port_of_the_range() {
    let mut scene = Scene::plain().await;
    let (address, _) = scene.goes_passive().await;
    assert_eq!(address.ip(), scene.stage.listener("explicit").ip());
    assert!(scene.stage.gateway.passive_ports().ports().contains(&address.port()));
}

#[tokio::test]
async fn on_a_wildcard_listener_the_address_is_the_one_dialled() {
    let stage = Stage::start(Setup::new().listening_on(&["0.0.0.0"])).await;
    let mut to = stage.listener("explicit");
    to.set_ip([127, 0, 0, 3].into());
    let tls = stage.setup.client_tls.clone();
    let from = [127, 0, 0, 1].into();
    let mut client = crate::stage::Client::connect("client", from, to, tls, stage.transcript.clone()).await;
    client.hears("220 ").await;
    client.secures().await;
    let backend = stage.logs_in(&mut client).await;
    client.protects().await;
    let mut scene = Scene { stage, client, backend };
    let (address, _) = scene.goes_passive().await;
    assert_eq!(address.ip().to_string(), "127.0.0.3");
}

#[tokio::test]
async fn the_advertised_address_is_told_and_chosen_by_the_client() {
    for (rules, told) in [
        ("advertise: [203.0.113.7]", "227 Entering Passive Mode (203,0,113,7,"),
        (
            "advertise: [{ clients: [127.0.0.0/8], address: local }, 203.0.113.7]",
            "227 Entering Passive Mode (127,0,0,1,",
        ),
        (
            "advertise: [{ clients: [10.0.0.0/8], address: local }, 203.0.113.7]",
            "227 Entering Passive Mode (203,0,113,7,",
        ),
    ] {
        let mut scene = Scene::open(Setup::new().with("passive", rules)).await;
        scene.client.says("PASV").await;
        scene.backend.goes_passive().await;
        scene.client.hears(told).await;
    }
}

#[tokio::test]
async fn epsv_names_a_port_and_nothing_else() {
    for command in ["EPSV", "EPSV 1", "epsv"] {
        let mut scene = Scene::plain().await;
        scene.client.says(command).await;
        scene.backend.goes_passive().await;
        let text = scene.client.hears("229 ").await.text();
        let port = scene.stage.gateway.passive_ports().ports()[0];
        assert!(text.contains(&format!("(|||{port}|)")), "{text}");
    }
}

#[tokio::test]
async fn epsv_with_another_protocol_is_522_and_names_the_right_one() {
    let mut scene = Scene::plain().await;
    for command in ["EPSV 2", "EPSV 3"] {
        scene.client.says(command).await;
        let reply = scene.client.refused(522, "only_ipv4").await;
        assert!(reply.text().contains("(1)"), "{reply:?}");
    }
    scene.client.says("EPSV x").await;
    scene.client.refused(501, "syntax").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn epsv_with_another_protocol_on_ipv6() {
    let mut scene = Scene::open(Setup::new().listening_on(&["::1"])).await;
    scene.client.says("EPSV 1").await;
    let reply = scene.client.refused(522, "only_ipv6").await;
    assert!(reply.text().contains("(2)"), "{reply:?}");
    scene.client.says("EPSV 2").await;
    scene.backend.goes_passive().await;
    scene.client.hears("229 ").await;
}

#[tokio::test]
async fn pasv_on_ipv6_is_425_and_names_epsv() {
    let mut scene = Scene::open(Setup::new().listening_on(&["::1"])).await;
    scene.client.says("PASV").await;
    let reply = scene.client.refused(425, "pasv_on_ipv6").await;
    assert!(reply.text().contains("EPSV"), "{reply:?}");
    scene.goes_on().await;
}

/// It may be a private one behind NAT, or a lie.
#[tokio::test]
async fn the_address_in_the_backends_227_is_ignored() {
    let mut scene = Scene::plain().await;
    scene.client.says("PASV").await;
    scene.backend.hears("PASV").await;
    let door = scene.backend.door().await;
    let [high, low] = door.address.port().to_be_bytes();
    scene.backend.says(format!("227 Entering Passive Mode (127,0,0,9,{high},{low})")).await;
    let reply = scene.client.hears("227 ").await;
    assert!(!reply.text().contains("127,0,0,9"), "{reply:?}");
    let client = scene.client.opens(scene.client.passive_address(&reply)).await;
    let transfer = scene.commands("RETR file", client, &door).await;
    assert_eq!(transfer.backend.wire.tcp().unwrap().local_addr().unwrap(), door.address);
}

/// Without parentheses: old BSD and devices.
#[tokio::test]
async fn backends_write_their_227_and_229_in_many_ways() {
    for form in ["227 =127,0,0,1,{h},{l}", "227 Passive 10,0,0,1,{h},{l}.", "227-Hm\r\n227 on ({a},{h},{l})"] {
        let mut scene = Scene::plain().await;
        scene.client.says("PASV").await;
        scene.backend.hears("PASV").await;
        let door = scene.backend.door().await;
        let [high, low] = door.address.port().to_be_bytes().map(|byte| byte.to_string());
        scene.backend.says(form.replace("{a}", "127,0,0,1").replace("{h}", &high).replace("{l}", &low)).await;
        let reply = scene.client.hears("227 ").await;
        let client = scene.client.opens(scene.client.passive_address(&reply)).await;
        scene.commands("RETR file", client, &door).await;
    }
}

/// Servers for IPv6 first that have switched PASV off.
#[tokio::test]
async fn a_backend_without_pasv_is_asked_epsv_and_once_only() {
    let mut scene = Scene::plain().await;
    scene.client.says("PASV").await;
    scene.backend.hears_and_says("PASV", "500 Unknown").await;
    scene.backend.hears("EPSV").await;
    let door = scene.backend.door().await;
    scene.backend.says(door.epsv_reply()).await;
    let reply = scene.client.hears("227 ").await;
    let client = scene.client.opens(scene.client.passive_address(&reply)).await;
    let mut transfer = scene.commands("RETR file", client, &door).await;
    transfer.client.secures(&scene.client.tls).await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.ends().await, End::CloseNotify);
    scene.client.hears("226 Sent").await;
    // The next time it knows.
    scene.client.says("PASV").await;
    scene.backend.hears("EPSV").await;
    scene.backend.says(scene.backend.door().await.epsv_reply()).await;
    scene.client.hears("227 ").await;
}

#[tokio::test]
async fn a_backend_without_any_passive_mode_is_425() {
    let mut scene = Scene::plain().await;
    scene.client.says("PASV").await;
    scene.backend.hears_and_says("PASV", "502 No").await;
    scene.backend.hears_and_says("EPSV", "502 No").await;
    scene.client.refused(425, "backend_data_failed").await;
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_227_without_an_address_is_425() {
    for answer in ["227 Entering Passive Mode", "227 (1,2,3)", "227 (127,0,0,1,0,0)"] {
        let mut scene = Scene::plain().await;
        scene.client.says("PASV").await;
        scene.backend.hears_and_says("PASV", answer).await;
        scene.backend.hears_and_says("EPSV", "502 No").await;
        scene.client.refused(425, "backend_data_failed").await;
        scene.goes_on().await;
    }
}

#[tokio::test]
async fn a_second_pasv_takes_the_place_of_the_first() {
    let mut scene = Scene::plain().await;
    let (_, first) = scene.goes_passive().await;
    let (address, second) = scene.goes_passive().await;
    let client = scene.client.opens(address).await;
    scene.commands("RETR file", client, &second).await;
    first.stays_empty().await;
}

#[tokio::test]
async fn no_port_left_for_an_address_is_425() {
    // Nothing tells the data connections of two sessions apart.
    let mut scene = Scene::open(Setup::new().with("tls", "data_resumption: off")).await;
    scene.goes_passive().await;
    let mut other = scene.stage.secured_client().await;
    let mut back = scene.stage.logs_in(&mut other).await;
    other.protects().await;
    other.says("PASV").await;
    other.refused(425, "passive_ports_exhausted").await;
    other.says("EPSV").await;
    other.refused(425, "passive_ports_exhausted").await;
    // The backend was not asked.
    other.says("PWD").await;
    back.hears_and_says("PWD", "257 \"/\"").await;
    other.hears("257 ").await;
    // When the first is done, the port is there again.
    scene.client.says_and_hears("ABOR", "226 ").await;
    scene.client.says("QUIT").await;
    scene.client.hears("221 ").await;
    scene.stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    other.says("PASV").await;
    back.goes_passive().await;
    other.hears("227 ").await;
}

/// A small range serves many: a port is told apart by who comes.
#[tokio::test]
async fn two_client_addresses_share_a_port() {
    let stage = Stage::plain().await;
    let mut scenes = Vec::new();
    for (name, from) in [("one", "127.0.0.1"), ("two", "127.0.0.2")] {
        let mut client = stage.client_from(name, from).await;
        client.secures().await;
        let mut backend = stage.logs_in(&mut client).await;
        client.protects().await;
        client.says("PASV").await;
        let door = backend.goes_passive().await;
        let reply = client.hears("227 ").await;
        let address = client.passive_address(&reply);
        scenes.push((client, backend, door, address));
    }
    assert_eq!(scenes[0].3, scenes[1].3);
    // In the other order than they were told.
    for (client, backend, door, address) in scenes.iter_mut().rev() {
        let data = client.opens(*address).await;
        client.says("RETR file").await;
        door.accepts().await;
        backend.hears("RETR file").await;
        assert_eq!(data.peer(), *address);
    }
    stage.counts("passive_ports{state=\"reserved\"}", 0).await;
    stage.counts("stray_connections_total{cause=\"no_reservation\"}", 0).await;
}

#[tokio::test]
async fn several_ports_are_used_one_after_the_other() {
    let mut scene = Scene::open(Setup::new().ports(3)).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (address, _) = scene.goes_passive().await;
        seen.push(address.port());
    }
    seen.sort_unstable();
    assert_eq!(seen, scene.stage.gateway.passive_ports().ports());
}
