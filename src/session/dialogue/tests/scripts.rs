//! One rule, one script.

use super::*;

#[test]
fn rest_keeps_standing_right_before_retr() {
    let mut stage = Stage::new();
    let mut all = Vec::new();
    all.extend(stage.client("REST 100"));
    all.extend(stage.backend("350 ok\r\n"));
    let mut stage = stage.arranged();
    all.extend(stage.client("REST 200"));
    all.extend(stage.backend("350 ok\r\n"));
    all.extend(stage.client("RETR a"));
    all.extend(stage.input(Input::Back(BackNews::Opened)));
    assert_eq!(sent(&all), ["REST 100", "REST 200", "RETR a"]);
}

#[test]
fn the_backends_data_connection_is_there_before_the_command() {
    let mut stage = Stage::new().arranged();
    let steps = stage.client("RETR a");
    assert!(steps.contains(&Step::OpenBack(DataMode::Pasv)) && sent(&steps).is_empty());
    assert_eq!(sent(&stage.input(Input::Back(BackNews::Opened))), ["RETR a"]);
}

#[test]
fn an_active_backend_gets_the_command_before_it_connects() {
    let mut stage =
        Stage::with(Premises { preference: DataPreference::Active, ..premises() }, ProtectionState::implicit());
    stage.client("EPSV");
    assert_eq!(stage.input(Input::Reserved(Ok(Reply::new(229, "")))), [Step::Listen]);
    let steps = stage.input(Input::Listening(Some("10.0.0.9:1025".parse().unwrap())));
    assert_eq!(sent(&steps), ["PORT 10,0,0,9,4,1"]);
    assert_eq!(heard(&stage.backend("200 ok\r\n")), [229]);
    assert_eq!(sent(&stage.client("LIST")), ["LIST"]);
    stage.backend("150 ok\r\n");
    stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
    stage.input(Input::Front(FrontNews::Secured(Resumption::Resumed)));
    assert_eq!(stage.input(Input::Back(BackNews::Opened)), [Step::Pump(TransferKind::Listing)]);
}

#[test]
fn a_backend_without_pasv_is_asked_with_epsv_and_asked_right_the_next_time() {
    let mut stage = Stage::new();
    stage.client("PASV");
    assert_eq!(sent(&stage.input(Input::Reserved(Ok(Reply::new(227, ""))))), ["PASV"]);
    assert_eq!(sent(&stage.backend("502 no\r\n")), ["EPSV"]);
    assert_eq!(heard(&stage.backend("229 ok (|||1025|)\r\n")), [227]);
    stage.client("PASV");
    assert_eq!(sent(&stage.input(Input::Reserved(Ok(Reply::new(227, ""))))), ["EPSV"]);
}

#[test]
fn when_the_backend_knows_no_way_the_client_hears_425_at_once() {
    let mut stage = Stage::new();
    stage.client("PASV");
    stage.input(Input::Reserved(Ok(Reply::new(227, ""))));
    stage.backend("502 no\r\n");
    let steps = stage.backend("500 no\r\n");
    assert_eq!(heard(&steps), [425]);
    assert!(steps.contains(&Step::DropData));
    assert_eq!(heard(&stage.client("RETR a")), [425]);
}

#[test]
fn a_transfer_without_an_arrangement_is_425_at_once() {
    assert_eq!(heard(&Stage::new().client("STOR a")), [425]);
}

#[test]
fn a_refused_command_puts_everything_away_and_the_client_may_try_again() {
    let mut stage = Stage::new().arranged();
    stage.client("RETR a");
    stage.input(Input::Back(BackNews::Opened));
    let steps = stage.backend("550 no such file\r\n");
    assert!(steps.contains(&Step::DropData));
    assert!(!steps.contains(&Step::SecureBack));
    assert_eq!(heard(&steps), [550]);
    let mut stage = stage.arranged();
    assert_eq!(heard(&stage.client("NOOP")), [] as [u16; 0]);
    assert_eq!(heard(&stage.backend("200 ok\r\n")), [200]);
}

#[test]
fn the_final_reply_waits_for_the_bytes() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(stage.backend("226 done\r\n"), []);
    let steps = stage.input(Input::Pumped(PumpEnd::SourceEnded { clean: true }));
    assert!(steps.contains(&Step::CloseFront(Close::Whole)));
    assert_eq!(heard(&stage.input(Input::Front(FrontNews::Closed { whole: true }))), [226]);
}

