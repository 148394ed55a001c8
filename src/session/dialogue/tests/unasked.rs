//! Replies that nothing has asked for.

use super::*;

fn ends_unasked(steps: &[Step]) -> bool {
    matches!(steps.last(), Some(Step::End(By::Backend, Why::Backend(BackendFailure::Unasked))))
}

#[test]
fn what_comes_before_the_backend_has_the_command_is_no_reply_to_it() {
    assert!(ends_unasked(&Stage::new().backend("200 by the way\r\n")));
    // Between the end of TYPE and of the port's reservation, and between that and the data connection's.
    let mut reserving = Stage::new();
    reserving.client("PASV");
    assert!(ends_unasked(&reserving.backend("227 Entering (10,0,0,1,4,1)\r\n")));
    let mut opening = Stage::new().arranged();
    opening.client("RETR a");
    assert!(ends_unasked(&opening.backend("150 here\r\n")));
}

#[test]
fn what_comes_together_is_heard_before_the_next_command_goes_out() {
    let mut cutter = ReplyCutter::new(4096);
    cutter.push(b"213 5\r\n213 5\r\n");
    let mut lines = std::iter::from_fn(|| cutter.next_line().unwrap());
    let mut stage = Stage::new();
    assert_eq!(sent(&stage.client("SIZE a")), ["SIZE a"]);
    stage.client("DELE b");
    let mut steps = Vec::new();
    stage.dialogue.hear(lines.next().unwrap(), &mut steps);
    assert_eq!((heard(&steps), sent(&steps)), (vec![213], vec![]));
    let steps = stage.input(Input::Reply(lines.next().unwrap()));
    assert_eq!((heard(&steps), sent(&steps)), (vec![421], vec![]));
    assert!(ends_unasked(&steps));
}

#[test]
fn behind_a_transfer_more_may_come_until_something_is_sent() {
    let mut stage = Stage::running("RETR a");
    stage.input(Input::Pumped(PumpEnd::SinkBroke));
    stage.backend("426 cut\r\n");
    assert_eq!(stage.backend("226 by the way\r\n"), []);
    stage.client("PASV");
    assert_eq!(stage.backend("226 and again\r\n"), []);
    stage.input(Input::Reserved(Ok(Reply::new(227, "here"))));
    assert_eq!(heard(&stage.backend("227 Entering Passive Mode (10,0,0,1,4,1)\r\n")), [227]);
    assert!(ends_unasked(&stage.backend("226 and again\r\n")));
}
