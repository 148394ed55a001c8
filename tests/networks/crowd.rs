//! One passive port for every client of the matrix that resumes, all at once and behind one NAT: 21, 990 and 989 are
//! open, and nothing else.
//!
//! What a session moves names that session. All log in, then all move their files up and down, then all leave: none leaves
//! before the last is done, but clients that are one process and one session for each errand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::driver::{Driver, Target, drivers};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::nat::{PUBLIC, Site};
use crate::server::Server;
use crate::talk::{Session, speaks};
use crate::way::{Can, Data, Way};

/// The ports of FTP, FTPS and FTPS's data (IANA).
const PORTS: [u16; 3] = [21, 990, 989];
/// For what one client does between two meetings. Everybody shares the processors.
const PATIENCE: Duration = Duration::from_secs(280);
/// Between two looks at the gateway.
const PAUSE: Duration = Duration::from_millis(100);

/// Clients that log in at once. Each is a process that has to be loaded first.
const LOGINS: usize = 24;
/// They resume only where nobody is in a hurry. Under TLS 1.3 GnuTLS has tickets only if they come within 60 ms and a round
/// trip when it is asked for them, and wget asks as soon as the handshake is over; a PHP whose upload took long to end
/// offers no session any more.
const HASTY: [(&str, &str); 2] = [("wget", "1.3"), ("php", "1.3")];

/// How many clients there are, and how much they do.
struct Size {
    /// Whether the hasty are there, and nobody else of the matrix, or all others.
    hasty: bool,
    /// Of each client that resumes, where `of` says nothing else.
    each: usize,
    of: &'static [(&'static str, usize)],
    /// Scripted sessions besides.
    scripted: usize,
    /// Each uploads and downloads as often.
    turns: usize,
}

/// For every run: each but FileZilla, which needs a screen, under each version of TLS under which it resumes.
const SMALL: Size = Size { hasty: false, each: 2, of: &[("filezilla", 0), ("lftp", 4)], scripted: 30, turns: 3 };

/// A thousand.
const LARGE: Size = Size {
    hasty: false,
    each: 4,
    of: &[("filezilla", 2), ("lftp", 150), ("curl-openssl", 120), ("curl-gnutls", 30)],
    scripted: 666,
    turns: 4,
};

/// Few enough for the hasty.
const FEW: Size = Size { hasty: true, each: 4, of: &[], scripted: 8, turns: 3 };

/// One client, and what only its session has.
#[derive(Clone)]
struct Member {
    name: String,
    number: usize,
    folder: PathBuf,
    turns: usize,
}

/// What everybody must know.
#[derive(Clone)]
struct Place {
    authority: PathBuf,
    user: String,
    password: String,
    /// So many log in at once.
    door: Arc<Door>,
    all_in: Arc<Meeting>,
    all_done: Arc<Meeting>,
}

/// So many are in it at once.
struct Door {
    enter: SyncSender<()>,
    leave: Mutex<Receiver<()>>,
}

/// Somebody in the door.
struct Inside<'a>(&'a Door);

/// Where so many wait for each other.
struct Meeting {
    wanted: usize,
    come: Mutex<usize>,
    changed: Condvar,
}

/// A place at a meeting. Who fails leaves it, and nobody waits for him.
struct Seat {
    meeting: Arc<Meeting>,
    taken: bool,
}

impl Door {
    fn of(places: usize) -> Arc<Self> {
        let (enter, leave) = sync_channel(places);
        Arc::new(Self { enter, leave: Mutex::new(leave) })
    }

    fn enter(&self) -> Inside<'_> {
        self.enter.send(()).unwrap();
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.leave.lock().unwrap().recv().unwrap();
    }
}

impl Meeting {
    fn of(wanted: usize) -> Arc<Self> {
        Arc::new(Self { wanted, come: Mutex::default(), changed: Condvar::new() })
    }

    fn seat(self: &Arc<Self>) -> Seat {
        Seat { meeting: Arc::clone(self), taken: false }
    }

