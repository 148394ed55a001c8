//! Backends that speak in ways of their own (RFC 959 §4.2, and what old servers make of it).

use crate::stage::{End, Log, Scene, Setup, Stage};

/// A login before which the backend greets in this way.
async fn greeted_with(greeting: &[u8]) {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("USER bob").await;
    let mut backend = stage.backend().accepts().await;
    backend.talk.say_raw(greeting).await;
    backend.hears_and_says("USER bob", "230 In").await;
    client.hears("230 In").await;
}

#[tokio::test]
async fn a_120_before_the_220() {
    greeted_with(b"120 Ready in 1 minute\r\n220 Ready\r\n").await;
}

/// wu-ftpd with a message file.
#[tokio::test]
async fn a_banner_of_a_hundred_lines() {
    let mut banner = "220-Welcome\r\n".to_owned();
    for number in 0..100 {
        banner.push_str(&format!("220-line {number}, {number} of 220 lines\r\n"));
    }
    banner.push_str("220 Ready\r\n");
    greeted_with(banner.as_bytes()).await;
}

#[tokio::test]
async fn a_banner_with_blank_lines_tabs_and_bare_lf() {
    greeted_with(b"\r\n220-Hello\n\n\ttabbed\n220\tReady\n").await;
}

#[tokio::test]
async fn a_banner_without_any_text() {
    greeted_with(b"220\r\n").await;
}

/// What the client hears of an answer to a command, byte for byte.
async fn heard(answer: &[u8], expected: &str) {
    let mut scene = Scene::plain().await;
    scene.client.says("SITE HELP").await;
    scene.backend.hears("SITE HELP").await;
    scene.backend.talk.say_raw(answer).await;
    assert_eq!(scene.client.hears(&expected[..3]).await.text(), expected);
    scene.goes_on().await;
}

#[tokio::test]
async fn a_multi_line_reply_ends_only_at_its_own_code_and_a_space() {
    heard(
        b"211-Status of 226\r\n 226 not the end\r\n211-nor this\r\nfree text\r\n211 End\r\n",
        "211-Status of 226\r\n 226 not the end\r\n211-nor this\r\nfree text\r\n211 End\r\n",
    )
    .await;
}

/// curl takes any code and a space for the end, so such a line is made not to look like one.
#[tokio::test]
async fn a_line_that_looks_like_the_end_of_another_reply_is_indented() {
    heard(b"211-Quota\r\n226 files left\r\n500\r\n211 End\r\n", "211-Quota\r\n 226 files left\r\n 500\r\n211 End\r\n")
        .await;
}

#[tokio::test]
async fn lines_that_begin_with_digits_pass() {
    heard(
        b"214-Sizes\r\n2024-01-01 a\r\n12345 b\r\n214 End\r\n",
        "214-Sizes\r\n2024-01-01 a\r\n12345 b\r\n214 End\r\n",
    )
    .await;
}

#[tokio::test]
async fn bare_lf_becomes_crlf() {
    heard(b"214-One\nTwo\n214 End\n", "214-One\r\nTwo\r\n214 End\r\n").await;
}

#[tokio::test]
async fn blank_lines_inside_a_reply_pass_and_between_replies_vanish() {
    heard(b"\r\n\r\n214-One\r\n\r\n214 End\r\n\r\n", "214-One\r\n\r\n214 End\r\n").await;
}

#[tokio::test]
async fn short_lines_and_tabs_are_read() {
    heard(b"200\r\n", "200 \r\n").await;
    heard(b"200\tFine\r\n", "200 Fine\r\n").await;
    heard(b"214-\r\n\tTab\r\n214\r\n", "214-\r\n\tTab\r\n214 \r\n").await;
}

#[tokio::test]
async fn bytes_of_replies_are_not_decoded() {
    let mut scene = Scene::plain().await;
    scene.client.says("PWD").await;
    scene.backend.hears("PWD").await;
    scene.backend.talk.say_raw(b"257 \"/M\xfcller\xff\" is here\r\n").await;
    assert_eq!(scene.client.hears("257 ").await.bytes, b"257 \"/M\xfcller\xff\" is here\r\n");
}

