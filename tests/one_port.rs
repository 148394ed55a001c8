//! A thousand sessions of one address through one passive port, all up- and downloading at once: each gets its own bytes.
//!
//! `ONE_PORT_SESSIONS` asks for another number.

#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "plays/stage/tls.rs"]
mod tls;
#[allow(dead_code)]
#[path = "plays/stage/wire.rs"]
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ftps_gateway::app::Gateway;
use ftps_gateway::config;
use ftps_gateway::telemetry::Metrics;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use tls::ClientTls;
use wire::{End, Wire};

/// Sessions when nothing else is asked for.
const SESSIONS: usize = 1_000;
/// Each session transfers as often, by turns in both directions.
const ROUNDS: usize = 3;
/// Sessions that log in at once: a handshake takes a processor's time.
const LOGINS: usize = 32;
/// More than a record, and more than a socket's buffer in one write.
const LENGTH: usize = 100_000;
/// Files that a session opens here, in all four roles, and some in reserve.
const FILES: u64 = 12;
/// For all of it.
const DEADLINE: Duration = Duration::from_secs(80);

/// What belongs to a session and to no other.
fn content(user: &str) -> Vec<u8> {
    let line = format!("these are the bytes of {user}\n");
    line.bytes().cycle().take(LENGTH).collect()
}

/// A backend that has one file for each user, and takes no other.
async fn serves(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        // That a client has gone shows in the client.
        sessions.spawn(async move { session(BufReader::new(tcp)).await.unwrap_or_default() });
    }
}

