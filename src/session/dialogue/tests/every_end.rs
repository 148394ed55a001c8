//! Every way a transfer can end: who breaks, on which leg, how, when × direction × what the backend says of it in the
//! end × TLS with the backend × `truncated_uploads`. What the client hears and how each leg is closed is said here a
//! second time, as rules in the order in which they count; [`World`] plays each row through and must come to the same.

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
#[rustfmt::skip]
enum Who { Client, Backend }

#[derive(Debug, Clone, Copy, PartialEq)]
#[rustfmt::skip]
enum Leg { Data, Control }

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// The peer ends properly, too early: `close_notify` and FIN.
    Fin,
    Reset,
    /// The peer is there and does nothing any more.
    Stall,
    /// FIN alone. In clear it is the same as the first.
    NoCloseNotify,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Before150,
    During,
    /// Every byte is through, and the connections are not closed yet.
    AfterTheLastByte,
    /// Data is closed on both legs.
    BeforeTheFinalReply,
}

/// What the backend says in the end, if it can.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Final {
    Good,
    Negative(&'static str, u16),
    Goodbye,
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    upload: bool,
    breaks: Option<(Who, Leg, How)>,
    when: When,
    last: Final,
    back: Protection,
    truncated: TruncatedUploads,
}

/// How a leg's data connection was closed: the first step that ends it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Closed {
    Whole,
    Cut,
    /// Nothing was moved: put away, the client with FIN.
    Away,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    /// Final replies, in order.
    heard: Vec<u16>,
    result: TransferResult,
    front: Closed,
    back: Closed,
}

impl Row {
    fn data(&self, who: Who, when: When) -> Option<How> {
        match self.breaks {
            Some((by, Leg::Data, how)) if by == who && when == self.when => Some(how),
            _ => None,
        }
    }

    fn control(&self, who: Who) -> Option<How> {
        match self.breaks {
            Some((by, Leg::Control, how)) if by == who => Some(how),
            _ => None,
        }
    }

    /// The break, where it is in the way of bytes: a backend's early end under clear FTP shows when the relay begins.
    fn in_the_way(&self) -> Option<(Who, How)> {
        let early = self.data(Who::Backend, When::Before150).map(|how| (Who::Backend, how));
        let during = [Who::Client, Who::Backend].into_iter().find_map(|who| Some((who, self.data(who, When::During)?)));
        early.or(during)
    }

    fn last(&self) -> Final {
        if self.control(Who::Backend) == Some(How::Stall) { Final::Nothing } else { self.last }
    }
}

/// What the client is told at once, with both legs cut; what the backend says afterwards is swallowed, unless it leaves.
fn told(code: u16, result: TransferResult, last: Final) -> Outcome {
    let heard = match last {
        Final::Good | Final::Negative(..) => vec![code],
        Final::Goodbye | Final::Nothing => vec![code, 421],
    };
    Outcome { heard, result, front: Closed::Cut, back: Closed::Cut }
}

/// Both legs' data is whole; the backend has the word. `closed`: the client's data connection is closed already.
fn confirmed(row: &Row, closed: bool) -> Outcome {
    let (code, result) = match row.last() {
        Final::Good => (226, TransferResult::Completed),
        Final::Negative(_, code) => (code, TransferResult::BackendRefused),
        Final::Goodbye => (421, TransferResult::BackendGone),
        Final::Nothing => (421, TransferResult::BackendSilent),
    };
    // A download's bytes are not whole before somebody has said so; nothing after three seconds counts as yes.
    let whole = row.upload || closed || matches!(row.last(), Final::Good | Final::Nothing);
    let front = if whole { Closed::Whole } else { Closed::Cut };
    Outcome { heard: vec![code], result, front, back: Closed::Whole }
}

