//! A data connection, plain or under TLS, on either leg: it moves pieces of pooled blocks.
//!
//! Invariants: reading tells a proper end (`close_notify`, or FIN on a plain connection) from a truncation and from a
//! break; [`DataStream::finish`] is the only way to a proper end; who waits for bytes holds no block.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::records::Records;
use super::stream::WhyClosed;
use crate::net::{Blocks, HEAD, Piece, Room, Socket};

/// What is read at least: the text of one record.
const SMALL: usize = 16 * 1024;

/// A data connection.
#[derive(Debug)]
pub enum DataStream {
    /// No TLS.
    Plain(Socket),
    /// Under TLS.
    Private(Box<Records>),
}

impl DataStream {
    /// Whether TLS is on it.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Private(_))
    }

    /// The connection below.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Private(records) => records.socket(),
        }
    }

    /// Reads at least one byte. Can be cancelled at any time.
    ///
    /// # Errors
    /// Why there are no more.
    pub async fn read(&mut self, blocks: &Blocks, room: Room) -> Result<Piece, WhyClosed> {
        poll_fn(|cx| match self {
            Self::Plain(socket) => poll_read(socket, cx, blocks, room),
            Self::Private(records) => records.poll_read(cx, blocks, room),
        })
        .await
    }

    /// Hands a whole piece to the system. Under TLS it must have been read with [`Room::sealed`].
    ///
    /// # Errors
    /// What the system or TLS says.
    pub async fn write(&mut self, mut piece: Piece) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                while !piece.is_empty() {
                    let written = socket.write(piece.bytes()).await?;
                    if written == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    piece.advance(written);
                }
                Ok(())
            }
            Self::Private(records) => {
                records.release();
                poll_fn(|cx| records.poll_send(cx)).await?;
                let in_steps = piece.in_steps();
                records.seal(piece)?;
                if in_steps {
                    tokio::task::yield_now().await;
                }
                poll_fn(|cx| records.poll_send(cx)).await
            }
        }
    }

    /// Ends this side properly: `close_notify` where TLS is up, then FIN. Reading goes on.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.socket().reset_on_close(false);
        let ended = match self {
            Self::Plain(socket) => socket.shutdown().await,
            Self::Private(records) => {
                records.end()?;
                poll_fn(|cx| records.poll_shutdown(cx)).await
            }
        };
        // The peer may have closed first; then there is nothing left to end.
        match ended {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Closes so that the peer sees a break: a reset.
    pub fn reset(self) {
        self.socket().reset_on_close(true);
    }

    /// Ends this side without `close_notify`: FIN under TLS, which a TLS peer sees as a truncation; a reset on a plain
    /// connection, where FIN would look like a proper end. So it ends too when nobody waits for it any more.
    pub fn truncate(self) -> impl Future<Output = ()> {
        self.socket().reset_on_close(!self.is_private());
        async move {
            // Dropped, a plain one is reset.
            let Self::Private(records) = self else { return };
            // A peer that is gone needs no FIN.
            if let Err(error) = records.into_socket().shutdown().await {
                tracing::trace!(%error, "a truncated connection was gone already");
            }
        }
    }
}

fn poll_read(socket: &mut Socket, cx: &mut Context<'_>, blocks: &Blocks, room: Room) -> Poll<Result<Piece, WhyClosed>> {
    ready!(socket.poll_readable(cx))?;
    let heads = usize::from(room.sealed);
    let mut block = blocks.take(room.pace, heads, SMALL);
    let (start, end) = (heads * HEAD, block.end(heads));
    let mut fresh = ReadBuf::new(&mut block.memory()[start..end]);
    ready!(Pin::new(socket).poll_read(cx, &mut fresh))?;
    let read = fresh.filled().len();
    if read == 0 {
        return Poll::Ready(Err(WhyClosed::Clean));
    }
    Poll::Ready(block.piece(start..start + read).map_err(WhyClosed::Broken))
}
