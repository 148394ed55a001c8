//! Moving the bytes of a transfer from one leg to the other.
//!
//! Invariants: bytes go on in order and are handed to the system before more are taken; how the source ended is
//! reported as it was and never better; neither side may be silent for longer than `stall`. The relay ends nothing
//! itself: what an end is worth, and how the other side is closed, is the dialogue's to say.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::bandwidth::{Due, Share};
use crate::event::{Direction, Event, Observer};
use crate::net::{Blocks, FullSpeed, Pace, Room};
use crate::tls::{DataStream, WhyClosed};

/// What a backend may send on an upload's data connection before it is taken for broken. Under TLS nothing but
/// tickets and alerts comes, and those are not counted here.
const BACK_CHATTER: usize = 64 * 1024;

/// How a pump ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PumpEnd {
    /// The source ended and everything is with the sink's system. `clean`: with `close_notify`, or FIN in clear.
    SourceEnded {
        /// Ended properly.
        clean: bool,
    },
    /// The source was reset or broke TLS.
    SourceBroke,
    /// Nothing came from the source for too long.
    SourceStalled,
    /// The sink was closed, reset or broke TLS.
    SinkBroke,
    /// The sink took nothing for too long.
    SinkStalled,
}

/// Two streams and what goes between them.
pub struct Pump {
    /// The client's data connection.
    pub front: DataStream,
    /// The backend's data connection.
    pub back: DataStream,
    /// No byte for so long is a stall.
    pub stall: Duration,
    /// Memory for what is on its way.
    pub blocks: Blocks,
    /// How much may go.
    pub share: Share,
    /// Who hears of moved bytes.
    pub observer: Arc<dyn Observer>,
}

/// The streams again, and how it went.
pub struct PumpReport {
    /// The client's data connection.
    pub front: DataStream,
    /// The backend's data connection.
    pub back: DataStream,
    /// How it ended.
    pub end: PumpEnd,
}

/// Moves bytes from the backend to the client until the backend ends or something breaks. `moved` hears of each block
/// before the client has it.
///
/// Both streams are marked at once: a relay that is stopped before it has run at all is a cut too.
pub fn pump_download(pump: Pump, moved: impl FnMut(u64)) -> impl Future<Output = PumpReport> {
    // Under TLS a missing close_notify tells the client of a cut; in clear only a reset does.
    pump.front.socket().reset_on_close(!pump.front.is_private());
    // FIN and then a reset for what it still sends is EPIPE to a backend, and the signal that comes with it is the end of
    // some (inetutils-ftpd loses the whole session); a reset alone is ECONNRESET.
    pump.back.socket().reset_on_close(true);
    download(pump, moved)
}

/// Moves bytes from the client to the backend until the client ends or something breaks. The backend's side is read
/// too: its TLS tickets come there (without them the next data connection could not resume), and its early close.
///
/// The backend's stream is marked at once, as by [`pump_download`].
pub fn pump_upload(pump: Pump, moved: impl FnMut(u64)) -> impl Future<Output = PumpReport> {
    // Until it is finished properly, however this ends, the backend must not take it for a whole file.
    pump.back.socket().reset_on_close(true);
    upload(pump, moved)
}

async fn download(pump: Pump, mut moved: impl FnMut(u64)) -> PumpReport {
    let Pump { mut front, mut back, stall, blocks, share, observer } = pump;
    let (source, sink) = (back.socket().received(), front.socket().sent());
    share.begin().await;
    let mut speed = Speed::new(&share, &blocks);
    let end = loop {
        let room = Room { pace: speed.pace(), sealed: front.is_private() };
        let piece = match source.unless_stalled(stall, back.read(&blocks, room)).await {
            Some(Ok(piece)) => piece,
            Some(Err(why)) => break source_end(why),
            None => break PumpEnd::SourceStalled,
        };
        let read = piece.len();
        let due = share.book(read);
        // Before it is written: a client may take most of a block and cut, and what is told must not be less than it has.
        moved(read as u64);
        observer.observe(&Event::Moved { direction: Direction::Download, bytes: read as u64 });
        if piece.in_steps() {
            yield_now().await;
        }
        match sink.unless_stalled(stall, front.write(piece)).await {
            Some(Ok(())) => {}
            Some(Err(_)) => break PumpEnd::SinkBroke,
            None => break PumpEnd::SinkStalled,
        }
        speed.moved(read, &share);
        take_turns(due).await;
    };
    PumpReport { front, back, end }
}