#[tokio::test]
async fn a_reply_may_come_byte_by_byte() {
    let mut scene = Scene::plain().await;
    scene.client.says("PWD").await;
    scene.backend.hears("PWD").await;
    scene.backend.talk.say_byte_by_byte("257-Here\r\n257 \"/\"\r\n").await;
    assert_eq!(scene.client.hears("257-").await.text(), "257-Here\r\n257 \"/\"\r\n");
}

#[tokio::test]
async fn a_reply_of_a_mebibyte_is_streamed() {
    let mut scene = Scene::plain().await;
    scene.client.says("STAT /").await;
    scene.backend.hears("STAT /").await;
    let line = format!(" {}\r\n", "x".repeat(1021));
    let long = format!("213-Long\r\n{}213 End\r\n", line.repeat(1024));
    // The first line arrives long before the last is sent.
    scene.backend.talk.say_raw("213-Long\r\n").await;
    let first = scene.client.talk.line("the first line").await;
    assert_eq!(first, b"213-Long\r\n");
    let rest = &long["213-Long\r\n".len()..];
    let backend = scene.backend.talk.say_raw(rest);
    let client = async {
        let mut heard = Vec::new();
        while heard.len() < rest.len() {
            heard.extend(scene.client.talk.line("a line").await);
        }
        heard
    };
    let ((), heard) = tokio::join!(backend, client);
    assert!(heard == rest.as_bytes());
    scene.goes_on().await;
}

#[tokio::test]
async fn a_preliminary_reply_to_any_command_is_passed_and_the_final_one_awaited() {
    let mut scene = Scene::plain().await;
    scene.client.says("SITE INDEX").await;
    scene.backend.hears_and_says("SITE INDEX", "150 Working").await;
    scene.client.hears("150 Working").await;
    scene.backend.talk.hears_nothing().await;
    scene.backend.says("200 Done").await;
    scene.client.hears("200 Done").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_350_is_an_answer() {
    let mut scene = Scene::plain().await;
    scene.client.says("RNFR a").await;
    scene.backend.hears_and_says("RNFR a", "350 And now?").await;
    scene.client.hears("350 And now?").await;
    scene.client.says("RNTO b").await;
    scene.backend.hears_and_says("RNTO b", "250 Renamed").await;
    scene.client.hears("250 Renamed").await;
}

/// Which comes while the bytes are on their way: the client would take it for the answer to its next command.
#[tokio::test]
async fn a_second_final_reply_to_a_transfer_is_swallowed() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    scene.backend.says("226 Sent").await;
    scene.backend.says("226 Sent once more").await;
    scene.backend.says("250-And\r\n250 again").await;
    // All of it has come before the bytes end.
    scene.client.says_and_hears("STAT", "211").await;
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent\r\n").await;
    scene.goes_on().await;
}

/// From then on nobody knows which reply belongs to which command.
#[tokio::test]
async fn a_reply_that_nobody_asked_for_ends_the_session() {
    let mut scene = Scene::plain().await;
    scene.backend.says("220-By the way\r\n220 nothing").await;
    scene.client.refused(421, "backend_unasked").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.stage.counts("backend_failures_total{backend=\"legacy\",reason=\"unasked\"}", 1).await;
    scene.stage.is_empty().await;
}

/// The second would be taken for the reply to what the client has sent ahead.
#[tokio::test]
async fn two_replies_to_one_command_end_the_session() {
    for replies in ["213 5\r\n213 5", "500-What\r\n500 what\r\n500-And\r\n what else", "550 No\r\n150 Wait"] {
        let mut scene = Scene::plain().await;
        scene.client.talk.say_raw("SIZE x\r\nDELE x\r\nPWD\r\n").await;
        scene.backend.hears_and_says("SIZE x", replies).await;
        scene.client.reply("the first of them").await;
        scene.client.refused(421, "backend_unasked").await;
        // Nothing more has gone to the server.
        scene.backend.ends().await;
    }
}

