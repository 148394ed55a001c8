//! A random world: whatever clients, backends and networks do, every command gets exactly one final reply, and the
//! dialogue comes to rest.

use std::collections::VecDeque;

use ftps_gateway::backend::DataPreference;
use ftps_gateway::data::PumpEnd;
use ftps_gateway::event::{BackendFailure, ChangeKind, DataOutcome, HandshakeResult, Reason, Resumption};
use ftps_gateway::ftp::{Command, Cut, LineCutter, Reply, ReplyCutter, ReplyFlaw, Verb};
use ftps_gateway::policy::{
    ClearCommandChannel, DataResumption, Protection, ProtectionPolicy, ProtectionState, Refusal, Requirement,
    TruncatedUploads,
};
use ftps_gateway::session::dialogue::{BackNews, Close, Dialogue, FrontNews, Input, Premises, Step, Timer};

const COMMANDS: [&str; 27] = [
    "PASV",
    "EPSV",
    "PORT 192,0,2,7,4,1",
    "EPRT |1|192.0.2.7|1025|",
    "RETR a",
    "STOR a",
    "LIST",
    "APPE a",
    "NOOP",
    "ABOR",
    "STAT",
    "STAT /",
    "FEAT",
    "CWD x",
    "PBSZ 0",
    "PROT P",
    "PROT C",
    "REST 5",
    "MODE B",
    "CPSV",
    "EPSV ALL",
    "PORT 1,2,3,4,5,6",
    "HOST x",
    "SITE HELP",
    "DELE a",
    "RNFR a",
    "RNTO b",
];

/// A dialogue in a world that does to it whatever the choices say.
struct World<'a> {
    dialogue: Dialogue,
    choices: std::slice::Iter<'a, u8>,
    /// Client and backend say what they like, and not only what is in the lists.
    hostile: bool,
    /// What the backend sent goes through here.
    cutter: ReplyCutter,
    /// Reply lines under way from the backend.
    replies: VecDeque<Vec<u8>>,
    /// News under way from the data connections.
    news: Vec<Input>,
    commands: usize,
    finals: usize,
    /// Changes that the backend has been told and nobody has been told the end of.
    changes: usize,
    over: bool,
}

