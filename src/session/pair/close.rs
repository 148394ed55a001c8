//! Closing data connections: whole, cut, or sent away.

use std::time::Duration;

use tokio::time::timeout;

use super::{Back, DataPair, Front, Work};
use crate::data::{Drained, drain};
use crate::event::{DataOutcome, Leg};
use crate::session::dialogue::Close;
use crate::tls::DataStream;

/// After FIN to the client its side is read for so long, so that a reset can be told from an end before the final reply
/// goes out. Most clients close at once.
const BRIEF: Duration = Duration::from_millis(100);
/// After that it is read in the background, so that closing does not reset what the client has not read yet.
const FAREWELL: Duration = Duration::from_secs(5);
/// A handshake under way may end before its connection does: what the client is just sending would be answered with a
/// reset. A client that waits with its handshake for a 150 has FIN after this.
const HANDSHAKE: Duration = Duration::from_millis(250);
/// How long a refused transfer's client may still come to be sent away with FIN.
const LATECOMER: Duration = Duration::from_secs(1);
/// Farewells at once. A client that keeps more connections open than this gets them closed.
const FAREWELLS: usize = 8;

impl DataPair {
    pub(in crate::session) fn close_front(&mut self, close: Close) {
        if matches!(self.front, Front::Closing(_)) {
            return;
        }
        let stream = match std::mem::replace(&mut self.front, Front::Nothing) {
            Front::Ready(stream) => stream,
            Front::Open(socket, _) => DataStream::Plain(socket),
            Front::Securing(securing) => {
                self.farewell(Box::pin(async move {
                    if let Ok(Ok(secured)) = timeout(HANDSHAKE, securing).await {
                        secured.stream.truncate().await;
                    }
                }));
                return;
            }
            Front::Nothing | Front::Aimed(_) | Front::Opening(_) | Front::Closing(_) => return,
        };
        match close {
            Close::Cut => self.farewell(Box::pin(stream.truncate())),
            Close::Whole => {
                let stall = self.parties.surroundings.settings.timeouts.data_stall;
                self.front = Front::Closing(Box::pin(finish(stream, stall, BRIEF)));
            }
        }
    }

    pub(in crate::session) fn close_back(&mut self, close: Close) {
        let stream = match std::mem::replace(&mut self.back, Back::Nothing) {
            Back::Ready(stream) => stream,
            Back::Open(socket) => DataStream::Plain(socket),
            Back::Nothing
            | Back::Aimed(_)
            | Back::Listening(_)
            | Back::Opening(_)
            | Back::Securing(_)
            | Back::Closing(_) => return,
        };
        match close {
            Close::Cut => stream.reset(),
            Close::Whole => {
                let stall = self.parties.surroundings.settings.timeouts.data_stall;
                self.back = Back::Closing(Box::pin(finish(stream, stall, Duration::ZERO)));
            }
        }
    }

    /// Forgets everything. A client that is there, or comes within a moment, is sent away with FIN: a reset would be
    /// taken for the end of the whole session by some (Node's basic-ftp).
    pub(in crate::session) fn drop_all(&mut self) {
        self.reserving = None;
        self.pump = None;
        self.back = Back::Nothing;
        if matches!(self.front, Front::Closing(_)) {
            self.set_front(Front::Nothing);
        }
        let unused = !matches!(self.front, Front::Nothing);
        match std::mem::replace(&mut self.front, Front::Nothing) {
            Front::Nothing | Front::Aimed(_) | Front::Closing(_) => {}
            Front::Open(socket, _) => self.farewell(Box::pin(send_away(DataStream::Plain(socket)))),
            Front::Securing(securing) => self.farewell(Box::pin(async move {
                if let Ok(Ok(secured)) = timeout(HANDSHAKE, securing).await {
                    send_away(secured.stream).await;
                }
            })),
            Front::Ready(stream) => self.farewell(Box::pin(send_away(stream))),
            Front::Opening(opening) => {
                self.latecomer = Some(Box::pin(async move {
                    if let Ok(Ok((socket, _))) = timeout(LATECOMER, opening).await {
                        send_away(DataStream::Plain(socket)).await;
                    }
                }));
            }
        }
        if unused {
            self.report(Leg::Front, DataOutcome::Unused, "");
        }
    }

    /// A peer is given time to end its side; nobody waits for it.
    pub(super) fn farewell(&mut self, farewell: Work<()>) {
        if self.farewells.len() == FAREWELLS {
            drop(self.farewells.remove(0));
        }
        self.farewells.push(farewell);
    }
}

/// Ends a stream properly, unless the peer takes nothing for `stall`, and reads what the peer still sends, briefly. `true`:
/// the peer did not break it.
pub(super) async fn finish(mut stream: DataStream, stall: Duration, brief: Duration) -> (bool, DataStream) {
    let sent = stream.socket().sent();
    let ended = matches!(sent.unless_stalled(stall, stream.finish()).await, Some(Ok(())));
    let whole = ended && (brief.is_zero() || drain(&mut stream, brief).await != Drained::Broken);
    (whole, stream)
}

/// Reads until the peer has ended too: TLS tickets of a backend, and so that closing does not reset.
pub(super) async fn linger(mut stream: DataStream) {
    drain(&mut stream, FAREWELL).await;
}

async fn send_away(stream: DataStream) {
    let (_, stream) = finish(stream, FAREWELL, Duration::ZERO).await;
    linger(stream).await;
}
