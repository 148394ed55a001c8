//! Lines: their ends, their limits, and the bytes in them.

use crate::stage::{Scene, Setup, Stage};

#[tokio::test]
async fn a_bare_lf_ends_a_line_too() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw("PWD\nSYST\r\n").await;
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.client.hears("257 ").await;
    scene.backend.hears_and_says("SYST", "215 UNIX").await;
    scene.client.hears("215 ").await;
}

#[tokio::test]
async fn a_nul_in_a_line_is_501_and_goes_nowhere() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw(b"DELE a\0b\r\n").await;
    scene.client.refused(501, "line_with_nul").await;
    scene.goes_on().await;
}

/// A second line in disguise.
#[tokio::test]
async fn a_bare_cr_in_a_line_is_501_and_goes_nowhere() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw(b"CWD a\rDELE b\r\n").await;
    scene.client.refused(501, "line_with_bare_cr").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_500_and_goes_nowhere() {
    let setup = Setup::new().with("limits", "command_length: 512").backend("command_length: 4KiB");
    let mut scene = Scene::open(setup).await;
    scene.client.says(format!("DELE {}", "x".repeat(600))).await;
    scene.client.refused(500, "line_too_long").await;
    scene.client.says(format!("DELE {}", "x".repeat(100_000))).await;
    scene.client.refused(500, "line_too_long").await;
    // To the byte.
    let longest = format!("DELE {}", "x".repeat(507));
    scene.client.says(&longest).await;
    scene.backend.hears_and_says(&longest, "250 Gone").await;
    scene.client.hears("250 ").await;
    scene.client.says(format!("{longest}x")).await;
    scene.client.refused(500, "line_too_long").await;
    scene.goes_on().await;
}

/// Where a server's buffer ends, another command would begin for it that nobody has checked.
#[tokio::test]
async fn a_line_that_could_be_two_commands_at_the_server_goes_nowhere() {
    let mut scene = Scene::plain().await;
    for verb in ["SIZE", "STOR", "MKD", "SITE", "STAT", "XFOO", "OPTS", "ACCT"] {
        let hidden = format!("{:a<500}DELE victim", format!("{verb} "));
        scene.client.says(hidden).await;
        scene.client.refused(501, "line_too_long_for_server").await;
    }
    // To the byte, without the line end.
    let longest = format!("DELE {}", "x".repeat(495));
    scene.client.says(&longest).await;
    scene.backend.hears_and_says(&longest, "250 Gone").await;
    scene.client.hears("250 ").await;
    scene.client.says(format!("{longest}x")).await;
    scene.client.refused(501, "line_too_long_for_server").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn a_server_that_is_said_to_take_long_lines_gets_them() {
    let mut scene = Scene::open(Setup::new().backend("command_length: 4000")).await;
    let longest = format!("RNFR {}", "x".repeat(3995));
    scene.client.says(&longest).await;
    scene.backend.hears_and_says(&longest, "350 And now?").await;
    scene.client.hears("350 ").await;
    scene.client.says(format!("{longest}x")).await;
    scene.client.refused(501, "line_too_long_for_server").await;
    scene.goes_on().await;
}

/// A name or a password may hide a command as well. Who has a route and who has none hear the same.
#[tokio::test]
async fn a_login_that_could_be_two_commands_at_the_server_goes_nowhere() {
    let stage = Stage::start(Setup::new().line("routes: [{ user: [bob, \"b*\"], backend: legacy }]")).await;
    let mut client = stage.secured_client().await;
    for name in ["bob", "carol"] {
        client.says(format!("USER {name}{}", "x".repeat(500))).await;
        client.refused(500, "line_too_long").await;
    }
    client.says("USER carol").await;
    client.hears("331 ").await;
    client.says(format!("PASS {}", "x".repeat(500))).await;
    client.refused(500, "line_too_long").await;
    let mut backend = stage.asks_for_a_password("bob", &mut client).await;
    for verb in ["PASS", "ACCT"] {
        client.says(format!("{verb} {}", "x".repeat(500))).await;
        client.refused(500, "line_too_long").await;
    }
    client.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 Welcome").await;
    client.hears("230 ").await;
}

/// It would be the answer to a USER that the server has taken out of some other line.
#[tokio::test]
async fn a_password_behind_the_login_is_503_and_goes_nowhere() {
    let mut scene = Scene::plain().await;
    scene.client.says("PASS sesame").await;
    scene.client.refused(503, "user_first").await;
    scene.goes_on().await;
}

#[tokio::test]
async fn what_is_no_command_is_500() {
    let mut scene = Scene::plain().await;
    for line in ["", " PWD", "P-W-D", "\u{e9}t\u{e9}", "AVERYLONGVERBINDEED x"] {
        scene.client.says(line).await;
        scene.client.refused(500, "not_a_command").await;
    }
    scene.goes_on().await;
}

#[tokio::test]
async fn binary_before_login_is_refused_line_by_line() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.talk.say_raw(b"\x01\x02\x03\n\x80\x81\n").await;
    client.refused(500, "not_a_command").await;
    client.refused(500, "not_a_command").await;
    client.says_and_hears("NOOP", "200 ").await;
}

