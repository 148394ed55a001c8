//! The PROXY protocol: balancers before the gateway, backends behind it that want to know the client.
//!
//! Clients of the stage come from 127.0.0.1, so here that is the balancer's address.

use std::net::{Ipv4Addr, SocketAddr};

use crate::stage::{Client, Data, End, Security, Setup, Stage};

const TEXT: &str = "PROXY TCP4 192.0.2.7 203.0.113.1 4021 21\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 for TCP over IPv4, with something behind its addresses that the gateway does not know.
fn binary(client: [u8; 4]) -> Vec<u8> {
    let ports = [0x0f, 0xb5, 0, 21];
    let unknown = [0xee, 0, 1, 7];
    [SIGNATURE, &[0x21, 0x11, 0, 16], &client, &[203, 0, 113, 1], &ports, &unknown].concat()
}

fn local() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0, 0, 0]].concat()
}

fn behind_a_balancer() -> Setup {
    Setup::new().listener("proxy_protocol: 127.0.0.1").with("passive", "proxy_protocol: 127.0.0.1")
}

/// A client whom the balancer brings with this header.
async fn brought(stage: &Stage, header: impl AsRef<[u8]>) -> Client {
    let mut client = stage.connects("client").await;
    client.talk.say_raw(header).await;
    client
}

/// PASV, and a data connection that the balancer begins with this header.
async fn data(client: &mut Client, header: &[u8], to: SocketAddr) -> Data {
    let mut data = client.opens(to).await;
    data.sends(header).await;
    data
}

#[tokio::test]
async fn a_client_behind_a_balancer_logs_in_and_transfers() {
    let stage = Stage::start(behind_a_balancer()).await;
    for header in [TEXT.as_bytes().to_vec(), binary([192, 0, 2, 7])] {
        let mut client = brought(&stage, &header).await;
        client.hears("220 ").await;
        client.secures().await;
        let mut actor = stage.logs_in(&mut client).await;
        client.protects().await;
        client.says("PASV").await;
        let door = actor.goes_passive().await;
        let reply = client.hears("227 ").await;
        // `local` is the address the client dialled, and that is the balancer's.
        let told = client.passive_address(&reply);
        assert_eq!(told.ip(), Ipv4Addr::new(203, 0, 113, 1));
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, told.port()));
        let mut front = data(&mut client, &header, here).await;
        client.says("RETR x").await;
        let mut back = door.accepts().await;
        actor.hears_and_says("RETR x", "150 Here").await;
        client.hears("150 ").await;
        front.secures(&client.tls).await;
        back.sends("whole").await;
        back.finishes().await;
        actor.says("226 Done").await;
        assert_eq!(front.receives_all().await, (b"whole".to_vec(), End::CloseNotify));
        client.hears("226 ").await;
    }
}

#[tokio::test]
async fn a_header_is_taken_byte_by_byte_and_no_byte_behind_it() {
    let stage = Stage::start(behind_a_balancer()).await;
    let mut client = stage.connects("client").await;
    client.talk.say_byte_by_byte(TEXT).await;
    client.hears("220 ").await;
    let mut client = stage.connects("client").await;
    client.talk.say_raw([&binary([192, 0, 2, 7])[..], b"NOOP\r\n"].concat()).await;
    client.hears("220 ").await;
    client.hears("200 ").await;
    let mut implicit = stage.connects_implicitly().await;
    implicit.talk.say_raw(TEXT).await;
    implicit.shakes_hands().await;
    implicit.hears("220 ").await;
}

#[tokio::test]
async fn places_are_counted_for_the_client_and_not_for_the_balancer() {
    let stage = Stage::start(behind_a_balancer().with("limits", "sessions_per_address: 1")).await;
    let mut first = brought(&stage, binary([192, 0, 2, 7])).await;
    first.hears("220 ").await;
    let mut second = brought(&stage, binary([192, 0, 2, 8])).await;
    second.hears("220 ").await;
    let mut again = brought(&stage, binary([192, 0, 2, 7])).await;
    again.refused(421, "too_many_sessions_from_address").await;
}