#[tokio::test]
async fn two_replies_to_a_command_of_the_login_end_it() {
    for (name, replies) in [("USER bob", "331 Password\r\n331 Password"), ("PASS sesame", "230 In\r\n230 In")] {
        let stage = Stage::plain().await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears("USER bob").await;
        if name.starts_with("PASS") {
            backend.says("331 Password").await;
            client.hears("331 ").await;
            client.says(name).await;
            backend.hears(name).await;
        }
        backend.says(replies).await;
        client.reply("the first of them").await;
        if name.starts_with("USER") {
            client.says("PASS sesame").await;
        }
        client.refused(421, "backend_unasked").await;
    }
}

/// Some servers say more behind a transfer than they have to. As long as nothing else has been asked, that is told apart.
#[tokio::test]
async fn what_follows_a_transfer_is_swallowed() {
    let mut scene = Scene::plain().await;
    scene.downloads().await;
    scene.backend.says("226-By the way\r\n226 nothing").await;
    scene.client.talk.hears_nothing().await;
    scene.goes_on().await;
    scene.backend.says("226 And another thing").await;
    scene.client.refused(421, "backend_unasked").await;
}

/// A download whose replies come in this way, around the data; the client hears these and the content whole.
async fn downloads_with(before: &[&str], after: &[&str], hears: &[&str]) {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let mut client = scene.client.opens(address).await;
    scene.client.says("RETR file").await;
    let mut backend = door.accepts().await;
    scene.backend.hears("RETR file").await;
    if !before.is_empty() {
        scene.backend.says(before.join("\r\n")).await;
    }
    backend.sends("content").await;
    backend.finishes().await;
    if !after.is_empty() {
        scene.backend.says(after.join("\r\n")).await;
    }
    let (first, last) = hears.split_at(hears.len() - 1);
    for reply in first {
        scene.client.hears(reply).await;
    }
    client.secures(&scene.client.tls).await;
    assert_eq!(client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears(last[0]).await;
    scene.goes_on().await;
    scene.client.talk.hears_nothing().await;
}

/// IIS, MVS.
#[tokio::test]
async fn a_125_instead_of_the_150() {
    downloads_with(&["125 Already open"], &["226 Sent"], &["125 Already open", "226 Sent"]).await;
}

/// MVS.
#[tokio::test]
async fn a_250_instead_of_the_226() {
    downloads_with(&["150 Here"], &["250 Fine"], &["150 Here", "250 Fine"]).await;
}

/// Pure-FTPd.
#[tokio::test]
async fn a_150_of_several_lines() {
    downloads_with(&["150-Here", " 7 bytes", "150 Go"], &["226 Sent"], &["150-Here\r\n 7 bytes\r\n150 Go", "226 Sent"])
        .await;
}

#[tokio::test]
async fn a_150_twice_is_heard_once() {
    downloads_with(&["150 Here", "150 Again"], &["226 Sent"], &["150 Here", "226 Sent"]).await;
}

#[tokio::test]
async fn a_125_behind_the_150_is_not_heard() {
    downloads_with(&["150 Here"], &["125 Open", "226 Sent"], &["150 Here", "226 Sent"]).await;
}

#[tokio::test]
async fn no_150_at_all_is_made_up_for() {
    downloads_with(&[], &["226 Sent"], &["150 ", "226 Sent"]).await;
}

#[tokio::test]
async fn the_150_and_the_226_in_one_segment() {
    downloads_with(&["150 Here", "226 Sent"], &[], &["150 Here", "226 Sent"]).await;
}

/// Pure-FTPd.
#[tokio::test]
async fn the_226_in_several_lines() {
    downloads_with(&["150 Here"], &["226-Sent", " 1 kB/s", "226 End"], &["150 Here", "226-Sent\r\n 1 kB/s\r\n226 End"])
        .await;
}

#[tokio::test]
async fn a_backend_without_150_may_take_an_upload_too() {
    let mut scene = Scene::plain().await;
    let (address, door) = scene.goes_passive().await;
    let _client = scene.client.opens(address).await;
    scene.client.says("STOR file").await;
    let _backend = door.accepts().await;
    // It says it when it has everything; the client begins when it hears something. One of the two must.
    scene.backend.hears_and_says("STOR file", "226 Stored what there was").await;
    scene.client.hears("150 ").await;
}

/// The session ends: the client hears 421 with the reason and not the backend's words.
async fn ends_with(answer: &[u8], label: &str) {
    let mut scene = Scene::plain().await;
    scene.client.says("SITE HELP").await;
    scene.backend.hears("SITE HELP").await;
    scene.backend.talk.say_raw(answer).await;
    let heard = scene.client.refused(421, label).await;
    assert!(!heard.text().contains("10.1.2.3"), "{heard:?}");
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    scene.stage.counts(&format!("sessions_total{{listener=\"explicit\",outcome=\"{label}\"}}"), 1).await;
    // One failure, told once.
    let reason = label.trim_start_matches("backend_");
    scene.stage.counts(&format!("backend_failures_total{{backend=\"legacy\",reason=\"{reason}\"}}"), 1).await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn a_421_at_any_point_ends_the_session() {
    ends_with(b"421 Old server at 10.1.2.3 goes down\r\n", "backend_said_goodbye").await;
    ends_with(b"421-Old server\r\n421 at 10.1.2.3 goes down\r\n", "backend_said_goodbye").await;
}

#[tokio::test]
async fn a_421_while_nothing_is_asked_ends_the_session() {
    let mut scene = Scene::plain().await;
    scene.backend.says("421 Idle for too long").await;
    scene.client.refused(421, "backend_said_goodbye").await;
    assert_eq!(scene.client.ends().await, End::CloseNotify);
    // The operator reads what the client does not.
    scene.stage.counts("backend_failures_total{backend=\"legacy\",reason=\"said_goodbye\"}", 1).await;
    let log = Log::text();
    let told = log.lines().filter(|line| line.contains("detail=\"Idle for too long\"")).collect::<Vec<_>>();
    assert!(told.len() == 1 && told[0].contains("backend failed"), "{told:?}");
}

#[tokio::test]
async fn a_421_during_a_transfer_breaks_it() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.sends("half of").await;
    transfer.backend.receives("half of").await;
    scene.backend.says("421 Going down").await;
    scene.client.refused(421, "backend_said_goodbye").await;
    assert_eq!(transfer.backend.ends().await, End::Reset);
    assert_ne!(transfer.client.ends().await, End::CloseNotify);
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_gone\"}", 1).await;
    scene.stage.is_empty().await;
}

