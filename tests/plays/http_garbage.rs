//! Peers that speak something else.

use tokio::io::AsyncWriteExt;

use crate::stage::{End, Setup, Stage};

#[tokio::test]
async fn an_http_verb_as_the_first_command_ends_the_session() {
    let stage = Stage::plain().await;
    for verb in ["GET", "POST", "HEAD", "PUT", "OPTIONS", "get"] {
        let mut client = stage.client().await;
        client.talk.say_raw(format!("{verb} / HTTP/1.1\r\nHost: x\r\n\r\nUSER bob\r\n")).await;
        client.refused(421, "http_verb").await;
        assert_eq!(client.ends().await, End::Fin);
    }
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"http_verb\"}", 6).await;
    stage.is_empty().await;
    stage.backend().is_not_dialled().await;
}

/// WebDAV, UPnP and whatever comes: the version at the end tells.
#[tokio::test]
async fn a_request_of_http_ends_the_session_whatever_its_method() {
    let stage = Stage::plain().await;
    for request in
        ["PROPFIND / HTTP/1.1", "MKCOL /a b HTTP/1.0", "M-SEARCH * HTTP/1.1", "USER / HTTP/2", "patch x http/1.1"]
    {
        let mut client = stage.client().await;
        client.talk.say_raw(format!("{request}\r\nHost: x\r\n\r\nUSER bob\r\n")).await;
        client.refused(421, "http_verb").await;
        assert_eq!(client.ends().await, End::Fin);
    }
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"http_verb\"}", 5).await;
    stage.is_empty().await;
    // Later it is a name like any other.
    let mut client = stage.secured_client().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.says("DELE a HTTP/1.1").await;
    backend.hears_and_says("DELE a HTTP/1.1", "250 Gone").await;
    client.hears("250 Gone").await;
}

/// Longer than a command may be, or spoiled: its method, or the version at its end, tells all the same. What stands in the
/// body behind it would be commands.
#[tokio::test]
async fn a_request_of_http_that_is_no_command_line_ends_the_session_too() {
    let stage = Stage::start(Setup::new().with("limits", "command_length: 512")).await;
    let long = "x".repeat(9000);
    let requests = [
        format!("GET /{long} HTTP/1.1\r\n"),
        format!("POST /{long}\r\n"),
        format!("PROPFIND /{long} HTTP/1.1\r\n"),
        // One read holds it all.
        format!("GET /{} HTTP/1.1\r\n", &long[..600]),
        format!("PROPFIND /{} HTTP/1.1\r\n", &long[..600]),
        "POST /\0 HTTP/1.1\r\n".to_owned(),
        "LOCK /\rx HTTP/1.1\r\n".to_owned(),
    ];
    for request in &requests {
        let mut client = stage.client().await;
        client.talk.say_raw(format!("{request}Host: x\r\n\r\nUSER bob\r\n")).await;
        client.refused(421, "http_verb").await;
        let end = client.ends().await;
        assert!(matches!(end, End::Fin | End::Reset), "{end:?}");
    }
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"http_verb\"}", requests.len() as u32).await;
    stage.is_empty().await;
    stage.backend().is_not_dialled().await;
}

/// With the login's deadline of an hour, which is not waited for.
#[tokio::test]
async fn a_request_of_http_is_not_waited_out() {
    let stage = Stage::start(Setup::new().with("timeouts", "login: 1h").with("limits", "command_length: 512")).await;
    let long = format!("GET /{}", "x".repeat(1500));
    for begun in ["GET ", "post "] {
        let mut client = stage.client().await;
        for byte in begun.bytes() {
            client.talk.say_raw([byte]).await;
        }
        client.refused(421, "http_verb").await;
        assert_eq!(client.ends().await, End::Fin);
    }
    let mut client = stage.client().await;
    client.talk.say_raw(&long).await;
    client.refused(421, "http_verb").await;
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"http_verb\"}", 3).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn an_http_verb_under_implicit_tls_ends_the_session() {
    let stage = Stage::plain().await;
    let mut client = stage.implicit_client().await;
    client.talk.say_raw("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nUSER bob\r\n").await;
    client.refused(421, "http_verb").await;
    assert_eq!(client.ends().await, End::CloseNotify);
    stage.is_empty().await;
}

