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
mod heard;
mod legs;
mod own;
mod record;
mod transfer;
mod words;

use std::collections::VecDeque;

use crate::event::{BackendFailure, By, DataMode, Reason, TransferResult, Why};
use crate::ftp::{Code, Command, ReplyLine, Verb};
use crate::policy::{Cleared, Disposition, Protection, ProtectionState, Refusal, WorkingDirectory, disposition};

use arrange::Arranging;
use record::{Noted, Renamed};
use transfer::Transfer;

pub use words::{BackNews, Close, FrontNews, Input, Premises, Step, Timer};

/// Commands that may wait their turn. Past it the front leg is not read, so a flood waits in the client.
const QUEUE: usize = 256;
/// NOOPs during a transfer that may wait in front of all others. Some programs send one every few seconds and read no
/// answer before the transfer is over (Apache commons-net, FluentFTP): at one a second this lasts for 18 hours. They are
/// no more than a number, so a flood of them costs a client as much as it costs the gateway.
const KEEP_ALIVES: u32 = 64 * 1024;

/// Commands that are begun in one go. Rules for paths may have to look at thousands of bytes for each, and other sessions
/// wait for the processor.
const IN_ONE_GO: usize = 8;

/// The state between two inputs.
#[derive(Debug)]
pub struct Dialogue {
    premises: Premises,
    control_private: bool,
    protection: ProtectionState,
    epsv_all: bool,
    /// NOOPs that came during a transfer before anything else did: they wait in front of the queue.
    keep_alives: u32,
    queue: VecDeque<Pending>,
    phase: Phase,
    arranged: Option<Arranged>,
    /// What the backend is known to answer, so that it is asked right the next time.
    back_mode: Option<DataMode>,
    /// The backend keeps this offset for its next transfer (REST).
    restart: Option<u64>,
    /// Files are text to the backend (TYPE A), as they are at first (RFC 959 §5.1).
    ascii: bool,
    /// The backend has agreed to rename this (RNFR), and has not heard to what.
    renamed: Option<Renamed>,
    /// What begins now can be recorded.
    recording: bool,
    /// Where the session is, for rules that ask for paths.
    here: WorkingDirectory,
    /// A reply of several lines that has begun on the client's side.
    open: Option<Code>,
    /// What replies weigh since the last command that the client has not heard.
    unheard: usize,
    /// A transfer is over, and nothing has been sent to the backend since.
    afterwards: bool,
    draining: bool,
    client_gone: Option<Reason>,
    /// The backend has gone behind its final reply to a transfer whose bytes are still on their way.
    back_gone: Option<BackendFailure>,
}

/// A line of the client that waits its turn.
#[derive(Debug)]
pub enum Pending {
    /// A command.
    Command(Command),
    /// What is none.
    Flawed(Refusal),
}

