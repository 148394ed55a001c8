//! Telnet in band (RFC 959 §5.3, RFC 1123 §4.1.2.12, RFC 4217 §14).

use socket2::SockRef;

use crate::stage::{Client, End, Scene};

const IAC: u8 = 255;

#[tokio::test]
async fn interrupt_process_and_data_mark_before_abor_are_taken_out() {
    let mut scene = Scene::plain().await;
    // IAC IP IAC DM ABOR
    scene.client.talk.say_raw(b"\xff\xf4\xff\xf2ABOR\r\n").await;
    scene.client.hears("226 ").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn abor_with_its_telnet_prefix_aborts_a_transfer() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR big").await;
    transfer.backend.sends("the beginning").await;
    transfer.client.receives("the beginning").await;
    scene.client.talk.say_raw(b"\xff\xf4\xff\xf2ABOR\r\n").await;
    scene.backend.hears("ABOR").await;
    scene.client.refused(426, "aborted").await;
    scene.backend.says("426 Aborted").await;
    scene.backend.says("226 ABOR done").await;
    scene.client.hears("226 ").await;
    assert_eq!(transfer.client.ends().await, End::Fin);
    scene.goes_on().await;
}

#[tokio::test]
async fn a_doubled_iac_in_a_name_passes_as_it_came() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw([b"DELE y", &[IAC, IAC][..], b"z\r\n"].concat()).await;
    scene.backend.hears([b"DELE y", &[IAC, IAC][..], b"z"].concat()).await;
    scene.backend.says("250 Gone").await;
    scene.client.hears("250 ").await;
}

/// ÿ in Latin-1, from a client that knows nothing of Telnet.
#[tokio::test]
async fn a_lone_0xff_in_a_name_passes_as_it_came() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw(b"DELE moulin-\xffa\r\n").await;
    scene.backend.hears(b"DELE moulin-\xffa").await;
    scene.backend.says("250 Gone").await;
    scene.client.hears("250 ").await;
}

/// FileZilla does not double what is a letter to it. Taken for Telnet, it would be the name of another file.
#[tokio::test]
async fn what_looks_like_telnet_in_a_name_passes_as_it_came() {
    let mut scene = Scene::plain().await;
    for name in [&b"raw\xff\xfe"[..], b"w\xff\xfbx.txt", b"\xff\xf4\xff\xf2"] {
        let line = [b"DELE ", name].concat();
        scene.client.talk.say_raw([&line, &b"\r\n"[..]].concat()).await;
        scene.backend.hears(line).await;
        scene.backend.says("250 Gone").await;
        scene.client.hears("250 ").await;
    }
}

#[tokio::test]
async fn option_negotiation_is_swallowed_and_never_answered() {
    let mut scene = Scene::plain().await;
    // DO ECHO, WILL SUPPRESS-GO-AHEAD, a subnegotiation, DONT 10 (a line feed).
    scene.client.talk.say_raw(b"\xff\xfd\x01\xff\xfb\x03PW\xff\xfa\x18\x00VT\xff\xf0D\xff\xfe\x0a\r\n").await;
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    let reply = scene.client.hears("257 ").await;
    assert!(!reply.bytes.contains(&IAC));
    scene.client.talk.hears_nothing().await;
}

/// A client whose control connection is in clear and that sends what old clients do (inetutils, BSD, tnftp): `IAC IP IAC`
/// as urgent data, DM and ABOR behind it.
async fn aborts_urgently(client: &mut Client) {
    let tcp = client.talk.wire.tcp_mut();
    assert_eq!(SockRef::from(&*tcp).send_out_of_band(b"\xff\xf4\xff").unwrap(), 3);
    client.talk.say_raw(b"\xf2ABOR\r\n").await;
}

#[tokio::test]
async fn urgent_data_stands_in_line() {
    let mut scene = Scene::unsecured().await;
    for _ in 0..20 {
        aborts_urgently(&mut scene.client).await;
        scene.client.hears("226 ").await;
    }
    scene.goes_on().await;
}

/// A client that keeps its old habit under TLS.
#[tokio::test]
async fn an_urgent_byte_beside_tls_does_no_harm() {
    let mut scene = Scene::plain().await;
    let sent = SockRef::from(&*scene.client.talk.wire.tcp_mut()).send_out_of_band(b"\xff").unwrap();
    assert_eq!(sent, 1);
    scene.goes_on().await;
    scene.downloads().await;
}

#[tokio::test]
async fn urgent_data_aborts_a_transfer() {
    let mut scene = Scene::unsecured().await;
    let mut transfer = scene.begins_clear("RETR big").await;
    transfer.backend.sends("the beginning").await;
    transfer.client.receives("the beginning").await;
    aborts_urgently(&mut scene.client).await;
    scene.backend.hears("ABOR").await;
    scene.client.refused(426, "aborted").await;
    scene.backend.says("426 Aborted").await;
    scene.backend.says("226 ABOR done").await;
    scene.client.hears("226 ").await;
    scene.goes_on().await;
}