    fn comes(&self) {
        *self.come.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}

impl Seat {
    /// Waits for all others.
    fn meets(&mut self) {
        self.taken = true;
        self.meeting.comes();
        let come = self.meeting.come.lock().unwrap();
        let met = self.meeting.changed.wait_timeout_while(come, PATIENCE, |come| *come < self.meeting.wanted).unwrap();
        assert!(!met.1.timed_out(), "only {} of {} have come", *met.0, self.meeting.wanted);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.taken {
            self.meeting.comes();
        }
    }
}

impl Member {
    /// No other session has these bytes, and few have as many.
    fn content(&self) -> Vec<u8> {
        let line = format!("these are the bytes of {}\n", self.name);
        line.bytes().cycle().take(60_000 + self.number * 7_919 % 140_000).collect()
    }

    fn back(&self) -> PathBuf {
        self.folder.join("back")
    }

    fn has_got(&self, turn: usize, bytes: &[u8]) -> Result<(), Failure> {
        let wrong = || format!("{} bytes of download {turn}, and not its own: {}", bytes.len(), beginning(bytes));
        if bytes == self.content() { Ok(()) } else { Err(Failure::wrong("get", wrong())) }
    }
}

fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned()
}

/// A client of the matrix, from login to good-bye.
fn drives(driver: &Driver, can: &Can, way: Way, member: &Member, place: &Place) -> Result<(), Failure> {
    let (mut all_in, mut all_done) = (place.all_in.seat(), place.all_done.seat());
    let address = SocketAddr::new(PUBLIC.parse().unwrap(), if way.tls == "implicit" { PORTS[1] } else { PORTS[0] });
    let target = Target::new(way, PUBLIC, address, &place.authority, (&place.user, &place.password));
    let inside = place.door.enter();
    let mut client = driver.start(&target, &member.folder.join("scratch"));
    let logs = client.logs.clone();
    let opened = client.ask(&[b"open"], PATIENCE);
    drop(inside);
    let work = || {
        opened?;
        all_in.meets();
        let (sent, back) = (member.folder.join("sent"), member.back());
        let word = |path: &Path| path.to_str().unwrap().as_bytes().to_vec();
        if can.has("many") {
            let turns = member.turns.to_string();
            client.ask(&[b"many", turns.as_bytes(), &word(&sent), member.name.as_bytes(), &word(&back)], PATIENCE)?;
        } else {
            // wget, which has no uploads: its files are there.
            for turn in 0..member.turns {
                let remote = format!("{}/{turn}", member.name);
                client.ask(&[b"get", remote.as_bytes(), &word(&back.join(turn.to_string()))], PATIENCE)?;
            }
        }
        all_done.meets();
        for turn in 0..member.turns {
            member.has_got(turn, &std::fs::read(back.join(turn.to_string())).unwrap())?;
        }
        Ok(())
    };
    let worked = work().and_then(|()| client.end());
    worked.map_err(|failure: Failure| {
        let log = logs.iter().map(|log| std::fs::read_to_string(log).unwrap_or_default()).collect::<String>();
        Failure { text: format!("{}\n{}", failure.text, &log[log.len().saturating_sub(1500)..]), ..failure }
    })
}

/// A scripted session. Each other one speaks TLS 1.2.
fn plays(member: &Member, place: &Place) -> Result<(), Failure> {
    let (mut all_in, mut all_done) = (place.all_in.seat(), place.all_done.seat());
    let version = if member.number.is_multiple_of(2) { &TLS13 } else { &TLS12 };
    let inside = place.door.enter();
    let mut session = Session::open(format!("{PUBLIC}:{}", PORTS[0]), &speaks(&place.authority, &[version]), None);
    session.logs_in(&place.user, &place.password);
    drop(inside);
    let content = member.content();
    all_in.meets();
    for turn in 0..member.turns {
        let mut data = session.begins(&format!("STOR {}/{turn}", member.name));
        data.sends(&content);
        data.finishes();
        assert!(session.hears().starts_with("226 "));
        let received = session.begins(&format!("RETR {}/{turn}", member.name)).receives();
        assert!(session.hears().starts_with("226 "));
        member.has_got(turn, &received)?;
    }
    all_done.meets();
    assert!(session.asks("QUIT").starts_with("221 "));
    Ok(())
}

