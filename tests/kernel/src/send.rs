//! What becomes of the end of a transfer: whether all that the kernel took reaches the peer when `close_notify` and FIN
//! follow, as they do in any program that does not block.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ktls_core::tls::ContentType;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{SndBuf, TcpTlsTx};

use crate::{Failure, control, key, pair, take_over};

/// TLS 1.3 with AES-GCM: a record's header, its kind and its tag.
const AROUND_A_RECORD: usize = 5 + 1 + 16;
const LONGEST_TEXT: usize = 16384;
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
/// What the peer reads before the next try.
const SIP: usize = 2048;
/// For each way and place.
const TIME: Duration = Duration::from_secs(10);

/// How a transfer is sent and ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// No TLS: as many bytes, then FIN.
    Plain,
    /// Sealed by the kernel; `close_notify` as soon as the kernel takes it.
    AtOnce,
    /// Sealed by the kernel; `close_notify` once `poll` says that there is room.
    WithRoom,
    /// Sealed by the kernel; `close_notify` in a call that blocks.
    Blocking,
}

/// Where: bytes of room at both ends, the system's own for 0.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    send_room: usize,
    receive_room: usize,
}

fn has_room(end: &TcpStream) -> Result<bool, Failure> {
    let mut ends = [PollFd::new(end.as_fd(), PollFlags::POLLOUT)];
    Ok(poll(&mut ends, 0_u8)? > 0)
}

/// A transfer that ends where the kernel takes no more for now. The peer reads on in sips. How many bytes that the kernel
/// has taken never arrive?
fn transfer(way: Way, place: Place, block: usize) -> Result<usize, Failure> {
    let (mut sender, mut reader) = pair(place.receive_room)?;
    if way != Way::Plain {
        take_over(&sender)?;
        setsockopt(&sender, TcpTlsTx, &key(0x0304))?;
    }
    if place.send_room > 0 {
        setsockopt(&sender, SndBuf, &place.send_room)?;
    }
    sender.set_nonblocking(true)?;
    let text = vec![0; block];
    let (mut taken, mut arrived) = (0, 0);
    loop {
        match sender.write(&text) {
            Ok(written) => {
                let records = if way == Way::Plain { 0 } else { written.div_ceil(LONGEST_TEXT) };
                taken += written + records * AROUND_A_RECORD;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    let mut sip = [0; SIP];
    match way {
        Way::Plain => {}
        Way::AtOnce | Way::WithRoom => {
            while (way == Way::WithRoom && !has_room(&sender)?) || !says_goodbye(&sender)? {
                arrived += reader.read(&mut sip)?;
            }
        }
        Way::Blocking => {
            sender.set_nonblocking(false)?;
            let other = sender.try_clone()?;
            let saying = thread::spawn(move || says_goodbye(&other).is_ok_and(|said| said));
            while !saying.is_finished() {
                reader.set_read_timeout(Some(Duration::from_millis(10)))?;
                match reader.read(&mut sip) {
                    Ok(read) => arrived += read,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !saying.join().map_err(|_| "it died")? {
                return Err("close_notify was refused".into());
            }
            reader.set_read_timeout(Some(crate::PATIENCE))?;
        }
    }
    if way != Way::Plain {
        taken += CLOSE_NOTIFY.len() + AROUND_A_RECORD;
    }
    sender.shutdown(Shutdown::Write)?;
    loop {
        match reader.read(&mut sip)? {
            0 => return Ok(taken - arrived),
            read => arrived += read,
        }
    }
}

/// Whether the kernel takes it now.
fn says_goodbye(end: &TcpStream) -> Result<bool, Failure> {
    match control(end, ContentType::Alert, &CLOSE_NOTIFY) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sizes of blocks without a pattern, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Whether transfers without TLS lose nothing, and those that the kernel seals do.
pub(crate) fn findings() -> Result<bool, Failure> {
    let places = [
        Place { name: "as the system has it", send_room: 0, receive_room: 0 },
        Place { name: "a small window at the peer", send_room: 0, receive_room: 4096 },
        Place { name: "small windows", send_room: 64 * 1024, receive_room: 4096 },
        Place { name: "tiny windows", send_room: 8 * 1024, receive_room: 2048 },
    ];
    let (mut plain_lost, mut sealed_lost) = (0, 0);
    for place in places {
        for way in [Way::Plain, Way::AtOnce, Way::WithRoom, Way::Blocking] {
            let (begun, mut dice) = (Instant::now(), Dice(1));
            let (mut runs, mut short, mut most) = (0, 0, 0);
            let mut failed = None;
            while begun.elapsed() < TIME {
                let block = 1 + dice.below(64 * 1024);
                match transfer(way, place, block) {
                    Ok(lost) => {
                        runs += 1;
                        short += usize::from(lost > 0);
                        most = most.max(lost);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            let failed = failed.map(|error| format!("; one failed: {error}")).unwrap_or_default();
            println!(
                "{}, {way:?}: {short} of {runs} transfers lost their end, {most} bytes at most{failed}",
                place.name
            );
            if way == Way::Plain {
                plain_lost += short;
            } else {
                sealed_lost += short;
            }
        }
    }
    Ok(plain_lost == 0 && sealed_lost > 0)
}
