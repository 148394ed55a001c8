//! Which commands a user may use: `access.commands`.

use crate::stage::{Client, Scene, Setup, Stage};

fn ruled(rules: &str) -> Setup {
    Setup::new().with("access", format!("commands: [{rules}]"))
}

/// The client hears no, and the backend nothing: the next thing it hears is the next command.
async fn is_refused(scene: &mut Scene, command: &str, code: u16, label: &str) {
    scene.client.says(command).await;
    scene.client.refused(code, label).await;
}

async fn passes(scene: &mut Scene, command: &str) {
    scene.client.says(command).await;
    scene.backend.hears_and_says(command, "250 Done").await;
    scene.client.hears("250 Done").await;
}

/// The gateway asks where it is, twice, and this is the answer.
async fn is_asked(scene: &mut Scene, answer: &str) {
    scene.backend.hears_and_says("PWD", answer).await;
    scene.backend.hears_and_says("PWD", answer).await;
}

#[tokio::test]
async fn download_only() {
    let mut scene = Scene::open(ruled("{ user: [\"bob\"], allow: [read] }")).await;
    scene.downloads().await;
    for command in ["DELE x", "RMD x", "RNFR x", "MKD x", "MDTM 20200101000000 x"] {
        is_refused(&mut scene, command, 550, "command_denied").await;
    }
    for command in ["SITE CHMOD 777 x", "XCRC x"] {
        is_refused(&mut scene, command, 502, "verb_denied").await;
    }
    // The data connection that was arranged goes with the upload that is refused, and the next one works.
    let (address, _door) = scene.goes_passive().await;
    let mut data = scene.client.opens(address).await;
    is_refused(&mut scene, "STOR x", 550, "command_denied").await;
    assert_eq!(data.ends().await, crate::stage::End::Fin);
    scene.downloads().await;
    scene.goes_on().await;
    scene.stage.counts("commands_refused_total{reason=\"command_denied\"}", 6).await;
    scene.stage.counts("commands_refused_total{reason=\"verb_denied\"}", 2).await;
}

#[tokio::test]
async fn upload_only() {
    let mut scene = Scene::open(ruled("{ user: [\"bob\"], allow: [write] }")).await;
    scene.uploads().await;
    passes(&mut scene, "CWD in").await;
    passes(&mut scene, "MKD new").await;
    for command in ["SIZE x", "MLST", "STAT x", "DELE x", "LIST", "RETR x"] {
        is_refused(&mut scene, command, 550, "command_denied").await;
    }
    scene.uploads().await;
}

#[tokio::test]
async fn commands_of_site_are_told_apart() {
    let mut scene = Scene::open(ruled("{ deny: [\"SITE EXEC\", \"SITE CPFR\"] }")).await;
    for command in ["SITE EXEC id", "site  exec id", "SITE\tCPFR x", "SITE cpfr x"] {
        scene.client.says(command).await;
        let heard = scene.client.reply("a refusal").await;
        assert!(heard.code >= 500, "{heard:?}");
    }
    // ProFTPD takes off quotes, and ends a word at any blank byte.
    for command in ["SITE \"EXEC\" id", "SITE EXEC\x0bid", "SITE EXEC\tid", "SITE  EXEC id", "SITE E\\XEC id"] {
        is_refused(&mut scene, command, 502, "verb_denied").await;
    }
    passes(&mut scene, "SITE CHMOD 644 x").await;
    passes(&mut scene, "DELE x").await;
    is_refused(&mut scene, "XCRC x", 502, "verb_denied").await;
}

/// Where all of SITE is allowed, it is the server's to read.
#[tokio::test]
async fn whoever_may_use_all_of_site_may_write_it_as_he_likes() {
    let mut scene = Scene::open(ruled("{ user: [\"bob\"], allow: [admin] }, { deny: [\"SITE EXEC\"] }")).await;
    passes(&mut scene, "SITE \"CHMOD\" 644 x").await;
    passes(&mut scene, "SITE  EXEC id").await;
}