/// The backend's data connection broke: its own no counts, its yes does not.
fn cut_by_the_backend(row: &Row) -> Outcome {
    let (code, result) = match row.last() {
        Final::Good => (426, TransferResult::BackendCut),
        Final::Negative(_, code) => (code, TransferResult::BackendRefused),
        Final::Goodbye => (421, TransferResult::BackendGone),
        Final::Nothing => (421, TransferResult::BackendSilent),
    };
    Outcome { heard: vec![code], result, front: Closed::Cut, back: Closed::Cut }
}

fn expected(row: &Row) -> Outcome {
    let begun = row.when != When::Before150;
    let over = matches!(row.when, When::AfterTheLastByte | When::BeforeTheFinalReply);
    let closed = row.when == When::BeforeTheFinalReply;
    if let Some(how) = row.control(Who::Backend) {
        let result = if how == How::Stall { TransferResult::BackendSilent } else { TransferResult::BackendGone };
        if over && how == How::Stall {
            return confirmed(row, closed);
        }
        let back = if over { Closed::Whole } else { Closed::Cut };
        let front = match row.when {
            When::Before150 => Closed::Away,
            When::During if how == How::Stall => return confirmed(row, closed),
            When::During => Closed::Cut,
            When::AfterTheLastByte if !row.upload => Closed::Cut,
            When::AfterTheLastByte | When::BeforeTheFinalReply => Closed::Whole,
        };
        return Outcome { heard: vec![421], result, front, back };
    }
    if row.control(Who::Client).is_some() {
        // A whole upload is left to be confirmed, for the backend's sake.
        if row.upload && over {
            return confirmed(row, closed);
        }
        let front = match row.when {
            When::Before150 => Closed::Away,
            When::During | When::AfterTheLastByte => Closed::Cut,
            When::BeforeTheFinalReply => Closed::Whole,
        };
        let back = if over { Closed::Whole } else { Closed::Cut };
        return Outcome { heard: vec![], result: TransferResult::ClientGone, front, back };
    }
    match row.data(Who::Client, row.when) {
        None => {}
        Some(_) if !begun => return told(522, TransferResult::ClientTlsFailed, row.last),
        Some(how) if !over => match (row.upload, how) {
            (true, How::Fin) => return confirmed(row, false),
            (true, How::NoCloseNotify) if row.truncated == TruncatedUploads::Tolerate => return confirmed(row, false),
            (true, How::NoCloseNotify) => return told(426, TransferResult::ClientTruncated, row.last),
            (_, How::Stall) => return told(426, TransferResult::ClientStalled, row.last),
            (true, How::Reset) | (false, How::Fin | How::Reset | How::NoCloseNotify) => {
                return told(426, TransferResult::ClientCut, row.last);
            }
        },
        // Of a download that is through, a client that resets or takes nothing has not got the last of it. The backend
        // may have refused or left before that shows.
        Some(How::Reset | How::Stall) if !row.upload && !closed => {
            let told = told(426, TransferResult::ClientCut, row.last);
            return match row.last {
                Final::Good | Final::Nothing => Outcome { front: Closed::Whole, back: Closed::Whole, ..told },
                Final::Negative(..) | Final::Goodbye => confirmed(row, false),
            };
        }
        Some(_) => {}
    }
    match row.data(Who::Backend, row.when) {
        None => {}
        Some(_) if !begun && row.back == Protection::Private => {
            return told(425, TransferResult::BackendDataFailed, row.last);
        }
        Some(how) if !over => match (row.upload, how) {
            (_, How::Stall) => return told(426, TransferResult::BackendStalled, row.last),
            (true, _) | (false, How::Reset) => return cut_by_the_backend(row),
            // A proper end in the middle: nobody but the backend's reply can tell.
            (false, How::Fin) => return confirmed(row, false),
            (false, How::NoCloseNotify) => {
                // Under TLS silence is no yes.
                let silent = row.back == Protection::Private && row.last == Final::Nothing;
                let front = confirmed(row, false).front;
                return Outcome { front: if silent { Closed::Cut } else { front }, ..confirmed(row, false) };
            }
        },
        Some(How::Reset | How::Stall) if row.upload && !closed => {
            return Outcome { front: Closed::Whole, back: Closed::Whole, ..cut_by_the_backend(row) };
        }
        Some(_) => {}
    }
    confirmed(row, closed)
}