#[test]
fn the_client_is_not_closed_before_the_backend_has_said_how_it_went() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(stage.input(Input::Pumped(PumpEnd::SourceEnded { clean: true })), [Step::CloseBack(Close::Whole)]);
    assert_eq!(stage.dialogue.timer(), Some(Timer::FinalReply));
    assert_eq!(stage.input(Input::Expired(Timer::FinalReply)), [Step::CloseFront(Close::Whole)]);
    assert_eq!(heard(&stage.input(Input::Front(FrontNews::Closed { whole: true }))), [] as [u16; 0]);
    assert_eq!(heard(&stage.backend("226 late\r\n")), [226]);
}

#[test]
fn servers_that_say_no_150_or_two_are_made_to_say_one() {
    let mut stage = Stage::new().arranged();
    stage.client("LIST");
    stage.input(Input::Back(BackNews::Opened));
    assert_eq!(heard(&stage.backend("226 done\r\n")), [150]);
    let mut stage = Stage::new().arranged();
    stage.client("LIST");
    stage.input(Input::Back(BackNews::Opened));
    assert_eq!(heard(&stage.backend("125 go\r\n150 go\r\n")), [125]);
}

#[test]
fn the_handshake_begins_when_the_client_comes_and_not_when_the_backend_speaks() {
    let mut stage = Stage::new().arranged();
    assert_eq!(stage.input(Input::Front(FrontNews::Arrived { must_resume: false })), [Step::SecureFront]);
    stage.input(Input::Front(FrontNews::Secured(Resumption::Resumed)));
    stage.client("RETR a");
    stage.input(Input::Back(BackNews::Opened));
    let steps = stage.backend("150 go\r\n");
    assert!(steps.contains(&Step::Pump(TransferKind::Download)));
}

#[test]
fn tickets_go_by_who_reads() {
    for (command, kind) in
        [("RETR a", TransferKind::Download), ("MLSD", TransferKind::Listing), ("STOR a", TransferKind::Upload)]
    {
        assert_eq!(Stage::new().arranged().client(command)[0], Step::Direct(kind), "{command}");
    }
}

#[test]
fn a_failed_handshake_before_the_command_never_reaches_the_backend() {
    let mut stage = Stage::new().arranged();
    stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
    stage.input(Input::Front(FrontNews::TlsFailed(HandshakeResult::NotTls)));
    let steps = stage.client("STOR a");
    assert_eq!((heard(&steps), sent(&steps)), (vec![522], vec![]));
}

#[test]
fn prot_is_checked_on_the_transfer_and_may_come_after_pasv() {
    let mut stage = Stage::with(premises(), ProtectionState::secured(Mechanism::Tls)).arranged();
    assert_eq!(heard(&stage.client("RETR a")), [521]);
    assert_eq!(heard(&stage.client("PBSZ 0")), [200]);
    assert_eq!(heard(&stage.client("PROT P")), [200]);
    assert!(stage.client("RETR a").contains(&Step::OpenBack(DataMode::Pasv)));
}

#[test]
fn after_epsv_all_only_epsv() {
    let mut stage = Stage::new();
    assert_eq!(heard(&stage.client("EPSV ALL")), [200]);
    for line in ["PASV", "PORT 192,0,2,7,4,1", "EPRT |1|192.0.2.7|1025|"] {
        assert_eq!(heard(&stage.client(line)), [503], "{line}");
    }
    assert_eq!(stage.client("EPSV"), [Step::Reserve(DataMode::Epsv, Protection::Private)]);
}

#[test]
fn bounces_are_refused_and_never_aimed_at() {
    let mut stage = Stage::new();
    for (line, code) in [
        ("PORT 192,0,2,8,4,1", 504),
        ("PORT 192,0,2,7,0,25", 504),
        ("PORT", 501),
        ("EPRT |1|10.0.0.1|21|", 504),
        ("EPRT |2|::1|1025|", 504),
        ("EPRT |3|x|1|", 522),
        ("EPSV 2", 522),
    ] {
        let steps = stage.client(line);
        assert_eq!(heard(&steps), [code], "{line}");
        assert_eq!(steps.len(), 1);
    }
}