/// One customer has a whole /64, and IPv4 that is written as IPv6 is IPv4.
#[tokio::test]
async fn addresses_of_ipv6_count_as_their_64_and_mapped_ones_as_ipv4() {
    let setup = behind_a_balancer().with("limits", "sessions_per_address: 1").with("access", "deny: 192.0.2.66");
    let stage = Stage::start(setup).await;
    let named = |client: &str| format!("PROXY TCP6 {client} 2001:db8:9::1 4021 21\r\n");
    let mut one = brought(&stage, named("2001:db8:0:1::7")).await;
    one.hears("220 ").await;
    let mut neighbour = brought(&stage, named("2001:db8:0:1:ffff::8")).await;
    neighbour.refused(421, "too_many_sessions_from_address").await;
    let mut other = brought(&stage, named("2001:db8:0:2::7")).await;
    other.hears("220 ").await;
    let mut mapped = brought(&stage, "PROXY TCP6 ::ffff:192.0.2.66 ::ffff:203.0.113.1 4021 21\r\n").await;
    mapped.refused(421, "address_denied").await;
    let mut four = brought(&stage, TEXT).await;
    four.hears("220 ").await;
    let mut the_same = brought(&stage, "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.1 4021 21\r\n").await;
    the_same.refused(421, "too_many_sessions_from_address").await;
}

#[tokio::test]
async fn routes_see_the_client() {
    let routes = "routes: [{ clients: [192.0.2.0/24], backend: beta }, { backend: legacy }]";
    let stage = Stage::start(behind_a_balancer().backends(&["legacy", "beta"]).line(routes)).await;
    let mut client = brought(&stage, TEXT).await;
    client.hears("220 ").await;
    client.secures().await;
    client.says("USER bob").await;
    stage.backends[1].welcomes().await.hears("USER bob").await;
}

#[tokio::test]
async fn active_mode_goes_to_the_client_and_not_to_the_balancer() {
    let stage = Stage::start(behind_a_balancer()).await;
    let mut client = brought(&stage, TEXT).await;
    client.hears("220 ").await;
    client.secures().await;
    let _actor = stage.logs_in(&mut client).await;
    client.says("PORT 127,0,0,1,200,1").await;
    client.refused(504, "foreign_address").await;
}

#[tokio::test]
async fn a_strangers_header_ends_the_session() {
    for setup in [Setup::new(), Setup::new().listener("proxy_protocol: 198.51.100.1")] {
        let stage = Stage::start(setup).await;
        for header in [TEXT.as_bytes().to_vec(), binary([192, 0, 2, 7]), local()] {
            let mut client = stage.client().await;
            client.talk.say_raw(&header).await;
            client.refused(421, "proxy_header_foreign").await;
            let mut client = stage.connects_implicitly().await;
            client.talk.say_raw(&header).await;
        }
        stage.counts("sessions_total{listener=\"explicit\",outcome=\"proxy_header_foreign\"}", 3).await;
        stage.counts("sessions_total{listener=\"implicit\",outcome=\"proxy_header_foreign\"}", 3).await;
        stage.backend().is_not_dialled().await;
        stage.is_empty().await;
    }
}

#[tokio::test]
async fn a_strangers_header_in_pieces_ends_the_session_too() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    // The first piece has been looked at, and is the beginning of many a line.
    client.talk.say_raw("P").await;
    client.talk.hears_nothing().await;
    client.talk.say_raw(&TEXT[1..]).await;
    client.refused(421, "proxy_header_foreign").await;
    stage.is_empty().await;
}

#[tokio::test]
async fn who_is_no_balancer_comes_as_himself() {
    let stage = Stage::start(Setup::new().listener("proxy_protocol: 127.0.0.1")).await;
    stage.client_from("direct", "127.0.0.2").await.secures().await;
}