/// Plays a row: what sockets, timers and peers would tell the dialogue, in their order.
struct World<'a> {
    row: &'a Row,
    stage: Stage,
    steps: Vec<Step>,
    /// Steps that the world has answered.
    answered: usize,
}

impl World<'_> {
    fn input(&mut self, input: Input) {
        self.steps.extend(self.stage.input(input));
    }

    fn reply(&mut self, lines: &str) {
        self.steps.extend(self.stage.backend(lines));
    }

    fn control_breaks(&mut self) {
        let reason = |how| match how {
            How::Fin | How::NoCloseNotify => Reason::ClientClosed,
            How::Reset => Reason::ClientReset,
            How::Stall => Reason::ClientStalled,
        };
        match (self.row.control(Who::Client), self.row.control(Who::Backend)) {
            (Some(how), _) => self.input(Input::ClientGone(reason(how))),
            (_, Some(How::Fin | How::NoCloseNotify)) => self.input(Input::BackGone(BackendFailure::Closed)),
            (_, Some(How::Reset)) => self.input(Input::BackGone(BackendFailure::Reset)),
            // It shows in what does not come.
            (_, Some(How::Stall)) | (None, None) => {}
        }
    }

    /// The relay runs to its end.
    fn pumped(&self) -> PumpEnd {
        let source = if self.row.upload { Who::Client } else { Who::Backend };
        let clear = self.row.back == Protection::Clear;
        match self.row.in_the_way() {
            None => PumpEnd::SourceEnded { clean: true },
            Some((who, How::Stall)) if who == source => PumpEnd::SourceStalled,
            Some((_, How::Stall)) => PumpEnd::SinkStalled,
            Some((who, _)) if who != source => PumpEnd::SinkBroke,
            Some((_, How::Reset)) => PumpEnd::SourceBroke,
            Some((_, How::NoCloseNotify)) if self.row.upload || !clear => PumpEnd::SourceEnded { clean: false },
            Some((_, How::Fin | How::NoCloseNotify)) => PumpEnd::SourceEnded { clean: true },
        }
    }

    /// Answers each step that wants an answer. Closing waits for `closing`.
    fn answer(&mut self, closing: bool) {
        while let Some(step) = self.steps.get(self.answered).cloned() {
            let gone = |who| matches!(self.row.data(who, When::AfterTheLastByte), Some(How::Reset | How::Stall));
            match step {
                Step::SecureBack if self.row.data(Who::Backend, When::Before150).is_some() => {
                    self.input(Input::Back(BackNews::Failed(DataOutcome::TlsFailed)));
                }
                Step::SecureBack => self.input(Input::Back(BackNews::Secured)),
                Step::CloseFront(Close::Whole) if !closing => return,
                Step::CloseFront(Close::Whole) => {
                    self.input(Input::Front(FrontNews::Closed { whole: !gone(Who::Client) }));
                }
                Step::CloseBack(Close::Whole) => {
                    self.input(Input::Back(BackNews::Closed { whole: !gone(Who::Backend) }));
                }
                Step::Pump(_) => {
                    if self.row.when == When::During {
                        self.control_breaks();
                    }
                    self.input(Input::Pumped(self.pumped()));
                    if self.stage.dialogue.timer() == Some(Timer::Grace) {
                        self.input(Input::Expired(Timer::Grace));
                    }
                }
                _ => {}
            }
            self.answered += 1;
        }
    }

    fn play(mut self) -> Outcome {
        let row = self.row;
        let stalled = row.control(Who::Backend) == Some(How::Stall);
        if row.when == When::Before150 {
            self.control_breaks();
            match row.data(Who::Client, When::Before150) {
                Some(How::Stall) => {}
                Some(_) => self.input(Input::Front(FrontNews::TlsFailed(HandshakeResult::Closed))),
                None => self.input(Input::Front(FrontNews::Secured(Resumption::Resumed))),
            }
        } else {
            self.input(Input::Front(FrontNews::Secured(Resumption::Resumed)));
        }
        if !(stalled && row.when == When::Before150) {
            self.reply("150 Here it comes\r\n");
        }
        self.answer(false);
        if self.stage.dialogue.timer() == Some(Timer::DataConnect) {
            self.input(Input::Expired(Timer::DataConnect));
        }
        if row.when == When::AfterTheLastByte {
            self.control_breaks();
        }
        if row.when == When::BeforeTheFinalReply {
            if self.stage.dialogue.timer() == Some(Timer::FinalReply) {
                self.input(Input::Expired(Timer::FinalReply));
            }
            self.answer(true);
            self.control_breaks();
        }
        match row.last() {
            Final::Good => self.reply("226 Done\r\n"),
            Final::Negative(line, _) => self.reply(line),
            Final::Goodbye => self.reply("421 Leaving\r\n"),
            Final::Nothing => {}
        }
        self.answer(true);
        while let Some(timer) = self.stage.dialogue.timer().filter(|&timer| timer != Timer::Idle) {
            self.input(Input::Expired(timer));
            self.answer(true);
        }
        let first = |whole: &Step, cut: &Step| {
            let closed = |step: &Step| match step {
                step if step == whole => Some(Closed::Whole),
                step if step == cut => Some(Closed::Cut),
                step => (*step == Step::DropData).then_some(Closed::Away),
            };
            self.steps.iter().find_map(closed).unwrap()
        };
        Outcome {
            heard: heard(&self.steps).into_iter().filter(|code| *code >= 200).collect(),
            result: result(&self.steps).unwrap(),
            front: first(&Step::CloseFront(Close::Whole), &Step::CloseFront(Close::Cut)),
            back: first(&Step::CloseBack(Close::Whole), &Step::CloseBack(Close::Cut)),
        }
    }
}

