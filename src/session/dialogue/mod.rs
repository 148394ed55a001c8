//! The pure mind of the command stage: (state, input) → steps.
//!
//! Inputs are a client's command, a line of the backend's reply, news of the data connections, a timer that ran out.
//! Steps are what shall be done, in order. `serve` performs them and knows nothing of their reasons.
//!
//! Invariants: one command is in flight towards the backend; commands that come early wait in a bounded queue and are
//! answered in their order; every command gets exactly one final reply; a final reply to a transfer is sent when the
//! bytes are through on both legs, and says what really happened.

mod arrange;
mod end;
mod own;
mod transfer;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::backend::DataPreference;
use crate::data::PumpEnd;
use crate::event::{
    BackendFailure, By, DataMode, DataOutcome, HandshakeResult, Reason, Resumption, TransferResult, Why,
};
use crate::ftp::{Command, Reply, ReplyLine, Verb};
use crate::policy::{
    Claim, Cleared, Disposition, Mechanism, Protection, ProtectionPolicy, ProtectionState, Refusal, TransferKind,
    clear, disposition,
};

use arrange::Arranging;
use transfer::Transfer;

/// Commands that may wait their turn. Past it the front leg is not read, so a flood waits in the client.
const QUEUE: usize = 64;
/// What is kept of a FEAT reply.
const FEATURE_LINES: usize = 256;

/// What does not change while a dialogue lasts.
#[derive(Debug, Clone)]
pub struct Premises {
    /// TLS policy.
    pub policy: ProtectionPolicy,
    /// The client's address: active data connections go there and nowhere else.
    pub client: IpAddr,
    /// The backend's address.
    pub backend: IpAddr,
    /// How data connections with the backend are arranged.
    pub preference: DataPreference,
    /// How data connections with the backend are protected.
    pub back: Protection,
    /// PORT and EPRT are allowed.
    pub active: bool,
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A command of the client.
    Command(Command),
    /// A line of the client that is no command.
    Flawed(Refusal),
    /// A line of the backend's reply.
    Reply(ReplyLine),
    /// The backend's control connection is gone or useless.
    BackGone(BackendFailure),
    /// The client's control connection is gone.
    ClientGone(Reason),
    /// A passive port was reserved: the reply that names it. Or not.
    Reserved(Result<Reply, Refusal>),
    /// A listener for the backend's data connection is bound. Or not.
    Listening(Option<SocketAddr>),
    /// News of the client's data connection.
    Front(FrontNews),
    /// News of the backend's data connection.
    Back(BackNews),
    /// The relay ended, and how.
    Pumped(PumpEnd),
    /// The timer that [`Dialogue::timer`] named ran out.
    Expired(Timer),
    /// The gateway drains: end as soon as nothing runs.
    Drain,
}

/// News of the client's data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontNews {
    /// It is connected.
    Arrived,
    /// It is secured.
    Secured(Resumption),
    /// It could not be connected.
    Failed(DataOutcome),
    /// The handshake failed.
    TlsFailed(HandshakeResult),
    /// The close that was asked for is done; `whole`: the client was there to the end.
    Closed {
        /// The client did not break the connection.
        whole: bool,
    },
}

/// News of the backend's data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackNews {
    /// It is connected.
    Opened,
    /// It is secured.
    Secured,
    /// It could not be connected or secured.
    Failed(DataOutcome),
    /// The close that was asked for is done; `whole`: the backend was there to the end.
    Closed {
        /// The backend did not break the connection.
        whole: bool,
    },
}

