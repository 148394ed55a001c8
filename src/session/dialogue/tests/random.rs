//! A random world: whatever clients, backends and networks do, every command gets exactly one final reply.

use proptest::prelude::*;

use super::*;

const COMMANDS: [&str; 24] = [
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
];

/// A dialogue in a world that does to it whatever the choices say.
struct World<'a> {
    stage: Stage,
    choices: std::slice::Iter<'a, u8>,
    /// Reply lines under way from the backend.
    replies: std::collections::VecDeque<&'static str>,
    /// News under way from the data connections.
    news: Vec<Input>,
    commands: usize,
    finals: usize,
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
        for step in self.stage.input(input) {
            assert!(!self.over, "a step after the end: {step:?}");
            self.perform(step);
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Answer(reply) => self.finals += usize::from(!reply.code().is_preliminary()),
            Step::Refuse(..) => self.finals += 1,
            Step::Pass(line) => self.finals += usize::from(line.last && !line.code.is_preliminary()),
            Step::Forward(cleared) => self.backend_hears(cleared.command().verb()),
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
            Step::SecureControl(_) | Step::ClearControl | Step::Reinitialise | Step::LoginAgain(_) | Step::End(..) => {
                self.over = true
            }
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
        let at = self.choose(scripts.len());
        self.replies.extend(scripts[at]);
    }

    /// Lets one thing happen. `false`: nothing can but the idle time running out.
    fn turn(&mut self, commands: bool) -> bool {
        let timer = self.stage.dialogue.timer();
        for attempt in 0..4 {
            match (self.choose(4) + attempt) % 4 {
                0 if commands && self.stage.dialogue.wants_commands() => {
                    let at = self.choose(COMMANDS.len());
                    self.commands += 1;
                    self.input(Input::Command(command(COMMANDS[at])));
                    return true;
                }
                1 if !self.replies.is_empty() => {
                    let line = self.replies.pop_front().unwrap();
                    let mut cutter = ReplyCutter::new(100);
                    // Continuations need their beginning to be read as such; the code is all that counts here.
                    cutter.push(line.as_bytes());
                    let mut line = cutter.next_line().unwrap_or(None);
                    if let Some(line) = line.take() {
                        self.input(Input::Reply(line));
                    }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_command_gets_exactly_one_final_reply(choices in proptest::collection::vec(any::<u8>(), 0..400), private in any::<bool>()) {
        let back = if private { Protection::Private } else { Protection::Clear };
        let policy = ProtectionPolicy { data: Requirement::Optional, ..POLICY };
        let stage = Stage::with(Premises { back, policy, ..premises() }, ProtectionState::implicit());
        let mut world = World {
            stage,
            choices: choices.iter(),
            replies: Default::default(),
            news: Vec::new(),
            commands: 0,
            finals: 0,
            over: false,
        };
        while world.choices.len() > 0 && !world.over {
            world.turn(true);
        }
        let mut turns = 0;
        while !world.over && world.turn(false) {
            turns += 1;
            prop_assert!(turns < 1000, "the dialogue does not come to rest: {:?}", world.stage.dialogue);
        }
        if world.over {
            // The last word may be a 421 that answers no command.
            prop_assert!(world.finals <= world.commands + 1);
        } else {
            prop_assert_eq!(world.finals, world.commands, "{:?}", world.stage.dialogue);
        }
    }
}
