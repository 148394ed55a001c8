//! Certificates of clients (`tls.client_certificates`).

use rcgen::DnValue;

use crate::stage::{Authority, ClientTls, End, Log, Scene, Setup, Stage};

const REJECTED: &str = "tls_handshakes_total{channel=\"control\",kind=\"none\",leg=\"front\",result=\"certificate_rejected\",version=\"none\"}";

fn requiring(authority: &Authority) -> Setup {
    Setup::new().with("tls", authority.entry("mode: require"))
}

/// The client is not let in, and hears an alert. Under TLS 1.3 its handshake is over before the gateway has looked.
async fn is_turned_away(stage: &Stage, tls: ClientTls) {
    let mut client = stage.client().await;
    client.tls = tls;
    client.says_and_hears("AUTH TLS", "234 ").await;
    if client.try_to_shake_hands().await.is_ok() {
        client.talk.say_raw("PBSZ 0\r\nPROT P\r\n").await;
        assert_eq!(client.ends().await, End::Broken);
    }
}

#[tokio::test]
async fn who_shows_one_of_the_authoritys_comes_in() {
    for tls in [ClientTls::new(), ClientTls::tls12()] {
        let authority = Authority::new();
        let tls = tls.showing(&authority.issues("bob", 7));
        let mut scene = Scene::open(requiring(&authority).client_tls(tls)).await;
        for _ in 0..2 {
            scene.downloads().await;
            scene.uploads().await;
        }
        scene.stage.counts("data_resumptions_total{cause=\"resumed\"}", 4).await;
    }
}

#[tokio::test]
async fn who_shows_none_or_a_strangers_is_turned_away() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let stage = Stage::start(requiring(&authority)).await;
    let other = stranger.issues("bob", 7);
    for tls in [ClientTls::new(), ClientTls::tls12()] {
        is_turned_away(&stage, tls.clone()).await;
        is_turned_away(&stage, tls.showing(&other)).await;
    }
    let mut implicit = stage.connects_implicitly().await;
    if implicit.try_to_shake_hands().await.is_ok() {
        assert_eq!(implicit.ends().await, End::Broken);
    }
    stage.counts(REJECTED, 5).await;
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"tls_failed\"}", 4).await;
    stage.backend().is_not_dialled().await;
    stage.is_empty().await;
}

#[tokio::test]
async fn with_request_who_shows_none_comes_in_and_a_strangers_is_turned_away() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let setup = Setup::new().with("tls", authority.entry("mode: request, user_from: common_name"));
    let mut scene = Scene::open(setup).await;
    scene.downloads().await;
    is_turned_away(&scene.stage, ClientTls::new().showing(&stranger.issues("bob", 7))).await;
}

#[tokio::test]
async fn a_required_certificate_is_not_got_round_in_clear() {
    let authority = Authority::new();
    let stage = Stage::start(requiring(&authority).with("tls", "control: optional")).await;
    let mut client = stage.client().await;
    client.says("USER bob").await;
    client.refused(530, "tls_required").await;
}

#[tokio::test]
async fn the_certificate_must_name_the_user() {
    let authority = Authority::new();
    let bob = authority.issues("bob", 7);
    for (from, user) in [("common_name", "bob"), ("email", "bob@acme.example"), ("dns", "bob.example")] {
        let setup = Setup::new()
            .with("tls", authority.entry(&format!("mode: require, user_from: {from}")))
            .client_tls(ClientTls::new().showing(&bob));
        let stage = Stage::start(setup).await;
        let mut client = stage.secured_client().await;
        for other in ["eve", "Bob"] {
            client.says_and_hears(&format!("USER {other}"), "331 Password required.\r\n").await;
            client.says_and_hears("PASS sesame", "530 Login incorrect.\r\n").await;
        }
        stage.counts("logins_total{result=\"certificate_mismatch\"}", 2).await;
        stage.backend().is_not_dialled().await;
        client.says(format!("USER {user}")).await;
        let mut actor = stage.backend().welcomes().await;
        actor.hears(format!("USER {user}")).await;
        actor.says("331 Password").await;
        client.hears("331 ").await;
        // A name that is refused later on drops the backend's conversation.
        client.says_and_hears("USER eve", "331 ").await;
        client.says_and_hears("PASS sesame", "530 ").await;
    }
}

