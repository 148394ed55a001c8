//! Who breaks, when, on which leg → what the client hears and how each leg is closed.

use super::*;

const WHOLE: PumpEnd = PumpEnd::SourceEnded { clean: true };
const UNCLEAN: PumpEnd = PumpEnd::SourceEnded { clean: false };

/// Ends a running transfer in one way and tells all steps after the relay's end.
fn end(line: &str, early: &str, pumped: PumpEnd, late: &str) -> Vec<Step> {
    let mut stage = Stage::running(line);
    let mut steps = stage.backend(early);
    steps.extend(stage.input(Input::Pumped(pumped)));
    steps.extend(stage.backend(late));
    if stage.dialogue.timer() == Some(Timer::Grace) {
        steps.extend(stage.input(Input::Expired(Timer::Grace)));
    }
    if steps.contains(&Step::CloseFront(Close::Whole)) {
        steps.extend(stage.input(Input::Front(FrontNews::Closed { whole: true })));
    }
    if steps.contains(&Step::CloseBack(Close::Whole)) {
        steps.extend(stage.input(Input::Back(BackNews::Closed { whole: true })));
    }
    steps
}

#[test]
fn downloads() {
    let cut = Step::CloseFront(Close::Cut);
    let whole = Step::CloseFront(Close::Whole);
    for (early, pumped, late, code, result_is, closing) in [
        ("", WHOLE, "226 ok\r\n", 226, TransferResult::Completed, &whole),
        ("226 ok\r\n", WHOLE, "", 226, TransferResult::Completed, &whole),
        ("", WHOLE, "250 ok\r\n", 250, TransferResult::Completed, &whole),
        ("", WHOLE, "426 cut\r\n", 426, TransferResult::BackendRefused, &cut),
        ("451 disk\r\n", WHOLE, "", 451, TransferResult::BackendRefused, &cut),
        ("", PumpEnd::SourceBroke, "226 ok\r\n", 426, TransferResult::BackendCut, &cut),
        ("226 ok\r\n", PumpEnd::SourceBroke, "", 426, TransferResult::BackendCut, &cut),
        ("", PumpEnd::SourceBroke, "451 disk\r\n", 451, TransferResult::BackendRefused, &cut),
        ("", PumpEnd::SourceStalled, "", 426, TransferResult::BackendStalled, &cut),
        ("", PumpEnd::SinkBroke, "226 ok\r\n", 426, TransferResult::ClientCut, &cut),
        ("226 ok\r\n", PumpEnd::SinkBroke, "", 426, TransferResult::ClientCut, &cut),
        ("", PumpEnd::SinkBroke, "426 cut\r\n", 426, TransferResult::ClientCut, &cut),
        ("", PumpEnd::SinkStalled, "", 426, TransferResult::ClientStalled, &cut),
    ] {
        let steps = end("RETR a", early, pumped, late);
        let case = (early, pumped, late);
        assert_eq!(heard(&steps), [code], "{case:?}");
        assert_eq!(result(&steps), Some(result_is), "{case:?}");
        assert!(steps.contains(closing), "{case:?}: {steps:?}");
        let both = steps.contains(&cut) && steps.contains(&whole);
        assert!(!both, "{case:?}");
    }
}

#[test]
fn uploads() {
    let cut = Step::CloseBack(Close::Cut);
    let whole = Step::CloseBack(Close::Whole);
    for (early, pumped, late, code, result_is, closing) in [
        ("", WHOLE, "226 ok\r\n", 226, TransferResult::Completed, &whole),
        ("226 ok\r\n", WHOLE, "", 226, TransferResult::Completed, &whole),
        ("", WHOLE, "452 full\r\n", 452, TransferResult::BackendRefused, &whole),
        ("", UNCLEAN, "226 ok\r\n", 226, TransferResult::Completed, &whole),
        ("", PumpEnd::SourceBroke, "226 ok\r\n", 426, TransferResult::ClientCut, &cut),
        ("", PumpEnd::SourceStalled, "226 ok\r\n", 426, TransferResult::ClientStalled, &cut),
        ("", PumpEnd::SinkBroke, "226 ok\r\n", 426, TransferResult::BackendCut, &cut),
        ("", PumpEnd::SinkBroke, "452 full\r\n", 452, TransferResult::BackendRefused, &cut),
        ("", PumpEnd::SinkStalled, "226 ok\r\n", 426, TransferResult::BackendStalled, &cut),
        ("452 full\r\n", PumpEnd::SinkBroke, "", 452, TransferResult::BackendRefused, &cut),
    ] {
        let steps = end("STOR a", early, pumped, late);
        let case = (early, pumped, late);
        assert_eq!(heard(&steps), [code], "{case:?}");
        assert_eq!(result(&steps), Some(result_is), "{case:?}");
        assert!(steps.contains(closing), "{case:?}: {steps:?}");
        assert!(!(steps.contains(&cut) && steps.contains(&whole)), "{case:?}");
    }
}

#[test]
fn an_upload_without_close_notify_whose_client_has_gone_too_is_a_cut() {
    let mut stage = Stage::running("STOR a");
    assert_eq!(stage.input(Input::Pumped(UNCLEAN)), []);
    assert_eq!(stage.dialogue.timer(), Some(Timer::Grace));
    let steps = stage.input(Input::ClientGone(Reason::ClientClosed));
    assert!(steps.contains(&Step::CloseBack(Close::Cut)));
    assert_eq!(result(&steps), Some(TransferResult::ClientGone));
}

