//! Which commands a user may use: `access.commands`.

use crate::stage::{Scene, Setup};

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

/// The gateway asks where it is, and this is the answer.
async fn is_asked(scene: &mut Scene, answer: &str) {
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
    passes(&mut scene, "SITE CHMOD 644 x").await;
    passes(&mut scene, "DELE x").await;
    is_refused(&mut scene, "XCRC x", 502, "verb_denied").await;
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
    is_refused(&mut scene, "MKD in/../x", 550, "path_denied").await;
    is_refused(&mut scene, "SIZE /in/x", 550, "path_denied").await;
    is_refused(&mut scene, "SIZE ~/out/x", 550, "path_unknown").await;
    passes(&mut scene, "SIZE out/x").await;
    // A link, perhaps: the server is where it says it is.
    passes(&mut scene, "CWD somewhere").await;
    scene.client.says("MKD y").await;
    is_asked(&mut scene, "257 \"/in/a \"\"b\"\"\" is here").await;
    scene.backend.hears_and_says("MKD y", "257 made").await;
    scene.client.hears("257 made").await;
    passes(&mut scene, "CDUP").await;
    scene.client.says("MKD ../z").await;
    is_asked(&mut scene, "257 \"/in\"").await;
    scene.client.refused(550, "path_denied").await;
    // The client's own PWD tells as well, and MKD's 257 does not.
    passes(&mut scene, "CWD /").await;
    scene.client.says("PWD").await;
    is_asked(&mut scene, "257 \"/\"").await;
    scene.backend.hears_and_says("PWD", "257 \"/in/deep\"").await;
    scene.client.hears("257 \"/in/deep\"").await;
    scene.uploads().await;
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
    for answer in ["257 \"'BOB.'\" is the working directory", "550 Not here", "257-\"/in\r\n257 what"] {
        scene.client.says("CWD x").await;
        if answer.starts_with("257 ") {
            is_asked(&mut scene, answer).await;
            scene.backend.hears_and_says("CWD x", "250 Done").await;
        } else {
            scene.backend.hears_and_says("PWD", "257 \"nowhere\"").await;
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