#[test]
fn commands_sent_ahead_wait_their_turn() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(stage.client("NOOP"), []);
    assert_eq!(stage.client("QUIT"), []);
    stage.backend("226 done\r\n");
    stage.input(Input::Pumped(PumpEnd::SourceEnded { clean: true }));
    let steps = stage.input(Input::Front(FrontNews::Closed { whole: true }));
    assert_eq!((heard(&steps), sent(&steps)), (vec![226], vec!["NOOP".to_owned()]));
    let steps = stage.backend("200 ok\r\n");
    assert_eq!((heard(&steps), sent(&steps)), (vec![200, 221], vec!["QUIT".to_owned()]));
}

#[test]
fn stat_during_a_transfer_is_answered_at_once() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(heard(&stage.client("STAT")), [211]);
}

#[test]
fn stat_does_not_overtake_what_came_before_it() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(stage.client("NOOP"), []);
    assert_eq!(stage.client("STAT"), []);
    stage.backend("226 done\r\n");
    stage.input(Input::Pumped(PumpEnd::SourceEnded { clean: true }));
    assert_eq!(heard(&stage.input(Input::Front(FrontNews::Closed { whole: true }))), [226]);
    assert_eq!(heard(&stage.backend("200 ok\r\n")), [200, 211]);
}

/// A stage whose backend keeps an offset.
fn restarted(stage: Stage) -> Stage {
    let mut stage = stage;
    stage.client("REST 5");
    stage.backend("350 Restarting at 5\r\n");
    stage
}

/// The backend must not begin the next transfer at the offset of one that it has not heard of.
#[test]
fn an_offset_is_forgotten_with_the_transfer_it_was_for() {
    type Refuse = fn() -> (Stage, Vec<Step>);
    let refusals: [(&str, Vec<u16>, Refuse); 5] = [
        ("no data connection", vec![425], || {
            let mut stage = restarted(Stage::new());
            let steps = stage.client("RETR a");
            (stage, steps)
        }),
        ("no PROT P", vec![521], || {
            let mut stage = restarted(Stage::with(premises(), ProtectionState::plain()).arranged());
            let steps = stage.client("STOR a");
            (stage, steps)
        }),
        ("the client's handshake failed before", vec![522], || {
            let mut stage = restarted(Stage::new().arranged());
            stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
            stage.input(Input::Front(FrontNews::TlsFailed(HandshakeResult::Alert)));
            let steps = stage.client("RETR a");
            (stage, steps)
        }),
        ("the backend cannot be reached", vec![425], || {
            let mut stage = restarted(Stage::new().arranged());
            stage.client("RETR a");
            let steps = stage.input(Input::Back(BackNews::Failed(DataOutcome::ConnectFailed)));
            (stage, steps)
        }),
        ("ABOR while it is being reached", vec![426], || {
            let mut stage = restarted(Stage::new().arranged());
            stage.client("RETR a");
            let steps = stage.client("ABOR");
            (stage, steps)
        }),
    ];
    for (name, replies, refuse) in refusals {
        let (mut stage, steps) = refuse();
        assert_eq!((heard(&steps), sent(&steps)), (replies, vec!["REST 0".to_owned()]), "{name}");
        // Its answer is nobody's, and the next command waits for it.
        assert_eq!(sent(&stage.client("SYST")), [] as [&str; 0], "{name}");
        assert_eq!(sent(&stage.backend("350 Restarting at 0\r\n")), ["SYST"], "{name}");
    }
}

#[test]
fn an_offset_that_was_used_or_refused_is_not_spoken_of_again() {
    let mut stage = restarted(Stage::new().arranged());
    stage.client("RETR a");
    stage.input(Input::Back(BackNews::Opened));
    stage.backend("550 no such file\r\n");
    assert_eq!(sent(&stage.client("RETR a")), [] as [&str; 0]);
    let mut stage = Stage::new();
    stage.client("REST 5");
    stage.backend("502 no\r\n");
    assert_eq!(sent(&stage.client("RETR a")), [] as [&str; 0]);
}

/// The deadline is for getting there. A client that is there may take its time, as long as it is not idle.
#[test]
fn a_data_connection_that_is_secured_is_not_too_late() {
    let mut stage = Stage::new().arranged();
    assert_eq!(stage.dialogue.timer(), Some(Timer::Reservation));
    stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
    assert_eq!(stage.dialogue.timer(), Some(Timer::Reservation));
    stage.input(Input::Front(FrontNews::Secured(Resumption::Resumed)));
    assert_eq!(stage.dialogue.timer(), Some(Timer::Idle));
}