/// The clients of the matrix that resume, and the ways in which they do and that lead through NAT.
fn resuming(size: &Size) -> Vec<(Driver, Can, Vec<Way>)> {
    let asked: Vec<_> =
        drivers().into_iter().map(|driver| thread::spawn(move || driver.can().map(|can| (driver, can)))).collect();
    let mut found = Vec::new();
    for asked in asked {
        let (driver, can) = asked.join().unwrap().unwrap_or_else(|trouble| panic!("{trouble}"));
        let passive = |way: &Way| !way.ipv6 && matches!(way.data, Data::Pasv | Data::Epsv);
        let wanted = |way: &Way| HASTY.contains(&(&driver.name, way.version)) == size.hasty;
        let ways = can.ways().into_iter().filter(|way| passive(way) && can.resumes(*way) && wanted(way));
        let mut ways: Vec<_> = ways.collect();
        // Whoever is there twice comes under both versions.
        ways.sort_by_key(|way| (way.data.label(), way.tls, way.version));
        if !ways.is_empty() {
            found.push((driver, can, ways));
        }
    }
    found
}

/// Everybody, as threads that are in the home's network.
fn crowd(
    size: &Size,
    site: &Site,
    server: &Server,
    place: impl Fn(usize) -> Place,
) -> Vec<(Member, JoinHandle<Result<(), Failure>>)> {
    let mut clients = Vec::new();
    for (driver, can, ways) in resuming(size) {
        let own = size.of.iter().find(|(name, _)| *name == driver.name).map_or(size.each, |(_, count)| *count);
        let ways = ways.into_iter().cycle().take(own);
        clients.extend(ways.map(|way| Some((driver.clone(), can.clone(), way))));
    }
    clients.extend((0..size.scripted).map(|_| None));
    let place = place(clients.len());
    let prepared = clients.into_iter().enumerate().map(|(number, client)| {
        let kind = client.as_ref().map_or("scripted", |(driver, ..)| &driver.name);
        let name = format!("{kind}-{number}");
        let member = Member { folder: site.folder.path().join(&name), name, number, turns: size.turns };
        std::fs::create_dir_all(member.back()).unwrap();
        server.folder(&member.name);
        if client.as_ref().is_some_and(|(_, can, _)| can.has("many")) {
            std::fs::write(member.folder.join("sent"), member.content()).unwrap();
        } else if client.is_some() {
            (0..member.turns).for_each(|turn| server.put(&format!("{}/{turn}", member.name), &member.content()));
        }
        (member, client)
    });
    let prepared: Vec<_> = prepared.collect();
    let begun = prepared.into_iter().map(|(member, client)| {
        let (own, place) = (member.clone(), place.clone());
        let thread = site.home.thread(move || match client {
            Some((driver, can, way)) => drives(&driver, &can, way, &own, &place),
            None => plays(&own, &place),
        });
        (member, thread)
    });
    begun.collect()
}

/// The most that were there at one moment, as far as it was looked.
#[derive(Default)]
struct Most {
    sessions: AtomicU64,
    transfers: AtomicU64,
}

