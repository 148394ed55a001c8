//! HOST (RFC 7151) and the name in TLS (SNI).

use crate::stage::{ClientTls, Setup, Stage};

const ROUTES: &str = "routes: [{ sni: [\"beta.example\"], backend: beta }, { backend: legacy }]";

async fn routed() -> Stage {
    Stage::start(Setup::new().backends(&["legacy", "beta"]).line(ROUTES).client_tls(ClientTls::new().nameless())).await
}

#[tokio::test]
async fn host_chooses_the_backend() {
    let stage = routed().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("HOST beta.example", "220 ").await;
    client.says("USER bob").await;
    stage.backends[1].welcomes().await.hears("USER bob").await;
}

#[tokio::test]
async fn without_host_the_route_for_all_is_taken() {
    let stage = routed().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    stage.backends[0].welcomes().await.hears("USER bob").await;
}

#[tokio::test]
async fn the_last_host_wins() {
    let stage = Stage::start(
        Setup::new()
            .backends(&["legacy", "beta"])
            .line(
                "routes: [{ sni: [\"beta.example\"], backend: beta }, { sni: [\"legacy.example\"], backend: legacy }]",
            )
            .client_tls(ClientTls::new().nameless()),
    )
    .await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("HOST legacy.example", "220 ").await;
    client.says_and_hears("HOST Beta.Example", "220 ").await;
    client.says("USER bob").await;
    stage.backends[1].welcomes().await.hears("USER bob").await;
}

#[tokio::test]
async fn sni_chooses_the_backend_too() {
    let stage = routed().await;
    let mut client = stage.client().await;
    client.tls = ClientTls::new().naming("beta.example");
    client.secures().await;
    client.says("USER bob").await;
    stage.backends[1].welcomes().await.hears("USER bob").await;
}

#[tokio::test]
async fn host_with_a_port_is_501() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    for command in ["HOST ftp.example:21", "HOST", "HOST a b", "HOST [::1]:21"] {
        client.says(command).await;
        client.refused(501, "host_syntax").await;
    }
}

#[tokio::test]
async fn an_unknown_host_is_504() {
    let stage = routed().await;
    let mut client = stage.secured_client().await;
    client.says("HOST elsewhere.example").await;
    client.refused(504, "host_unknown").await;
}

#[tokio::test]
async fn host_after_login_is_503() {
    let stage = Stage::start(Setup::new().client_tls(ClientTls::new().nameless())).await;
    let mut client = stage.secured_client().await;
    let _backend = stage.logs_in(&mut client).await;
    client.says("HOST beta.example").await;
    client.refused(503, "host_after_login").await;
}

#[tokio::test]
async fn host_must_be_the_name_in_tls() {
    let stage = routed().await;
    let mut client = stage.client().await;
    client.tls = ClientTls::new().naming("beta.example");
    client.secures().await;
    client.says("HOST other.example").await;
    client.refused(504, "host_differs_from_sni").await;
    client.says_and_hears("HOST beta.example", "220 ").await;
}

/// Anyone on the wire could have put it there.
#[tokio::test]
async fn a_host_in_clear_does_not_overrule_the_name_in_tls() {
    let stage = routed().await;
    let mut client = stage.client().await;
    client.tls = ClientTls::new().naming("other.example");
    client.says_and_hears("HOST beta.example", "220 ").await;
    client.secures().await;
    client.says("USER bob").await;
    stage.backends[0].welcomes().await.hears("USER bob").await;
}

/// Nor does it speak where TLS names none, as with clients that dial an address: who put it there would choose the backend
/// that gets the password.
#[tokio::test]
async fn a_host_in_clear_is_forgotten_where_tls_names_none() {
    let stage = routed().await;
    let mut client = stage.client().await;
    client.says_and_hears("HOST beta.example", "220 ").await;
    client.says_and_hears("OPTS UTF8 ON", "200 ").await;
    client.secures().await;
    client.says("USER bob").await;
    let mut backend = stage.backends[0].welcomes().await;
    backend.hears_and_says("USER bob", "230 In").await;
    // Nor is anything else asked of the backend that was said in clear.
    client.hears("230 In").await;
    let mut client = stage.client().await;
    client.says_and_hears("HOST legacy.example", "504 ").await;
    client.secures().await;
    client.says_and_hears("HOST beta.example", "220 ").await;
    client.says("USER bob").await;
    stage.backends[1].welcomes().await.hears("USER bob").await;
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_the_first_is_for_all_others() {
    let stage = Stage::start(Setup::new().certificates(&["a.example", "b.example"])).await;
    let [first, second] = &stage.own[..] else { unreachable!() };
    let cases = [
        (ClientTls::new().naming("a.example"), first),
        (ClientTls::new().naming("b.example"), second),
        (ClientTls::new().naming("unknown.example"), first),
        (ClientTls::new().nameless(), first),
    ];
    for (tls, identity) in cases {
        let mut client = stage.client().await;
        client.tls = tls;
        client.secures().await;
        assert_eq!(client.tls.certificates(), [identity.leaf().to_vec()]);
    }
}
