//! PORT and EPRT: the gateway connects to the client, and is the TLS server there too.

use std::net::SocketAddr;

use crate::stage::{Client, End, Scene, Setup, Stage};

fn port(address: SocketAddr) -> String {
    let [high, low] = address.port().to_be_bytes();
    format!("PORT {},{high},{low}", address.ip().to_string().replace('.', ","))
}

#[tokio::test]
async fn the_gateway_is_the_tls_server_in_active_mode() {
    let mut scene = Scene::plain().await;
    let listener = scene.client.listens().await;
    scene.client.says(port(listener.local_addr().unwrap())).await;
    let door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
    scene.client.says("RETR file").await;
    let mut back = door.accepts().await;
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 ").await;
    let mut data = scene.client.accepts(&listener).await;
    data.secures(&scene.client.tls).await;
    assert!(data.is_resumed());
    back.sends("active").await;
    back.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(data.receives_all().await, (b"active".to_vec(), End::CloseNotify));
    scene.client.hears("226 ").await;
}

/// .NET refuses a data connection from any other address.
#[tokio::test]
async fn the_data_connection_leaves_from_the_address_the_client_dialled() {
    let stage = Stage::start(Setup::new().listening_on(&["0.0.0.0"])).await;
    let mut to = stage.listener("explicit");
    to.set_ip([127, 0, 0, 3].into());
    let from = [127, 0, 0, 1].into();
    let tls = stage.setup.client_tls.clone();
    let mut client = Client::connect("client", from, to, tls, stage.transcript.clone()).await;
    client.hears("220 ").await;
    client.secures().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.protects().await;
    let listener = client.listens().await;
    client.says(port(listener.local_addr().unwrap())).await;
    let door = backend.goes_passive().await;
    client.hears("200 ").await;
    client.says("RETR file").await;
    let _back = door.accepts().await;
    backend.hears_and_says("RETR file", "150 Here").await;
    client.hears("150 ").await;
    assert_eq!(client.accepts(&listener).await.peer().ip().to_string(), "127.0.0.3");
}

/// Some firewalls let active data pass from port 20 alone. Without the right to that port nothing else is tried.
#[tokio::test]
async fn the_data_connection_leaves_from_port_20_where_it_is_asked_for() {
    // An address that no other server on this machine has taken the port of.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address: &'static str = Box::leak(format!("127.20.{high}.{low}").into_boxed_str());
    let denied = std::net::UdpSocket::bind((address, 20))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let mut scene = Scene::open(Setup::new().listening_on(&[address]).with("active", "source_port: 20")).await;
    let listener = scene.client.listens().await;
    scene.client.says(port(listener.local_addr().unwrap())).await;
    let door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
    scene.client.says("RETR file").await;
    let _back = door.accepts().await;
    scene.backend.hears_and_says("RETR file", "150 Here").await;
    scene.client.hears("150 ").await;
    if denied {
        scene.client.refused(425, "client_data_failed").await;
    } else {
        assert_eq!(scene.client.accepts(&listener).await.peer().port(), 20);
    }
}

#[tokio::test]
async fn eprt_takes_any_delimiter_from_33_to_126() {
    for delimiter in ['|', '!', '~', ',', 'x', '#'] {
        let mut scene = Scene::plain().await;
        let listener = scene.client.listens().await;
        let port = listener.local_addr().unwrap().port();
        scene.client.says(format!("EPRT |1|127.0.0.1|{port}|").replace('|', &delimiter.to_string())).await;
        scene.backend.goes_passive().await;
        scene.client.hears("200 ").await;
    }
}

#[tokio::test]
async fn malformed_endpoints_are_501() {
    let mut scene = Scene::plain().await;
    for command in [
        "PORT",
        "PORT 127,0,0,1,200",
        "PORT 127,0,0,1,200,256",
        "PORT 127,0,0,1,200,10,9",
        "PORT a,b,c,d,e,f",
        "EPRT",
        "EPRT |1|127.0.0.1|5000",
        "EPRT |1|::1|5000|",
        "EPRT |1|127.0.0.1|65536|",
        "EPRT |1|localhost|5000|",
    ] {
        scene.client.says(command).await;
        scene.client.refused(501, "syntax").await;
    }
    scene.client.says("EPRT |3|127.0.0.1|5000|").await;
    let reply = scene.client.refused(522, "unknown_network_protocol").await;
    assert!(reply.text().contains("(1,2)"), "{reply:?}");
    scene.goes_on().await;
}

#[tokio::test]
async fn switched_off_it_is_502() {
    let mut scene = Scene::open(Setup::new().with("active", "enabled: false")).await;
    for command in ["PORT 127,0,0,1,200,10", "EPRT |1|127.0.0.1|51210|"] {
        scene.client.says(command).await;
        scene.client.refused(502, "active_disabled").await;
    }
    scene.downloads().await;
}

#[tokio::test]
async fn a_client_that_cannot_be_reached_is_425_and_nothing_is_stored() {
    let mut scene = Scene::plain().await;
    let listener = scene.client.listens().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    scene.client.says(port(address)).await;
    let door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
    scene.client.says("STOR file").await;
    let mut back = door.accepts().await;
    scene.backend.hears_and_says("STOR file", "150 Send").await;
    scene.client.hears("150 ").await;
    scene.client.refused(425, "client_data_failed").await;
    assert_eq!(back.ends().await, End::Reset);
    scene.backend.says("426 Lost it").await;
    scene.goes_on().await;
}

/// curl 7.88.1 after PROT P, with `--ftp-port`.
#[tokio::test]
async fn active_data_in_clear_after_prot_p_is_522_and_nothing_is_stored() {
    let mut scene = Scene::plain().await;
    let listener = scene.client.listens().await;
    scene.client.says(port(listener.local_addr().unwrap())).await;
    let door = scene.backend.goes_passive().await;
    scene.client.hears("200 ").await;
    scene.client.says("STOR file").await;
    let mut back = door.accepts().await;
    scene.backend.hears_and_says("STOR file", "150 Send").await;
    scene.client.hears("150 ").await;
    let mut data = scene.client.accepts(&listener).await;
    data.sends("this is not TLS but the content of a file").await;
    data.finishes().await;
    scene.client.refused(522, "client_tls_failed").await;
    assert_eq!(back.ends().await, End::Reset);
    scene.backend.says("426 Lost it").await;
    scene.goes_on().await;
}

/// A NATed client's PORT names its private address: a third party as far as the gateway can see.
#[tokio::test]
async fn a_private_address_in_port_is_not_the_clients() {
    let mut scene = Scene::plain().await;
    scene.client.says("PORT 192,168,1,7,200,10").await;
    scene.client.refused(504, "foreign_address").await;
    scene.goes_on().await;
}
