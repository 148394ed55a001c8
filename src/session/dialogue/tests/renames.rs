//! A command in two halves, of which the backend hears only the first: RNFR and RNTO, REST and its transfer.

use super::*;

fn agreed() -> Stage {
    let mut stage = Stage::new();
    stage.client("RNFR /a");
    assert_eq!(heard(&stage.backend("350 To what\r\n")), [350]);
    stage
}

/// What was renamed, as it is told.
fn from(steps: &[Step]) -> Option<String> {
    steps.iter().find_map(|step| match step {
        Step::Changed { change, .. } => Some(String::from_utf8(change.from.clone()?.given).unwrap()),
        _ => None,
    })
}

#[test]
fn the_backend_is_made_to_forget_it() {
    let long = format!("RNTO {}", "x".repeat(500));
    for (input, code) in [
        (Input::Command(command(&long)), 501),
        (Input::Command(command("RNTO")), 501),
        (Input::Flawed(Refusal::LineTooLong), 500),
    ] {
        let mut stage = agreed();
        let steps = stage.input(input);
        assert_eq!((heard(&steps), sent(&steps)), (vec![code], vec!["RNTO".to_owned()]), "{steps:?}");
        // Its answer is nobody's, and the next command waits for it.
        assert_eq!(sent(&stage.client("PWD")), [] as [&str; 0]);
        let steps = stage.backend("501 Rename what\r\n");
        assert_eq!((heard(&steps), sent(&steps)), (vec![], vec!["PWD".to_owned()]));
        stage.backend("257 \"/\"\r\n");
        stage.client("RNTO b");
        assert_eq!(from(&stage.backend("250 Renamed, for all that\r\n")).as_deref(), Some("/a"));
        // Nothing is left of it.
        let steps = stage.client(&long);
        assert_eq!((heard(&steps), sent(&steps)), (vec![501], vec![]));
    }
}

#[test]
fn what_was_agreed_to_holds_behind_a_no() {
    let mut stage = agreed();
    stage.client("RNFR none");
    stage.backend("550 There is none\r\n");
    stage.client("RNTO b");
    assert_eq!(from(&stage.backend("250 Renamed\r\n")).as_deref(), Some("/a"));
}

/// vsftpd and Pure-FTPd look the name up when RNTO comes, from where the session is then.
#[test]
fn where_the_session_has_moved_nobody_knows_what_is_renamed() {
    for (command, answer) in [("CWD /b", "250 There"), ("SITE CD /b", "250 There"), ("XCD /b", "550 No")] {
        let mut stage = agreed();
        stage.client(command);
        stage.backend(&format!("{answer}\r\n"));
        stage.client("RNTO c");
        let steps = stage.backend("250 Renamed\r\n");
        let change = steps.iter().find_map(|step| match step {
            Step::Changed { change, .. } => change.from.clone(),
            _ => None,
        });
        let from = change.unwrap();
        assert_eq!((from.given, from.resolved), (b"/a".to_vec(), None), "{command}");
    }
}

#[test]
fn an_offset_goes_with_a_line_that_is_no_command() {
    let mut stage = agreed();
    stage.client("REST 5");
    stage.backend("350 From there\r\n");
    let steps = stage.input(Input::Flawed(Refusal::LineWithNul));
    assert_eq!((heard(&steps), sent(&steps)), (vec![501], vec!["RNTO".to_owned(), "REST 0".to_owned()]));
    assert_eq!(sent(&stage.client("PWD")), [] as [&str; 0]);
    assert_eq!(sent(&stage.backend("503 What\r\n")), [] as [&str; 0]);
    assert_eq!(sent(&stage.backend("350 From there\r\n")), ["PWD"]);
}