#[tokio::test]
async fn a_command_may_come_as_one_byte_per_record() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_byte_by_byte("PWD\r\n").await;
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.client.hears("257 ").await;
}

#[tokio::test]
async fn a_command_may_come_as_one_byte_per_segment() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    client.talk.say_byte_by_byte("AUTH TLS\r\n").await;
    client.hears("234 ").await;
    client.shakes_hands().await;
}

#[tokio::test]
async fn half_a_line_waits_for_its_other_half() {
    let mut scene = Scene::plain().await;
    scene.client.talk.say_raw("PW").await;
    scene.client.talk.hears_nothing().await;
    scene.client.talk.say_raw("D\r").await;
    scene.client.talk.hears_nothing().await;
    scene.client.talk.say_raw("\n").await;
    scene.backend.hears_and_says("PWD", "257 \"/\"").await;
    scene.client.hears("257 ").await;
}

#[tokio::test]
async fn names_are_bytes() {
    let mut scene = Scene::plain().await;
    let names: [&[u8]; 5] =
        [b"M\xfcller.txt", "Mu\u{308}ller \u{1f600}".as_bytes(), b"\x80\x90", b"tab\tbell\x07", b"a;b|c\"d"];
    for name in names {
        let command = [b"DELE ", name].concat();
        scene.client.says(&command).await;
        scene.backend.hears(&command).await;
        let answer = [b"250 Gone: ", name].concat();
        scene.backend.says(&answer).await;
        assert_eq!(scene.client.hears("250 ").await.bytes, [&answer[..], b"\r\n"].concat());
    }
}

#[tokio::test]
async fn one_space_ends_the_verb_and_all_others_belong_to_the_name() {
    let mut scene = Scene::plain().await;
    for command in ["DELE  leading", "DELE trailing ", "DELE   ", "DELE a  b", "DELE"] {
        scene.client.says(command).await;
        scene.backend.hears_and_says(command, "250 Gone").await;
        scene.client.hears("250 ").await;
    }
}

#[tokio::test]
async fn verbs_in_any_case_and_unknown_ones_pass() {
    let mut scene = Scene::plain().await;
    for command in ["pwd", "Site Help", "XYZZY plugh", "mdtm file"] {
        scene.client.says(command).await;
        scene.backend.hears_and_says(command, "200 Fine").await;
        scene.client.hears("200 Fine").await;
    }
}

/// The end of a file is inside the data there: the gateway could not tell a whole transfer from a cut one.
#[tokio::test]
async fn block_and_compressed_mode_are_refused() {
    let mut scene = Scene::plain().await;
    for command in ["MODE B", "MODE C", "MODE"] {
        scene.client.says(command).await;
        scene.client.refused(504, "mode_unsupported").await;
    }
    scene.client.says("MODE S").await;
    scene.backend.hears_and_says("MODE S", "200 Stream").await;
    scene.client.hears("200 Stream").await;
}
