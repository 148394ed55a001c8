//! Text: command lines and replies cut from bytes and understood. A session does this for each line, so it is nanoseconds that
//! are to be seen here.

#![allow(clippy::unwrap_used, missing_docs)] // A bench that cannot read its own lines has nothing to measure.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ftps_gateway::ftp::{Command, Cut, LineCutter, ReplyCutter, parse_epsv_port, parse_pasv};

/// A login and a download, as a client sends it.
const COMMANDS: &[u8] =
    b"USER anna\r\nPASS secret\r\nTYPE I\r\nCWD /reports/2024\r\nEPSV\r\nRETR annual report.pdf\r\nQUIT\r\n";
/// And what a backend says to it.
const REPLIES: &[u8] =
    b"331 Please specify the password.\r\n230-Welcome\r\n230 Login successful.\r\n200 Switching to Binary mode.\r\n\
    250 Directory successfully changed.\r\n229 Entering Extended Passive Mode (|||50021|)\r\n\
    150 Opening BINARY mode data connection.\r\n226 Transfer complete.\r\n221 Goodbye.\r\n";

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parsing");
    group.throughput(Throughput::Bytes(COMMANDS.len() as u64));
    group.bench_function("commands", |bencher| {
        bencher.iter_batched_ref(
            || LineCutter::commands(4096),
            |cutter| commands(cutter, COMMANDS),
            BatchSize::SmallInput,
        );
    });
    // Anybody on the internet can send this.
    let overlong = vec![b'x'; 64 * 1024];
    group.throughput(Throughput::Bytes(overlong.len() as u64));
    group.bench_function("a line without end", |bencher| {
        bencher.iter_batched_ref(
            || LineCutter::commands(4096),
            |cutter| commands(cutter, &overlong),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Bytes(REPLIES.len() as u64));
    group.bench_function("replies", |bencher| {
        bencher.iter_batched_ref(|| ReplyCutter::new(8192), replies, BatchSize::SmallInput);
    });
    group.finish();
    let mut group = criterion.benchmark_group("endpoints");
    group.bench_function("227", |bencher| {
        bencher.iter(|| parse_pasv(black_box(b"Entering Passive Mode (10,20,0,11,195,101).")))
    });
    group.bench_function("229", |bencher| {
        bencher.iter(|| parse_epsv_port(black_box(b"Entering Extended Passive Mode (|||50021|)")))
    });
    group.finish();
}

criterion_group!(parsing, benches);
criterion_main!(parsing);

fn commands(cutter: &mut LineCutter, bytes: &[u8]) {
    cutter.push(black_box(bytes));
    while let Some(cut) = cutter.next_cut() {
        if let Cut::Line(line) = cut {
            black_box(Command::parse(&line).unwrap());
        }
    }
}

fn replies(cutter: &mut ReplyCutter) {
    cutter.push(black_box(REPLIES));
    while let Some(line) = cutter.next_line().unwrap() {
        black_box(line);
    }
}
