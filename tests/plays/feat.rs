//! FEAT is rebuilt from what the gateway does itself and what the backend does behind it.

use std::collections::HashSet;

use crate::stage::{ClientTls, Reply, Scene, Setup, Stage};

/// The features, without the lines around them; each must have exactly one blank in front (RFC 2389 §3.2).
fn features(reply: &Reply) -> Vec<String> {
    let lines = reply.lines();
    let [first, features @ .., last] = &lines[..] else { panic!("{lines:?}") };
    assert!(first.starts_with("211-") && last.starts_with("211 "), "{lines:?}");
    let feature = |line: &String| {
        let name = line.strip_prefix(' ').unwrap_or_else(|| panic!("no blank: {line:?}"));
        assert!(!name.starts_with(' '), "more than one blank: {line:?}");
        name.to_owned()
    };
    features.iter().map(feature).collect()
}

const OWN: [&str; 7] = ["AUTH TLS", "CLNT", "EPRT", "EPSV", "HOST", "PBSZ", "PROT"];

#[tokio::test]
async fn feat_before_auth_tells_of_tls_and_of_the_backend() {
    let stage =
        Stage::start(Setup::new().offering("211-Extensions\r\n MDTM\r\n MLST type*;size*;\r\n UTF8\r\n211 End")).await;
    let mut client = stage.client().await;
    let features = features(&client.says_and_hears("FEAT", "211-").await);
    for feature in OWN.iter().chain(&["MDTM", "MLST type*;size*;", "UTF8"]) {
        assert!(features.iter().any(|line| line == feature), "{feature} is missing in {features:?}");
    }
    assert_eq!(features.len(), OWN.len() + 3, "{features:?}");
    stage.backend().is_not_dialled().await;
}

/// Until HOST says which of them it is, a client is told what both can do.
#[tokio::test]
async fn feat_before_login_tells_what_all_backends_have_that_can_be_meant() {
    let routes = "routes: [{ sni: [\"beta.example\"], backend: beta }, { sni: [\"legacy.example\"], backend: legacy }]";
    let setup = Setup::new().backends(&["legacy", "beta"]).line(routes).client_tls(ClientTls::new().nameless());
    let stage = Stage::start(setup.unprobed()).await;
    stage.backends[0].answers_probe("211-Features\r\n MLST size*;\r\n SIZE\r\n211 End").await;
    stage.backends[1].answers_probe("211-Features\r\n SIZE\r\n MFMT\r\n211 End").await;
    let mut client = stage.secured_client().await;
    for (host, told) in [
        (None, &["SIZE"][..]),
        (Some("beta.example"), &["SIZE", "MFMT"]),
        (Some("legacy.example"), &["SIZE", "MLST size*;"]),
    ] {
        if let Some(host) = host {
            client.says_and_hears(&format!("HOST {host}"), "220 ").await;
        }
        let features = features(&client.says_and_hears("FEAT", "211-").await);
        let theirs: HashSet<_> = features.iter().map(String::as_str).filter(|line| !OWN.contains(line)).collect();
        assert_eq!(theirs, told.iter().copied().collect(), "{host:?}");
    }
}

#[tokio::test]
async fn feat_never_promises_what_the_backend_lacks() {
    let stage = Stage::start(Setup::new().offering("500 Unknown command")).await;
    let mut client = stage.client().await;
    assert_eq!(features(&client.says_and_hears("FEAT", "211-").await), OWN);
    client.secures().await;
    assert_eq!(features(&client.says_and_hears("FEAT", "211-").await), OWN);
}

#[tokio::test]
async fn feat_after_login_asks_the_backend() {
    let mut scene = Scene::plain().await;
    scene.client.says("FEAT").await;
    scene.backend.hears_and_says("FEAT", "211-Features:\r\n TVFS\r\n211 End").await;
    let features = features(&scene.client.hears("211-").await);
    assert!(features.contains(&"TVFS".to_owned()) && !features.contains(&"MDTM".to_owned()), "{features:?}");
    scene.goes_on().await;
}

#[tokio::test]
async fn feat_is_answered_when_the_backend_says_500() {
    for answer in ["500 Unknown command", "502 Not implemented", "550-What?\r\n550 No"] {
        let mut scene = Scene::plain().await;
        scene.client.says("FEAT").await;
        scene.backend.hears_and_says("FEAT", answer).await;
        assert_eq!(features(&scene.client.hears("211-").await), OWN);
        scene.goes_on().await;
    }
}

/// ProFTPD says 501 to it between RNFR and RNTO. That takes nothing from others.
#[tokio::test]
async fn a_refused_feat_says_nothing_of_features() {
    let mut scene = Scene::open(Setup::new().offering("211-Features\r\n SIZE\r\n211 End")).await;
    let mut other = scene.stage.secured_client().await;
    for (answer, known) in [("501 Bad sequence", true), ("530 Not now", true), ("500 What?", false)] {
        scene.client.says("FEAT").await;
        scene.backend.hears_and_says("FEAT", answer).await;
        assert_eq!(features(&scene.client.hears("211-").await), OWN);
        let features = features(&other.says_and_hears("FEAT", "211-").await);
        assert_eq!(features.contains(&"SIZE".to_owned()), known, "{answer}");
    }
}

#[tokio::test]
async fn feat_is_answered_when_the_backend_has_no_features() {
    let mut scene = Scene::plain().await;
    scene.client.says("FEAT").await;
    scene.backend.hears_and_says("FEAT", "211 No features").await;
    assert_eq!(features(&scene.client.hears("211-").await), OWN);
}

#[tokio::test]
async fn what_the_gateway_owns_is_told_in_its_own_words() {
    let mut scene = Scene::plain().await;
    scene.client.says("FEAT").await;
    let theirs = "211-Features:\r\n AUTH SSL;TLS;\r\n PBSZ\r\n PROT C;P;\r\n CCC\r\n SSCN\r\n CPSV\r\n EPSV\r\n HOST\r\n SIZE\r\n211 End";
    scene.backend.hears_and_says("FEAT", theirs).await;
    let features = features(&scene.client.hears("211-").await);
    assert_eq!(features.len(), OWN.len() + 1, "{features:?}");
    for feature in OWN.iter().chain(&["SIZE"]) {
        assert!(features.iter().any(|line| line == feature), "{feature} is missing in {features:?}");
    }
}

#[tokio::test]
async fn features_of_careless_backends_get_exactly_one_blank() {
    let mut scene = Scene::plain().await;
    scene.client.says("FEAT").await;
    let theirs = "211-Features:\r\nMDTM\r\n   SIZE\r\n\tUTF8\r\n211-mlst size*;\r\n\r\n211 End";
    scene.backend.hears_and_says("FEAT", theirs).await;
    let features = features(&scene.client.hears("211-").await);
    for feature in ["MDTM", "SIZE", "UTF8"] {
        assert!(features.iter().any(|line| line == feature), "{feature} is missing in {features:?}");
    }
}

#[tokio::test]
async fn eprt_is_not_promised_where_active_mode_is_off() {
    let stage = Stage::start(Setup::new().with("active", "enabled: false")).await;
    let mut client = stage.client().await;
    let features = features(&client.says_and_hears("FEAT", "211-").await);
    assert!(!features.contains(&"EPRT".to_owned()), "{features:?}");
}