/// A server's working directory is a folder, and goes along when it is renamed.
#[tokio::test]
async fn a_folder_that_is_renamed_takes_the_session_along() {
    let mut scene = Scene::open(ruled("{ allow: [read, write, delete, rename], paths: [\"/out/**\"] }")).await;
    scene.client.says("CWD /out/a/b/c").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.backend.hears_and_says("CWD /out/a/b/c", "250 In").await;
    scene.client.hears("250 In").await;
    scene.client.says("RNFR /out/a/b/c").await;
    is_asked(&mut scene, "257 \"/out/a/b/c\"").await;
    scene.backend.hears_and_says("RNFR /out/a/b/c", "350 What to").await;
    scene.client.hears("350 ").await;
    passes(&mut scene, "RNTO /out/c").await;
    // The server is asked again, and whatever it says, up leads nowhere for sure.
    scene.client.says("SIZE ../../x.key").await;
    is_asked(&mut scene, "257 \"/out/c\"").await;
    scene.client.refused(550, "path_unknown").await;
    for command in ["DELE ..", "DELE a/../../x", "RNFR ../../f", "STAT ../..", "MKD ../x"] {
        is_refused(&mut scene, command, 550, "path_unknown").await;
    }
    let (_address, _door) = scene.goes_passive().await;
    for command in ["STOR ../../planted", "RETR ../../x.key", "LIST ..", "LIST .*"] {
        is_refused(&mut scene, command, 550, "path_unknown").await;
    }
    passes(&mut scene, "SIZE x").await;
    // It may have gone: whoever removes it, and puts another one in its place, is not in that one.
    for command in ["RMD /out/c", "XRMD /out/c"] {
        passes(&mut scene, command).await;
        scene.client.says("SIZE x").await;
        is_asked(&mut scene, "257 \"/elsewhere\"").await;
        scene.client.refused(550, "path_denied").await;
    }
    // Up with CWD and CDUP: the server says where that was.
    for command in ["CWD ../..", "XCWD ..", "CDUP", "XCUP"] {
        passes(&mut scene, command).await;
        scene.client.says("SIZE x.key").await;
        is_asked(&mut scene, "257 \"/\"").await;
        scene.client.refused(550, "path_denied").await;
    }
}

/// vsftpd and Pure-FTPd look up what is renamed when RNTO comes, from where the session is then.
#[tokio::test]
async fn what_is_renamed_is_what_was_judged() {
    let mut scene = Scene::open(ruled("{ allow: [read, write, rename], paths: [\"/out/**\"] }")).await;
    for go in ["CWD /private", "CDUP"] {
        scene.client.says("RNFR /out/x").await;
        is_asked(&mut scene, "257 \"/out\"").await;
        scene.backend.hears_and_says("RNFR /out/x", "350 What to").await;
        scene.client.hears("350 ").await;
        passes(&mut scene, go).await;
        scene.client.says("RNTO /out/stolen").await;
        is_asked(&mut scene, "257 \"/private\"").await;
        scene.client.refused(550, "path_unknown").await;
        scene.backend.hears_and_says("RNTO", "501 What to").await;
        passes(&mut scene, "CWD /out").await;
    }
    // Nothing that the gateway knows of is to be renamed.
    scene.client.says("RNFR /out/x").await;
    is_asked(&mut scene, "257 \"/out\"").await;
    scene.backend.hears_and_says("RNFR /out/x", "350 What to").await;
    scene.client.hears("350 ").await;
    passes(&mut scene, "RNTO /out/y").await;
    scene.client.says("RNTO /out/z").await;
    is_asked(&mut scene, "257 \"/out\"").await;
    scene.client.refused(550, "path_unknown").await;
}

