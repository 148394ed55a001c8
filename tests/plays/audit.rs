//! What stands in the audit file (docs/audit.md).

use serde_json::{Value, json};

use crate::stage::{
    Authority, Client, ClientTls, Desk, End, Log, Scene, Stage, Transfer, asks, audited, holds, is_asked_where, is_over,
};

async fn finishes_upload(scene: &mut Scene, mut transfer: Transfer, content: &str) {
    transfer.client.sends(content).await;
    transfer.client.finishes().await;
    transfer.backend.receives_all().await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Stored").await;
    scene.client.hears("226 ").await;
}

#[tokio::test]
async fn who_moved_which_file_when() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    let port = scene.client.talk.wire.tcp().unwrap().local_addr().unwrap().port();
    scene.goes_on().await;
    scene.downloads().await;
    scene.uploads().await;
    is_over(scene).await;
    let transfers = desk.lines("transfer");
    assert_eq!(transfers.len(), 2);
    let (down, up) = (&transfers[0], &transfers[1]);
    holds(
        down,
        &json!({
            "listener": "explicit", "client_address": "127.0.0.1", "client_port": port, "user": "bob",
            "backend": "legacy", "verb": "RETR", "direction": "download", "path": "small",
            "resolved_path": "/home/small", "type": "ascii", "bytes": 13, "front": "private", "tls_version": "1.3",
            "tls_cipher": "TLS_AES_256_GCM_SHA384", "tls_resumed": true, "back": "clear", "code": 226, "by": "client",
            "result": "completed",
        }),
    );
    holds(up, &json!({ "verb": "STOR", "direction": "upload", "resolved_path": "/home/small", "bytes": 13 }));
    assert!(humantime::parse_rfc3339(down["time"].as_str().unwrap()).is_ok());
    // One session from its begin to its end, with the log's own number.
    for event in ["session_started", "tls", "login", "session_ended"] {
        let line = desk.line(event);
        holds(&line, &json!({ "session": down["session"], "client_port": port, "listener": "explicit" }));
    }
    holds(&desk.line("tls"), &json!({ "tls_version": "1.3", "tls_resumed": false }));
    holds(&desk.line("login"), &json!({ "user": "bob", "backend": "legacy", "second_factor": false }));
    let end = desk.line("session_ended");
    holds(&end, &json!({ "user": "bob", "by": "client", "during": "commands", "reason": "quit" }));
    let order: Vec<Value> =
        desk.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect();
    assert_eq!(
        order,
        ["audit_started", "session_started", "tls", "login", "transfer", "transfer", "session_ended", "audit_stopped"]
    );
}

#[tokio::test]
async fn a_path_is_told_from_the_root_once_the_server_has_said_where_the_session_is() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    asks(&mut scene, "CWD in", "250 There").await;
    for name in ["../x", "y"] {
        scene.client.says(format!("DELE {name}")).await;
        if name == "../x" {
            is_asked_where(&mut scene, "/home/in").await;
        }
        scene.backend.hears_and_says(&format!("DELE {name}"), "250 Gone").await;
        scene.client.hears("250 Gone").await;
    }
    // A server that does not say leaves the path as it was given, and is not asked again.
    asks(&mut scene, "CDUP", "250 There").await;
    scene.client.says("DELE z").await;
    scene.backend.hears_and_says("PWD", "502 No").await;
    scene.backend.hears_and_says("DELE z", "250 Gone").await;
    scene.client.hears("250 Gone").await;
    asks(&mut scene, "DELE /w", "250 Gone").await;
    is_over(scene).await;
    let paths: Vec<_> =
        desk.lines("delete").into_iter().map(|line| (line["path"].clone(), line["resolved_path"].clone())).collect();
    let pair = |given: &str, resolved: Value| (json!(given), resolved);
    assert_eq!(
        paths,
        [
            pair("../x", json!("/home/x")),
            pair("y", json!("/home/in/y")),
            pair("z", Value::Null),
            pair("/w", json!("/w"))
        ]
    );
}