#[tokio::test]
async fn nonsense_ends_the_session() {
    for nonsense in [&b"hello\r\n"[..], b"<html>\r\n", b"\xff\xfe\x00\r\n", b"2000 x\r\n", b"999 x\r\n", b"20x\r\n"] {
        ends_with(nonsense, "backend_nonsense").await;
    }
}

#[tokio::test]
async fn a_reply_line_beyond_the_limit_ends_the_session() {
    let mut scene = Scene::open(Setup::new().with("limits", "reply_length: 1024")).await;
    scene.client.says("PWD").await;
    scene.backend.hears("PWD").await;
    scene.backend.says(format!("257 {}", "x".repeat(2000))).await;
    scene.client.refused(421, "backend_nonsense").await;
}

#[tokio::test]
async fn an_endless_line_ends_the_session() {
    let mut scene = Scene::plain().await;
    scene.client.says("PWD").await;
    scene.backend.hears("PWD").await;
    // Until the gateway takes no more.
    let endless = async { while scene.backend.talk.wire.write(&[b'2'; 4096]).await.is_ok() {} };
    let heard = async {
        scene.client.refused(421, "backend_nonsense").await;
        scene.client.ends().await
    };
    let ((), end) = tokio::join!(endless, heard);
    assert_eq!(end, End::CloseNotify);
}
