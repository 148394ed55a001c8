//! The dialogue without sockets: scripts and tables. The random world is `fuzz/src/world.rs`.

mod ends;
mod every_end;
mod renames;
mod scripts;
mod unasked;
mod waiting;

use super::*;
use crate::backend::DataPreference;
use crate::data::PumpEnd;
use crate::event::{DataOutcome, HandshakeResult, Resumption};
use crate::ftp::{Cut, LineCutter, Reply, ReplyCutter};
use crate::policy::{
    ClearCommandChannel, DataResumption, Mechanism, Protection, ProtectionPolicy, Requirement, TransferKind,
    TruncatedUploads,
};

pub(super) const POLICY: ProtectionPolicy = ProtectionPolicy {
    control: Requirement::Required,
    data: Requirement::Required,
    clear_command_channel: ClearCommandChannel::Refuse,
    truncated_uploads: TruncatedUploads::Tolerate,
    data_resumption: DataResumption::Prefer,
};

pub(super) fn premises() -> Premises {
    Premises {
        policy: POLICY,
        client: "192.0.2.7".parse().unwrap(),
        backend: "10.0.0.1".parse().unwrap(),
        preference: DataPreference::Auto,
        back: Protection::Clear,
        command_length: 500,
        rights: crate::policy::Rights::default(),
        active: true,
        recorded: false,
    }
}

/// A dialogue and everything it has said.
pub(super) struct Stage {
    pub(super) dialogue: Dialogue,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::with(premises(), ProtectionState::implicit())
    }

    pub(super) fn with(premises: Premises, protection: ProtectionState) -> Self {
        Self { dialogue: Dialogue::new(premises, protection, protection.is_secured()) }
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Step> {
        let mut steps = Vec::new();
        self.dialogue.handle(input, &mut steps);
        while self.dialogue.has_more() {
            self.dialogue.go_on(&mut steps);
        }
        steps
    }

    pub(super) fn client(&mut self, line: &str) -> Vec<Step> {
        self.input(Input::Command(command(line)))
    }

    /// Lines of the backend; the steps of all of them.
    pub(super) fn backend(&mut self, lines: &str) -> Vec<Step> {
        let mut cutter = ReplyCutter::new(4096);
        cutter.push(lines.as_bytes());
        let mut steps = Vec::new();
        while let Some(line) = cutter.next_line().unwrap() {
            steps.extend(self.input(Input::Reply(line)));
        }
        steps
    }

    /// PASV on both legs.
    pub(super) fn arranged(mut self) -> Self {
        self.client("PASV");
        self.input(Input::Reserved(Ok(Reply::new(227, "here"))));
        self.backend("227 Entering Passive Mode (10,0,0,1,4,1)\r\n");
        self
    }

    /// A transfer whose relay is running.
    pub(super) fn running(line: &str) -> Self {
        let mut stage = Self::new().arranged();
        stage.client(line);
        stage.input(Input::Back(BackNews::Opened));
        stage.backend("150 Here it comes\r\n");
        stage.input(Input::Front(FrontNews::Arrived { must_resume: false }));
        let steps = stage.input(Input::Front(FrontNews::Secured(Resumption::Resumed)));
        assert!(matches!(steps[..], [Step::Pump(_)]), "{steps:?}");
        stage
    }
}

pub(super) fn command(line: &str) -> Command {
    let mut cutter = LineCutter::commands(4096);
    cutter.push(format!("{line}\r\n").as_bytes());
    match cutter.next_cut() {
        Some(Cut::Line(line)) => Command::parse(&line).unwrap(),
        other => panic!("no line: {other:?}"),
    }
}

/// The codes of what the client hears, in order.
pub(super) fn heard(steps: &[Step]) -> Vec<u16> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Answer(reply) => Some(reply.code().number()),
            Step::Refuse(_, refusal) => Some(refusal.reply().code().number()),
            Step::Pass(line) if line.last => Some(line.code.number()),
            _ => None,
        })
        .collect()
}

/// What the backend is sent, in order.
pub(super) fn sent(steps: &[Step]) -> Vec<String> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Forward(cleared) => Some(cleared.command().to_string()),
            _ => None,
        })
        .collect()
}

pub(super) fn result(steps: &[Step]) -> Option<TransferResult> {
    steps.iter().find_map(|step| match step {
        Step::TransferEnded { result, .. } => Some(*result),
        _ => None,
    })
}