fn played(row: &Row) -> Outcome {
    let policy = ProtectionPolicy { truncated_uploads: row.truncated, ..POLICY };
    let premises = Premises { policy, back: row.back, ..premises() };
    let mut stage = Stage::with(premises, ProtectionState::implicit()).arranged();
    stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
    stage.client(if row.upload { "STOR a" } else { "RETR a" });
    stage.input(Input::Back(BackNews::Opened));
    World { row, stage, steps: Vec::new(), answered: 0 }.play()
}

fn rows() -> Vec<Row> {
    use How::{Fin, NoCloseNotify, Reset, Stall};
    let mut breaks = vec![None];
    for who in [Who::Client, Who::Backend] {
        for leg in [Leg::Data, Leg::Control] {
            breaks.extend([Fin, Reset, Stall, NoCloseNotify].map(|how| Some((who, leg, how))));
        }
    }
    let lasts = [Final::Good, Final::Negative("451 Disk broke\r\n", 451), Final::Negative("552 Full\r\n", 552)];
    let mut rows = Vec::new();
    for upload in [false, true] {
        for &breaks in &breaks {
            for when in [When::Before150, When::During, When::AfterTheLastByte, When::BeforeTheFinalReply] {
                for last in lasts.into_iter().chain([Final::Goodbye, Final::Nothing]) {
                    for back in [Protection::Clear, Protection::Private] {
                        for truncated in [TruncatedUploads::Tolerate, TruncatedUploads::Reject] {
                            rows.push(Row { upload, breaks, when, last, back, truncated });
                        }
                    }
                }
            }
        }
    }
    rows
}

#[test]
fn whoever_breaks_whenever_on_whichever_leg_the_final_reply_tells_the_truth() {
    let rows = rows();
    assert_eq!(rows.len(), 2 * 17 * 4 * 5 * 2 * 2);
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let (expected, played) = (expected(row), played(row));
            (expected != played).then(|| format!("{row:?}\n  expected {expected:?}\n  played   {played:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