#[derive(Debug)]
enum Phase {
    /// Nothing is in flight.
    Idle,
    /// A command is with the backend.
    Waiting { verb: Verb, noted: Noted },
    /// A PWD of the gateway's own is with the backend: a rule or the record asks for paths, and the session may have moved.
    /// For a rule it is asked twice. Were replies shifted, by a backend that has answered something twice, then the first of
    /// them would belong to an earlier command, perhaps to MKD, whose reply is a 257 as well; but the second would not be the
    /// same. `before`: what the first was.
    Locating { before: Option<(Code, WorkingDirectory)> },
    /// FEAT is with the backend.
    Features(Vec<Vec<u8>>),
    /// A data connection is being arranged.
    Arranging(Box<Arranging>),
    /// A transfer command and its data.
    Transfer(Box<Transfer>),
    /// The client has its answer; the backend still owes final replies.
    Settling { owed: u8, seen: u8, heard: bool },
    /// The backend is quiet and owes replies all the same: a PWD of the gateway's own finds out where it is. Its 257 is
    /// no reply to anything else.
    Resyncing { owed: u8 },
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
    Arrived {
        must_resume: bool,
    },
    /// What will come in clear cannot be told from what others of its address await.
    Untold,
    /// It has not come, and its port is another's.
    Lapsed(Refusal),
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
            keep_alives: 0,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            arranged: None,
            back_mode: None,
            restart: None,
            ascii: true,
            renamed: None,
            recording: true,
            here: WorkingDirectory::Unasked,
            open: None,
            unheard: 0,
            afterwards: false,
            draining: false,
            client_gone: None,
            back_gone: None,
        }
    }

    /// Whether more of the client's lines are wanted now.
    pub fn wants_commands(&self) -> bool {
        // During a transfer everything is read: ABOR, and the end of the connection, must be seen.
        self.client_gone.is_none() && (self.in_transfer() || self.queue.len() < QUEUE)
    }

    /// Where the session stands with PBSZ and PROT.
    pub fn protection(&self) -> ProtectionState {
        self.protection
    }

    /// The lines that still wait their turn. Whoever goes on with the session deals with them.
    pub fn into_waiting(self) -> VecDeque<Pending> {
        self.queue
    }

    /// Commands wait that nothing keeps waiting: [`Self::go_on`] deals with them, when others have had their turn.
    pub fn has_more(&self) -> bool {
        matches!(self.phase, Phase::Idle) && !self.none_waits()
    }

    /// A transfer is being prepared, runs, or is being closed.
    pub fn in_transfer(&self) -> bool {
        matches!(self.phase, Phase::Transfer(_))
    }

    /// The backend has a transfer command, and has not said a word on it.
    pub fn is_beginning(&self) -> bool {
        match &self.phase {
            Phase::Transfer(transfer) => transfer.forwarded && !transfer.started && transfer.final_code.is_none(),
            _ => false,
        }
    }

    /// Which deadline runs now.
    pub fn timer(&self) -> Option<Timer> {
        match &self.phase {
            Phase::Idle if self.awaits_client() => Some(Timer::Reservation),
            Phase::Idle => Some(Timer::Idle),
            Phase::Waiting { .. } => Some(Timer::BackendReply),
            Phase::Locating { .. } | Phase::Features(_) => Some(Timer::UnheardReply),
            Phase::Arranging(arranging) => arranging.timer(),
            Phase::Transfer(transfer) => transfer.timer(),
            Phase::Settling { heard: false, .. } => Some(Timer::UnheardReply),
            Phase::Settling { .. } => Some(Timer::Quiet),
            Phase::Resyncing { .. } => Some(Timer::UnheardReply),
            Phase::Over => None,
        }
    }

    /// A data connection is arranged, and the client's side of it is not there or not secured.
    fn awaits_client(&self) -> bool {
        self.arranged.is_some_and(|arranged| match arranged.front {
            Front::Ready => false,
            Front::Arrived { .. } => self.protection.protection() == Protection::Private,
            Front::Awaited | Front::Untold | Front::Lapsed(_) | Front::Securing | Front::Failed(..) => true,
        })
    }

    /// Takes one input and appends what shall be done.
    pub fn handle(&mut self, input: Input, steps: &mut Vec<Step>) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.take(input, steps);
        self.run_queue(steps);
    }

    /// A line of the backend's, with which another came: the client's next command has to wait until that is heard, too.
    /// It would be taken for the reply to the command.
    pub fn hear(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        if !matches!(self.phase, Phase::Over) {
            self.reply(line, steps);
        }
    }

    fn take(&mut self, input: Input, steps: &mut Vec<Step>) {
        match input {
            Input::Command(command) => self.command(command, steps),
            Input::Flawed(refusal) => self.wait(Pending::Flawed(refusal), steps),
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
    }

    /// Takes the next of the commands that wait, and appends what shall be done.
    pub fn go_on(&mut self, steps: &mut Vec<Step>) {
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
                // RFC 959 §4.1.3: STAT may be sent during a transfer and is answered at once, but not before a command that
                // came earlier.
                Verb::Stat
                    if !command.has_argument() && transfer.started && self.open.is_none() && self.none_waits() =>
                {
                    steps.push(Step::Answer(self.status()));
                    return;
                }
                Verb::Noop if self.keep_alives < KEEP_ALIVES && self.is_keep_alive(&command) => {
                    self.keep_alives += 1;
                    return;
                }
                _ => {}
            }
        }
        self.wait(Pending::Command(command), steps);
    }

    fn none_waits(&self) -> bool {
        self.keep_alives == 0 && self.queue.is_empty()
    }

    /// A NOOP that is as good as any other, in front of which nothing waits but its like. One that a rule denies is not: many
    /// would be refused in one go, whether the client takes the replies or not.
    fn is_keep_alive(&self, command: &Command) -> bool {
        self.queue.is_empty() && !command.has_argument() && self.cleared(command.clone()).is_ok()
    }

    /// Outside a transfer the client is not read when the queue is full. During one it is, so it has to end.
    fn wait(&mut self, pending: Pending, steps: &mut Vec<Step>) {
        if self.queue.len() >= QUEUE && self.in_transfer() {
            let verb = match &pending {
                Pending::Command(command) => command.verb(),
                Pending::Flawed(_) => Verb::Other,
            };
            self.break_transfer(TransferResult::Aborted, steps);
            steps.push(Step::Refuse(verb, Refusal::CommandPipelineFull));
            self.end(By::Client, Why::Refused(Refusal::CommandPipelineFull), steps);
            return;
        }
        self.queue.push_back(pending);
    }

    fn run_queue(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..IN_ONE_GO {
            let Phase::Idle = self.phase else { return };
            if let Some(reason) = self.client_gone {
                self.end(By::Client, Why::Reason(reason), steps);
                return;
            }
            if let Some(failure) = self.back_gone {
                self.back_is_gone(failure, steps);
                return;
            }
            if self.draining {
                steps.push(Step::Answer(Refusal::Draining.reply()));
                self.end(By::Gateway, Why::Reason(Reason::Drained), steps);
                return;
            }
            if let Some(fewer) = self.keep_alives.checked_sub(1) {
                self.keep_alives = fewer;
                self.begin(Command::bare(Verb::Noop), steps);
                continue;
            }
            match self.queue.pop_front() {
                None => return,
                Some(Pending::Flawed(refusal)) => {
                    steps.push(Step::Refuse(Verb::Other, refusal));
                    // It may have been what RNFR or REST waits for.
                    self.forget_rename(steps);
                    self.forget_restart(steps);
                }
                Some(Pending::Command(command)) => self.begin(command, steps),
            }
        }
    }

    fn begin(&mut self, command: Command, steps: &mut Vec<Step>) {
        self.unheard = 0;
        let verb = command.verb();
        let disposed = disposition(verb);
        if self.asks_where(&command) {
            self.queue.push_front(Pending::Command(command));
            self.send(Cleared::own_bare(Verb::Pwd), steps);
            self.phase = Phase::Locating { before: None };
            return;
        }
        match disposed {
            Disposition::Own => self.own(command, steps),
            Disposition::Arrange => self.arrange(&command, steps),
            Disposition::Transfer(kind) => self.transfer(command, kind, steps),
            Disposition::Forward => self.forward(command, steps),
            Disposition::NotImplemented => steps.push(Step::Refuse(verb, Refusal::NotImplemented)),
        }
    }

    fn forward(&mut self, command: Command, steps: &mut Vec<Step>) {
        match self.cleared(command) {
            Ok(cleared) => {
                let (verb, noted) = (cleared.command().verb(), self.note(cleared.command()));
                self.send(cleared, steps);
                self.phase = Phase::Waiting { verb, noted };
            }
            Err(denied) => {
                let rename = denied.verb() == Verb::Rnto;
                steps.push(denied.step());
                if rename {
                    self.forget_rename(steps);
                }
            }
        }
    }

    /// The backend has agreed to rename, and does not hear to what. Some servers take nothing else before they have
    /// (ProFTPD: 501 to all but RNTO, NOOP, STAT and QUIT), and others would rename this file with a later RNTO. None can
    /// rename to nothing, and all have an answer to it. What it was is kept: Pure-FTPd and pyftpdlib do not
    /// forget it even so.
    fn forget_rename(&mut self, steps: &mut Vec<Step>) {
        if self.renamed.is_some() {
            self.ask_nothing(Cleared::own_bare(Verb::Rnto), steps);
        }
    }

    /// Sends what only the backend has to hear. The client waits for its answer all the same.
    pub(super) fn ask_nothing(&mut self, cleared: Cleared, steps: &mut Vec<Step>) {
        let before = if let Phase::Settling { owed, .. } = self.phase { owed } else { 0 };
        self.send(cleared, steps);
        self.phase = Phase::Settling { owed: before + 1, seen: 0, heard: false };
    }

    /// Sends to the backend. From now on what it says is a reply to this.
    fn send(&mut self, cleared: Cleared, steps: &mut Vec<Step>) {
        self.afterwards = false;
        steps.push(Step::Forward(cleared));
    }

    /// The backend has said something although nothing is with it. Behind a transfer some servers say more than they have
    /// to; the client would take it for the reply to its next command. At any other time replies and commands do not belong
    /// together any more: what seems to be the reply to one is the reply to another, and rules and records go by it.
    fn unasked(&mut self, steps: &mut Vec<Step>) {
        if !self.afterwards {
            self.back_gone(BackendFailure::Unasked, steps);
        }
    }

    fn expired(&mut self, timer: Timer, steps: &mut Vec<Step>) {
        // A timer that ran out in the same moment as its reason went away.
        if self.timer() != Some(timer) {
            return;
        }
        match (&mut self.phase, timer) {
            (Phase::Idle, Timer::Reservation) => {
                self.arranged = None;
                steps.push(Step::DropData);
            }
            (Phase::Idle, _) => {
                steps.push(Step::Answer(super::answers::goodbye(Why::Reason(Reason::Idle))));
                self.end(By::Client, Why::Reason(Reason::Idle), steps);
            }
            (Phase::Settling { owed, seen, .. }, Timer::Quiet) => {
                let owed = owed.saturating_sub(*seen) + 1;
                self.phase = Phase::Resyncing { owed };
                self.send(Cleared::own_bare(Verb::Pwd), steps);
            }
            (Phase::Transfer(_), _) => self.transfer_expired(timer, steps),
            (
                Phase::Waiting { .. }
                | Phase::Locating { .. }
                | Phase::Features(_)
                | Phase::Arranging(_)
                | Phase::Settling { .. }
                | Phase::Resyncing { .. },
                _,
            ) => self.back_gone(BackendFailure::Timeout, steps),
            (Phase::Over, _) => {}
        }
    }

    fn client_is_gone(&mut self, reason: Reason, steps: &mut Vec<Step>) {
        self.client_gone = Some(reason);
        self.keep_alives = 0;
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