/// Another session of the user moves the folder that this one is in, and the gateway does not put two and two together.
#[tokio::test]
async fn a_folder_that_another_session_renames_leads_nowhere_up() {
    let rules = "{ allow: [read, write, rename], paths: [\"/out/**\"] }";
    let mut scene = Scene::open(ruled(rules)).await;
    scene.client.says("SIZE nothing").await;
    is_asked(&mut scene, "257 \"/out/e/f/g\"").await;
    scene.backend.hears_and_says("SIZE nothing", "550 None").await;
    scene.client.hears("550 None").await;
    let mut other = scene.stage.secured_client().await;
    let mut backend = scene.stage.logs_in(&mut other).await;
    other.says("RNFR /out/e/f/g").await;
    backend.hears_and_says("PWD", "257 \"/\"").await;
    backend.hears_and_says("PWD", "257 \"/\"").await;
    backend.hears_and_says("RNFR /out/e/f/g", "350 What to").await;
    other.hears("350 ").await;
    other.says("RNTO /out/g").await;
    backend.hears_and_says("RNTO /out/g", "250 Done").await;
    other.hears("250 ").await;
    is_refused(&mut scene, "SIZE ../../x.key", 550, "path_unknown").await;
    // What lies below goes along with the folder.
    passes(&mut scene, "SIZE x").await;
    passes(&mut scene, "SIZE ./a/x").await;
}

/// Pure-FTPd reads `_` for a control byte, and skips blanks.
#[tokio::test]
async fn bytes_that_servers_read_as_others_are_refused() {
    let mut scene = Scene::open(ruled("{ deny: [read], paths: [\"/my_key\"] }")).await;
    scene.client.says("SIZE my_key").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.client.refused(550, "path_denied").await;
    for name in ["my\x01key", "/my\x1fkey", "my\x7fkey", "my\tkey", " my_key", "my_key "] {
        is_refused(&mut scene, &format!("SIZE {name}"), 550, "path_unknown").await;
    }
    passes(&mut scene, "SIZE my key").await;
}

/// A partner who uploads to one place and fetches from another one.
#[tokio::test]
async fn paths_go_by_where_the_server_says_it_is() {
    let rules = "{ allow: [write], paths: [\"/in/**\"] }, { allow: [read], paths: [\"/out/**\"] }";
    let mut scene = Scene::open(ruled(rules)).await;
    scene.client.says("DELE x").await;
    is_asked(&mut scene, "257 \"/\" is here").await;
    scene.client.refused(550, "command_denied").await;
    is_refused(&mut scene, "MKD x", 550, "path_denied").await;
    passes(&mut scene, "MKD in/x").await;
    is_refused(&mut scene, "MKD /in/../x", 550, "path_denied").await;
    is_refused(&mut scene, "SIZE /in/x", 550, "path_denied").await;
    is_refused(&mut scene, "SIZE ~/out/x", 550, "path_unknown").await;
    passes(&mut scene, "SIZE out/x").await;
    // A link, perhaps: the server is where it says it is.
    passes(&mut scene, "CWD somewhere").await;
    scene.client.says("MKD y").await;
    is_asked(&mut scene, "257 \"/in/a b\" is here").await;
    scene.backend.hears_and_says("MKD y", "257 made").await;
    scene.client.hears("257 made").await;
    passes(&mut scene, "CDUP").await;
    scene.client.says("MKD z").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.client.refused(550, "path_denied").await;
    // The client's own PWD tells nothing, and neither does MKD's 257.
    passes(&mut scene, "CWD /").await;
    scene.client.says("PWD").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.backend.hears_and_says("PWD", "257 \"/in/deep\"").await;
    scene.client.hears("257 \"/in/deep\"").await;
    is_refused(&mut scene, "MKD y", 550, "path_denied").await;
}

