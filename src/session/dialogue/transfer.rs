//! A transfer, from its command to both data connections relaying.

use super::{Arranged, Close, Dialogue, Front, FrontNews, Phase, Step, Timer};
use crate::data::PumpEnd;
use crate::event::{DataMode, DataOutcome, HandshakeResult, Particulars, TransferResult};
use crate::ftp::{Code, Command, Reply, ReplyLine, Verb};
use crate::policy::{Cleared, Protection, Refusal, TransferKind};
use crate::session::answers;

/// Why a data connection in clear is not taken on a shared port.
const CLEAR: &str = "it is in clear (PROT C)";
/// Why nobody waits for it any more.
const LAPSED: &str = "not there in time, and other sessions of your address wait for the port";

/// A transfer command and its data.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) kind: TransferKind,
    pub(super) protection: Protection,
    front_mode: DataMode,
    pub(super) front: Front,
    pub(super) back: Back,
    pub(super) cleared: Cleared,
    pub(super) particulars: Particulars,
    /// The command is with the backend.
    pub(super) forwarded: bool,
    /// The backend said 1xx, or began without saying it.
    pub(super) started: bool,
    pub(super) pump: PumpState,
    /// Why it failed; the final reply follows from it.
    pub(super) failure: Option<TransferResult>,
    /// The backend's TLS ended without `close_notify` (Pure-FTPd): only its final reply can say that the bytes are whole.
    doubtful: bool,
    pub(super) lines: Vec<ReplyLine>,
    /// The backend's final reply has come.
    pub(super) final_code: Option<Code>,
}

/// How far the backend's data connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    Opening,
    Open,
    Securing,
    Ready,
}

/// How far the relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PumpState {
    /// Not begun.
    Waiting,
    Running,
    /// A download's bytes are all with the client's system; the final reply decides how its connection is closed.
    Flushed,
    /// An upload ended without `close_notify`: has its client died?
    Doubted,
    /// The closing is under way: the client's side of a download, the backend's side of an upload.
    Closing,
    /// Closed.
    Closed,
}

impl Transfer {
    pub(super) fn timer(&self) -> Option<Timer> {
        if !self.started {
            // Opening has its own deadline.
            return (self.forwarded && self.final_code.is_none()).then_some(Timer::BackendReply);
        }
        let final_missing = self.final_code.is_none();
        match self.pump {
            _ if self.failure.is_some() => final_missing.then_some(Timer::BackendReply),
            PumpState::Waiting if self.front != Front::Ready => Some(Timer::DataConnect),
            PumpState::Waiting => None,
            PumpState::Running if self.final_code.is_some_and(Code::is_negative) => Some(Timer::LastBytes),
            PumpState::Running => None,
            PumpState::Flushed if self.doubtful => final_missing.then_some(Timer::BackendReply),
            PumpState::Flushed => final_missing.then_some(Timer::FinalReply),
            PumpState::Doubted if self.protection == Protection::Clear => Some(Timer::ClearGrace),
            PumpState::Doubted => Some(Timer::Grace),
            PumpState::Closing => None,
            PumpState::Closed => final_missing.then_some(Timer::BackendReply),
        }
    }

    /// An upload whose bytes are all with the backend, properly ended.
    pub(super) fn is_being_confirmed(&self) -> bool {
        let closed = matches!(self.pump, PumpState::Closing | PumpState::Closed);
        self.kind == TransferKind::Upload && closed && self.failure.is_none()
    }
}

