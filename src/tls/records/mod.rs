//! A data connection under TLS: large reads, records opened and sealed where they stand, large writes.
//!
//! rustls' buffered connection asks the system for one record at a time and keeps the bytes in buffers of its own; its
//! unbuffered connection works on ours. A data connection is one from the first byte of its handshake on. See
//! docs/decisions.
//!
//! Invariants: records go out in the order in which they were sealed, and nothing behind `close_notify`; what a peer may
//! leave unfinished is bounded; a connection that waits for bytes holds no block.

mod connection;
mod handshake;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{CommonState, Error as RustlsError};

use super::stream::WhyClosed;
use crate::net::{Block, Blocks, HEAD, Pace, Piece, Room, Socket};
use connection::{Connection, Step};

pub(super) use connection::encode;
pub(super) use handshake::{connect, hello};

/// The longest record with its header (RFC 8446 §5.2; RFC 5246 §6.2.3 allows some more).
const RECORD: usize = 5 + 16384 + 2048;
/// What may be left of a read: a handshake message of 64 KiB in records, all but one byte of it.
const UNFINISHED: usize = 128 * 1024;

/// A data connection under TLS.
pub struct Records {
    socket: Socket,
    connection: Connection,
    /// Of what came, the part that is no whole record yet.
    rest: Vec<u8>,
    /// Text that came along with the end of the handshake.
    early: Vec<u8>,
    /// How reading ended, once it has.
    end: Option<WhyClosed>,
    /// Records of a text on their way out.
    sealed: Option<Piece>,
    /// Records that follow them: tickets, alerts.
    outgoing: Vec<u8>,
    /// They wait for the end: a client that sends and never reads would answer tickets that it has not read with a reset
    /// when it closes, and the reset can destroy the last of what it has sent. Behind the client's own end they harm
    /// nobody.
    held: bool,
    ended: bool,
}

impl Records {
    fn new(socket: Socket, connection: Connection, rest: Vec<u8>, early: Vec<u8>) -> Self {
        Self {
            socket,
            connection,
            rest,
            early,
            end: None,
            sealed: None,
            outgoing: Vec::new(),
            held: false,
            ended: false,
        }
    }

    /// What the handshake came to.
    pub(super) fn common(&self) -> &CommonState {
        self.connection.common()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The connection below. What was held back is forgotten.
    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Reads at least one byte of text.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        blocks: &Blocks,
        room: Room,
    ) -> Poll<Result<Piece, WhyClosed>> {
        // Texts stand in front of the records that they come from, by as much as one record is long; then another head.
        let heads = 1 + usize::from(room.sealed);
        let start = heads * HEAD;
        loop {
            if !self.early.is_empty() {
                let early = std::mem::take(&mut self.early);
                let mut block = blocks.take(Pace::Slow, heads, early.len());
                block.memory()[start..start + early.len()].copy_from_slice(&early);
                return Poll::Ready(block.piece(start..start + early.len()).map_err(WhyClosed::Broken));
            }
            match self.end.take() {
                None => {}
                Some(WhyClosed::Clean) => {
                    self.end = Some(WhyClosed::Clean);
                    return Poll::Ready(Err(WhyClosed::Clean));
                }
                Some(why @ (WhyClosed::Unclean | WhyClosed::Broken(_))) => return Poll::Ready(Err(why)),
            }
            ready!(self.socket.poll_readable(cx))?;
            let mut block = blocks.take(room.pace, heads, self.rest.len() + RECORD);
            let (old, end) = (start + self.rest.len(), block.end(heads));
            block.memory()[start..old].copy_from_slice(&self.rest);
            let mut fresh = ReadBuf::new(&mut block.memory()[old..end]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut fresh))?;
            let read = fresh.filled().len();
            if read == 0 {
                return Poll::Ready(Err(WhyClosed::Unclean));
            }
            let text = self.open(&mut block, start..old + read);
            // Alerts go out as they can; the next write sends what is left.
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                tracing::trace!(%error, "the peer hears no alert");
            }
            if text > 0 {
                return Poll::Ready(block.piece(start - HEAD..start - HEAD + text).map_err(WhyClosed::Broken));
            }
        }
    }

    /// Opens all whole records at `came` and says how much text stands one head in front of it now.
    fn open(&mut self, block: &mut Block, came: std::ops::Range<usize>) -> usize {
        let (mut start, mut text) = (came.start, came.start - HEAD);
        let end = loop {
            let (opened, records) = block.memory().split_at_mut(start);
            let mut keep = |bytes: &[u8]| {
                let room = opened.get_mut(text..text + bytes.len());
                room.ok_or_else(|| RustlsError::General("more text than records".into()))?.copy_from_slice(bytes);
                text += bytes.len();
                Ok(())
            };
            let records = &mut records[..came.end - start];
            let (done, step) = self.connection.step(records, &mut self.outgoing, &mut keep);
            start += done;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Open | Step::Shaking) if came.end - start <= UNFINISHED => break None,
                Ok(Step::Open | Step::Shaking) => {
                    break Some(WhyClosed::Broken(io::Error::other("more than a TLS message may be")));
                }
                Ok(Step::PeerEnded | Step::Ended) => break Some(WhyClosed::Clean),
                Err(error) => {
                    // The alert.
                    let (done, _) =
                        self.connection.step(&mut block.memory()[start..came.end], &mut self.outgoing, &mut |_| Ok(()));
                    start += done;
                    break Some(WhyClosed::Broken(broken(error)));
                }
            }
        };
        self.end = end;
        if start == came.end {
            self.rest = Vec::new();
        } else {
            self.rest.clear();
            self.rest.extend_from_slice(&block.memory()[start..came.end]);
        }
        text - (came.start - HEAD)
    }

    /// Seals a text. It must stand behind a head. It goes out with [`Self::poll_send`].
    pub(super) fn seal(&mut self, text: Piece) -> io::Result<()> {
        if self.sealed.is_some() || !self.outgoing.is_empty() {
            return Err(io::Error::other("a text before the last one was out"));
        }
        let (mut block, range) = text.into_parts();
        let sealed = self.connection.seal(&mut self.rest, block.memory(), range).map_err(broken)?;
        self.sealed = Some(block.piece(0..sealed)?);
        Ok(())
    }

    /// What was held back goes out with the next [`Self::poll_send`].
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    /// Ends this side: `close_notify`, once. It goes out with [`Self::poll_send`].
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.release();
        if !std::mem::replace(&mut self.ended, true) {
            self.connection.end(&mut self.rest, &mut self.outgoing).map_err(broken)?;
        }
        Ok(())
    }

    /// Hands to the system what is sealed.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(sealed) = &mut self.sealed {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, sealed.bytes()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            sealed.advance(sent);
            if sealed.is_empty() {
                self.sealed = None;
            }
        }
        while !self.held && !self.outgoing.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outgoing))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// FIN, behind all that was sealed.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn broken(error: RustlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
