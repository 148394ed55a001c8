//! Back-pressure: whoever is slow makes the other side wait, and the gateway keeps nothing for anybody.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::actor::{Manner, serve};
use crate::gateway::Gateway;
use crate::street::{BACKEND, Street, downloads, logged_in, uploads};

const MEBIBYTE: u64 = 1024 * 1024;
/// A gibibyte.
const LENGTH: u64 = 1024 * MEBIBYTE;
/// How long the slow one is slow, and how slow: 64 KiB a second.
const SLOW: Duration = Duration::from_secs(5);
const RATE: f64 = 64.0 * 1024.0;
/// By how much the gateway's memory may grow while a gibibyte goes through it, in KiB. It holds one block of
/// 1 MiB for a transfer, keeps two of those and some smaller ones for the next, and TLS holds one record or a few.
const GROWTH: u64 = 4 * 1024;
/// What all buffers of the system on the way hold at most, with the limits that are set here.
const ON_THE_WAY: u64 = 16 * MEBIBYTE;
/// Between two looks at the gateway's memory.
const PAUSE: Duration = Duration::from_millis(20);

/// Holds a reader to the rate for as long as it is slow.
struct Brake(Mutex<Option<Instant>>);

impl Brake {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn hold(&self, read: u64) {
        let start = *self.0.lock().unwrap().get_or_insert_with(Instant::now);
        // As a reader with a slow disk: this is its work, nothing is waited for.
        while start.elapsed() < SLOW && read as f64 > start.elapsed().as_secs_f64() * RATE {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it has begun and is not over.
    fn is_on(&self) -> bool {
        self.0.lock().unwrap().is_some_and(|start| start.elapsed() < SLOW)
    }
}

fn street() -> Street {
    let street = Street::build(None, None);
    // So that it is known what the systems hold.
    for space in [&street.client, &street.gateway, &street.backend] {
        space.sh(
            "echo 4096 131072 2097152 >/proc/sys/net/ipv4/tcp_rmem; echo 4096 131072 2097152 >/proc/sys/net/ipv4/tcp_wmem",
        );
    }
    street
}

/// Looks at the gateway's memory until the transfer is over. `ahead`: by how much the sender is ahead of the reader.
fn watch(gateway: &Gateway<'_>, before: u64, work: JoinHandle<()>, brake: &Brake, ahead: impl Fn() -> u64) {
    let (mut most, mut furthest, mut looks) = (before, 0, 0);
    let start = Instant::now();
    while !work.is_finished() {
        most = most.max(gateway.resident());
        if brake.is_on() {
            looks += 1;
            furthest = furthest.max(ahead());
        }
        thread::sleep(PAUSE);
    }
    work.join().unwrap();
    eprintln!(
        "a gibibyte in {:.1?}; memory before {before} KiB, at most {most} KiB; the sender was ahead by {} KiB",
        start.elapsed(),
        furthest / 1024
    );
    assert!(looks > 20, "nobody was slow");
    assert!(furthest > MEBIBYTE, "the sender did not push");
    assert!(furthest < ON_THE_WAY, "the sender was ahead by {furthest} bytes");
    assert!(most - before < GROWTH, "the gateway's memory grew from {before} to {most} KiB");
}

#[test]
fn a_slow_client_makes_the_backend_wait() {
    if crate::left_out() {
        return;
    }
    let street = street();
    let manner = Manner::default();
    let backend = serve(&street.backend, BACKEND, manner.clone());
    let gateway = Gateway::start(&street.gateway, street.folder.path(), &backend, "");
    let (tls, brake) = (Street::trust(&gateway), Arc::new(Brake::new()));
    let mut session = street.client.inside(move || {
        let mut session = logged_in(&tls, None);
        downloads(&mut session, 16 * MEBIBYTE, |_| ());
        session
    });
    let before = gateway.resident();
    let (own, received) = (Arc::clone(&brake), Arc::clone(&manner.received));
    manner.sent.store(0, Ordering::Relaxed);
    let work = street.client.thread(move || {
        downloads(&mut session, LENGTH, |read| {
            received.store(read, Ordering::Relaxed);
            own.hold(read);
        });
    });
    let ahead = || manner.sent.load(Ordering::Relaxed).saturating_sub(manner.received.load(Ordering::Relaxed));
    watch(&gateway, before, work, &brake, ahead);
    gateway.is_empty();
}

#[test]
fn a_slow_backend_makes_the_client_wait() {
    if crate::left_out() {
        return;
    }
    let street = street();
    let (brake, slow) = (Arc::new(Brake::new()), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let (own, whether) = (Arc::clone(&brake), Arc::clone(&slow));
    let pace = Arc::new(move |read| {
        if whether.load(Ordering::Relaxed) {
            own.hold(read);
        }
    });
    let manner = Manner { pace, ..Manner::default() };
    let backend = serve(&street.backend, BACKEND, manner.clone());
    let gateway = Gateway::start(&street.gateway, street.folder.path(), &backend, "");
    let tls = Street::trust(&gateway);
    let mut session = street.client.inside(move || {
        let mut session = logged_in(&tls, None);
        uploads(&mut session, 16 * MEBIBYTE, |_| ());
        session
    });
    let before = gateway.resident();
    slow.store(true, Ordering::Relaxed);
    manner.received.store(0, Ordering::Relaxed);
    let sent = Arc::clone(&manner.sent);
    let work =
        street.client.thread(move || uploads(&mut session, LENGTH, |bytes| sent.store(bytes, Ordering::Relaxed)));
    let ahead = || manner.sent.load(Ordering::Relaxed).saturating_sub(manner.received.load(Ordering::Relaxed));
    watch(&gateway, before, work, &brake, ahead);
    gateway.is_empty();
}