fn shares_one_port(size: &Size) {
    let site = Site::open(&PORTS.map(|port| port.to_string()).join(", "));
    // Java asks for the name of every address that it connects to. Nobody here knows any, and that is told at once.
    site.home.sh(&format!("ip route del default; ip route add {PUBLIC} via 192.168.1.1"));
    let (server, backend) = site.server("vsftpd");
    let more = format!(
        "listeners: [{{ address: \"[::]:{}\", tls: explicit }}, {{ address: \"[::]:{}\", tls: implicit }}]\n\
         passive: {{ ports: {}, advertise: {PUBLIC} }}\n\
         limits: {{ sessions_per_address: 2000, sessions_per_user: 2000 }}\n\
         timeouts: {{ login: 5m, tls_handshake: 60s, data_connect: 60s, idle: 10m }}",
        PORTS[0], PORTS[1], PORTS[2]
    );
    let gateway = Gateway::start(&site.gateway, site.folder.path(), &backend, &more);
    let began = Instant::now();
    let place = |wanted| Place {
        authority: gateway.authority.clone(),
        user: server.user.clone(),
        password: server.password.clone(),
        door: Door::of(LOGINS),
        all_in: Meeting::of(wanted),
        all_done: Meeting::of(wanted),
    };
    let members = crowd(size, &site, &server, place);
    let (most, over) = (Most::default(), AtomicBool::new(false));
    let (failures, done) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.sessions.fetch_max(gateway.count("sessions_active", &[]), Ordering::Relaxed);
                most.transfers.fetch_max(gateway.count("transfers_active", &[]), Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        let (mut failures, mut done) = (Vec::new(), Vec::new());
        for (member, thread) in members {
            match thread.join() {
                Ok(Ok(())) => done.push(member),
                Ok(Err(failure)) => failures.push(format!("{}: {failure}", member.name)),
                Err(panic) => {
                    failures.push(format!(
                        "{}: {}",
                        member.name,
                        panic.downcast_ref::<String>().map_or("?", |text| text)
                    ));
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        (failures, done)
    });
    for member in &done {
        for turn in 0..member.turns {
            let stored = server.get(&format!("{}/{turn}", member.name));
            assert!(
                stored == member.content(),
                "upload {turn} of {} is another's: {}",
                member.name,
                beginning(&stored)
            );
        }
    }
    tell(&gateway, &done, &most, began.elapsed());
    assert!(failures.is_empty(), "{} have failed:\n{}", failures.len(), failures[..failures.len().min(8)].join("\n\n"));
    holds_to(&gateway, size, &done);
}

/// What the gateway counted is what its clients did.
fn holds_to(gateway: &Gateway<'_>, size: &Size, done: &[Member]) {
    let reading = |member: &&Member| member.name.starts_with("wget");
    let both = done.len() - done.iter().filter(reading).count();
    let (ups, downs) = ((both * size.turns) as u64, (done.len() * size.turns) as u64);
    assert_eq!(gateway.count("transfers_total", &["\"upload\"", "\"completed\""]), ups);
    assert!(gateway.count("transfers_total", &["\"download\"", "\"completed\""]) >= downs);
    assert_eq!(gateway.count("transfers_total", &[]), gateway.count("transfers_total", &["\"completed\""]));
    let resumptions = gateway.count("data_resumptions_total", &[]);
    assert_eq!(resumptions, gateway.count("data_resumptions_total", &["=\"resumed\""]));
    assert!(resumptions >= ups + downs);
    assert_eq!(gateway.count("stray_connections_total", &[]), 0);
    assert_eq!(gateway.count("commands_refused_total", &["\"port_"]), 0);
    gateway.is_empty();
}

/// For the page that says what was measured.
fn tell(gateway: &Gateway<'_>, done: &[Member], most: &Most, took: Duration) {
    let mut kinds = BTreeMap::<_, usize>::new();
    for member in done {
        *kinds.entry(member.name.rsplit_once('-').unwrap().0).or_default() += 1;
    }
    println!("{} clients in {took:?}: {kinds:?}", done.len());
    println!("at one moment: {:?} sessions, {:?} transfers", most.sessions, most.transfers);
    let sum = |metric: &str| gateway.count(metric, &[]);
    println!("sessions: {}, transfers: {}", sum("sessions_total"), sum("transfers_total"));
    println!(
        "resumed: {} of {}",
        gateway.count("data_resumptions_total", &["=\"resumed\""]),
        sum("data_resumptions_total")
    );
    let strays: Vec<_> = gateway.series("stray_connections_total").into_iter().filter(|s| !s.ends_with(" 0")).collect();
    println!("strays: {strays:?}, resident: {} KiB", gateway.resident());
}

#[test]
fn every_client_that_resumes_shares_one_port_behind_nat() {
    if crate::left_out() {
        return;
    }
    shares_one_port(&SMALL);
}

/// FileZilla is among them.
#[test]
#[ignore = "minutes, and hundreds of processes: `./tests/run --matrix`"]
fn a_thousand_share_one_port_behind_nat() {
    if crate::left_out() {
        return;
    }
    shares_one_port(&LARGE);
}

/// Where the machine has nothing else to do.
#[test]
#[ignore = "fails on a machine that is busy: `./tests/run --matrix`"]
fn the_hasty_share_one_port_behind_nat() {
    if crate::left_out() {
        return;
    }
    shares_one_port(&FEW);
}