/// vsftpd, ProFTPD, Pure-FTPd and pyftpdlib keep an offset over a listing: the file behind it begins there.
#[tokio::test]
async fn an_offset_is_of_the_file_and_not_of_the_listing_before_it() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.client.says("REST 4096").await;
    is_asked_where(&mut scene, "/").await;
    scene.backend.hears_and_says("REST 4096", "350 From there").await;
    scene.client.hears("350 ").await;
    for command in ["LIST", "RETR a", "RETR b"] {
        let mut transfer = scene.begins(command).await;
        transfer.backend.sends("bytes").await;
        transfer.backend.finishes().await;
        scene.backend.says("226 Sent").await;
        assert_eq!(transfer.client.receives_all().await.0, b"bytes");
        scene.client.hears("226 ").await;
    }
    is_over(scene).await;
    let offsets: Vec<_> = desk.lines("transfer").iter().map(|line| line["offset"].clone()).collect();
    assert_eq!(offsets, [Value::Null, json!(4096), Value::Null]);
}

/// What one server takes for 100 is 0 for another: nobody could say where the transfer began.
#[tokio::test]
async fn an_offset_that_is_not_digits_goes_to_no_server() {
    let mut scene = Scene::plain().await;
    for offset in ["+100", "-1", "100 200", "abc"] {
        scene.client.says(format!("REST {offset}")).await;
        scene.client.hears("501 ").await;
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn offsets_types_and_names_of_the_servers_own_are_told() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    asks(&mut scene, "TYPE I", "200 Binary").await;
    scene.client.says("REST 4096").await;
    // Nothing comes between REST and its transfer.
    is_asked_where(&mut scene, "/").await;
    scene.backend.hears_and_says("REST 4096", "350 From there").await;
    scene.client.hears("350 ").await;
    let transfer = scene.begins("STOR a").await;
    finishes_upload(&mut scene, transfer, "12345").await;
    let transfer = scene.begins("APPE b").await;
    finishes_upload(&mut scene, transfer, "123").await;
    asks(&mut scene, "TYPE A", "200 Text").await;

    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    scene.client.says("STOU").await;
    let backend = door.accepts().await;
    scene.backend.hears("STOU").await;
    scene.backend.says("150 FILE: in-0001").await;
    scene.client.hears("150 ").await;
    client.secures(&scene.client.tls).await;
    finishes_upload(&mut scene, Transfer { client, backend }, "1").await;
    is_over(scene).await;
    let transfers = desk.lines("transfer");
    holds(&transfers[0], &json!({ "verb": "STOR", "offset": 4096, "type": "binary", "bytes": 5, "stored_as": null }));
    holds(&transfers[1], &json!({ "verb": "APPE", "offset": null, "type": "binary", "bytes": 3 }));
    holds(
        &transfers[2],
        &json!({
            "verb": "STOU", "path": "", "stored_as": "in-0001", "resolved_path": "/in-0001", "type": "ascii", "bytes": 1,
        }),
    );
}

#[tokio::test]
async fn a_cut_is_told_as_a_cut_and_whose_doing_it_was() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.goes_on().await;
    let mut upload = scene.begins("STOR mine").await;
    upload.client.sends("half").await;
    upload.backend.receives("half").await;
    upload.client.resets();
    assert_eq!(upload.backend.ends().await, End::Reset);
    scene.backend.says("426 Cut").await;
    scene.client.refused(426, "client_cut").await;
    scene.goes_on().await;

    let mut download = scene.begins("RETR yours").await;
    download.backend.sends("half").await;
    download.client.receives("half").await;
    download.backend.resets();
    scene.backend.says("426 My disk").await;
    scene.client.hears("426 My disk").await;

    let mut aborted = scene.begins("RETR long").await;
    aborted.backend.sends("some").await;
    aborted.client.receives("some").await;
    scene.client.says("ABOR").await;
    scene.client.hears("426 ").await;
    scene.backend.hears("ABOR").await;
    scene.backend.says("426 Cut").await;
    scene.backend.says("226 Aborted").await;
    scene.client.hears("226 ").await;

    // What never ran has a line too.
    let (address, door) = scene.goes_passive().await;
    let _client = scene.client.opens(address).await;
    scene.client.says("RETR nothing").await;
    let _backend = door.accepts().await;
    scene.backend.hears_and_says("RETR nothing", "550 No such file").await;
    scene.client.hears("550 ").await;
    is_over(scene).await;
    let transfers = desk.lines("transfer");
    let told: Vec<_> =
        transfers.iter().map(|line| (&line["path"], &line["bytes"], &line["by"], &line["result"])).collect();
    assert_eq!(
        told,
        [
            (&json!("mine"), &json!(4), &json!("client"), &json!("client_cut")),
            (&json!("yours"), &json!(4), &json!("backend"), &json!("backend_refused")),
            (&json!("long"), &json!(4), &json!("client"), &json!("aborted")),
            (&json!("nothing"), &json!(0), &json!("backend"), &json!("backend_refused")),
        ]
    );
}