#[tokio::test]
async fn a_balancer_without_a_header_is_turned_away() {
    let stage = Stage::start(behind_a_balancer().with("timeouts", "tls_handshake: 100ms")).await;
    let mut silent = stage.connects("silent").await;
    silent.refused(421, "proxy_header_missing").await;
    let mut half = stage.connects("half").await;
    half.talk.say_raw("PROXY TCP4 192.0.2.7 ").await;
    half.refused(421, "proxy_header_missing").await;
    let mut direct = brought(&stage, "USER bob\r\n").await;
    direct.refused(421, "proxy_header_missing").await;
    let mut hello = stage.connects_implicitly().await;
    assert!(hello.try_to_shake_hands().await.is_err());
    for header in ["PROXY TCP4 192.0.2.7 203.0.113.1 4021 99999\r\n", "PROXY TCP4 0.0.0.0 203.0.113.1 4021 21\r\n"] {
        let mut wrong = brought(&stage, header).await;
        wrong.refused(421, "proxy_header_wrong").await;
    }
    let refused =
        |listener, reason| format!("connections_refused_total{{listener=\"{listener}\",reason=\"{reason}\"}}");
    stage.counts(&refused("explicit", "proxy_header_missing"), 3).await;
    stage.counts(&refused("implicit", "proxy_header_missing"), 1).await;
    stage.counts(&refused("explicit", "proxy_header_wrong"), 2).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn silent_balancers_hold_up_nobody() {
    let stage = Stage::start(Setup::new().listener("proxy_protocol: 127.0.0.1")).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(stage.connects("silent").await);
    }
    stage.client_from("direct", "127.0.0.2").await.secures().await;
    brought(&stage, TEXT).await.hears("220 ").await;
}

#[tokio::test]
async fn a_balancers_own_look_is_answered() {
    let stage = Stage::start(behind_a_balancer()).await;
    for header in [local(), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut check = brought(&stage, header).await;
        check.hears("220 ").await;
        check.talk.fins().await;
        assert_eq!(check.ends().await, End::Fin);
    }
    // One that only connects leaves nothing either.
    stage.connects("check").await.talk.vanishes();
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"client_closed\"}", 2).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn a_data_connection_goes_to_whom_the_balancer_names() {
    let stage = Stage::start(behind_a_balancer().with("timeouts", "tls_handshake: 200ms")).await;
    let mut client = brought(&stage, TEXT).await;
    client.hears("220 ").await;
    client.secures().await;
    let mut actor = stage.logs_in(&mut client).await;
    client.protects().await;
    client.says("PASV").await;
    let _door = actor.goes_passive().await;
    let reply = client.hears("227 ").await;
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, client.passive_address(&reply).port()));
    // Another client, the balancer itself, no header.
    data(&mut client, &binary([192, 0, 2, 8]), here).await.ends().await;
    data(&mut client, &local(), here).await.ends().await;
    stage.counts("stray_connections_total{cause=\"no_reservation\"}", 2).await;
    data(&mut client, b"\x16\x03\x01", here).await.receives_all().await;
    client.opens(here).await.ends().await;
    stage.counts("stray_connections_total{cause=\"proxy_header\"}", 2).await;
    // The reservation has waited for the right one.
    let mut right = data(&mut client, &binary([192, 0, 2, 7]), here).await;
    right.secures(&client.tls).await;
}

/// A client that comes past the balancer names another one: on a data port his header is no TLS, and opens nothing.
#[tokio::test]
async fn a_strangers_header_on_a_data_port_is_no_tls() {
    for balancers in [Setup::new(), Setup::new().with("passive", "proxy_protocol: 127.0.0.1")] {
        let stage = Stage::start(balancers).await;
        let mut client = stage.client_from("stranger", "127.0.0.2").await;
        client.secures().await;
        let mut actor = stage.logs_in(&mut client).await;
        client.protects().await;
        client.says("PASV").await;
        let door = actor.goes_passive().await;
        let reply = client.hears("227 ").await;
        let header = "PROXY TCP4 127.0.0.2 127.0.0.1 4021 21\r\n";
        let here = client.passive_address(&reply);
        let mut front = data(&mut client, header.as_bytes(), here).await;
        assert!(front.try_secure(&client.tls).await.is_err());
        client.says("STOR x").await;
        client.refused(522, "client_tls_failed").await;
        door.stays_empty().await;
    }
}