/// How a data connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Everything is through: `close_notify` where TLS is up, FIN, a brief drain.
    Whole,
    /// Something broke, and the peer shall see it.
    Cut,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Tell the client.
    Answer(Reply),
    /// Tell the client no, and the observer why.
    Refuse(Verb, Refusal),
    /// Pass a line of the backend's on to the client.
    Pass(ReplyLine),
    /// Send a command to the backend.
    Forward(Cleared),
    /// Reserve a passive port; the answer comes as [`Input::Reserved`].
    Reserve(DataMode),
    /// Keep a checked endpoint of the client's for an active data connection.
    Aim(Claim, DataMode),
    /// Bind a listener for the backend's data connection; the answer comes as [`Input::Listening`].
    Listen,
    /// Keep the backend's passive port.
    AimBack(u16),
    /// Forget everything about data connections; a client's connection that is there or still comes is ended with FIN.
    DropData,
    /// Connect the backend's data connection, or wait for the backend's.
    OpenBack(DataMode),
    /// Secure it.
    SecureBack,
    /// Connect to the client (active mode).
    OpenFront,
    /// Begin the handshake on the client's data connection.
    SecureFront,
    /// The client will read its data connection: it may have tickets there.
    ClientReads,
    /// Relay.
    Pump(TransferKind),
    /// Stop relaying, wherever it is.
    StopPump,
    /// Close the client's data connection; the answer comes as [`FrontNews::Closed`].
    CloseFront(Close),
    /// Close the backend's data connection; the answer comes as [`BackNews::Closed`].
    CloseBack(Close),
    /// The backend said 1xx: the transfer runs.
    TransferStarted(TransferKind),
    /// The transfer is over.
    TransferEnded {
        /// Its command.
        command: Command,
        /// Which way.
        kind: TransferKind,
        /// How the front leg's data connection is protected.
        protection: Protection,
        /// How it ended.
        result: TransferResult,
        /// The code of the final reply.
        code: u16,
        /// It had begun to run.
        ran: bool,
    },
    /// The client named its software.
    Software(Vec<u8>),
    /// The backend said what it offers.
    Features(Vec<Vec<u8>>),
    /// Answer 234 and start TLS on the control connection; the login starts anew.
    SecureControl(Mechanism),
    /// Answer 200 and end TLS on the control connection; the session goes on in clear.
    ClearControl,
    /// Answer 220 and begin as after the greeting (REIN).
    Reinitialise,
    /// A new USER: the login starts anew with it.
    LoginAgain(Command),
    /// The session ends.
    End(By, Why),
}

/// What is being waited for, and so which deadline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// A command: `timeouts.idle`. Anew with each command.
    Idle,
    /// The backend's reply: `timeouts.backend_reply`. Anew with each line.
    BackendReply,
    /// The client's data connection: `timeouts.data_connect`.
    DataConnect,
    /// The backend's final reply after its data has ended, before the client's data connection is closed.
    FinalReply,
    /// The end of the data after the backend's 4xx or 5xx.
    LastBytes,
    /// The control connection's end, after an upload under TLS ended without `close_notify`.
    Grace,
    /// The same after an upload in clear, where FIN is the only end there is.
    ClearGrace,
    /// More replies of a backend after ABOR or a cut.
    Quiet,
}

/// The state between two inputs.
#[derive(Debug)]
pub struct Dialogue {
    premises: Premises,
    control_private: bool,
    protection: ProtectionState,
    epsv_all: bool,
    queue: VecDeque<Pending>,
    phase: Phase,
    arranged: Option<Arranged>,
    /// What the backend is known to answer, so that it is asked right the next time.
    back_mode: Option<DataMode>,
    /// Final replies of an aborted transfer that may still come.
    strays: u8,
    draining: bool,
    client_gone: Option<Reason>,
}

/// A line of the client that waits its turn.
#[derive(Debug)]
enum Pending {
    Command(Command),
    Flawed(Refusal),
}

#[derive(Debug)]
enum Phase {
    /// Nothing is in flight.
    Idle,
    /// A command is with the backend.
    Waiting,
    /// FEAT is with the backend.
    Features(Vec<Vec<u8>>),
    /// A data connection is being arranged.
    Arranging(Box<Arranging>),
    /// A transfer command and its data.
    Transfer(Box<Transfer>),
    /// The client has its answer; the backend still owes final replies.
    Settling { owed: u8, seen: u8, heard: bool },
    /// The session has ended.
    Over,
}

/// A data connection arranged on both legs.
#[derive(Debug, Clone, Copy)]
struct Arranged {
    front_mode: DataMode,
    back_mode: DataMode,
    front: Front,
}

/// How far the client's data connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    Awaited,
    Arrived,
    Securing,
    Ready,
    Failed(TransferResult, &'static str),
}

impl Dialogue {
    /// A dialogue after login. `control_private`: the control connection is under TLS now.
    pub fn new(premises: Premises, protection: ProtectionState, control_private: bool) -> Self {
        Self {
            premises,
            control_private,
            protection,
            epsv_all: false,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            arranged: None,
            back_mode: None,
            strays: 0,
            draining: false,
            client_gone: None,
        }
    }