impl Dialogue {
    pub(super) fn transfer(&mut self, command: Command, kind: TransferKind, steps: &mut Vec<Step>) {
        let verb = command.verb();
        let cleared = match self.cleared(command) {
            Ok(cleared) => cleared,
            Err(denied) => {
                self.drop_arrangement(steps);
                steps.push(denied.step());
                self.forget_restart(steps);
                return;
            }
        };
        let protection = match self.protection.check_transfer(&self.premises.policy) {
            Ok(protection) => protection,
            Err(refusal) => {
                steps.push(Step::Refuse(verb, refusal));
                self.forget_restart(steps);
                return;
            }
        };
        let Some(Arranged { front_mode, back_mode, front }) = self.arranged.take() else {
            steps.push(Step::Refuse(verb, Refusal::NoDataConnection));
            self.forget_restart(steps);
            return;
        };
        let gone = match front {
            Front::Lapsed(refusal) => Some(refusal),
            Front::Untold | Front::Arrived { must_resume: true } if protection == Protection::Clear => {
                Some(Refusal::PortNeedsProtection)
            }
            Front::Awaited
            | Front::Arrived { .. }
            | Front::Untold
            | Front::Securing
            | Front::Ready
            | Front::Failed(..) => None,
        };
        if let Some(refusal) = gone {
            steps.push(Step::DropData);
            steps.push(Step::Refuse(verb, refusal));
            self.forget_restart(steps);
            return;
        }
        let offset = if kind == TransferKind::Listing { 0 } else { self.restart.unwrap_or_default() };
        let particulars = Particulars::of(cleared.command(), &self.here, offset, self.ascii);
        // The client's side has failed already: the backend need not create or cut a file for it.
        if let Front::Failed(result, detail) = front {
            let reply = answers::failed(result, Some(detail));
            let (command, code) = (cleared.command().clone(), reply.code().number());
            steps.push(Step::DropData);
            let particulars = Box::new(particulars);
            steps.push(Step::TransferEnded { command, particulars, kind, protection, result, code, ran: false });
            steps.push(Step::Answer(reply));
            self.forget_restart(steps);
            return;
        }
        steps.push(Step::Direct(kind));
        steps.push(Step::OpenBack(back_mode));
        // A backend that connects itself does so when it has the command.
        let backend_connects = matches!(back_mode, DataMode::Port | DataMode::Eprt);
        if backend_connects {
            self.use_restart(kind);
            steps.push(Step::Forward(cleared.clone()));
        }
        self.phase = Phase::Transfer(Box::new(Transfer {
            kind,
            protection,
            front_mode,
            front,
            back: Back::Opening,
            forwarded: backend_connects,
            cleared,
            particulars,
            started: false,
            pump: PumpState::Waiting,
            failure: None,
            doubtful: false,
            lines: Vec::new(),
            final_code: None,
        }));
        if let Front::Arrived { must_resume } = front {
            self.front_news(FrontNews::Arrived { must_resume }, steps);
        }
    }

    pub(super) fn transfer_reply(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        // The bytes are on their way, and all has been said about them: nobody has asked for more.
        if transfer.final_code.is_some() {
            return;
        }
        if transfer.cleared.command().verb() == Verb::Stou && !line.code.is_negative() {
            transfer.particulars.stored(line.text(), &self.here);
        }
        if line.code.is_preliminary() {
            // A second 150 would be taken for the reply to the next command.
            if transfer.started {
                return;
            }
            let last = line.last;
            self.pass(line, steps);
            if last {
                self.start(steps);
            }
            return;
        }
        let (code, last) = (line.code, line.last);
        transfer.lines.push(line);
        if !last {
            return;
        }
        transfer.final_code = Some(code);
        if transfer.failure.is_some() {
            self.conclude(steps);
            return;
        }
        match (transfer.started, code.is_negative()) {
            // Refused: nothing was moved and nothing will be.
            (false, true) => {
                steps.push(Step::DropData);
                self.conclude(steps);
            }
            // Some servers say nothing before the data. Clients wait for a 1xx before they do.
            (false, false) => {
                steps.push(Step::Answer(Reply::new(150, "Opening the data connection.")));
                self.start(steps);
            }
            (true, true) => self.backend_refused(steps),
            (true, false) => self.final_came(steps),
        }
    }

    /// The backend has begun: its data connection may be secured now and not before (it could have refused), and the
    /// client's is connected in active mode.
    fn start(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.started = true;
        steps.push(Step::TransferStarted(transfer.kind));
        if matches!(transfer.front_mode, DataMode::Port | DataMode::Eprt) {
            steps.push(Step::OpenFront);
        }
        self.advance(steps);
    }

    /// Begins what has become possible, and ends what has become impossible.
    pub(super) fn advance(&mut self, steps: &mut Vec<Step>) {
        let back = self.premises.back;
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if let (Front::Arrived { must_resume }, Protection::Clear) = (transfer.front, transfer.protection) {
            // Whoever came has shown a TLS session, and nobody proves anything in clear.
            transfer.front = if must_resume { Front::Failed(TransferResult::PortShared, CLEAR) } else { Front::Ready };
        }
        if transfer.front == Front::Untold {
            transfer.front = Front::Failed(TransferResult::PortShared, CLEAR);
        }
        if let Front::Lapsed(_) = transfer.front {
            transfer.front = Front::Failed(TransferResult::ClientDataFailed, LAPSED);
        }
        if !transfer.started || transfer.failure.is_some() {
            return;
        }
        if let Front::Failed(result, detail) = transfer.front {
            self.fail(result, Some(detail), steps);
            return;
        }
        if transfer.back == Back::Open {
            transfer.back = match back {
                Protection::Private => Back::Securing,
                Protection::Clear => Back::Ready,
            };
            if back == Protection::Private {
                steps.push(Step::SecureBack);
            }
        }
        let ready = transfer.front == Front::Ready && transfer.back == Back::Ready;
        if ready && transfer.pump == PumpState::Waiting {
            transfer.pump = PumpState::Running;
            steps.push(Step::Pump(transfer.kind));
        }
    }