#[tokio::test]
async fn garbage_instead_of_a_client_hello_ends_the_session() {
    for garbage in [
        &b"USER bob\r\nPASS sesame\r\n"[..],
        b"\0\0\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let stage = Stage::plain().await;
        let mut client = stage.client().await;
        client.says_and_hears("AUTH TLS", "234 ").await;
        let sent = client.talk.wire.tcp_mut().write_all(garbage).await;
        assert!(sent.is_ok());
        client.talk.fins().await;
        stage.counts("sessions_total{listener=\"explicit\",outcome=\"tls_failed\"}", 1).await;
        stage.is_empty().await;
        stage.backend().is_not_dialled().await;
    }
}

#[tokio::test]
async fn garbage_on_an_implicit_listener_ends_the_session() {
    let stage = Stage::plain().await;
    let mut client = stage.connects_implicitly().await;
    client.talk.say_raw("USER bob\r\nPASS sesame\r\n").await;
    stage.counts("sessions_total{listener=\"implicit\",outcome=\"tls_failed\"}", 1).await;
    let handshake =
        "tls_handshakes_total{channel=\"control\",kind=\"none\",leg=\"front\",result=\"not_tls\",version=\"none\"}";
    stage.counts(handshake, 1).await;
    stage.is_empty().await;
}

/// With the default deadline of ten seconds, which is not waited for.
#[tokio::test]
async fn what_is_no_tls_on_an_implicit_listener_is_told_by_its_first_byte() {
    let stage = Stage::start(Setup::new().with("timeouts", "tls_handshake: 1h")).await;
    let garbage =
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"\0", b"\x80\x2e\x01\x03\x01", b"\xff\xfb\x01"];
    for bytes in garbage {
        let mut client = stage.connects_implicitly().await;
        client.talk.say_raw(bytes).await;
        let end = client.ends().await;
        assert!(matches!(end, End::Fin | End::Reset), "{end:?}");
    }
    let handshake =
        "tls_handshakes_total{channel=\"control\",kind=\"none\",leg=\"front\",result=\"not_tls\",version=\"none\"}";
    stage.counts(handshake, 5).await;
    stage.is_empty().await;
    stage.implicit_client().await;
}

#[tokio::test]
async fn garbage_holds_up_nobody() {
    let stage = Stage::start(Setup::new().with("limits", "sessions_per_address: 1000")).await;
    let mut silent = Vec::new();
    for turn in 0..200 {
        let mut client = stage.connects_implicitly().await;
        if turn % 2 == 0 {
            client.talk.say_raw("GET / HTTP/1.1\r\n\r\n").await;
        }
        silent.push(client);
    }
    stage.implicit_client().await;
    stage.secured_client().await;
    stage.counts("sessions_total{listener=\"implicit\",outcome=\"tls_failed\"}", 100).await;
}

#[tokio::test]
async fn a_port_scanner_leaves_nothing_behind() {
    let stage = Stage::plain().await;
    for _ in 0..3 {
        let mut explicit = stage.connects("scanner").await;
        explicit.talk.resets();
        let mut implicit = stage.connects_implicitly().await;
        implicit.talk.vanishes();
    }
    stage.is_empty().await;
    stage.client().await;
}

/// Implicit TLS on the explicit port: a ClientHello is no line.
#[tokio::test]
async fn a_client_hello_on_an_explicit_listener_does_no_harm() {
    let stage = Stage::plain().await;
    let mut client = stage.connects("client").await;
    assert!(client.try_to_shake_hands().await.is_err());
    stage.is_empty().await;
    stage.client().await.secures().await;
}