#[tokio::test]
async fn changes_are_told_with_what_the_server_said() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.goes_on().await;
    for (command, answer) in [
        ("DELE a", "250 Gone"),
        ("DELE b", "550 Not yours"),
        ("RNFR old", "350 To what"),
        ("RNTO /new", "250 Renamed"),
        ("RNTO stray", "503 What"),
        ("MKD d", "257 \"/home/d\""),
        ("XRMD d", "250 Gone"),
        ("MFMT 20260101000000 f", "213 Set"),
        ("SITE CHMOD 600 f", "200 Done"),
        ("SITE PSWD sesame open", "200 Done"),
        ("XPSWD sesame", "200 Done"),
    ] {
        scene.client.says(command).await;
        // What was renamed or removed may have been where the session is.
        if ["RNTO stray", "MKD d", "MFMT 20260101000000 f"].contains(&command) {
            is_asked_where(&mut scene, "/home").await;
        }
        scene.backend.hears_and_says(command, answer).await;
        scene.client.hears(answer).await;
    }
    is_over(scene).await;
    let deletes = desk.lines("delete");
    holds(
        &deletes[0],
        &json!({
            "user": "bob", "backend": "legacy", "verb": "DELE", "path": "a", "resolved_path": "/home/a", "code": 250,
            "result": "completed",
        }),
    );
    holds(&deletes[1], &json!({ "path": "b", "code": 550, "result": "backend_refused" }));
    let renames = desk.lines("rename");
    holds(
        &renames[0],
        &json!({
            "from_path": "old", "from_resolved_path": "/home/old", "path": "/new", "resolved_path": "/new", "code": 250,
        }),
    );
    holds(&renames[1], &json!({ "from_path": null, "path": "stray", "code": 503, "result": "backend_refused" }));
    holds(&desk.line("make_directory"), &json!({ "verb": "MKD", "resolved_path": "/home/d" }));
    holds(&desk.line("remove_directory"), &json!({ "verb": "XRMD", "resolved_path": "/home/d" }));
    holds(&desk.line("set_time"), &json!({ "resolved_path": "/home/f" }));
    let sites = desk.lines("site");
    holds(&sites[0], &json!({ "verb": "SITE CHMOD", "path": "600 f" }));
    holds(&sites[1], &json!({ "verb": "SITE PSWD", "path": null }));
    holds(&desk.line("other_command"), &json!({ "verb": "XPSWD", "path": null, "code": 200 }));
    assert!(!desk.text().contains("sesame"));
}

#[tokio::test]
async fn a_change_that_nobody_answers_may_have_been_done() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.goes_on().await;
    scene.client.says("DELE a").await;
    scene.backend.hears("DELE a").await;
    scene.backend.talk.resets();
    scene.client.hears("421 ").await;
    let Scene { stage, client, .. } = scene;
    drop(client);
    stage.is_empty().await;
    stage.gateway.stop().await;
    holds(&desk.line("delete"), &json!({ "path": "a", "code": null, "result": "unknown" }));
}