impl World<'_> {
    fn choose(&mut self, of: usize) -> usize {
        self.choices.next().map_or(0, |&choice| usize::from(choice) % of)
    }

    fn pick(&mut self, inputs: &[Input]) {
        let at = self.choose(inputs.len());
        self.news.push(inputs[at].clone());
    }

    fn input(&mut self, input: Input) {
        let mut steps = Vec::new();
        self.dialogue.handle(input, &mut steps);
        loop {
            for step in steps.drain(..) {
                assert!(!self.over, "a step after the end: {step:?}");
                self.perform(step);
            }
            if !self.dialogue.has_more() {
                return;
            }
            self.dialogue.go_on(&mut steps);
            assert!(!steps.is_empty() || !self.dialogue.has_more(), "commands that wait for nothing");
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Answer(reply) => self.finals += usize::from(!reply.code().is_preliminary()),
            Step::Refuse(..) | Step::Deny(..) => self.finals += 1,
            Step::Pass(line) => self.finals += usize::from(line.last && !line.code.is_preliminary()),
            Step::Forward(cleared) => {
                self.changes += usize::from(ChangeKind::of(cleared.command()).is_some());
                self.backend_hears(cleared.command().verb());
            }
            Step::Changed { .. } => {
                assert_eq!(self.changes, 1, "a change is told of once");
                self.changes = 0;
            }
            Step::Reserve(..) => self.pick(&[
                Input::Reserved(Ok(Reply::new(227, "here"))),
                Input::Reserved(Err(Refusal::PassivePortsExhausted)),
            ]),
            Step::Listen => {
                self.pick(&[Input::Listening(Some("10.0.0.9:1025".parse().unwrap())), Input::Listening(None)])
            }
            Step::OpenBack(_) => {
                self.pick(&[Input::Back(BackNews::Opened), Input::Back(BackNews::Failed(DataOutcome::ConnectFailed))]);
                // The client comes in its own time, or nobody does that can be told.
                self.pick(&[
                    Input::Front(FrontNews::Arrived { must_resume: false }),
                    Input::Front(FrontNews::Arrived { must_resume: true }),
                    Input::Front(FrontNews::NotResumed(Resumption::NoneOffered)),
                    Input::Front(FrontNews::Untold),
                ]);
            }
            Step::SecureBack => {
                self.pick(&[Input::Back(BackNews::Secured), Input::Back(BackNews::Failed(DataOutcome::TlsFailed))]);
            }
            Step::OpenFront => self.pick(&[
                Input::Front(FrontNews::Arrived { must_resume: false }),
                Input::Front(FrontNews::Failed(DataOutcome::ConnectFailed)),
            ]),
            Step::SecureFront => self.pick(&[
                Input::Front(FrontNews::Secured(Resumption::Resumed)),
                Input::Front(FrontNews::TlsFailed(HandshakeResult::Closed)),
                Input::Front(FrontNews::NotResumed(Resumption::Expired)),
            ]),
            Step::Pump(_) => self.pick(&[
                Input::Pumped(PumpEnd::SourceEnded { clean: true }),
                Input::Pumped(PumpEnd::SourceEnded { clean: false }),
                Input::Pumped(PumpEnd::SourceBroke),
                Input::Pumped(PumpEnd::SinkBroke),
                Input::Pumped(PumpEnd::SourceStalled),
            ]),
            Step::StopPump => self.news.retain(|news| !matches!(news, Input::Pumped(_))),
            Step::CloseFront(Close::Whole) => self.pick(&[
                Input::Front(FrontNews::Closed { whole: true }),
                Input::Front(FrontNews::Closed { whole: false }),
            ]),
            Step::CloseBack(Close::Whole) => self
                .pick(&[Input::Back(BackNews::Closed { whole: true }), Input::Back(BackNews::Closed { whole: false })]),
            Step::CloseFront(Close::Cut) => self.news.retain(|news| !matches!(news, Input::Front(_))),
            Step::CloseBack(Close::Cut) => self.news.retain(|news| !matches!(news, Input::Back(_))),
            Step::DropData => {
                self.news.retain(|news| !matches!(news, Input::Front(_) | Input::Back(_) | Input::Pumped(_)));
            }
            Step::SecureControl(_) | Step::Reinitialise | Step::LoginAgain(_) | Step::End(..) => {
                assert_eq!(self.changes, 0, "a change is told of before the end");
                self.over = true
            }
            // Nobody says anything where all is well.
            Step::Reprotect(_) => {
                if self.choose(2) == 0 {
                    self.news.push(Input::Front(FrontNews::Untold));
                }
            }
            Step::Invite => {
                if self.choose(8) == 1 {
                    self.news.push(Input::Front(FrontNews::Lapsed(Refusal::PortNeedsResumption)));
                }
            }
            // What was sent ahead of it came under TLS, and goes on.
            Step::ClearControl => self.finals += 1,
            Step::Aim(..)
            | Step::AimBack(_)
            | Step::Direct(_)
            | Step::TransferStarted(_)
            | Step::TransferEnded { .. }
            | Step::Software(_)
            | Step::Features(_) => {}
        }
    }

    fn backend_hears(&mut self, verb: Verb) {
        let scripts: &[&[&str]] = match verb {
            Verb::Pasv => &[
                &["227 (10,0,0,1,4,1)\r\n"],
                &["227 what\r\n"],
                &["500 no\r\n"],
                &["227-x\r\n", "227 =1,2,3,4,5,6\r\n"],
            ],
            Verb::Epsv => &[&["229 (|||1025|)\r\n"], &["522 no\r\n"]],
            Verb::Port | Verb::Eprt => &[&["200 ok\r\n"], &["500 no\r\n"]],
            Verb::Retr | Verb::Stor | Verb::List | Verb::Appe => &[
                &["150 go\r\n", "226 done\r\n"],
                &["150 go\r\n", "426 cut\r\n"],
                &["150-go\r\n", "150 go\r\n", "125 go\r\n", "226-a\r\n", "226 b\r\n"],
                &["226 done\r\n"],
                &["550 no\r\n"],
                &["150 go\r\n"],
            ],
            Verb::Abor => &[&["226 ok\r\n"], &[], &["225 ok\r\n"]],
            Verb::Feat => &[&["211-f\r\n", " SIZE\r\n", "211 end\r\n"], &["500 no\r\n"]],
            _ => &[&["200 ok\r\n"], &["500-no\r\n", "500 no\r\n"], &["350 more\r\n"]],
        };
        if self.hostile && self.choose(3) == 0 {
            let line = self.text();
            self.replies.push_back(line);
            return;
        }
        let at = self.choose(scripts.len());
        self.replies.extend(scripts[at].iter().map(|line| line.as_bytes().to_vec()));
    }

    /// The choices up to the next line end, as text.
    fn text(&mut self) -> Vec<u8> {
        let rest = self.choices.as_slice();
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.choices = rest[end..].iter();
        let mut line = rest[..end].to_vec();
        if !line.ends_with(b"\n") {
            line.extend_from_slice(b"\r\n");
        }
        line
    }

    fn client_says(&mut self) {
        if self.hostile {
            match self.choose(8) {
                0 => {
                    let line = self.text();
                    return self.client_says_line(&line);
                }
                1 => {
                    self.commands += 1;
                    return self.input(Input::Flawed(Refusal::LineTooLong));
                }
                2 if self.choose(8) == 0 => return self.input(Input::ClientGone(Reason::ClientClosed)),
                3 if self.choose(8) == 0 => return self.input(Input::Drain),
                _ => {}
            }
        }
        let at = self.choose(COMMANDS.len());
        self.client_says_line(format!("{}\r\n", COMMANDS[at]).as_bytes());
    }

    fn client_says_line(&mut self, line: &[u8]) {
        let mut cutter = LineCutter::commands(100);
        cutter.push(line);
        while let Some(cut) = cutter.next_cut() {
            let command = match cut {
                Cut::Line(line) => Command::parse(&line).map_err(|_| Refusal::NotACommand),
                Cut::Flawed(..) => Err(Refusal::LineTooLong),
            };
            self.commands += 1;
            self.input(command.map_or_else(Input::Flawed, Input::Command));
        }
    }

    fn backend_says(&mut self, line: &[u8]) {
        self.cutter.push(line);
        loop {
            match self.cutter.next_line() {
                Ok(Some(line)) => self.input(Input::Reply(line)),
                Ok(None) => return,
                Err(ReplyFlaw::NotAReply | ReplyFlaw::TooLong) => {
                    self.cutter = ReplyCutter::new(100);
                    return self.input(Input::BackGone(BackendFailure::Nonsense));
                }
            }
        }
    }

    /// Lets one thing happen. `false`: nothing can but the idle time running out.
    fn turn(&mut self, commands: bool) -> bool {
        let timer = self.dialogue.timer();
        for attempt in 0..4 {
            match (self.choose(4) + attempt) % 4 {
                0 if commands && self.dialogue.wants_commands() => {
                    self.client_says();
                    return true;
                }
                1 if !self.replies.is_empty() => {
                    let line = self.replies.pop_front().unwrap_or_default();
                    self.backend_says(&line);
                    return true;
                }
                2 if !self.news.is_empty() => {
                    let at = self.choose(self.news.len());
                    let news = self.news.remove(at);
                    self.input(news);
                    return true;
                }
                _ => {}
            }
        }
        match timer {
            Some(timer) if timer != Timer::Idle && self.replies.is_empty() && self.news.is_empty() => {
                self.input(Input::Expired(timer));
                true
            }
            _ => false,
        }
    }
}