#[test]
fn an_upload_without_close_notify_is_a_cut_where_policy_says_so() {
    let policy = ProtectionPolicy { truncated_uploads: TruncatedUploads::Reject, ..POLICY };
    let mut stage = Stage::running("STOR a");
    stage.dialogue.premises.policy = policy;
    let steps = stage.input(Input::Pumped(UNCLEAN));
    assert_eq!(heard(&steps), [426]);
    assert!(steps.contains(&Step::CloseBack(Close::Cut)));
    assert_eq!(stage.backend("226 stored\r\n"), []);
}

#[test]
fn a_clear_upload_is_doubted_for_a_moment() {
    let policy = ProtectionPolicy { data: Requirement::Optional, ..POLICY };
    let mut protection = ProtectionState::implicit();
    protection.prot(b"C", &policy).unwrap();
    let mut stage = Stage::with(Premises { policy, ..premises() }, protection).arranged();
    stage.client("STOR a");
    stage.input(Input::Back(BackNews::Opened));
    stage.backend("150 ok\r\n");
    assert_eq!(
        stage.input(Input::Front(FrontNews::Arrived { must_resume: false })),
        [Step::Pump(TransferKind::Upload)]
    );
    stage.input(Input::Pumped(WHOLE));
    assert_eq!(stage.dialogue.timer(), Some(Timer::ClearGrace));
    let steps = stage.input(Input::ClientGone(Reason::ClientClosed));
    assert!(steps.contains(&Step::CloseBack(Close::Cut)));
}

#[test]
fn a_client_that_leaves_after_a_whole_upload_does_not_undo_it() {
    let mut stage = Stage::running("STOR a");
    stage.input(Input::Pumped(WHOLE));
    assert_eq!(stage.input(Input::ClientGone(Reason::ClientClosed)), []);
    stage.input(Input::Back(BackNews::Closed { whole: true }));
    let steps = stage.backend("226 stored\r\n");
    assert_eq!(result(&steps), Some(TransferResult::Completed));
    assert!(matches!(steps.last(), Some(Step::End(By::Client, _))));
}

#[test]
fn a_backend_that_goes_in_the_middle_fails_the_transfer_on_both_legs() {
    for line in ["RETR a", "STOR a"] {
        let mut stage = Stage::running(line);
        let steps = stage.input(Input::BackGone(BackendFailure::Reset));
        assert_eq!(heard(&steps), [421]);
        assert_eq!(result(&steps), Some(TransferResult::BackendGone));
        assert!(steps.contains(&Step::CloseFront(Close::Cut)) && steps.contains(&Step::CloseBack(Close::Cut)));
    }
}

#[test]
fn a_backend_that_never_says_how_it_went_is_421() {
    let mut stage = Stage::running("STOR a");
    stage.input(Input::Pumped(WHOLE));
    stage.input(Input::Back(BackNews::Closed { whole: true }));
    assert_eq!(stage.dialogue.timer(), Some(Timer::BackendReply));
    let steps = stage.input(Input::Expired(Timer::BackendReply));
    assert_eq!(heard(&steps), [421]);
    assert_eq!(result(&steps), Some(TransferResult::BackendSilent));
}

#[test]
fn a_client_that_never_comes_is_425_and_the_backends_words_are_swallowed() {
    let mut stage = Stage::new().arranged();
    stage.client("RETR a");
    stage.input(Input::Back(BackNews::Opened));
    stage.backend("150 ok\r\n");
    assert_eq!(stage.dialogue.timer(), Some(Timer::DataConnect));
    let steps = stage.input(Input::Expired(Timer::DataConnect));
    assert_eq!(heard(&steps), [425]);
    assert!(steps.contains(&Step::CloseBack(Close::Cut)));
    assert_eq!(stage.backend("426 cut\r\n"), []);
    stage.client("NOOP");
    assert_eq!(heard(&stage.backend("200 ok\r\n")), [200]);
}

#[test]
fn a_backend_that_goes_behind_its_final_reply_does_not_undo_the_transfer() {
    for (line, upload) in [("RETR a", false), ("STOR a", true)] {
        let mut stage = Stage::running(line);
        assert_eq!(stage.backend("226 done\r\n"), []);
        assert_eq!(stage.input(Input::BackGone(BackendFailure::Closed)), []);
        let mut steps = stage.input(Input::Pumped(WHOLE));
        assert!(steps.contains(&Step::CloseFront(Close::Whole)) && !steps.contains(&Step::CloseBack(Close::Cut)));
        let closed = if upload {
            Input::Back(BackNews::Closed { whole: true })
        } else {
            Input::Front(FrontNews::Closed { whole: true })
        };
        steps.extend(stage.input(closed));
        assert_eq!((heard(&steps), result(&steps)), (vec![226, 421], Some(TransferResult::Completed)));
        assert!(matches!(steps.last(), Some(Step::End(By::Backend, Why::Backend(BackendFailure::Closed)))));
    }
}

#[test]
fn a_backend_that_goes_behind_its_final_reply_changes_nothing_about_a_cut() {
    let mut stage = Stage::running("RETR a");
    stage.backend("226 done\r\n");
    stage.input(Input::BackGone(BackendFailure::Reset));
    let steps = stage.input(Input::Pumped(PumpEnd::SourceBroke));
    assert_eq!((heard(&steps), result(&steps)), (vec![426, 421], Some(TransferResult::BackendCut)));
    assert!(steps.contains(&Step::CloseFront(Close::Cut)));
}