/// A server that answers something twice is one reply ahead from then on, and a MKD's 257 looks like a PWD's.
#[tokio::test]
async fn a_server_that_is_one_reply_ahead_leads_nobody_out() {
    let mut scene = Scene::open(ruled("{ allow: [read, write], paths: [\"/in/**\"] }")).await;
    scene.client.says("SIZE /in/x").await;
    is_asked(&mut scene, "257 \"/in\"").await;
    // The second of them comes when the next command is with the server.
    scene.client.talk.say_raw("MKD /in/zz\r\nCWD /secret\r\nSIZE x\r\n").await;
    scene.backend.hears_and_says("SIZE /in/x", "500 Too long").await;
    scene.client.hears("500 Too long").await;
    scene.backend.hears_and_says("MKD /in/zz", "500 What").await;
    scene.client.hears("500 What").await;
    scene.backend.hears_and_says("CWD /secret", "500 What").await;
    scene.client.hears("500 What").await;
    // Two replies ahead, the gateway's PWD is answered with MKD's, and the next one with CWD's.
    scene.backend.hears_and_says("PWD", "257 \"/in/zz\" made").await;
    scene.backend.hears_and_says("PWD", "250 You are there").await;
    scene.client.refused(421, "backend_unasked").await;
    scene.client.ends().await;
}

#[tokio::test]
async fn an_upload_outside_is_553_and_the_transfer_after_it_works() {
    let mut scene = Scene::open(ruled("{ allow: [write, read], paths: [\"/in/**\"] }")).await;
    scene.client.says("TYPE I").await;
    is_asked(&mut scene, "257 \"/in\"").await;
    scene.backend.hears_and_says("TYPE I", "200 Type I").await;
    scene.client.hears("200 ").await;
    let (_address, _door) = scene.goes_passive().await;
    is_refused(&mut scene, "STOR /etc/passwd", 553, "name_denied").await;
    scene.uploads().await;
    scene.downloads().await;
    is_refused(&mut scene, "RNTO /etc/passwd", 550, "command_denied").await;
}

/// z/OS and others do not answer with a path from a root. Then nothing relative passes.
#[tokio::test]
async fn a_server_that_does_not_say_where_it_is_fails_closed() {
    let mut scene = Scene::open(ruled("{ allow: [read], paths: [\"/in/**\"] }")).await;
    for answer in [
        "257 \"'BOB.'\" is the working directory",
        "550 Not here",
        "257-\"/in\r\n257 what",
        // Pure-FTPd in a folder with a quote in its name.
        "257 \"/in/q\"r\" is your current location",
        // The same with two; or any other server with one, and nobody can tell which.
        "257 \"/in/q\"\"r\" is your current location",
    ] {
        scene.client.says("CWD x").await;
        if answer.starts_with("257 ") {
            is_asked(&mut scene, answer).await;
            scene.backend.hears_and_says("CWD x", "250 Done").await;
        } else {
            is_asked(&mut scene, "257 \"nowhere\"").await;
            scene.backend.hears_and_says("CWD x", "250 Done").await;
        }
        scene.client.hears("250 ").await;
        scene.client.says("SIZE x").await;
        is_asked(&mut scene, answer).await;
        scene.client.refused(550, "path_unknown").await;
        passes(&mut scene, "SIZE /in/x").await;
        passes(&mut scene, "CDUP").await;
    }
}

/// Rules are the user's: another one at the same gateway is not touched.
#[tokio::test]
async fn others_are_not_touched() {
    let mut scene =
        Scene::open(ruled("{ user: [\"eve\"], allow: [read] }, { clients: [10.0.0.0/8], deny: [delete] }")).await;
    passes(&mut scene, "DELE x").await;
    scene.uploads().await;
}

/// Verbs beside groups, one that the gateway does not know among them.
#[tokio::test]
async fn verbs_are_told_apart_and_one_that_nobody_knows_passes_where_it_is_listed() {
    let rules = "{ user: bob, allow: [read, DELE, XCRC], deny: [MLST] }, { deny: [NOOP] }";
    let mut scene = Scene::open(ruled(rules)).await;
    for command in ["DELE x", "XCRC x", "xcrc x", "SIZE x"] {
        passes(&mut scene, command).await;
    }
    is_refused(&mut scene, "RMD x", 550, "command_denied").await;
    is_refused(&mut scene, "MLST x", 550, "command_denied").await;
    for command in ["XMD5 x", "NOOP"] {
        is_refused(&mut scene, command, 502, "verb_denied").await;
    }
}

