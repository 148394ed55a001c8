//! Hostile clients in front and hostile backends behind, in clear, in handshakes and within TLS, all driven by what the
//! fuzzers made (`fuzz/corpus`) and random changes to it. The gateway neither panics, nor hangs, nor grows, and a good
//! client with a good backend goes on.
//!
//! `HOSTILE_SECONDS` asks for another time than ten seconds.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "hostile/backend.rs"]
mod backend;
#[path = "hostile/chance.rs"]
mod chance;
#[path = "hostile/client.rs"]
mod client;
#[path = "hostile/good.rs"]
mod good;
#[path = "hostile/leg.rs"]
mod leg;
#[allow(dead_code)]
#[path = "plays/stage/tls.rs"]
mod tls;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use backend::Security;
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
/// How long a hostile peer listens before it goes on.
const MOMENT: Duration = Duration::from_millis(15);

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// All that the fuzzers keep, as the words of both.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let targets = ["line", "command", "reply", "endpoint", "dialogue", "proxy", "hello"];
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

/// The servers, and what identifies those under TLS.
struct Servers {
    hostile: [SocketAddr; 3],
    good: SocketAddr,
    fingerprint: String,
}

async fn start(servers: &Servers, folder: &Path, metrics: &Arc<Metrics>) -> Gateway {
    let Servers { hostile: [plain, explicit, implicit], good, fingerprint } = servers;
    let text = format!(
        "listeners:\n  - {{ address: \"127.0.0.1:0\", name: explicit }}\n  \
         - {{ address: \"127.0.0.1:0\", tls: implicit, name: implicit }}\n\
         tls: {{ control: optional, data: optional, clear_command_channel: allow }}\n\
         passive: {{ ports: 0 }}\nadmin: {{ address: none }}\nstate_dir: \"{}\"\n\
         timeouts: {{ tls_handshake: 3s, login: 6s, idle: 3s, data_connect: 1s, data_stall: 1s, \
         backend_connect: 3s, backend_reply: 2s }}\n\
         backends:\n  good: {{ servers: [\"{good}\"] }}\n  hostile: {{ servers: [\"{plain}\"] }}\n  \
         explicit: {{ servers: [\"{explicit}\"], tls: explicit, verify: {{ fingerprint: \"{fingerprint}\" }} }}\n  \
         implicit: {{ servers: [\"{implicit}\"], tls: implicit, verify: {{ fingerprint: \"{fingerprint}\" }} }}\n\
         routes: [{{ user: good, backend: good }}, {{ user: mallory, backend: explicit }}, \
         {{ user: trudy, backend: implicit }}, {{ backend: hostile }}]\n",
        folder.display(),
    );
    let settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    Gateway::start(settings, Arc::clone(metrics)).await.unwrap()
}

/// What the metrics say of a family, of its series that hold all of these.
fn counted(metrics: &Metrics, family: &str, with: &[&str]) -> f64 {
    let page = metrics.render().unwrap();
    let named = format!("ftps_gateway_{family}{{");
    let series = page.lines().filter(|line| line.starts_with(&named) && with.iter().all(|label| line.contains(label)));
    series.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// The gateway asks its backends at its start; hostile ones may keep it for `backend_reply`.
async fn all_are_asked(metrics: &Metrics) {
    let deadline = Instant::now() + DEADLINE;
    for backend in ["good", "hostile", "explicit", "implicit"] {
        let label = format!("backend=\"{backend}\"");
        while counted(metrics, "backend_up", &[&label]) + counted(metrics, "backend_failures_total", &[&label]) < 0.5 {
            assert!(Instant::now() < deadline, "{backend} is not asked");
            sleep(PAUSE).await;
        }
    }
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

/// What came of handshakes on one of the legs.
#[derive(Debug)]
struct Handshakes {
    #[expect(dead_code, reason = "it is shown")]
    place: (&'static str, &'static str),
    all: f64,
    good: f64,
}

impl Handshakes {
    /// Some have come to their end, and some have not.
    fn is_shown(&self) -> bool {
        self.good > 0.5 && self.all - self.good > 0.5
    }
}

fn handshakes(metrics: &Metrics) -> [Handshakes; 4] {
    [("front", "control"), ("front", "data"), ("back", "control"), ("back", "data")].map(|place| {
        let (leg, channel) = (format!("leg=\"{}\"", place.0), format!("channel=\"{}\"", place.1));
        let all = counted(metrics, "tls_handshakes_total", &[&leg, &channel]);
        let good = counted(metrics, "tls_handshakes_total", &[&leg, &channel, "result=\"ok\""]);
        Handshakes { place, all, good }
    })
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
    let identity = tls::Identity::new(folder.path(), "hostile", &["hostile.test"]);
    let config = Arc::new(identity.server());
    let mut backends = JoinSet::new();
    let mut hostile = Vec::new();
    for (number, security) in
        [Security::None, Security::Explicit(Arc::clone(&config)), Security::Implicit(config)].into_iter().enumerate()
    {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 3, 1), 0)).await.unwrap();
        hostile.push(listener.local_addr().unwrap());
        let chance = Chance::new(seed ^ 0xBAC0 ^ number as u64);
        backends.spawn(backend::hostile_backend(listener, security, Arc::clone(&words), chance));
    }
    let good = TcpListener::bind((Ipv4Addr::new(127, 0, 3, 2), 0)).await.unwrap();
    let servers = Servers {
        hostile: hostile.try_into().unwrap(),
        good: good.local_addr().unwrap(),
        fingerprint: identity.fingerprint(),
    };
    backends.spawn(good::good_backend(good));
    let metrics = Arc::new(Metrics::new().unwrap());
    let gateway = start(&servers, folder.path(), &metrics).await;
    let [explicit, implicit] = *gateway.listeners().iter().map(|(_, address)| *address).collect::<Vec<_>>() else {
        panic!("two listeners are awaited")
    };
    all_are_asked(&metrics).await;
    let quiet = (Handle::current().metrics().num_alive_tasks(), fs::read_dir("/proc/self/fd").unwrap().count());

    let stop = Arc::new(AtomicBool::new(false));
    let played = Arc::new(AtomicUsize::new(0));
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (words, stop, played) = (Arc::clone(&words), Arc::clone(&stop), Arc::clone(&played));
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 4, lane + 1));
        let mut chance = Chance::new(seed.wrapping_mul(1000) + u64::from(lane));
        lanes.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let playing = client::hostile_client(from, [explicit, implicit], &words, &mut chance);
                assert!(timeout(DEADLINE, playing).await.is_ok(), "a hostile client is kept for ever");
                played.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let mut good = 0;
    let mut full_grown = None;
    // On a busy machine it takes longer until all legs have been seen: that is no fault of the gateway's.
    let latest = end + DEADLINE;
    while Instant::now() < end || (Instant::now() < latest && handshakes(&metrics).iter().any(|leg| !leg.is_shown())) {
        let going_on = timeout(DEADLINE, good::good_client(explicit));
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
    // And that they came as far as they were meant to.
    for handshakes in handshakes(&metrics) {
        println!("{handshakes:?}");
        assert!(handshakes.is_shown(), "{handshakes:?} show nothing");
    }
    backends.abort_all();
}
