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
    let mut scene = Scene::open(Setup::new().with("limits", "command_length: 512")).await;
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
