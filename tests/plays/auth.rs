//! AUTH: its mechanisms, its order, and what stood in clear behind it.

use tokio::io::AsyncWriteExt;

use crate::stage::{Client, End, Setup, Stage};

#[tokio::test]
async fn mechanisms_are_tls_and_its_old_names_in_any_case() {
    let stage = Stage::plain().await;
    for mechanism in ["AUTH TLS", "AUTH TLS-C", "AUTH SSL", "AUTH tls", "auth Ssl"] {
        let mut client = stage.client().await;
        client.says_and_hears(mechanism, "234 ").await;
        client.shakes_hands().await;
        client.says_and_hears("NOOP", "200 ").await;
    }
}

#[tokio::test]
async fn auth_tls_leaves_data_clear_until_prot_p() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let _backend = stage.logs_in(&mut client).await;
    client.says("LIST").await;
    client.refused(521, "data_protection_required").await;
}

#[tokio::test]
async fn auth_tls_p_protects_data_at_once() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    client.says_and_hears("AUTH TLS-P", "234 ").await;
    client.shakes_hands().await;
    let _backend = stage.logs_in(&mut client).await;
    client.says("LIST").await;
    // Not 521: only the data connection is missing.
    client.refused(425, "no_data_connection").await;
}

#[tokio::test]
async fn an_unknown_mechanism_is_504_and_none_is_501() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    client.says("AUTH GSSAPI").await;
    client.refused(504, "unknown_mechanism").await;
    client.says("AUTH").await;
    client.refused(501, "syntax").await;
    client.secures().await;
}

#[tokio::test]
async fn a_second_auth_is_503_before_and_after_login() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("AUTH TLS").await;
    client.refused(503, "already_secured").await;
    let _backend = stage.logs_in(&mut client).await;
    client.says("AUTH TLS").await;
    client.refused(503, "already_secured").await;
}

#[tokio::test]
async fn auth_on_an_implicit_listener_is_503() {
    let stage = Stage::plain().await;
    let mut client = stage.implicit_client().await;
    client.says("AUTH TLS").await;
    client.refused(503, "already_secured").await;
}

/// Whoever is on the wire can put commands behind AUTH; run under TLS they would look like the client's own.
#[tokio::test]
async fn plaintext_behind_auth_is_discarded_and_never_run() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    client.talk.say_raw("AUTH TLS\r\nUSER mallory\r\nNOOP\r\nPASS ").await;
    client.hears("234 ").await;
    client.shakes_hands().await;
    client.says_and_hears("FEAT", "211-").await;
    client.talk.hears_nothing().await;
    stage.backend().is_not_dialled().await;
}

#[tokio::test]
async fn plaintext_behind_auth_after_a_plain_login_is_discarded() {
    let stage = Stage::start(Setup::new().with("tls", "control: optional")).await;
    let mut client = stage.client().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.talk.say_raw("AUTH TLS\r\nDELE everything\r\n").await;
    client.hears("234 ").await;
    backend.hears("QUIT").await;
    client.shakes_hands().await;
    client.says("PWD").await;
    client.refused(530, "not_logged_in").await;
    assert_eq!(backend.ends().await, End::Fin);
}

#[tokio::test]
async fn auth_after_a_plain_login_begins_the_login_anew() {
    let stage = Stage::start(Setup::new().with("tls", "control: optional")).await;
    let mut client = stage.client().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.says_and_hears("AUTH TLS", "234 ").await;
    backend.hears("QUIT").await;
    assert_eq!(backend.ends().await, End::Fin);
    client.shakes_hands().await;
    client.says("PWD").await;
    client.refused(530, "not_logged_in").await;
    let mut backend = stage.logs_in(&mut client).await;
    client.says("PWD").await;
    backend.hears_and_says("PWD", "257 \"/\"").await;
    client.hears("257 \"/\"").await;
}

#[tokio::test]
async fn auth_between_user_and_pass_forgets_the_user() {
    let stage = Stage::start(Setup::new().with("tls", "control: optional")).await;
    let mut client = stage.client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER bob", "331 Password please").await;
    client.hears("331 ").await;
    client.says_and_hears("AUTH TLS", "234 ").await;
    client.shakes_hands().await;
    client.says("PASS sesame").await;
    client.refused(503, "user_first").await;
    backend.hears("QUIT").await;
    assert_eq!(backend.ends().await, End::Fin);
}

#[tokio::test]
async fn plain_logins_are_for_optional_control_only() {
    let stage = Stage::start(Setup::new().with("tls", "control: optional")).await;
    let mut client = stage.client().await;
    let _backend = stage.logs_in(&mut client).await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_where_it_may_be() {
    let stage = Stage::start(Setup::new().client_tls(crate::stage::ClientTls::tls12())).await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("NOOP", "200 ").await;
    let handshakes =
        "tls_handshakes_total{channel=\"control\",kind=\"full\",leg=\"front\",result=\"ok\",version=\"1.2\"}";
    stage.counts(handshakes, 1).await;
}

#[tokio::test]
async fn tls_1_2_is_refused_where_1_3_is_the_least() {
    let setup = Setup::new().with("tls", "minimum_version: \"1.3\"").client_tls(crate::stage::ClientTls::tls12());
    let stage = Stage::start(setup).await;
    let mut client = stage.client().await;
    client.says_and_hears("AUTH TLS", "234 ").await;
    assert!(client.try_to_shake_hands().await.is_err());
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"tls_failed\"}", 1).await;
    stage.is_empty().await;
}

#[tokio::test]
async fn alpn_may_be_absent_or_offer_ftp() {
    for protocols in [&[][..], &["ftp"], &["http/1.1", "ftp"]] {
        let tls = crate::stage::ClientTls::new().offering(protocols);
        let stage = Stage::start(Setup::new().client_tls(tls)).await;
        stage.secured_client().await;
        stage.implicit_client().await;
    }
}

/// A browser that was led here offers what it speaks (ALPACA).
#[tokio::test]
async fn alpn_without_ftp_is_refused() {
    let tls = crate::stage::ClientTls::new().offering(&["http/1.1", "h2"]);
    let stage = Stage::start(Setup::new().client_tls(tls)).await;
    let mut explicit: Client = stage.client().await;
    explicit.says_and_hears("AUTH TLS", "234 ").await;
    let mut implicit = stage.connects_implicitly().await;
    for client in [&mut explicit, &mut implicit] {
        let error = client.try_to_shake_hands().await.unwrap_err().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    }
    for listener in ["explicit", "implicit"] {
        let refused = format!("sessions_total{{listener=\"{listener}\",outcome=\"foreign_protocol\"}}");
        stage.counts(&refused, 1).await;
    }
    stage.is_empty().await;
}

#[tokio::test]
async fn the_handshake_may_come_in_the_smallest_pieces() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    client.says_and_hears("AUTH TLS", "234 ").await;
    let mut tls = tokio_rustls::rustls::ClientConnection::new(client.tls.config(), client.tls.name()).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let tcp = client.talk.wire.tcp_mut();
    for byte in hello {
        tcp.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // It answers with a handshake record.
    let mut record = [0; 3];
    let answer = tokio::io::AsyncReadExt::read_exact(tcp, &mut record);
    stage.transcript.soon("the ServerHello", answer).await.unwrap();
    assert_eq!(record, [22, 3, 3]);
}
