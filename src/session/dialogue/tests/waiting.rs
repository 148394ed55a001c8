//! What a client sends during a transfer and what waits its turn.

use super::*;
use crate::policy::{CommandRule, CommandRules, Entry, Traveller};

#[test]
fn a_flood_during_a_transfer_ends_the_session_whatever_it_is_made_of() {
    let noop = || Input::Command(command("NOOP"));
    let floods = [
        (Input::Command(command("SIZE a")), QUEUE),
        (Input::Command(command("NOOP a")), QUEUE),
        (noop(), KEEP_ALIVES as usize + QUEUE),
        (Input::Flawed(Refusal::NotACommand), QUEUE),
    ];
    for (flood, most) in floods {
        let mut stage = Stage::running("RETR a");
        for _ in 0..most {
            assert_eq!(stage.input(flood.clone()), []);
        }
        let steps = stage.input(flood);
        let full = Why::Refused(Refusal::CommandPipelineFull);
        assert_eq!(steps.last(), Some(&Step::End(By::Client, full)));
        assert_eq!(result(&steps), Some(TransferResult::Aborted));
    }
}

/// NOOPs are no more than a number as long as nothing else waits in front of them.
#[test]
fn keep_alives_and_what_is_behind_them_are_answered_in_their_order() {
    let mut stage = Stage::running("RETR a");
    for line in ["NOOP", "noop", "SIZE a", "NOOP", "STAT"] {
        assert_eq!(stage.client(line), [], "{line}");
    }
    assert_eq!((stage.dialogue.keep_alives, stage.dialogue.queue.len()), (2, 3));
    stage.backend("226 done\r\n");
    stage.input(Input::Pumped(PumpEnd::SourceEnded { clean: true }));
    let steps = stage.input(Input::Front(FrontNews::Closed { whole: true }));
    assert_eq!((heard(&steps), sent(&steps)), (vec![226], vec!["NOOP".into()]));
    for next in ["NOOP", "SIZE a", "NOOP"] {
        let steps = stage.backend("200 ok\r\n");
        assert_eq!((heard(&steps), sent(&steps)), (vec![200], vec![next.into()]));
    }
    assert_eq!(heard(&stage.backend("200 ok\r\n")), [200, 211]);
}

/// All of them would be refused in one go.
#[test]
fn keep_alives_that_a_rule_denies_wait_as_any_other_command() {
    let rule = CommandRule { deny: vec![Entry::Verb(Verb::Noop)], ..CommandRule::default() };
    let traveller = Traveller { user: b"bob", host: None, client: "192.0.2.7".parse().unwrap(), listener: "explicit" };
    let rights = CommandRules::new(vec![rule]).rights(&traveller);
    let mut stage = Stage::running("RETR a");
    stage.dialogue.premises.rights = rights;
    for _ in 0..QUEUE {
        assert_eq!(stage.client("NOOP"), []);
    }
    assert_eq!(stage.dialogue.keep_alives, 0);
    let full = Why::Refused(Refusal::CommandPipelineFull);
    assert_eq!(stage.client("NOOP").last(), Some(&Step::End(By::Client, full)));
}

/// Each of them may take its time at the processor.
#[test]
fn commands_that_wait_for_nothing_leave_others_their_turn() {
    let mut stage = Stage::new();
    stage.client("NOOP");
    for _ in 0..2 * IN_ONE_GO {
        assert_eq!(stage.client("CPSV"), []);
    }
    let mut cutter = ReplyCutter::new(4096);
    cutter.push(b"200 ok\r\n");
    let mut steps = Vec::new();
    stage.dialogue.handle(Input::Reply(cutter.next_line().unwrap().unwrap()), &mut steps);
    assert_eq!(steps.len(), 1 + IN_ONE_GO);
    assert!(stage.dialogue.has_more());
    stage.dialogue.go_on(&mut steps);
    assert!(!stage.dialogue.has_more());
    assert_eq!(heard(&steps), [&[200][..], &[502; 2 * IN_ONE_GO]].concat());
}