#[tokio::test]
async fn a_data_connection_with_the_same_certificate_needs_no_resumption() {
    let authority = Authority::new();
    let bob = authority.issues("bob", 7);
    let tls = ClientTls::new().showing(&bob).without_resumption();
    let mut scene = Scene::open(requiring(&authority).client_tls(tls)).await;
    scene.downloads().await;
    scene.uploads().await;
    scene.stage.counts("data_resumptions_total{cause=\"none_offered\"}", 2).await;
}

#[tokio::test]
async fn a_data_connection_with_another_certificate_is_522_and_nothing_is_stored() {
    let authority = Authority::new();
    let (bob, eve) = (authority.issues("bob", 7), authority.issues("eve", 8));
    for (mode, other) in [
        ("require", ClientTls::new().showing(&eve)),
        ("request", ClientTls::new().showing(&eve)),
        ("request", ClientTls::new()),
    ] {
        let setup = Setup::new()
            .with("tls", authority.entry(&format!("mode: {mode}")))
            .client_tls(ClientTls::new().showing(&bob));
        let mut scene = Scene::open(setup).await;
        let (address, door) = scene.goes_passive().await;
        let data = scene.client.opens(address).await;
        let mut transfer = scene.commands("STOR file", data, &door).await;
        transfer.client.secures(&other).await;
        let reply = scene.client.refused(522, "client_tls_failed").await;
        assert!(reply.text().contains("certificate"), "{}", reply.text());
        assert_eq!(transfer.backend.receives_all().await, (Vec::new(), End::Reset));
        scene.stage.counts_until("tls_handshakes_total{channel=\"data\",kind=\"none\",leg=\"front\",result=\"certificate_differs\",version=\"none\"}", |n| n > 0.0).await;
    }
}

#[tokio::test]
async fn who_is_revoked_is_turned_away_and_a_reload_takes_the_lists_anew() {
    let authority = Authority::new();
    let (bob, eve) = (authority.issues("bob", 7), authority.issues("eve", 8));
    authority.revokes(&[&eve], 30);
    for file in ["revoked.pem", "revoked.crl"] {
        let lists = format!("mode: require, revocation_lists: [\"{}\"]", authority.file(file).display());
        let setup = Setup::new().with("tls", authority.entry(&lists)).client_tls(ClientTls::new().showing(&bob));
        authority.revokes(&[&eve], 30);
        let mut scene = Scene::open(setup).await;
        is_turned_away(&scene.stage, ClientTls::new().showing(&eve)).await;
        authority.revokes(&[&bob], 30);
        scene.stage.reloads(&scene.stage.setup).await;
        is_turned_away(&scene.stage, ClientTls::new().showing(&bob)).await;
        scene.stage.counts(REJECTED, 2).await;
        // The log has whom it was, and the client hears of nothing but the alert.
        let log = Log::text();
        for (name, serial) in [("eve", "08"), ("bob", "07")] {
            let named = |line: &&str| line.contains("certificate_rejected") && line.contains(&format!("CN={name}"));
            let line = log.lines().find(named).unwrap_or_else(|| panic!("{name} is not named: {log}"));
            assert!(line.contains(&format!("its serial number is {serial}")), "{line}");
        }
        // Who is in stays in.
        scene.downloads().await;
    }
}

#[tokio::test]
async fn with_a_list_that_is_out_of_date_nobody_comes_in() {
    let authority = Authority::new();
    let bob = authority.issues("bob", 7);
    authority.revokes(&[], -1);
    let lists = format!("mode: require, revocation_lists: \"{}\"", authority.file("revoked.pem").display());
    let stage = Stage::start(Setup::new().with("tls", authority.entry(&lists))).await;
    is_turned_away(&stage, ClientTls::new().showing(&bob)).await;
    stage.counts(REJECTED, 1).await;
}

/// There is a list: of another authority, or by somebody who only calls himself this one.
#[tokio::test]
async fn whose_authority_has_no_list_does_not_come_in() {
    let authority = Authority::new();
    let bob = authority.issues("bob", 7);
    for other in [Authority::called("another authority"), Authority::new()] {
        other.revokes(&[], 30);
        let lists = format!("mode: require, revocation_lists: \"{}\"", other.file("revoked.pem").display());
        let stage = Stage::start(Setup::new().with("tls", authority.entry(&lists))).await;
        is_turned_away(&stage, ClientTls::new().showing(&bob)).await;
        stage.counts(REJECTED, 1).await;
    }
}

