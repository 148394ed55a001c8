//! Hostile clients in front and a hostile backend behind, both driven by what the fuzzers made (`fuzz/corpus`) and random
//! changes to it. The gateway neither panics, nor hangs, nor grows, and a good client with a good backend goes on.
//!
//! `HOSTILE_SECONDS` asks for another time than ten seconds.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "hostile/chance.rs"]
mod chance;
#[path = "hostile/peers.rs"]
mod peers;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chance::Chance;
use ftps_gateway::app::Gateway;
use ftps_gateway::config;
use ftps_gateway::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long it goes on when nothing else is asked for.
const SECONDS: u64 = 10;
/// Hostile clients at once, each with an address of its own.
const LANES: u8 = 24;
/// What memory may grow by once it has its size, however long it goes on.
const GROWTH: usize = 24 << 20;
/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// All that the fuzzers keep, as the words of both.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets = ["line", "command", "reply", "endpoint", "dialogue"];
    let folders = targets.map(|target| folder.join(target));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut words: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    words.sort();
    assert!(words.len() > 20);
    words
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

async fn start(hostile: SocketAddr, good: SocketAddr, folder: &Path, metrics: &Arc<Metrics>) -> Gateway {
    let text = format!(
        "listeners:\n  - {{ address: \"127.0.0.1:0\", name: explicit }}\n  \
         - {{ address: \"127.0.0.1:0\", tls: implicit, name: implicit }}\n\
         tls: {{ control: optional, data: optional, clear_command_channel: allow }}\n\
         passive: {{ ports: 0 }}\nadmin: {{ address: none }}\nstate_dir: \"{}\"\n\
         timeouts: {{ tls_handshake: 500ms, login: 2s, idle: 1s, data_connect: 500ms, data_stall: 500ms, \
         backend_connect: 1s, backend_reply: 500ms }}\n\
         backends: {{ hostile: {{ servers: [\"{hostile}\"] }}, good: {{ servers: [\"{good}\"] }} }}\n\
         routes: [{{ user: good, backend: good }}, {{ backend: hostile }}]\n",
        folder.display(),
    );
    let settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    Gateway::start(settings, Arc::clone(metrics)).await.unwrap()
}

/// No session, no reservation, and no more tasks and files than there were.
async fn comes_to_rest(gateway: &Gateway, quiet: (usize, usize)) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let held = (Handle::current().metrics().num_alive_tasks(), fs::read_dir("/proc/self/fd").unwrap().count());
        let sessions = (gateway.sessions(), gateway.passive_ports().usage().1);
        if sessions == (0, 0) && held.0 <= quiet.0 && held.1 <= quiet.1 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{sessions:?} sessions and reservations, {held:?} tasks and files, not {quiet:?}"
        );
        sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_neither_break_nor_grow_the_gateway_nor_stop_a_good_client() {
    let seconds = std::env::var("HOSTILE_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let seed = std::env::var("HOSTILE_SEED").map_or(1, |seed| seed.parse().unwrap());
    // A session that panics ends its task and nothing else, so it must be counted.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let words: Arc<[Vec<u8>]> = corpus().into();
    let folder = tempfile::tempdir().unwrap();
    let hostile = TcpListener::bind((Ipv4Addr::new(127, 0, 3, 1), 0)).await.unwrap();
    let good = TcpListener::bind((Ipv4Addr::new(127, 0, 3, 2), 0)).await.unwrap();
    let (to_hostile, to_good) = (hostile.local_addr().unwrap(), good.local_addr().unwrap());
    let mut backends = JoinSet::new();
    backends.spawn(peers::hostile_backend(hostile, Arc::clone(&words), Chance::new(seed ^ 0xBAC0)));
    backends.spawn(peers::good_backend(good));
    let metrics = Arc::new(Metrics::new().unwrap());
    let gateway = start(to_hostile, to_good, folder.path(), &metrics).await;
    let listeners: Vec<SocketAddr> = gateway.listeners().iter().map(|(_, address)| *address).collect();
    // The gateway asks its backends at its start; the hostile one may keep it for `backend_reply`.
    sleep(Duration::from_secs(2)).await;
    let quiet = (Handle::current().metrics().num_alive_tasks(), fs::read_dir("/proc/self/fd").unwrap().count());

    let stop = Arc::new(AtomicBool::new(false));
    let played = Arc::new(AtomicUsize::new(0));
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (words, stop, played) = (Arc::clone(&words), Arc::clone(&stop), Arc::clone(&played));
        let (from, to) = (IpAddr::V4(Ipv4Addr::new(127, 0, 4, lane + 1)), listeners.clone());
        let mut chance = Chance::new(seed.wrapping_mul(1000) + u64::from(lane));
        lanes.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let playing = peers::hostile_client(from, &to, &words, &mut chance);
                assert!(timeout(DEADLINE, playing).await.is_ok(), "a hostile client is kept for ever");
                played.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let mut good = 0;
    let mut full_grown = None;
    while Instant::now() < end {
        let going_on = timeout(DEADLINE, peers::good_client(listeners[0]));
        going_on.await.expect("a good client is kept waiting").expect("a good client is not served");
        good += 1;
        if full_grown.is_none() && began.elapsed() > Duration::from_secs(seconds) / 3 {
            full_grown = Some(resident());
        }
        sleep(PAUSE).await;
    }
    let (before, after) = (full_grown.unwrap(), resident());
    stop.store(true, Ordering::Relaxed);
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    comes_to_rest(&gateway, quiet).await;
    let played = played.load(Ordering::Relaxed);
    println!("{seconds} s: {played} hostile sessions, {good} good ones, memory {before} then {after} bytes");
    assert!(played > 100 && good > 10, "{played} hostile sessions, {good} good ones show nothing");
    assert!(after.saturating_sub(before) < GROWTH, "memory has grown from {before} to {after} bytes");
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "something panicked, see above");
    backends.abort_all();
}