#[test]
fn abor_gives_one_true_set_whatever_the_backend_says() {
    for replies in
        ["426 cut\r\n226 ok\r\n", "226 ok\r\n426 cut\r\n", "451 cut\r\n225 ok\r\n", "226-a\r\n226 b\r\n426 c\r\n"]
    {
        let mut stage = Stage::running("RETR a");
        let steps = stage.client("ABOR");
        assert_eq!((heard(&steps), sent(&steps)), (vec![426], vec!["ABOR".to_owned()]));
        assert_eq!(heard(&stage.backend(replies)), [226], "{replies}");
        stage.client("NOOP");
        assert_eq!(heard(&stage.backend("200 ok\r\n")), [200]);
    }
}

#[test]
fn a_backend_that_says_only_one_thing_to_abor_is_waited_for_and_its_late_word_swallowed() {
    let mut stage = Stage::running("RETR a");
    stage.client("ABOR");
    assert_eq!(stage.backend("426 cut\r\n"), []);
    assert_eq!(stage.dialogue.timer(), Some(Timer::Quiet));
    assert_eq!(sent(&stage.input(Input::Expired(Timer::Quiet))), ["PWD"]);
    assert_eq!(stage.backend("226 late\r\n"), []);
    assert_eq!(heard(&stage.backend("257 \"/\"\r\n")), [226]);
    stage.client("SIZE a");
    assert_eq!(heard(&stage.backend("213 5\r\n")), [213]);
}

#[test]
fn a_backend_whose_last_word_on_a_cut_is_150_holds_nobody_up() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(heard(&stage.input(Input::Pumped(PumpEnd::SinkBroke))), [426]);
    assert_eq!(stage.dialogue.timer(), Some(Timer::UnheardReply));
    stage.backend("150 0.5 seconds (measured here)\r\n");
    assert_eq!(stage.dialogue.timer(), Some(Timer::Quiet));
    stage.client("SYST");
    assert_eq!(sent(&stage.input(Input::Expired(Timer::Quiet))), ["PWD"]);
    assert_eq!(sent(&stage.backend("257 \"/\"\r\n")), ["SYST"]);
}

#[test]
fn abor_when_nothing_runs_is_226_and_the_backend_hears_nothing() {
    let steps = Stage::new().client("ABOR");
    assert_eq!((heard(&steps), sent(&steps)), (vec![226], vec![]));
}

#[test]
fn a_421_of_the_backend_ends_the_session_with_the_gateways_own_words() {
    let mut stage = Stage::new();
    stage.client("CWD x");
    let steps = stage.backend("421 bye from host-17\r\n");
    assert_eq!(heard(&steps), [421]);
    assert!(!steps.iter().any(|step| matches!(step, Step::Pass(_))));
    assert!(matches!(steps.last(), Some(Step::End(By::Backend, Why::Backend(BackendFailure::SaidGoodbye)))));
}

#[test]
fn features_are_rebuilt_also_when_the_backend_says_500() {
    let mut stage = Stage::new();
    assert_eq!(sent(&stage.client("FEAT")), ["FEAT"]);
    assert_eq!(heard(&stage.backend("500 what?\r\n")), [211]);
}

#[test]
fn a_drain_lets_a_transfer_finish_and_then_ends() {
    let mut stage = Stage::running("RETR a");
    assert_eq!(stage.input(Input::Drain), []);
    stage.backend("226 done\r\n");
    stage.input(Input::Pumped(PumpEnd::SourceEnded { clean: true }));
    let steps = stage.input(Input::Front(FrontNews::Closed { whole: true }));
    assert_eq!(heard(&steps), [226, 421]);
    assert!(matches!(steps.last(), Some(Step::End(By::Gateway, _))));
}

#[test]
fn a_522_says_why_the_session_was_not_resumed() {
    let policy = ProtectionPolicy { data_resumption: DataResumption::Require, ..POLICY };
    let causes = Resumption::ALL.iter().filter(|&&resumption| resumption != Resumption::Resumed);
    for &cause in causes {
        let mut stage = Stage::with(Premises { policy, ..premises() }, ProtectionState::implicit()).arranged();
        stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
        stage.input(Input::Front(FrontNews::Secured(cause)));
        let steps = stage.client("RETR a");
        let Some(Step::Answer(reply)) = steps.last() else { panic!("{steps:?}") };
        assert_eq!(reply.code().number(), 522);
        let text = String::from_utf8_lossy(reply.text()).into_owned();
        assert!(text.contains(cause.text()) && text.contains("[client_not_resumed]"), "{cause}: {text}");
    }
    // Audit and prefer take them all.
    for taking in [DataResumption::Audit, DataResumption::Prefer, DataResumption::Off] {
        let policy = ProtectionPolicy { data_resumption: taking, ..POLICY };
        let mut stage = Stage::with(Premises { policy, ..premises() }, ProtectionState::implicit()).arranged();
        stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
        stage.input(Input::Front(FrontNews::Secured(Resumption::Expired)));
        assert!(stage.client("RETR a").contains(&Step::OpenBack(DataMode::Pasv)), "{taking:?}");
    }
}

