//! The bytes of one control connection: reads what comes, writes what is queued, both at once.
//!
//! Invariants: reading can be cancelled at any await without losing a byte; a peer that does not take what is queued
//! for longer than [`WRITE_STALL`] breaks the wire; nothing is written behind `close_notify`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::stream::{Stream, WhyClosed};
use crate::net::Progress;

/// How long a peer may take nothing of what is queued.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// How often it is tried again within that time, see [`Progress`].
const TRIES: u32 = 8;
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
    stall: Option<Box<Stall>>,
}

/// A peer that takes nothing at the moment.
#[derive(Debug)]
struct Stall {
    next: Pin<Box<Sleep>>,
    sent: Progress,
    seen: u64,
    moved: Instant,
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
                Poll::Pending => ready!(self.poll_stall(cx))?,
            }
        }
        while self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => ready!(self.poll_stall(cx))?,
            }
        }
        self.stall = None;
        // The queue's memory goes back: most of a session's life nothing is queued.
        self.outbox = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Ready when it is to be tried again.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stall = self.stall.get_or_insert_with(|| Box::new(Stall::new(self.stream.socket().sent())));
        ready!(stall.next.as_mut().poll(cx));
        Poll::Ready(stall.try_again())
    }
}

impl Stall {
    fn new(sent: Progress) -> Self {
        Self { next: Box::pin(sleep(WRITE_STALL / TRIES)), seen: sent.moves(), moved: Instant::now(), sent }
    }

    /// A part of the time is over.
    fn try_again(&mut self) -> io::Result<()> {
        let (now, moves) = (Instant::now(), self.sent.moves());
        if moves != self.seen {
            (self.seen, self.moved) = (moves, now);
        }
        if now - self.moved >= WRITE_STALL {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.next.as_mut().reset(now + WRITE_STALL / TRIES);
        self.sent.insist();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::{Socket, read_slowly};

    /// More than any system between them holds.
    const REPLIES: usize = 16 * 1024 * 1024;

    async fn full() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = Wire::new(Stream::Plain(Socket::control(listener.accept().await.unwrap().0)));
        wire.queue(&vec![b'x'; REPLIES]);
        (wire, peer)
    }

    /// The system says only once in megabytes that there is room, which takes this one minutes.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_has_all_of_it_in_the_end() {
        let (mut wire, mut peer) = full().await;
        let flushes = async { wire.flush().await.unwrap() };
        tokio::join!(flushes, read_slowly(&mut peer, REPLIES, WRITE_STALL / 12));
    }

    /// And what it says itself is nothing that it has taken.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_only_talks_is_stalled() {
        let (mut wire, mut peer) = full().await;
        let began = Instant::now();
        let stalled = async {
            loop {
                if let Err(why) = wire.turn(true, &mut |_| false).await {
                    break why;
                }
            }
        };
        let talks = async {
            loop {
                sleep(WRITE_STALL / 4).await;
                peer.write_all(b"NOOP\r\n").await.unwrap();
            }
        };
        let why = tokio::select! {
            why = stalled => why,
            () = talks => unreachable!(),
        };
        assert!(matches!(why, WhyClosed::Broken(error) if error.kind() == io::ErrorKind::TimedOut));
        assert!(began.elapsed() >= WRITE_STALL && began.elapsed() < 2 * WRITE_STALL, "{:?}", began.elapsed());
    }
}
