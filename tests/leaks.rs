//! Nothing leaks: thousands of sessions of mixed luck, ended at every point of the conversation by the client, by the
//! backend or by a deadline, and then files, tasks, ports, places and memory are back where they were.
//!
//! `LEAK_SESSIONS` asks for another number of sessions than 10,000.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "leaks/backend.rs"]
mod backend;
#[path = "leaks/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "plays/stage/tls.rs"]
mod tls;
#[allow(dead_code)]
#[path = "plays/stage/wire.rs"]
mod wire;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ftps_gateway::app::Gateway;
use ftps_gateway::config;
use ftps_gateway::telemetry::Metrics;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How many sessions there are when nothing else is asked for.
const SESSIONS: usize = 10_000;
/// Sessions before memory is measured: buffers, tables and arenas have their size then.
const WARM_UP: usize = 1_500;
/// Clients at work at once, each with an address of its own.
const LANES: usize = 64;
/// The sessions behind the warm-up come in so many rounds. What leaks grows in each of them; arenas that once had more to
/// hold than before grow in some.
const ROUNDS: usize = 4;
/// What memory may grow by in the round in which it grows least, for each session.
const GROWTH: usize = 400;
/// Places of an address and of a user.
const PLACES: usize = 4;
/// Nothing that ends takes longer.
const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    files: usize,
    tasks: usize,
    sessions: usize,
    reserved: usize,
}

impl Held {
    fn now(gateway: &Gateway) -> Self {
        Self {
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            sessions: gateway.sessions(),
            reserved: gateway.passive_ports().usage().1,
        }
    }
}

/// Bytes in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The least that is held for a second: good-byes are over then.
async fn settled(gateway: &Gateway) -> Held {
    let mut least = Held::now(gateway);
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        sleep(PAUSE).await;
        let now = Held::now(gateway);
        if now.files < least.files || now.tasks < least.tasks {
            (least, since) = (now, Instant::now());
        }
    }
    least
}

/// Waits until the process holds exactly this.
async fn holds(gateway: &Gateway, wanted: Held) {
    let deadline = Instant::now() + DEADLINE;
    while Held::now(gateway) != wanted {
        if Instant::now() > deadline {
            let open =
                fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| fs::read_link(file.unwrap().path()).ok());
            let open: BTreeSet<_> = open.collect();
            panic!("{:?} is held and not {wanted:?}: {open:#?}", Held::now(gateway));
        }
        sleep(PAUSE).await;
    }
}

fn lane_address(lane: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, u8::try_from(lane + 1).unwrap()))
}

/// These sessions, each lane one after the other.
async fn run(numbers: std::ops::Range<usize>, to: SocketAddr) {
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (next, end) = (Arc::clone(&next), numbers.end);
        lanes.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return;
                }
                let playing = client::plays(number, lane_address(lane), to);
                assert!(tokio::time::timeout(DEADLINE, playing).await.is_ok(), "session {number} does not end");
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
}

async fn start(server: SocketAddr, folder: &std::path::Path, metrics: &Arc<Metrics>) -> Gateway {
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", tls: explicit, name: explicit }}]\n\
         passive: {{ ports: 0 }}\nadmin: {{ address: none }}\nstate_dir: \"{}\"\n\
         limits: {{ sessions_per_address: {PLACES}, sessions_per_user: {PLACES} }}\n\
         timeouts: {{ tls_handshake: 500ms, login: 1s, idle: 500ms, data_connect: 500ms, data_stall: 500ms, \
         backend_connect: 1s, backend_reply: 500ms }}\n\
         backends: {{ old: {{ servers: [\"{server}\"] }} }}\n",
        folder.display(),
    );
    let settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    Gateway::start(settings, Arc::clone(metrics)).await.unwrap()
}

/// The sum of a family's series.
fn total(metrics: &Metrics, family: &str, with: &str) -> f64 {
    let page = metrics.render().unwrap();
    let lines =
        page.lines().filter(|line| line.starts_with(&format!("ftps_gateway_{family}{{")) && line.contains(with));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_mixed_luck_leave_nothing_behind() {
    let sessions = std::env::var("LEAK_SESSIONS").map_or(SESSIONS, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // An address of its own: its ports in TIME_WAIT are in nobody's way.
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::new(127, 0, 2, 1), 0)).await.unwrap();
    let server = listener.local_addr().unwrap();
    let robot = tokio::spawn(backend::serves(listener));
    let metrics = Arc::new(Metrics::new().unwrap());
    let gateway = start(server, folder.path(), &metrics).await;
    let to = gateway.listeners()[0].1;
    // The gateway asks its backend what it offers; what is held when that is over is all there shall ever be.
    let quiet = loop {
        if metrics.render().unwrap().contains("ftps_gateway_backend_up{backend=\"old\"} 1") {
            break settled(&gateway).await;
        }
        sleep(PAUSE).await;
    };
    assert_eq!((quiet.sessions, quiet.reserved), (0, 0));

    let warm_up = WARM_UP.min(sessions);
    run(0..warm_up, to).await;
    holds(&gateway, quiet).await;
    let mut grown = Vec::new();
    for round in 0..ROUNDS {
        let before = resident();
        let from = |round| warm_up + (sessions - warm_up) * round / ROUNDS;
        run(from(round)..from(round + 1), to).await;
        holds(&gateway, quiet).await;
        grown.push(resident().saturating_sub(before));
    }
    println!("{sessions} sessions, memory grew in rounds by {grown:?}");
    let most = GROWTH * (sessions - warm_up) / ROUNDS;
    assert!(grown.iter().any(|grown| *grown <= most), "memory has grown in each round, by {grown:?}");

    // Every session is accounted for, and they did not all die young.
    assert!((total(&metrics, "sessions_total", "") - sessions as f64).abs() < 0.5);
    assert!(total(&metrics, "transfers_total", "completed") > sessions as f64 / 50.0);
    for active in ["sessions_active", "transfers_active"] {
        assert!(total(&metrics, active, "").abs() < 0.5, "{active}");
    }
    // All places of an address and of a user are free, and no more than there were.
    let mut guests = Vec::new();
    for _ in 0..PLACES {
        guests.push(client::logs_in(lane_address(0), to).await.unwrap());
    }
    assert!(client::logs_in(lane_address(0), to).await.is_none());
    drop(guests);
    holds(&gateway, quiet).await;
    robot.abort();
}