    /// Whether more of the client's lines are wanted now.
    pub fn wants_commands(&self) -> bool {
        self.queue.len() < QUEUE && self.client_gone.is_none()
    }

    /// Where the session stands with PBSZ and PROT.
    pub fn protection(&self) -> ProtectionState {
        self.protection
    }

    /// A transfer is being prepared, runs, or is being closed.
    pub fn in_transfer(&self) -> bool {
        matches!(self.phase, Phase::Transfer(_))
    }

    /// Which deadline runs now.
    pub fn timer(&self) -> Option<Timer> {
        match &self.phase {
            Phase::Idle if self.arranged.is_some() => Some(Timer::DataConnect),
            Phase::Idle => Some(Timer::Idle),
            Phase::Waiting | Phase::Features(_) => Some(Timer::BackendReply),
            Phase::Arranging(arranging) => arranging.timer(),
            Phase::Transfer(transfer) => transfer.timer(),
            Phase::Settling { heard: false, .. } => Some(Timer::BackendReply),
            Phase::Settling { .. } => Some(Timer::Quiet),
            Phase::Over => None,
        }
    }

    /// Takes one input and appends what shall be done.
    pub fn handle(&mut self, input: Input, steps: &mut Vec<Step>) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        match input {
            Input::Command(command) => self.command(command, steps),
            Input::Flawed(refusal) => self.queue.push_back(Pending::Flawed(refusal)),
            Input::Reply(line) => self.reply(line, steps),
            Input::BackGone(failure) => self.back_gone(failure, steps),
            Input::ClientGone(reason) => self.client_is_gone(reason, steps),
            Input::Reserved(reserved) => self.reserved(reserved, steps),
            Input::Listening(endpoint) => self.listening(endpoint, steps),
            Input::Front(news) => self.front_news(news, steps),
            Input::Back(news) => self.back_news(news, steps),
            Input::Pumped(end) => self.pumped(end, steps),
            Input::Expired(timer) => self.expired(timer, steps),
            Input::Drain => self.draining = true,
        }
        self.run_queue(steps);
    }

    /// The gateway stops: a running transfer is cut on both legs. The session is over.
    pub fn stop(&mut self, steps: &mut Vec<Step>) {
        self.break_transfer(TransferResult::Stopped, steps);
        self.phase = Phase::Over;
    }

    fn command(&mut self, command: Command, steps: &mut Vec<Step>) {
        if let Phase::Transfer(transfer) = &self.phase {
            match command.verb() {
                // Its effect is at once; its own reply comes in its turn (RFC 959 §4.1.3).
                Verb::Abor => self.abort(steps),
                // RFC 959 §4.1.3: STAT may be sent during a transfer and is answered at once.
                Verb::Stat if !command.has_argument() && !transfer.mid_reply => {
                    steps.push(Step::Answer(self.status()));
                    return;
                }
                _ => {}
            }
        }
        self.queue.push_back(Pending::Command(command));
    }

    fn run_queue(&mut self, steps: &mut Vec<Step>) {
        while let Phase::Idle = self.phase {
            if let Some(reason) = self.client_gone {
                self.end(By::Client, Why::Reason(reason), steps);
                return;
            }
            if self.draining {
                steps.push(Step::Answer(Refusal::Draining.reply()));
                self.end(By::Gateway, Why::Reason(Reason::Drained), steps);
                return;
            }
            match self.queue.pop_front() {
                None => return,
                Some(Pending::Flawed(refusal)) => steps.push(Step::Refuse(Verb::Other, refusal)),
                Some(Pending::Command(command)) => self.begin(command, steps),
            }
        }
    }

    fn begin(&mut self, command: Command, steps: &mut Vec<Step>) {
        let verb = command.verb();
        match disposition(verb) {
            Disposition::Own => self.own(command, steps),
            Disposition::Arrange => self.arrange(&command, steps),
            Disposition::Transfer(kind) => self.transfer(command, kind, steps),
            Disposition::Forward => self.forward(command, steps),
            Disposition::NotImplemented => steps.push(Step::Refuse(verb, Refusal::NotImplemented)),
        }
    }

    fn forward(&mut self, command: Command, steps: &mut Vec<Step>) {
        let verb = command.verb();
        match clear(command) {
            Ok(cleared) => {
                steps.push(Step::Forward(cleared));
                self.phase = Phase::Waiting;
            }
            Err(refusal) => steps.push(Step::Refuse(verb, refusal)),
        }
    }

    fn reply(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        if line.code.number() == 421 {
            // RFC 959 §4.2.2: it may come in reply to anything. Its text names the server; the gateway's own does not.
            if line.last {
                self.back_gone(BackendFailure::SaidGoodbye, steps);
            }
            return;
        }
        match &mut self.phase {
            // What nobody asked for is swallowed: the client would take it for the reply to its next command.
            Phase::Idle | Phase::Over => {
                if line.last {
                    self.strays = self.strays.saturating_sub(1);
                }
            }
            Phase::Waiting => {
                let done = line.last && !line.code.is_preliminary();
                steps.push(Step::Pass(line));
                if done {
                    self.phase = Phase::Idle;
                }
            }
            Phase::Features(lines) => {
                if !line.last {
                    if !line.first && lines.len() < FEATURE_LINES {
                        lines.push(line.bytes.trim_ascii().to_vec());
                    }
                    return;
                }
                let lines = if line.code.number() == 211 { std::mem::take(lines) } else { Vec::new() };
                steps.push(Step::Features(lines.clone()));
                steps.push(Step::Answer(super::answers::features(&lines, self.premises.active)));
                self.phase = Phase::Idle;
            }
            Phase::Arranging(_) => self.arranging_reply(line, steps),
            Phase::Transfer(_) => self.transfer_reply(line, steps),
            Phase::Settling { owed, seen, heard } => {
                if !line.last {
                    return;
                }
                // Pure-FTPd's last word on a download that was cut is a 150; nothing follows it.
                *heard = true;
                if line.code.is_preliminary() {
                    return;
                }
                *seen += 1;
                if seen == owed {
                    self.phase = Phase::Idle;
                }
            }
        }
    }

    fn expired(&mut self, timer: Timer, steps: &mut Vec<Step>) {
        // A timer that ran out in the same moment as its reason went away.
        if self.timer() != Some(timer) {
            return;
        }
        match (&mut self.phase, timer) {
            (Phase::Idle, Timer::DataConnect) => {
                self.arranged = None;
                steps.push(Step::DropData);
            }
            (Phase::Idle, _) => {
                steps.push(Step::Answer(super::answers::goodbye(Why::Reason(Reason::Idle))));
                self.end(By::Client, Why::Reason(Reason::Idle), steps);
            }
            (Phase::Settling { owed, seen, .. }, Timer::Quiet) => {
                self.strays = owed.saturating_sub(*seen);
                self.phase = Phase::Idle;
            }
            (Phase::Transfer(_), _) => self.transfer_expired(timer, steps),
            (Phase::Waiting | Phase::Features(_) | Phase::Arranging(_) | Phase::Settling { .. }, _) => {
                self.back_gone(BackendFailure::Timeout, steps);
            }
            (Phase::Over, _) => {}
        }
    }

    fn back_gone(&mut self, failure: BackendFailure, steps: &mut Vec<Step>) {
        let why = Why::Backend(failure);
        let result = match failure {
            BackendFailure::Timeout => TransferResult::BackendSilent,
            _ => TransferResult::BackendGone,
        };
        self.break_transfer(result, steps);
        steps.push(Step::Answer(super::answers::goodbye(why)));
        self.end(By::Backend, why, steps);
    }

    fn client_is_gone(&mut self, reason: Reason, steps: &mut Vec<Step>) {
        self.client_gone = Some(reason);
        self.queue.clear();
        if let Phase::Transfer(transfer) = &self.phase
            && transfer.is_being_confirmed()
        {
            // The upload is whole and with the backend; only the confirmation is missing. It is waited for, so that the
            // backend does not lose its client in the middle of storing.
            return;
        }
        self.break_transfer(TransferResult::ClientGone, steps);
        self.end(By::Client, Why::Reason(reason), steps);
    }

    fn end(&mut self, by: By, why: Why, steps: &mut Vec<Step>) {
        self.phase = Phase::Over;
        steps.push(Step::End(by, why));
    }
}

#[cfg(test)]
mod tests;