#[tokio::test]
async fn what_is_refused_is_told_with_its_reason_and_its_path() {
    let desk = Desk::new();
    let setup =
        desk.setup().with("access", "deny: 127.0.0.9, commands: [{ allow: [read, write], paths: [\"/in/**\"] }]");
    let mut scene = Scene::open(setup).await;
    scene.client.says("PWD").await;
    // Twice, for a rule goes by it.
    is_asked_where(&mut scene, "/home").await;
    is_asked_where(&mut scene, "/home").await;
    scene.backend.hears_and_says("PWD", "257 \"/home\"").await;
    scene.client.hears("257 ").await;
    for (command, code, label) in [
        ("DELE a", 550, "command_denied"),
        ("RETR /etc/passwd", 550, "path_denied"),
        ("PORT 10,0,0,1,4,1", 504, "foreign_address"),
        ("SITE PSWD sesame", 502, "verb_denied"),
    ] {
        scene.client.says(command).await;
        scene.client.refused(code, label).await;
    }
    let (from, to) = ("127.0.0.9".parse().unwrap(), scene.stage.listener("explicit"));
    let (tls, transcript) = (ClientTls::new(), scene.stage.transcript.clone());
    let mut stranger = Client::connect("stranger", from, to, tls, transcript).await;
    stranger.refused(421, "address_denied").await;
    is_over(scene).await;
    let refused = desk.lines("command_refused");
    holds(
        &refused[0],
        &json!({
            "user": "bob", "verb": "DELE", "path": "a", "resolved_path": "/home/a", "reason": "command_denied",
        }),
    );
    holds(&refused[1], &json!({ "verb": "RETR", "path": "/etc/passwd", "reason": "path_denied" }));
    holds(&refused[2], &json!({ "verb": "PORT", "path": null, "reason": "foreign_address" }));
    holds(&refused[3], &json!({ "verb": "SITE", "path": null, "reason": "verb_denied" }));
    holds(
        &desk.line("connection_refused"),
        &json!({
            "listener": "explicit", "client_address": "127.0.0.9", "reason": "address_denied",
        }),
    );
    assert!(!desk.text().contains("sesame"));
}

#[tokio::test]
async fn logins_that_fail_and_bans_are_told() {
    let desk = Desk::new();
    let setup = desk.setup().with("limits", "failed_logins: { attempts: 2, within: 1h, ban: 1h }");
    let stage = Stage::start(setup).await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    for at in 0..2 {
        if at > 0 {
            client.says("USER bob").await;
        }
        backend.hears_and_says("USER bob", "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS tell-nobody").await;
        backend.hears_and_says("PASS tell-nobody", "530 No").await;
        if at == 0 {
            client.hears("530 ").await;
        }
    }
    client.refused(421, "too_many_login_attempts").await;
    drop((client, backend));
    stage.is_empty().await;
    stage.gateway.stop().await;
    let failed = desk.lines("login_failed");
    assert_eq!(failed.len(), 2);
    let failed = &failed[1];
    holds(failed, &json!({ "user": "bob", "backend": "legacy", "reason": "rejected", "client_address": "127.0.0.1" }));
    let bans = desk.lines("banned");
    let login = bans.iter().find(|line| line["ban"] == "login").unwrap();
    holds(login, &json!({ "session": failed["session"], "banned_address": "127.0.0.1", "banned_user": "bob" }));
    assert!(login["seconds"].as_f64().unwrap() > 3590.0, "{login}");
    holds(&desk.line("session_ended"), &json!({ "user": null, "reason": "too_many_login_attempts" }));
    assert!(!desk.text().contains("tell-nobody"));
}