async fn upload(pump: Pump, mut moved: impl FnMut(u64)) -> PumpReport {
    let Pump { mut front, mut back, stall, blocks, share, observer } = pump;
    let (source, sink) = (front.socket().received(), back.socket().sent());
    share.begin().await;
    let mut speed = Speed::new(&share, &blocks);
    let mut heard = 0;
    let mut back_ended = false;
    let end = 'relay: loop {
        let room = Room { pace: speed.pace(), sealed: back.is_private() };
        // What the backend says is no byte of the client's.
        let mut watch = source.watch(stall);
        let piece = loop {
            tokio::select! {
                piece = watch.unless_stalled(front.read(&blocks, room)) => match piece {
                    Some(Ok(piece)) => break piece,
                    Some(Err(why)) => break 'relay source_end(why),
                    None => break 'relay PumpEnd::SourceStalled,
                },
                chatter = back.read(&blocks, Room::default()), if !back_ended => {
                    match chatter {
                        Ok(chatter) => heard += chatter.len(),
                        // It may have closed its own side only; if it takes no more either, writing says so.
                        Err(WhyClosed::Clean) => back_ended = true,
                        Err(WhyClosed::Unclean | WhyClosed::Broken(_)) => break 'relay PumpEnd::SinkBroke,
                    }
                    if heard > BACK_CHATTER {
                        break 'relay PumpEnd::SinkBroke;
                    }
                }
            }
        };
        let read = piece.len();
        let due = share.book(read);
        if piece.in_steps() {
            yield_now().await;
        }
        match sink.unless_stalled(stall, back.write(piece)).await {
            Some(Ok(())) => {}
            Some(Err(_)) => break PumpEnd::SinkBroke,
            None => break PumpEnd::SinkStalled,
        }
        speed.moved(read, &share);
        moved(read as u64);
        observer.observe(&Event::Moved { direction: Direction::Upload, bytes: read as u64 });
        take_turns(due).await;
    };
    PumpReport { front, back, end }
}

/// Lets others at the processor: a transfer at full speed always has something to do, and would go on for as long as the
/// runtime lets it. What has gone is waited for.
async fn take_turns(due: Due) {
    yield_now().await;
    due.paid().await;
}

/// Reads and forgets until the peer ends, for at most `limit`: closing with unread bytes in the system would reset the
/// connection and could destroy what the peer has not read yet.
///
/// Says whether the peer ended in time, and not with a reset.
pub async fn drain(stream: &mut DataStream, limit: Duration) -> Drained {
    let blocks = Blocks::default();
    let ended = timeout(limit, async {
        loop {
            match stream.read(&blocks, Room::default()).await {
                Ok(_) => {}
                Err(WhyClosed::Clean | WhyClosed::Unclean) => return Drained::Ended,
                Err(WhyClosed::Broken(_)) => return Drained::Broken,
            }
        }
    })
    .await;
    ended.unwrap_or(Drained::Open)
}

/// What draining came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// The peer ended its side.
    Ended,
    /// The peer reset the connection.
    Broken,
    /// The peer is still there.
    Open,
}

/// How fast a transfer is. A fast one gets large blocks, which make few system calls. A slow one is content with small
/// ones, of which a thousand are not much.
struct Speed {
    since: Instant,
    moved: usize,
    pace: Pace,
    blocks: Blocks,
    /// While it is at full speed.
    full: Option<FullSpeed>,
    /// Its bandwidth lets it be fast.
    may: bool,
    /// Nothing is known of it yet.
    begins: bool,
}

impl Speed {
    /// Bytes after which a transfer that begins is taken for fast. The system of a slow peer may take as many at once.
    const BEGINNING: usize = 128 * 1024;
    /// Bytes in a second that nobody's system takes at once.
    const FULL: usize = 4 * 1024 * 1024;

    fn new(share: &Share, blocks: &Blocks) -> Self {
        Self {
            since: Instant::now(),
            moved: 0,
            pace: Pace::Slow,
            blocks: blocks.clone(),
            full: None,
            may: Self::may(share),
            begins: true,
        }
    }

    fn pace(&self) -> Pace {
        if self.may { self.pace } else { Pace::Slow }
    }

    fn may(share: &Share) -> bool {
        share.slowest().is_none_or(|slowest| slowest.get() >= Self::FULL)
    }

    /// Other limits may hold by now.
    fn moved(&mut self, bytes: usize, share: &Share) {
        let now = Instant::now();
        let seconds = now.duration_since(self.since).as_secs();
        if seconds > 0 {
            let full = self.moved as u64 >= seconds.saturating_mul(Self::FULL as u64);
            self.pace = if full { Pace::Full } else { Pace::Slow };
            (self.since, self.moved, self.begins) = (now, 0, false);
            self.may = Self::may(share);
        }
        self.moved += bytes;
        if self.moved >= Self::FULL {
            self.pace = Pace::Full;
        } else if self.begins && self.moved >= Self::BEGINNING {
            self.pace = Pace::Fast;
        }
        if self.pace() != Pace::Full {
            self.full = None;
        } else if self.full.is_none() {
            self.full = Some(self.blocks.full_speed());
        }
    }
}

fn source_end(why: WhyClosed) -> PumpEnd {
    match why {
        WhyClosed::Clean => PumpEnd::SourceEnded { clean: true },
        WhyClosed::Unclean => PumpEnd::SourceEnded { clean: false },
        WhyClosed::Broken(_) => PumpEnd::SourceBroke,
    }
}

#[cfg(test)]
mod tests;