async fn session(mut control: BufReader<TcpStream>) -> io::Result<()> {
    control.get_mut().set_nodelay(true)?;
    control.get_mut().write_all(b"220 Ready\r\n").await?;
    let (mut user, mut door, mut line) = (String::new(), None, String::new());
    while control.read_line(&mut line).await? > 0 {
        let (verb, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let answer = match verb {
            "USER" => {
                argument.clone_into(&mut user);
                "331 Password".to_owned()
            }
            "PASS" => "230 In".to_owned(),
            "FEAT" => "500 What?".to_owned(),
            "QUIT" => return control.get_mut().write_all(b"221 Bye\r\n").await,
            "PASV" => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let [high, low] = listener.local_addr()?.port().to_be_bytes();
                door = Some(listener);
                format!("227 Entering Passive Mode (127,0,0,1,{high},{low})")
            }
            "RETR" | "STOR" => {
                let (mut data, _) = door.take().unwrap().accept().await?;
                control.get_mut().write_all(b"150 Here it comes\r\n").await?;
                let own = if verb == "RETR" {
                    data.write_all(&content(&user)).await?;
                    data.shutdown().await?;
                    true
                } else {
                    let mut stored = Vec::new();
                    data.read_to_end(&mut stored).await?;
                    stored == content(&user)
                };
                if own { "226 Done".to_owned() } else { "451 These are the bytes of somebody else".to_owned() }
            }
            _ => "200 Fine".to_owned(),
        };
        line.clear();
        control.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

struct Client {
    user: String,
    tls: ClientTls,
    control: Wire,
    heard: Vec<u8>,
}

impl Client {
    async fn logs_in(number: usize, to: SocketAddr) -> Self {
        // Each other one speaks TLS 1.2, and every fourth has no tickets.
        let tls = match number % 4 {
            0 | 2 => ClientTls::new(),
            1 => ClientTls::tls12(),
            _ => ClientTls::tls12().with_session_ids(),
        };
        let control = Wire::Plain(connect(to).await);
        let mut client = Self { user: format!("user-{number}"), tls, control, heard: Vec::new() };
        client.hears("220 ").await;
        client.asks("AUTH TLS", "234 ").await;
        client.control.connect_tls(client.tls.config(), client.tls.name()).await.unwrap();
        let user = format!("USER {}", client.user);
        for (line, reply) in [(&*user, "331 "), ("PASS sesame", "230 "), ("PBSZ 0", "200 "), ("PROT P", "200 ")] {
            client.asks(line, reply).await;
        }
        client
    }

    async fn goes_passive(&mut self) -> u16 {
        let reply = self.asks("EPSV", "229 ").await;
        reply.split('|').nth(3).unwrap().parse().unwrap()
    }

    async fn transfers(&mut self, to: SocketAddr, upload: bool) {
        let mut data = Wire::Plain(connect(to).await);
        self.asks(if upload { "STOR file" } else { "RETR file" }, "150 ").await;
        let secured = data.connect_tls(self.tls.config(), self.tls.name()).await;
        assert!(secured.is_ok(), "{}: {secured:?}", self.user);
        assert!(data.is_resumed(), "{}", self.user);
        if upload {
            data.write(&content(&self.user)).await.unwrap();
            data.finish().await.unwrap();
        } else {
            let (mut received, mut block) = (Vec::new(), vec![0; 64 * 1024]);
            let end = loop {
                match data.read(&mut block).await {
                    Ok(read) => received.extend_from_slice(&block[..read]),
                    Err(end) => break end,
                }
            };
            assert_eq!(end, End::CloseNotify, "{}", self.user);
            assert!(received == content(&self.user), "{} has got the bytes of another", self.user);
        }
        self.hears("226 ").await;
    }

    async fn asks(&mut self, line: &str, reply: &str) -> String {
        self.control.write(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.hears(reply).await
    }

    /// Nobody here says more than a line.
    async fn hears(&mut self, reply: &str) -> String {
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                assert!(line.starts_with(reply), "{} wanted {reply:?} and heard {line:?}", self.user);
                return line;
            }
            let mut block = [0; 1024];
            let read = self.control.read(&mut block).await.unwrap();
            self.heard.extend_from_slice(&block[..read]);
        }
    }
}

async fn connect(to: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(to).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// A shell may allow fewer open files than the system does.
fn allow_files(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let allowed = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        assert!(allowed.is_ok(), "{wanted} open files are needed and {current:?} allowed: ulimit -n {wanted}");
    }
}

/// The sum of a family's series.
fn total(metrics: &Metrics, family: &str, with: &str) -> u64 {
    let page = metrics.render().unwrap();
    let lines =
        page.lines().filter(|line| line.starts_with(&format!("ftps_gateway_{family}{{")) && line.contains(with));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

async fn start(server: SocketAddr, sessions: usize, folder: &std::path::Path, metrics: &Arc<Metrics>) -> Gateway {
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", tls: explicit }}]\npassive: {{ ports: 0 }}\n\
         admin: {{ address: none }}\nstate_dir: \"{}\"\nlimits: {{ sessions: {sessions}, sessions_per_address: {sessions} }}\n\
         timeouts: {{ tls_handshake: 60s, data_connect: 60s }}\nbackends: {{ old: {{ servers: [\"{server}\"] }} }}\n",
        folder.display(),
    );
    let settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    Gateway::start(settings, Arc::clone(metrics)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_of_one_address_get_their_own_bytes_through_one_port() {
    let sessions = std::env::var("ONE_PORT_SESSIONS").map_or(SESSIONS, |count| count.parse().unwrap());
    allow_files(FILES * sessions as u64 + 100);
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let robot = tokio::spawn(serves(listener));
    let metrics = Arc::new(Metrics::new().unwrap());
    let gateway = start(server, sessions, folder.path(), &metrics).await;
    let to = gateway.listeners()[0].1;
    let port = gateway.passive_ports().ports()[0];
    assert_eq!(gateway.passive_ports().ports().len(), 1);

    let began = Instant::now();
    let (doors, together) = (Arc::new(Semaphore::new(LOGINS)), Arc::new(Barrier::new(sessions)));
    let mut clients = JoinSet::new();
    for number in 0..sessions {
        let (doors, together) = (Arc::clone(&doors), Arc::clone(&together));
        clients.spawn(async move {
            let door = doors.acquire().await.unwrap();
            let mut client = Client::logs_in(number, to).await;
            drop(door);
            for round in 0..ROUNDS {
                together.wait().await;
                assert_eq!(client.goes_passive().await, port);
                // All hold a reservation on the one port, and now they come.
                together.wait().await;
                client.transfers(SocketAddr::new(to.ip(), port), (number + round) % 2 == 0).await;
            }
            client.asks("QUIT", "221 ").await;
        });
    }
    let all = async {
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    };
    assert!(timeout(DEADLINE, all).await.is_ok(), "not done within {DEADLINE:?}");
    println!("{sessions} sessions, {ROUNDS} transfers each, in {:?}", began.elapsed());

    let transfers = (sessions * ROUNDS) as u64;
    assert_eq!(total(&metrics, "transfers_total", "completed"), transfers);
    assert_eq!(total(&metrics, "data_resumptions_total", "\"resumed\""), transfers);
    assert_eq!(total(&metrics, "stray_connections_total", ""), 0);
    assert_eq!(gateway.passive_ports().usage(), (1, 0));
    robot.abort();
}
