//! NAT boxes forget connections on which nothing is said, and during a long transfer nothing is said on the control
//! connections: the gateway's keepalive speaks there, on both legs.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::actor::{Manner, serve};
use crate::gateway::Gateway;
use crate::nat::{PUBLIC, Site, advertise};
use crate::talk::{Session, trust};

/// RFC 5382 §5 allows a NAT to forget after 2 h 4 min and no sooner; boxes are known that forget after four or five
/// minutes. This is well below all of them.
const LONGEST_SILENCE: u64 = 60;
/// Between two looks at the routers, and between two bits of data.
const PAUSE: Duration = Duration::from_millis(500);

/// The connections of a namespace: local port, peer, and after how many seconds of silence keepalive speaks.
fn connections(listed: &str) -> Vec<(String, String, Option<u64>)> {
    let connection = |line: &str| {
        // A socket of both families shows IPv4 addresses as [::ffff:192.0.2.1]:21.
        let line = line.replace("[::ffff:", "").replace(']', "");
        let words: Vec<_> = line.split_whitespace().collect();
        let timer = line.split("timer:(keepalive,").nth(1).and_then(|rest| rest.split(',').next()).map(seconds);
        (words[2].to_owned(), words[3].to_owned(), timer)
    };
    listed.lines().map(connection).collect()
}

/// As `ss` writes times: `59sec`, `1min`, `1min2sec`, `640ms`.
fn seconds(text: &str) -> u64 {
    let (minutes, rest) = text.split_once("min").unwrap_or(("0", text));
    let rest = rest.strip_suffix("sec").unwrap_or("0");
    minutes.parse::<u64>().unwrap() * 60 + rest.split('.').next().unwrap().parse().unwrap_or(0)
}

/// With a client behind NAT, a backend behind NAT, and a transfer that runs.
#[test]
fn both_control_connections_are_kept_alive_during_a_transfer() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    serve(&site.vault, "172.16.0.11", Manner::default());
    let gateway = Gateway::start(&site.gateway, site.folder.path(), "servers: [\"10.10.0.1:2121\"]", &advertise());
    let tls = trust(&gateway.authority);
    let (told, may_end) = channel::<()>();
    let client = site.home.thread(move || {
        let mut session = Session::open(format!("{PUBLIC}:21"), &tls, None);
        session.logs_in("bob", "sesame");
        let mut data = session.begins("STOR it");
        data.sends(b"half of it");
        let _ = may_end.recv();
        data.finishes();
        session.hears()
    });
    gateway.until("bytes flow", || gateway.count("transfer_bytes_total", &[]) > 0);
    let listed = || connections(&site.gateway.sh("ss -tnHo state established"));
    let armed = |found: &[(String, String, Option<u64>)], peer: &str, local: &str| {
        let mut all = found.iter().filter(|(own, its, _)| own.ends_with(local) && its.contains(peer));
        all.any(|(_, _, timer)| timer.is_some_and(|timer| timer <= LONGEST_SILENCE))
    };
    // While bytes are not acknowledged yet, another timer is shown.
    gateway.until("the client's connection is kept alive", || armed(&listed(), "198.51.100.5:", ":21"));
    gateway.until("the backend's connection is kept alive", || armed(&listed(), "10.10.0.1:2121", ""));
    drop(told);
    assert!(client.join().unwrap().starts_with("226 "));
    gateway.is_empty();
}

/// What the keepalive is for: here it comes too late. The client cannot be told any more, but its file is stored, and
/// nothing of the session is left over.
#[test]
fn a_nat_that_has_forgotten_the_control_connection_ends_the_session() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    site.router.sh("echo 2 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established");
    let manner = Manner::default();
    serve(&site.vault, "172.16.0.11", manner.clone());
    let gateway = Gateway::start(&site.gateway, site.folder.path(), "servers: [\"10.10.0.1:2121\"]", &advertise());
    let tls = trust(&gateway.authority);
    let (told, may_end) = channel::<()>();
    site.home.thread(move || {
        let mut session = Session::open(format!("{PUBLIC}:21"), &tls, None);
        session.logs_in("bob", "sesame");
        let mut data = session.begins("STOR it");
        while may_end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            data.sends(b"a bit");
        }
        data.finishes();
        session.hears()
    });
    gateway.until("bytes flow", || gateway.count("transfer_bytes_total", &[]) > 0);
    let knows = |port: &str| site.router.sh("cat /proc/net/nf_conntrack").contains(port);
    gateway.until("the router has forgotten", || !knows("dport=21 "));
    drop(told);
    gateway.until("the session has ended", || gateway.has_said(&["session ended", "client_reset"]));
    assert_eq!(gateway.count("transfers_total", &["direction=\"upload\"", "result=\"completed\""]), 1);
    gateway.is_empty();
}

/// In real time: every NAT on the way forgets what was silent for 75 seconds, a transfer takes 160, and at its end the
/// client hears of it. A silent connection without keepalive is forgotten meanwhile.
#[test]
#[ignore = "takes three minutes: cargo nextest run --test networks --run-ignored only"]
fn a_nat_that_forgets_after_75_seconds_does_not_forget_the_control_connections() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let routers = [&site.router, &site.firewall, &site.inner];
    for router in routers {
        router.sh("echo 75 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established");
    }
    serve(&site.vault, "172.16.0.11", Manner::default());
    let gateway = Gateway::start(&site.gateway, site.folder.path(), "servers: [\"10.10.0.1:2121\"]", &advertise());
    let tls = trust(&gateway.authority);
    let known = |port: u16| {
        let of_port = format!("dport={port} ");
        routers.map(|router| {
            let table = router.sh("cat /proc/net/nf_conntrack");
            table.lines().any(|line| line.contains("ESTABLISHED") && line.contains(&of_port))
        })
    };
    // Who is on the line and says nothing.
    let door = site.firewall.inside(|| TcpListener::bind("198.51.100.1:2222").unwrap());
    let silent = site.home.inside(|| TcpStream::connect("198.51.100.1:2222").unwrap());
    let answering = door.accept().unwrap().0;
    assert!(known(2222)[0], "the router does not know the silent connection");
    let (told, may_end) = channel::<()>();
    let client = site.home.thread(move || {
        let mut session = Session::open(format!("{PUBLIC}:21"), &tls, None);
        session.logs_in("bob", "sesame");
        let mut data = session.begins("STOR it");
        // A client with little to send.
        while may_end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            data.sends(b"a bit");
        }
        data.finishes();
        session.hears()
    });
    gateway.until("bytes flow", || gateway.count("transfer_bytes_total", &[]) > 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(160) {
        assert_eq!([known(21)[0], known(21)[1], known(2121)[2]], [true; 3], "a control connection is forgotten");
        std::thread::sleep(PAUSE);
    }
    assert!(!known(2222)[0], "the router still knows the silent connection");
    drop(told);
    assert!(client.join().unwrap().starts_with("226 "));
    drop((silent, answering, door));
    gateway.is_empty();
}
