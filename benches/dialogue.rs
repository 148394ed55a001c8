//! The mind of the command stage: what a download and a small command cost it, without any socket.

#![allow(clippy::unwrap_used, missing_docs)] // A bench that cannot set up its stage has nothing to measure.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ftps_gateway::backend::DataPreference;
use ftps_gateway::data::PumpEnd;
use ftps_gateway::event::Resumption;
use ftps_gateway::ftp::{Command, Reply, ReplyCutter, ReplyLine};
use ftps_gateway::policy::{
    ClearCommandChannel, DataResumption, Protection, ProtectionPolicy, ProtectionState, Requirement, Rights,
    TruncatedUploads,
};
use ftps_gateway::session::dialogue::{BackNews, Dialogue, FrontNews, Input, Premises, Step};

fn benches(criterion: &mut Criterion) {
    let noop = [Input::Command(Command::parse(b"NOOP").unwrap()), Input::Reply(line("200 ok"))];
    let download = [
        Input::Command(Command::parse(b"EPSV").unwrap()),
        Input::Reserved(Ok(Reply::new(229, "Entering Extended Passive Mode (|||50021|)"))),
        Input::Reply(line("227 Entering Passive Mode (10,0,0,1,4,1)")),
        Input::Command(Command::parse(b"RETR annual report.pdf").unwrap()),
        Input::Back(BackNews::Opened),
        Input::Reply(line("150 Opening BINARY mode data connection.")),
        Input::Front(FrontNews::Arrived { must_resume: false }),
        Input::Front(FrontNews::Secured(Resumption::Resumed)),
        Input::Pumped(PumpEnd::SourceEnded { clean: true }),
        Input::Reply(line("226 Transfer complete.")),
        Input::Front(FrontNews::Closed { whole: true }),
    ];
    // It is a download and nothing less that is measured.
    let steps = told(&mut dialogue(), &download);
    assert!(steps.iter().any(|step| matches!(step, Step::TransferEnded { code: 226, ran: true, .. })), "{steps:?}");
    let mut group = criterion.benchmark_group("dialogue");
    for (name, inputs) in [("a command and its reply", &noop[..]), ("a download", &download[..])] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (dialogue(), inputs.to_vec()),
                |(mut dialogue, inputs)| {
                    let mut steps = Vec::with_capacity(8);
                    for input in inputs {
                        dialogue.handle(input, &mut steps);
                        black_box(&steps);
                        steps.clear();
                    }
                    dialogue
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(steps, benches);
criterion_main!(steps);

fn told(dialogue: &mut Dialogue, inputs: &[Input]) -> Vec<Step> {
    let mut steps = Vec::new();
    for input in inputs {
        dialogue.handle(input.clone(), &mut steps);
    }
    steps
}

fn dialogue() -> Dialogue {
    let premises = Premises {
        policy: ProtectionPolicy {
            control: Requirement::Required,
            data: Requirement::Required,
            clear_command_channel: ClearCommandChannel::Refuse,
            truncated_uploads: TruncatedUploads::Tolerate,
            data_resumption: DataResumption::Prefer,
        },
        client: "192.0.2.7".parse().unwrap(),
        backend: "10.0.0.1".parse().unwrap(),
        preference: DataPreference::Auto,
        back: Protection::Clear,
        command_length: 500,
        rights: Rights::default(),
        active: true,
        recorded: false,
    };
    Dialogue::new(premises, ProtectionState::implicit(), true)
}

fn line(text: &str) -> ReplyLine {
    let mut cutter = ReplyCutter::new(4096);
    cutter.push(format!("{text}\r\n").as_bytes());
    cutter.next_line().unwrap().unwrap()
}
