//! The bytes of one control connection: reads what comes, writes what is queued, both at once.
//!
//! Invariants: reading can be cancelled at any await without losing a byte; a peer that does not take what is queued
//! for longer than [`WRITE_STALL`] breaks the wire; nothing is written behind `close_notify`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use super::stream::{Stream, WhyClosed};

/// How long a peer may leave queued bytes untaken.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long a good-bye may take: `close_notify` into a full socket.
const GOODBYE: Duration = Duration::from_secs(2);
/// What is read at once. Control connections carry lines.
const CHUNK: usize = 2048;

/// A control connection's stream and what waits to go out on it.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    outbox: BytesMut,
    unflushed: bool,
    stall: Option<Pin<Box<Sleep>>>,
}

/// What happened on a wire.
#[derive(Debug)]
pub enum WireEvent {
    /// Bytes came; they went into the sink.
    Read,
    /// Everything queued has gone out.
    Drained,
}

impl Wire {
    /// A wire on a connected stream.
    pub fn new(stream: Stream) -> Self {
        stream.socket().acknowledge_at_once(false);
        Self { stream, outbox: BytesMut::new(), unflushed: false, stall: None }
    }

    /// The stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, for a handshake or its end. What was queued is lost: flush first.
    pub fn into_stream(self) -> Stream {
        self.stream.socket().acknowledge_at_once(true);
        self.stream
    }

    /// Queues bytes; they go out while [`Self::turn`] is awaited.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Bytes queued and not yet taken by the system.
    pub fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Writes what is queued and, when `read` is set, waits for bytes, which go into `sink`. Returns when bytes came, or
    /// when the queue has become empty. With nothing queued and `read` unset it waits for ever.
    ///
    /// `sink` says whether the peer is not done yet: then what it said is acknowledged at once. Else the answer carries the
    /// acknowledgement, and a packet and a system call each way are saved.
    ///
    /// # Errors
    /// When the connection has ended or broken, or the peer takes nothing for too long.
    pub async fn turn(&mut self, read: bool, sink: &mut impl FnMut(&[u8]) -> bool) -> Result<WireEvent, WhyClosed> {
        std::future::poll_fn(|cx| self.poll_turn(cx, read, sink)).await
    }

    /// Writes everything queued.
    ///
    /// # Errors
    /// As [`Self::turn`].
    pub async fn flush(&mut self) -> Result<(), WhyClosed> {
        while !self.outbox.is_empty() || self.unflushed {
            self.turn(false, &mut |_| false).await?;
        }
        Ok(())
    }

    /// Says good-bye: what is queued, `close_notify` where TLS is up, FIN. A peer that is gone hears nothing.
    pub async fn finish(&mut self) {
        let goodbye = async {
            self.flush().await?;
            self.stream.finish().await.map_err(WhyClosed::from)
        };
        // Every stage of a session can end here; none of them needs room for it before.
        match Box::pin(timeout(GOODBYE, goodbye)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::trace!(?why, "no good-bye: the peer is gone"),
            Err(_) => tracing::trace!("no good-bye: the peer takes nothing"),
        }
    }

    fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        read: bool,
        sink: &mut impl FnMut(&[u8]) -> bool,
    ) -> Poll<Result<WireEvent, WhyClosed>> {
        let had_work = !self.outbox.is_empty() || self.unflushed;
        if let Poll::Ready(result) = self.poll_write_out(cx) {
            if let Err(error) = result {
                return Poll::Ready(Err(error.into()));
            }
            if had_work {
                return Poll::Ready(Ok(WireEvent::Drained));
            }
        }
        if !read {
            return Poll::Pending;
        }
        let mut chunk = [0; CHUNK];
        let mut buf = ReadBuf::new(&mut chunk);
        match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => Poll::Ready(Err(WhyClosed::Clean)),
            Poll::Ready(Ok(())) => {
                if sink(buf.filled()) {
                    self.stream.socket().acknowledge();
                }
                Poll::Ready(Ok(WireEvent::Read))
            }
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outbox) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.outbox.advance(written);
                    self.unflushed = true;
                    self.stall = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_stall(cx),
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_stall(cx),
            }
        }
        self.stall = None;
        // The queue's memory goes back: most of a session's life nothing is queued.
        self.outbox = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}