/// A dialogue in a world of choices: the bytes.
pub fn dialogue(bytes: &[u8]) {
    let [first, choices @ ..] = bytes else { return };
    let back = if first & 1 == 0 { Protection::Clear } else { Protection::Private };
    let policy = ProtectionPolicy {
        control: Requirement::Required,
        data: Requirement::Optional,
        clear_command_channel: ClearCommandChannel::Allow,
        truncated_uploads: if first & 2 == 0 { TruncatedUploads::Tolerate } else { TruncatedUploads::Reject },
        data_resumption: DataResumption::Prefer,
    };
    let preference = if first & 4 == 0 { DataPreference::Auto } else { DataPreference::Active };
    let (client, backend) = ([192, 0, 2, 7].into(), [10, 0, 0, 1].into());
    let premises = Premises {
        policy,
        client,
        backend,
        preference,
        back,
        command_length: 500,
        rights: ftps_gateway::policy::Rights::default(),
        active: first & 8 == 0,
        recorded: first & 32 != 0,
    };
    let hostile = first & 16 != 0;
    let mut world = World {
        dialogue: Dialogue::new(premises, ProtectionState::implicit(), true),
        choices: choices.iter(),
        hostile,
        cutter: ReplyCutter::new(100),
        replies: VecDeque::new(),
        news: Vec::new(),
        commands: 0,
        finals: 0,
        changes: 0,
        over: false,
    };
    while world.choices.len() > 0 && !world.over {
        world.turn(true);
    }
    let mut turns = 0;
    while !world.over && world.turn(false) {
        turns += 1;
        assert!(turns < 4000, "the dialogue does not come to rest: {:?}", world.dialogue);
    }
    // The last word may be a 421 that answers no command.
    if world.over {
        assert!(world.finals <= world.commands + 1, "{} for {}", world.finals, world.commands);
    } else {
        assert_eq!(world.finals, world.commands, "{:?}", world.dialogue);
    }
}