#[tokio::test]
async fn balancers_of_data_connections_are_reloaded() {
    let stage = Stage::start(Setup::new().listener("proxy_protocol: 127.0.0.1")).await;
    assert!(stage.reloads(&behind_a_balancer()).await.is_empty());
    let mut client = brought(&stage, TEXT).await;
    client.hears("220 ").await;
    client.secures().await;
    let mut actor = stage.logs_in(&mut client).await;
    client.protects().await;
    client.says("EPSV").await;
    let _door = actor.goes_passive().await;
    let reply = client.hears("229 ").await;
    let here = client.passive_address(&reply);
    let mut front = data(&mut client, TEXT.as_bytes(), here).await;
    front.secures(&client.tls).await;
}

#[tokio::test]
async fn a_backend_is_told_the_client_on_its_control_connection_alone() {
    let stage = Stage::start(Setup::new().unprobed().backend("proxy_protocol: v1")).await;
    let mut probe = stage.backend().accepts().await;
    probe.hears("PROXY UNKNOWN").await;
    let mut client = stage.secured_client().await;
    let source = client.talk.wire.tcp().unwrap().local_addr().unwrap();
    let destination = client.talk.wire.tcp().unwrap().peer_addr().unwrap();
    client.says("USER bob").await;
    let mut actor = stage.backend().accepts().await;
    let (from, to) = (source.port(), destination.port());
    actor.hears(format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}")).await;
    actor.says("220 Ready").await;
    actor.hears_and_says("USER bob", "331 Password").await;
    client.hears("331 ").await;
    client.says("PASS sesame").await;
    actor.hears_and_says("PASS sesame", "230 In").await;
    client.hears("230 ").await;
    client.protects().await;
    client.says("PASV").await;
    let door = actor.goes_passive().await;
    let reply = client.hears("227 ").await;
    let mut front = client.opens(client.passive_address(&reply)).await;
    client.says("STOR x").await;
    let mut back = door.accepts().await;
    actor.hears_and_says("STOR x", "150 Go on").await;
    client.hears("150 ").await;
    front.secures(&client.tls).await;
    front.sends("bytes").await;
    front.finishes().await;
    assert_eq!(back.receives_all().await.0, b"bytes");
    back.finishes().await;
    actor.says("226 Stored").await;
    client.hears("226 ").await;
}

#[tokio::test]
async fn a_backend_under_tls_is_told_the_client_before_tls() {
    let setup = behind_a_balancer().unprobed().secured(Security::Implicit).backend("proxy_protocol: v1");
    let stage = Stage::start(setup).await;
    let mut probe = stage.backend().accepts().await;
    probe.hears("PROXY UNKNOWN").await;
    let mut client = brought(&stage, TEXT).await;
    client.hears("220 ").await;
    client.secures().await;
    client.says("USER bob").await;
    let mut actor = stage.backend().accepts().await;
    let heard = actor.talk.bytes(TEXT.len() + 1).await;
    assert_eq!(heard, [TEXT.as_bytes(), &[22]].concat());
}

#[tokio::test]
async fn a_backend_is_told_in_binary_too() {
    let stage = Stage::start(behind_a_balancer().unprobed().backend("proxy_protocol: v2")).await;
    let mut probe = stage.backend().accepts().await;
    assert_eq!(probe.talk.bytes(16).await, local());
    let mut client = brought(&stage, TEXT).await;
    client.hears("220 ").await;
    client.secures().await;
    client.says("USER bob").await;
    let mut actor = stage.backend().accepts().await;
    let named = [&[0x21, 0x11, 0, 12], &[192, 0, 2, 7][..], &[203, 0, 113, 1], &[0x0f, 0xb5, 0, 21]].concat();
    assert_eq!(actor.talk.bytes(28).await, [SIGNATURE, &named].concat());
    actor.says("220 Ready").await;
    actor.hears("USER bob").await;
}
