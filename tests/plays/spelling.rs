//! Another spelling of a user's name, which to servers is the same user: what holds for him holds.

use std::os::unix::fs::PermissionsExt;

use crate::stage::{Actor, Client, Scene, Setup, Stage};

const OTHERWISE: [&[u8]; 5] = [b"bo\x01b", b"bob\x1f", b"\x0bbob", b"bo\x7fb", b"bob\xff\xfbA"];
const SPELLINGS: [&str; 4] = ["BOB", "Bob", " bob", "bob  "];

/// A login of this spelling, which the backend takes for bob's.
async fn logs_in(stage: &Stage, client: &mut Client, user: &str, asked: &str) -> Actor {
    client.says(format!("USER {user}")).await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says(&format!("USER {user}"), "331 Password required.").await;
    client.hears("331 ").await;
    client.says("PASS sesame").await;
    if asked.is_empty() {
        backend.hears_and_says("PASS sesame", "230 Welcome bob").await;
        backend.protects().await;
        client.hears("230 ").await;
    } else {
        client.hears(asked).await;
        backend.talk.hears_nothing().await;
    }
    backend
}

/// Pure-FTPd writes `_` for control bytes, ProFTPD takes Telnet sequences out.
#[tokio::test]
async fn a_name_that_a_server_may_read_otherwise_is_501_and_goes_nowhere() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    for name in OTHERWISE {
        client.talk.say_raw([b"USER ", name, b"\r\nPASS sesame\r\n"].concat()).await;
        client.refused(501, "user_with_controls").await;
        client.refused(503, "user_first").await;
    }
    stage.backend().is_not_dialled().await;
    stage.counts("commands_refused_total{reason=\"user_with_controls\"}", 5).await;
}

#[tokio::test]
async fn nor_in_a_new_login_or_behind_rein() {
    for ahead in ["", "NOOP\r\n", "REIN\r\n"] {
        for name in OTHERWISE {
            let stage = Stage::plain().await;
            let mut client = stage.implicit_client().await;
            let mut old = stage.logs_in(&mut client).await;
            client.talk.say_raw([ahead.as_bytes(), b"USER ", name, b"\r\nPASS sesame\r\nPWD\r\n"].concat()).await;
            if ahead.starts_with("NOOP") {
                old.hears_and_says("NOOP", "200 Awake").await;
                client.hears("200 Awake").await;
            }
            old.hears("QUIT").await;
            if ahead.starts_with("REIN") {
                client.hears("220 ").await;
            }
            client.refused(501, "user_with_controls").await;
            client.refused(503, "user_first").await;
            // The old login is over, and there is no new one.
            client.refused(530, "not_logged_in").await;
            stage.backend().is_not_dialled().await;
        }
    }
}

#[tokio::test]
async fn the_code_is_asked_for_in_every_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("totp.secrets");
    for (secrets, required) in
        [("Bob:GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", "false"), ("", "[\"b?b\"]"), ("", "[\"B[N-P]*\"]")]
    {
        std::fs::write(&path, secrets).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let totp = format!("totp: {{ secrets: \"{}\", required: {required} }}", path.display());
        let stage = Stage::start(Setup::new().with("access", totp)).await;
        for user in SPELLINGS {
            let mut client = stage.secured_client().await;
            let _backend = logs_in(&stage, &mut client, user, "332 ").await;
        }
    }
}

#[tokio::test]
async fn what_is_denied_is_denied_in_every_spelling() {
    for rule in ["{ user: [bob], deny: [delete] }", "{ user: [\"B*\"], allow: [read] }"] {
        let mut stage = Stage::start(Setup::new().with("access", format!("commands: [{rule}]"))).await;
        for user in SPELLINGS {
            let mut client = stage.secured_client().await;
            let backend = logs_in(&stage, &mut client, user, "").await;
            let mut scene = Scene { stage, client, backend };
            scene.client.says("DELE x").await;
            scene.client.refused(550, "command_denied").await;
            scene.goes_on().await;
            stage = scene.stage;
        }
    }
}

/// A letter beyond ASCII is two bytes or more, and one letter to whoever writes a pattern.
#[tokio::test]
async fn a_pattern_goes_by_letters_whatever_their_bytes() {
    for (pattern, user, denied) in [
        ("m?ller", "Müller", true),
        ("m[üö]ller", "MÜLLER", true),
        ("m[!ü]ller", "Müller", false),
        ("[ü]*", "édith", false),
    ] {
        let rule = format!("commands: [{{ user: [\"{pattern}\"], deny: [delete] }}]");
        let stage = Stage::start(Setup::new().with("access", rule)).await;
        let mut client = stage.secured_client().await;
        let backend = logs_in(&stage, &mut client, user, "").await;
        let mut scene = Scene { stage, client, backend };
        scene.client.says("DELE x").await;
        if denied {
            scene.client.refused(550, "command_denied").await;
        } else {
            scene.backend.hears_and_says("DELE x", "250 Gone").await;
            scene.client.hears("250 ").await;
        }
    }
}

#[tokio::test]
async fn every_spelling_has_the_same_route() {
    let routes = "routes: [{ user: [Bob], backend: legacy }]";
    let stage = Stage::start(Setup::new().line(routes)).await;
    for user in SPELLINGS {
        let mut client = stage.secured_client().await;
        let _backend = logs_in(&stage, &mut client, user, "").await;
    }
    stage.counts("logins_total{result=\"accepted\"}", 4).await;
}

#[tokio::test]
async fn spellings_share_the_places_of_their_user() {
    let stage = Stage::start(Setup::new().with("limits", "sessions_per_user: 1")).await;
    let mut first = stage.secured_client().await;
    let _backend = stage.logs_in(&mut first).await;
    for user in SPELLINGS {
        let mut client = stage.secured_client().await;
        client.says(format!("USER {user}")).await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears_and_says(&format!("USER {user}"), "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS sesame").await;
        backend.hears_and_says("PASS sesame", "230 In").await;
        client.refused(421, "too_many_sessions_of_user").await;
    }
}