/// The same user, from two networks and through two listeners.
#[tokio::test]
async fn rules_go_by_network_and_listener_too() {
    let rules = "{ clients: 127.0.0.2, deny: [delete] }, { listener: implicit, deny: [rename] }";
    let mut stage = Stage::start(ruled(rules)).await;
    for (from, listener, delete, rename) in [
        ("127.0.0.1", "explicit", true, true),
        ("127.0.0.2", "explicit", false, true),
        ("127.0.0.1", "implicit", true, false),
        ("127.0.0.2", "implicit", false, false),
    ] {
        let (tls, transcript) = (stage.setup.client_tls.clone(), stage.transcript.clone());
        let mut client =
            Client::connect("client", from.parse().unwrap(), stage.listener(listener), tls, transcript).await;
        if listener == "implicit" {
            client.shakes_hands().await;
            client.hears("220 ").await;
        } else {
            client.hears("220 ").await;
            client.secures().await;
        }
        let backend = stage.logs_in(&mut client).await;
        let mut scene = Scene { stage, client, backend };
        for (command, may) in [("DELE x", delete), ("RNFR x", rename)] {
            match may {
                true => passes(&mut scene, command).await,
                false => is_refused(&mut scene, command, 550, "command_denied").await,
            }
        }
        stage = scene.stage;
    }
}

/// What SITE does, and a verb that the gateway does not know, is the server's secret: the session may be elsewhere.
#[tokio::test]
async fn behind_what_nobody_knows_the_server_is_asked_again() {
    let rules = "{ allow: [SITE, XCHD] }, { allow: [read], paths: [\"/out/**\"] }";
    let mut scene = Scene::open(ruled(rules)).await;
    scene.client.says("SIZE x").await;
    for command in ["SITE CD /", "XCHD /"] {
        is_asked(&mut scene, "257 \"/out\"").await;
        scene.backend.hears_and_says("SIZE x", "213 1").await;
        scene.client.hears("213 1").await;
        passes(&mut scene, command).await;
        scene.client.says("SIZE x").await;
        is_asked(&mut scene, "257 \"/\"").await;
        scene.client.refused(550, "path_denied").await;
        passes(&mut scene, "CWD /out").await;
        scene.client.says("SIZE x").await;
    }
    is_asked(&mut scene, "257 \"/\"").await;
    scene.client.refused(550, "path_denied").await;
}

/// Servers forget an offset at the next command that is no transfer.
#[tokio::test]
async fn where_the_session_is_is_asked_before_rest_and_not_behind_it() {
    let mut scene = Scene::open(ruled("{ allow: [read], paths: [\"/in/**\"] }")).await;
    scene.client.says("REST 10").await;
    is_asked(&mut scene, "257 \"/in\"").await;
    scene.backend.hears_and_says("REST 10", "350 From 10").await;
    scene.client.hears("350 ").await;
    let mut transfer = scene.begins("RETR x").await;
    transfer.backend.sends("the rest").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await.0, b"the rest");
    scene.client.hears("226 Sent").await;
}

/// Commands sent ahead wait for the gateway's own question, and are answered in their order.
#[tokio::test]
async fn commands_sent_ahead_are_judged_one_after_the_other() {
    let mut scene = Scene::open(ruled("{ allow: [write], paths: [\"/in/**\"] }")).await;
    scene.client.talk.say_raw("CWD /in\r\nMKD a\r\nCWD /\r\nMKD b\r\n").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.backend.hears_and_says("CWD /in", "250 In").await;
    is_asked(&mut scene, "257 \"/in\"").await;
    scene.backend.hears_and_says("MKD a", "257 \"/in/a\" made").await;
    scene.backend.hears_and_says("CWD /", "250 Root").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.client.hears("250 In").await;
    scene.client.hears("257 \"/in/a\" made").await;
    scene.client.hears("250 Root").await;
    scene.client.refused(550, "path_denied").await;
}