#[test]
fn resumption_is_required_where_policy_says_so() {
    let policy = ProtectionPolicy { data_resumption: DataResumption::Require, ..POLICY };
    let mut stage = Stage::with(Premises { policy, ..premises() }, ProtectionState::implicit()).arranged();
    stage.client("STOR a");
    stage.input(Input::Back(BackNews::Opened));
    stage.backend("150 ok\r\n");
    stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
    let steps = stage.input(Input::Front(FrontNews::Secured(Resumption::OtherSession)));
    assert_eq!(heard(&steps), [522]);
    assert!(steps.contains(&Step::CloseBack(Close::Cut)));
}

/// On a port that several share, who did not prove whose he is gets nothing, under every policy but with its own words.
#[test]
fn what_did_not_resume_on_a_shared_port_is_522() {
    for (policy, label) in [(DataResumption::Prefer, "port_shared"), (DataResumption::Require, "client_not_resumed")] {
        let policy = ProtectionPolicy { data_resumption: policy, ..POLICY };
        let mut stage = Stage::with(Premises { policy, ..premises() }, ProtectionState::implicit()).arranged();
        stage.input(Input::Front(FrontNews::Arrived { must_resume: true }));
        stage.input(Input::Front(FrontNews::NotResumed(Resumption::CipherDiffers)));
        let steps = stage.client("RETR a");
        assert_eq!(heard(&steps), [522]);
        let told = steps
            .iter()
            .any(|step| matches!(step, Step::Answer(reply) if String::from_utf8_lossy(reply.text()).contains(label)));
        assert!(told, "{steps:?}");
    }
}

/// It is known before the connection comes: the backend need not begin anything.
#[test]
fn what_will_come_in_clear_to_a_shared_port_is_425_at_once() {
    let policy = ProtectionPolicy { data: Requirement::Optional, ..POLICY };
    let stage = || Stage::with(Premises { policy, ..premises() }, ProtectionState::implicit()).arranged();
    let mut clear = stage();
    assert!(clear.client("PROT C").contains(&Step::Reprotect(Protection::Clear)));
    clear.input(Input::Front(FrontNews::Untold));
    let steps = clear.client("RETR a");
    assert!(steps.contains(&Step::Refuse(Verb::Retr, Refusal::PortNeedsProtection)), "{steps:?}");
    assert!(steps.contains(&Step::DropData) && !steps.iter().any(|step| matches!(step, Step::OpenBack(_))));
    // The command came in the same packet.
    let mut hasty = stage();
    hasty.client("PROT C");
    hasty.client("RETR a");
    hasty.input(Input::Back(BackNews::Opened));
    hasty.input(Input::Front(FrontNews::Untold));
    assert_eq!(heard(&hasty.backend("150 here\r\n")), [150, 522]);
    // It is private again.
    let mut private = stage();
    private.client("PROT C");
    private.input(Input::Front(FrontNews::Untold));
    assert!(private.client("PROT P").contains(&Step::Reprotect(Protection::Private)));
    private.input(Input::Front(FrontNews::Untold));
    assert!(private.client("RETR a").contains(&Step::OpenBack(DataMode::Pasv)));
}

/// In clear nothing is ever proved.
#[test]
fn what_must_prove_whose_it_is_is_not_taken_in_clear() {
    let policy = ProtectionPolicy { data: Requirement::Optional, ..POLICY };
    let mut stage = Stage::with(Premises { policy, ..premises() }, ProtectionState::implicit()).arranged();
    assert_eq!(heard(&stage.client("PROT C")), [200]);
    stage.client("RETR a");
    stage.input(Input::Front(FrontNews::Arrived { must_resume: true }));
    stage.input(Input::Back(BackNews::Opened));
    let steps = stage.backend("150 here\r\n");
    assert_eq!(heard(&steps), [150, 522]);
    assert!(!steps.iter().any(|step| matches!(step, Step::Pump(_))), "{steps:?}");
}
