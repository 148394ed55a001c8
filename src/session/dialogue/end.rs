//! How a transfer ends, and what the client hears of it.
//!
//! Who breaks, when, on which leg → what the client hears:
//!
//! | | the backend says 2xx | 4xx or 5xx | nothing |
//! |---|---|---|---|
//! | both legs whole | the backend's words | the backend's words | 421 |
//! | the client's leg broke or stalled | 426, 425 or 522, at once | the same | the same |
//! | the backend's leg broke | 426 | the backend's words | 421 |
//! | the backend's leg stalled | 426, at once | the same | the same |
//! | ABOR | 426, and 226 to ABOR | the same | the same |

use super::transfer::PumpState;
use super::{Close, Dialogue, Phase, Step};
use crate::event::TransferResult;
use crate::ftp::{Code, Verb};
use crate::policy::{Cleared, TransferKind};
use crate::session::answers;

impl Dialogue {
    /// The transfer has failed: both legs are cut so that both peers can see it. When it is the backend's doing, its own
    /// words are waited for; otherwise the client is told at once and the backend's replies are swallowed.
    pub(super) fn fail(&mut self, result: TransferResult, detail: Option<&str>, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.failure = Some(result);
        cut(transfer.pump, transfer.started, steps);
        if result == TransferResult::BackendCut && transfer.final_code.is_none() {
            return;
        }
        if result == TransferResult::BackendCut {
            self.conclude(steps);
            return;
        }
        let owed = u8::from(transfer.forwarded && transfer.final_code.is_none());
        let reply = answers::failed(result, detail);
        self.record(result, reply.code().number(), steps);
        self.end_open(steps);
        steps.push(Step::Answer(reply));
        self.settle(owed, steps);
    }

    /// ABOR: 426 for the transfer now, 226 for ABOR itself in its turn. Backends differ in what they send, so what
    /// comes is swallowed until they are quiet.
    pub(super) fn abort(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        // All bytes are through, or it has failed already: the true reply is on its way.
        if matches!(transfer.pump, PumpState::Closing | PumpState::Closed) || transfer.failure.is_some() {
            return;
        }
        let mut owed = 0;
        if transfer.forwarded && transfer.final_code.is_none() {
            steps.push(Step::Forward(Cleared::own_bare(Verb::Abor)));
            owed = 2;
        }
        transfer.failure = Some(TransferResult::Aborted);
        cut(transfer.pump, transfer.started, steps);
        let reply = answers::failed(TransferResult::Aborted, None);
        self.record(TransferResult::Aborted, reply.code().number(), steps);
        self.end_open(steps);
        steps.push(Step::Answer(reply));
        self.settle(owed, steps);
    }

    /// The backend said 4xx or 5xx to a transfer that had begun. A download's last bytes may still be on their way: the
    /// client gets them, and then a connection that ends without `close_notify`.
    pub(super) fn backend_refused(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let download = transfer.kind != TransferKind::Upload;
        match transfer.pump {
            // `Timer::LastBytes` runs from here on.
            PumpState::Running if download => {}
            // The client has been told that the bytes are whole; what the backend says still counts.
            PumpState::Closing => {}
            PumpState::Waiting | PumpState::Running | PumpState::Flushed | PumpState::Doubted | PumpState::Closed => {
                self.give_up(steps);
            }
        }
    }

    /// The backend's 4xx or 5xx is passed on and both legs are cut.
    pub(super) fn give_up(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.failure = Some(TransferResult::BackendRefused);
        cut(transfer.pump, transfer.started, steps);
        self.conclude(steps);
    }

    /// Both legs are done with and the backend's final reply is there: the client hears the truth.
    pub(super) fn conclude(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        let lines = std::mem::take(&mut transfer.lines);
        let negative = transfer.final_code.is_some_and(Code::is_negative);
        let code = transfer.final_code.map_or(421, Code::number);
        let result = match transfer.failure {
            Some(failure) if !negative => failure,
            _ if negative => TransferResult::BackendRefused,
            Some(_) | None => TransferResult::Completed,
        };
        if negative || result == TransferResult::Completed {
            self.record(result, code, steps);
            steps.extend(lines.into_iter().map(Step::Pass));
        } else {
            let reply = answers::failed(result, None);
            self.record(result, reply.code().number(), steps);
            steps.push(Step::Answer(reply));
        }
        self.phase = Phase::Idle;
        self.afterwards = true;
    }

    /// The session ends in the middle of whatever it was doing.
    pub(super) fn break_transfer(&mut self, result: TransferResult, steps: &mut Vec<Step>) {
        self.lose_track(steps);
        let Phase::Transfer(transfer) = &self.phase else { return };
        cut(transfer.pump, transfer.started, steps);
        self.record(result, 421, steps);
    }

    /// The client has its answer; `owed` replies of the backend are still to come.
    fn settle(&mut self, owed: u8, steps: &mut Vec<Step>) {
        self.phase = Phase::Idle;
        self.afterwards = true;
        if owed > 0 {
            self.phase = Phase::Settling { owed, seen: 0, heard: false };
        } else {
            self.forget_restart(steps);
        }
    }

    /// A transfer has ended that the backend has not heard of. It would begin its next one, perhaps of another file, at the
    /// offset that REST gave for this one.
    pub(super) fn forget_restart(&mut self, steps: &mut Vec<Step>) {
        if self.restart.take().is_some() {
            self.ask_nothing(Cleared::own(Verb::Rest, "0"), steps);
        }
    }

    /// The backend hears of a transfer, and the offset is its. A listing has none: vsftpd, ProFTPD, Pure-FTPd and pyftpdlib
    /// keep the offset for the file behind it.
    pub(super) fn use_restart(&mut self, kind: TransferKind) {
        if kind != TransferKind::Listing {
            self.restart = None;
        }
    }

    fn record(&mut self, result: TransferResult, code: u16, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &self.phase else { return };
        steps.push(Step::TransferEnded {
            command: transfer.cleared.command().clone(),
            particulars: Box::new(transfer.particulars.clone()),
            kind: transfer.kind,
            protection: transfer.protection,
            result,
            code,
            ran: transfer.started,
        });
    }
}

/// Cuts what is there. Before the backend has begun the client's side holds nothing that could be taken for a whole
/// file; the backend may begin with what it finds, and must not find the end of an empty one.
fn cut(pump: PumpState, started: bool, steps: &mut Vec<Step>) {
    match pump {
        PumpState::Waiting if !started => {
            steps.push(Step::CloseBack(Close::Cut));
            steps.push(Step::DropData);
        }
        PumpState::Waiting | PumpState::Running | PumpState::Flushed | PumpState::Doubted => {
            steps.push(Step::StopPump);
            steps.push(Step::CloseFront(Close::Cut));
            steps.push(Step::CloseBack(Close::Cut));
        }
        // What was closed stays closed.
        PumpState::Closing | PumpState::Closed => {}
    }
}
