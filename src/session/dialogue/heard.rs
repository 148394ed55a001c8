//! What the backend says, line by line, and that it is gone.

use super::record::Noted;
use super::{BackendFailure, Dialogue, Phase, Step, TransferResult};
use crate::event::{By, Why};
use crate::ftp::{ReplyLine, Verb};
use crate::policy::{Cleared, WorkingDirectory};
use crate::session::answers;

/// What is kept of a FEAT reply.
const FEATURE_LINES: usize = 256;
/// What a backend may say behind one command without the client's hearing of it: replies to the gateway's own questions,
/// final replies that are kept until the bytes are through, what nobody asked for. Real ones are far below. Without a
/// bound, a reply without an end would hold the client up for ever, because each line is news.
const UNHEARD: usize = 64 * 1024;

impl Dialogue {
    /// A line of a reply. What goes on to the client is bounded by what the client takes; the rest is bounded here.
    pub(super) fn reply(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        self.unheard += line.weight();
        self.heard(line, steps);
        if self.unheard > UNHEARD && !matches!(self.phase, Phase::Over) {
            self.back_gone(BackendFailure::Nonsense, steps);
        }
    }

    fn heard(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        if line.code.number() == 421 {
            // RFC 959 §4.2.2: it may come in reply to anything. Its text names the server; the gateway's own does not.
            if line.last {
                self.back_gone(BackendFailure::SaidGoodbye, steps);
            }
            return;
        }
        match &mut self.phase {
            Phase::Over => {}
            Phase::Idle => self.unasked(steps),
            Phase::Waiting { verb, noted } => {
                let done = line.last && !line.code.is_preliminary();
                let (code, noted) = (line.code, done.then(|| std::mem::replace(noted, Noted::Nothing)));
                let verb = *verb;
                // A rule goes by what the gateway itself has asked: see `Phase::Locating`.
                if !matches!(verb, Verb::Pwd | Verb::Xpwd) || !self.premises.rights.ask_for_paths() {
                    self.here.follow(verb, &line);
                }
                self.pass(line, steps);
                if let Some(noted) = noted {
                    self.phase = Phase::Idle;
                    self.noted(noted, code, steps);
                }
            }
            Phase::Locating { before } => {
                let (before, code) = (before.take(), line.code);
                let done = line.last && !code.is_preliminary();
                self.here.follow(Verb::Pwd, &line);
                if !done {
                    self.phase = Phase::Locating { before };
                    return;
                }
                if self.here == WorkingDirectory::Unasked {
                    self.here = WorkingDirectory::Unknown;
                }
                match before {
                    None if self.premises.rights.ask_for_paths() => {
                        let before = Some((code, std::mem::take(&mut self.here)));
                        self.send(Cleared::own_bare(Verb::Pwd), steps);
                        self.phase = Phase::Locating { before };
                    }
                    Some(before) if before != (code, self.here.clone()) => {
                        self.back_gone(BackendFailure::Unasked, steps);
                    }
                    Some(_) | None => self.phase = Phase::Idle,
                }
            }
            Phase::Features(lines) => {
                if line.code.is_preliminary() {
                    return;
                }
                if !line.last {
                    if !line.first && lines.len() < FEATURE_LINES {
                        lines.push(line.bytes.trim_ascii().to_vec());
                    }
                    return;
                }
                let lines = if line.code.number() == 211 { std::mem::take(lines) } else { Vec::new() };
                // A server that does not know FEAT has none. Anything else says nothing of it (ProFTPD: 501 behind RNFR).
                if matches!(line.code.number(), 211 | 500 | 502) {
                    steps.push(Step::Features(lines.clone()));
                }
                steps.push(Step::Answer(answers::features(&lines, self.premises.active)));
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
                    self.afterwards = true;
                }
            }
            Phase::Resyncing { owed } => {
                if !line.last || line.code.is_preliminary() {
                    return;
                }
                // Replies come in the order of commands: behind PWD's own, or when all have come, nothing is owed.
                *owed = owed.saturating_sub(1);
                if line.code.number() == 257 || *owed == 0 {
                    self.phase = Phase::Idle;
                }
            }
        }
    }

    /// Passes a line on and remembers whether a reply of several lines is open on the client's side.
    pub(super) fn pass(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        self.open = (!line.last).then_some(line.code);
        self.unheard = self.unheard.saturating_sub(line.weight());
        steps.push(Step::Pass(line));
    }

    /// Ends a reply that is open on the client's side, so that another can follow. `false`: it cannot be ended with a true
    /// word, because its code says how a command went and nobody knows.
    pub(super) fn end_open(&mut self, steps: &mut Vec<Step>) -> bool {
        let Some(code) = self.open.take() else { return true };
        if code.is_preliminary() {
            let bytes = format!("{code} ").into_bytes();
            steps.push(Step::Pass(ReplyLine { code, bytes, first: false, last: true }));
        }
        code.is_preliminary()
    }

    pub(super) fn back_gone(&mut self, failure: BackendFailure, steps: &mut Vec<Step>) {
        // It has said how the transfer went and need not be there for the rest of it.
        if let Phase::Transfer(transfer) = &self.phase
            && transfer.final_code.is_some()
        {
            self.back_gone.get_or_insert(failure);
            return;
        }
        self.back_is_gone(failure, steps);
    }

    pub(super) fn back_is_gone(&mut self, failure: BackendFailure, steps: &mut Vec<Step>) {
        let why = Why::Backend(failure);
        let result = match failure {
            BackendFailure::Timeout => TransferResult::BackendSilent,
            _ => TransferResult::BackendGone,
        };
        self.break_transfer(result, steps);
        // In the middle of a reply whose end nobody knows, the end of the connection is the only true word.
        if self.end_open(steps) {
            steps.push(Step::Answer(answers::goodbye(why)));
        }
        self.end(By::Backend, why, steps);
    }
}