#[tokio::test]
async fn a_ban_that_an_operator_ends_is_told() {
    let desk = Desk::new();
    let setup = desk.setup().with("limits", "failed_logins: { attempts: 2, within: 1h, ban: 1h }");
    let stage = Stage::start(setup.with("admin", "address: \"127.0.0.1:0\"")).await;
    let mut client = stage.secured_client().await;
    let mut backend = None;
    for code in ["530 ", "421 "] {
        stage.guesses(&mut client, &mut backend).await.says("530 No").await;
        client.hears(code).await;
    }
    // One that is not there leaves nothing.
    for (number, status) in [(99, "404"), (1, "200")] {
        let answer = stage.asks_admin(&format!("POST /bans/lift/{number} HTTP/1.1")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    drop((client, backend));
    stage.is_empty().await;
    stage.gateway.stop().await;
    let banned = desk.line("banned");
    let lifted = desk.line("ban_lifted");
    holds(&lifted, &json!({ "ban": "login", "banned_address": "127.0.0.1", "banned_user": "bob", "number": 1 }));
    assert_eq!(lifted["number"], banned["number"]);
    assert!(lifted.get("session").is_none(), "{lifted}");
}

#[tokio::test]
async fn certificates_are_told_with_subject_issuer_and_serial() {
    let desk = Desk::new();
    let authority = Authority::new();
    let setup = desk.setup().with("tls", authority.entry("mode: require"));
    let scene = Scene::open(setup.client_tls(ClientTls::new().showing(&authority.issues("bob", 7)))).await;
    let mut stranger = scene.stage.client().await;
    stranger.tls = ClientTls::tls12();
    stranger.says_and_hears("AUTH TLS", "234 ").await;
    assert!(stranger.try_to_shake_hands().await.is_err());
    drop(stranger);
    scene.stage.counts("sessions_active{listener=\"explicit\"}", 1).await;
    is_over(scene).await;
    let shown = desk.line("client_certificate");
    assert!(shown["subject"].as_str().unwrap().contains("CN=bob"), "{shown}");
    assert!(shown["issuer"].as_str().unwrap().contains("CN="), "{shown}");
    assert_ne!(shown["issuer"], shown["subject"]);
    assert_eq!((&shown["serial"], &shown["session"]), (&json!("07"), &desk.line("login")["session"]));
    holds(&desk.line("tls_failed"), &json!({ "reason": "certificate_rejected" }));
    // And in the log.
    let log = Log::text();
    let told = ["client certificate accepted", "CN=bob", "serial=\"07\""];
    assert!(log.lines().any(|line| told.iter().all(|told| line.contains(told))), "{log}");
}

/// Whatever a name holds, a line is one line, and the name can be had back byte for byte.
#[tokio::test]
async fn no_name_forges_a_line() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.goes_on().await;
    let names: [&[u8]; 4] = [
        b"x\",\"event\":\"login\",\"user\":\"root",
        "\u{1b}[2J\u{9b}1A\u{202e}gpj.exe\u{2028}\u{feff}".as_bytes(),
        b"m\xfcll\xff\x01",
        "größe 大".as_bytes(),
    ];
    for name in names {
        let command = [b"DELE ", name].concat();
        scene.client.says(&command).await;
        scene.backend.hears(&command).await;
        scene.backend.says("250 Gone").await;
        scene.client.hears("250 ").await;
    }
    is_over(scene).await;
    let text = desk.text();
    let plain = |char: char| char == '\n' || matches!(char, ' '..='~') || char.is_alphanumeric();
    assert!(text.chars().all(plain), "{text}");
    let deletes = desk.lines("delete");
    assert_eq!((deletes.len(), desk.lines("login").len()), (4, 1), "{text}");
    for (line, name) in deletes.iter().zip(names) {
        match line.get("path_hex") {
            None => assert_eq!(line["path"].as_str().unwrap().as_bytes(), name),
            Some(hex) => {
                let expected: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(hex, &json!(expected));
            }
        }
    }
    assert!(deletes[2].get("path_hex").is_some() && deletes[1].get("path_hex").is_none());
}

#[tokio::test]
async fn xferlog_has_transfers_of_files_and_deletions_and_nothing_else() {
    let desk = Desk::new();
    let mut scene = Scene::open(audited(&desk.path(), "xferlog")).await;
    scene.goes_on().await;
    asks(&mut scene, "TYPE I", "200 Binary").await;
    scene.downloads().await;
    scene.uploads().await;
    asks(&mut scene, "DELE a b", "250 Gone").await;
    asks(&mut scene, "MKD d", "257 \"/home/d\"").await;
    is_over(scene).await;
    let text = desk.text();
    let fields: Vec<Vec<&str>> = text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    let behind_time: Vec<String> = fields.iter().map(|fields| fields[5..].join(" ")).collect();
    assert_eq!(
        behind_time,
        [
            "1 127.0.0.1 13 /home/small b _ o r bob ftp 0 * c",
            "1 127.0.0.1 13 /home/small b _ i r bob ftp 0 * c",
            "1 127.0.0.1 0 /home/a_b b _ d r bob ftp 0 * c",
        ]
    );
}