/// The authority in between may have been revoked too, so the root's list is wanted as well.
#[tokio::test]
async fn each_authority_below_the_root_is_looked_up() {
    let root = Authority::new();
    let between = root.below("authority in between");
    let bob = between.issues("bob", 7);
    between.revokes(&[], 30);
    root.revokes(&[], 30);
    for (lists, comes_in) in [(&[&between][..], false), (&[&between, &root], true)] {
        let files: Vec<String> =
            lists.iter().map(|authority| format!("\"{}\"", authority.file("revoked.pem").display())).collect();
        let entry = root.entry(&format!("mode: require, revocation_lists: [{}]", files.join(", ")));
        let stage = Stage::start(Setup::new().with("tls", entry).client_tls(ClientTls::new().showing(&bob))).await;
        if comes_in {
            stage.secured_client().await;
        } else {
            is_turned_away(&stage, ClientTls::new().showing(&bob)).await;
            stage.counts(REJECTED, 1).await;
        }
    }
}

/// Who would be told by one of several names could be told by the other one too, also where that is no text for us.
#[tokio::test]
async fn of_several_common_names_none_is_the_user() {
    let authority = Authority::new();
    let seconds = [DnValue::Utf8String("eve".into()), DnValue::BmpString("eve".try_into().unwrap())];
    for (user_from, comes_in) in [("common_name", false), ("none", true)] {
        for second in &seconds {
            let two = authority.issues_with_second("bob", second.clone());
            let setup = Setup::new()
                .with("tls", authority.entry(&format!("mode: require, user_from: {user_from}")))
                .client_tls(ClientTls::new().showing(&two));
            let stage = Stage::start(setup).await;
            let mut client = stage.secured_client().await;
            if comes_in {
                let _actor = stage.logs_in(&mut client).await;
                continue;
            }
            for user in ["bob", "eve"] {
                client.says_and_hears(&format!("USER {user}"), "331 Password required.\r\n").await;
                client.says_and_hears("PASS sesame", "530 Login incorrect.\r\n").await;
            }
            stage.counts("logins_total{result=\"certificate_mismatch\"}", 2).await;
            stage.backend().is_not_dialled().await;
        }
    }
}

#[tokio::test]
async fn a_listener_may_ask_for_more_or_less_than_the_others() {
    let authority = Authority::new();
    let less = requiring(&authority).listener("client_certificates: none");
    Scene::open(less).await.downloads().await;
    let more = Setup::new().with("tls", authority.entry("mode: request")).listener("client_certificates: require");
    let stage = Stage::start(more).await;
    is_turned_away(&stage, ClientTls::new()).await;
    let mut client = stage.client().await;
    client.tls = ClientTls::new().showing(&authority.issues("bob", 7));
    client.secures().await;
    let _actor = stage.logs_in(&mut client).await;
}

/// Whether a certificate is asked for is no matter of the socket: neither half of the new file is in force alone.
#[tokio::test]
async fn a_reload_asks_on_each_listener_what_the_new_file_says() {
    let authority = Authority::new();
    let stage = Stage::start(requiring(&authority)).await;
    is_turned_away(&stage, ClientTls::new()).await;
    let requests = || Setup::new().with("tls", authority.entry("mode: request"));
    for (setup, comes_in) in [
        (requests().listener("client_certificates: require"), false),
        (requiring(&authority).listener("client_certificates: none"), true),
        (requests().listener("client_certificates: require"), false),
        (requests(), true),
        (requests().listener("client_certificates: require"), false),
        // Nobody is asked any more, and no authority is there to ask for.
        (Setup::new(), true),
    ] {
        assert!(stage.reloads(&setup).await.is_empty());
        if comes_in {
            let mut client = stage.secured_client().await;
            let _actor = stage.logs_in(&mut client).await;
        } else {
            is_turned_away(&stage, ClientTls::new()).await;
        }
    }
}

/// The bound listeners keep their names: a client could come in where it must show a certificate.
#[tokio::test]
async fn listeners_that_changed_and_ask_for_certificates_are_for_a_restart() {
    let authority = Authority::new();
    let mut stage = Stage::start(requiring(&authority)).await;
    stage.setup = requiring(&authority).listener("client_certificates: none").listening_on(&["127.0.0.1", "127.0.0.2"]);
    let refused = stage.refuses_to_reload();
    assert!(refused.starts_with("listeners: ") && refused.contains("Restart instead of reloading"), "{refused}");
    is_turned_away(&stage, ClientTls::new()).await;
}