    pub(super) fn pumped(&mut self, end: PumpEnd, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if transfer.pump != PumpState::Running {
            return;
        }
        let upload = transfer.kind == TransferKind::Upload;
        let failure = match end {
            PumpEnd::SourceEnded { clean } if !upload => {
                transfer.pump = PumpState::Flushed;
                transfer.doubtful = !clean;
                steps.push(Step::CloseBack(Close::Whole));
                match transfer.final_code {
                    None => {}
                    Some(code) if code.is_negative() => self.backend_refused(steps),
                    Some(_) => self.close_download(steps),
                }
                return;
            }
            PumpEnd::SourceEnded { clean: true } if transfer.protection == Protection::Private => {
                self.close_upload(steps);
                return;
            }
            PumpEnd::SourceEnded { clean } => {
                self.doubt_upload(clean, steps);
                return;
            }
            PumpEnd::SourceBroke if upload => TransferResult::ClientCut,
            PumpEnd::SourceBroke => TransferResult::BackendCut,
            PumpEnd::SourceStalled if upload => TransferResult::ClientStalled,
            PumpEnd::SourceStalled => TransferResult::BackendStalled,
            PumpEnd::SinkBroke if upload => TransferResult::BackendCut,
            PumpEnd::SinkBroke => TransferResult::ClientCut,
            PumpEnd::SinkStalled if upload => TransferResult::BackendStalled,
            PumpEnd::SinkStalled => TransferResult::ClientStalled,
        };
        self.fail(failure, None, steps);
    }

    pub(super) fn transfer_expired(&mut self, timer: Timer, steps: &mut Vec<Step>) {
        match timer {
            Timer::DataConnect => {
                let Phase::Transfer(transfer) = &self.phase else { return };
                let (result, detail) = match transfer.front {
                    Front::Securing => (TransferResult::ClientTlsFailed, HandshakeResult::Timeout.text()),
                    Front::Awaited
                    | Front::Arrived { .. }
                    | Front::Untold
                    | Front::Lapsed(_)
                    | Front::Ready
                    | Front::Failed(..) => (TransferResult::ClientDataFailed, DataOutcome::Timeout.text()),
                };
                self.fail(result, Some(detail), steps);
            }
            // The backend has closed its data connection and says nothing yet: the bytes are through.
            Timer::FinalReply => self.close_download(steps),
            Timer::LastBytes => self.give_up(steps),
            Timer::Grace | Timer::ClearGrace => self.close_upload(steps),
            Timer::BackendReply => self.back_gone(crate::event::BackendFailure::Timeout, steps),
            Timer::Idle | Timer::UnheardReply | Timer::Quiet | Timer::Reservation => {}
        }
    }

    /// The final reply came and is good.
    fn final_came(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        match transfer.pump {
            PumpState::Flushed => self.close_download(steps),
            PumpState::Closed => self.conclude(steps),
            PumpState::Waiting | PumpState::Running | PumpState::Doubted | PumpState::Closing => {}
        }
    }

    fn close_download(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.pump = PumpState::Closing;
        steps.push(Step::CloseFront(Close::Whole));
    }

    fn close_upload(&mut self, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        transfer.pump = PumpState::Closing;
        steps.push(Step::CloseFront(Close::Whole));
        steps.push(Step::CloseBack(Close::Whole));
    }

    fn doubt_upload(&mut self, clean: bool, steps: &mut Vec<Step>) {
        let reject = self.premises.policy.truncated_uploads == crate::policy::TruncatedUploads::Reject;
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if !clean && reject {
            self.fail(TransferResult::ClientTruncated, None, steps);
        } else {
            transfer.pump = PumpState::Doubted;
        }
    }

    pub(super) fn front_closed(&mut self, whole: bool, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        // Of an upload only the backend's side matters; the client has sent everything.
        if transfer.kind == TransferKind::Upload || transfer.pump != PumpState::Closing {
            return;
        }
        transfer.pump = PumpState::Closed;
        if !whole {
            self.fail(TransferResult::ClientCut, None, steps);
        } else if transfer.final_code.is_some() {
            self.conclude(steps);
        }
    }

    pub(super) fn back_closed(&mut self, whole: bool, steps: &mut Vec<Step>) {
        let Phase::Transfer(transfer) = &mut self.phase else { return };
        if transfer.kind != TransferKind::Upload || transfer.pump != PumpState::Closing {
            return;
        }
        transfer.pump = PumpState::Closed;
        if !whole {
            self.fail(TransferResult::BackendCut, None, steps);
        } else if transfer.final_code.is_some() {
            self.conclude(steps);
        }
    }
}
