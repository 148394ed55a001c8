//! A TCP connection that chooses how far it reads ahead, and when it acknowledges small pieces.
//!
//! Invariant: on a control connection no byte behind the current TLS record is taken from the kernel, so that after
//! `close_notify` (CCC, REIN) the plain bytes that follow are still there to be read as plain bytes.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::progress::Progress;

/// A TLS record's header: type, version, length (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
/// The first byte of a TLS record (RFC 8446 §5.1). No FTP command begins with one of them.
const RECORD_KINDS: std::ops::RangeInclusive<u8> = 20..=24;
/// Less than this is a small piece. More than this is traffic that the kernel acknowledges as it comes.
const SMALL: usize = 16 * 1024;

/// A TCP connection under a TLS session, or plain.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    /// Counts reads.
    received: Progress,
    /// Counts writes that moved something.
    sent: Progress,
    /// Small pieces are acknowledged as they are read.
    at_once: AtomicBool,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// As much as the caller asks for.
    Straight,
    /// As Telnet asks (RFC 854): urgent bytes stand in line with the others.
    Telnet,
    /// Never beyond the current TLS record.
    Record(Record),
}

#[derive(Debug, Default)]
struct Record {
    header: [u8; RECORD_HEADER],
    header_read: usize,
    body_left: usize,
}

impl Socket {
    /// A plain connection.
    pub fn new(tcp: TcpStream) -> Self {
        let (received, sent) = (Progress::default(), Progress::default());
        Self { tcp, received, sent, at_once: AtomicBool::new(true), reading: Reading::Straight }
    }

    /// A plain control connection. Old clients send `IAC IP IAC` before ABOR as urgent data (RFC 959 §4.1.3), which the
    /// kernel keeps out of the stream unless it is told otherwise: the DM behind it would stand before ABOR as a byte of
    /// its name.
    pub fn control(tcp: TcpStream) -> Self {
        Self { reading: Reading::Telnet, ..Self::new(tcp) }.urgent_in_line(true)
    }

    fn urgent_in_line(self, in_line: bool) -> Self {
        if let Err(error) = SockRef::from(&self.tcp).set_out_of_band_inline(in_line) {
            tracing::debug!(%error, "urgent data may be missed");
        }
        self
    }

    /// The same connection about to carry TLS on a control connection. TLS knows no urgent data (RFC 4217 §14): a byte
    /// sent so beside it must not get into its records.
    #[must_use]
    pub fn record_by_record(mut self) -> Self {
        self.reading = Reading::Record(Record::default());
        self.urgent_in_line(false)
    }

    /// The same control connection, plain again after TLS has ended on it.
    #[must_use]
    pub fn plain_again(mut self) -> Self {
        self.reading = Reading::Telnet;
        self.urgent_in_line(true)
    }

    /// Whether small pieces are acknowledged as they are read, as handshakes and data need it. Where commands and replies
    /// alternate the answer carries the acknowledgement, and whoever reads knows when there is none to wait for.
    pub fn acknowledge_at_once(&self, at_once: bool) {
        self.at_once.store(at_once, Ordering::Relaxed);
    }

    /// Sends the ACK for what was read last now. Linux holds it back for 40 ms in the hope of sending data along with it,
    /// and a peer with Nagle's delay on holds its next small piece back until it comes: GnuTLS clients (lftp, FileZilla)
    /// the second half of each handshake, Python's ftplib its `close_notify` after each upload, inetutils-ftpd its 226
    /// after each 150. The kernel forgets the wish soon, so it is told each time. It is only about speed: where it cannot
    /// be had, nothing is lost.
    pub fn acknowledge(&self) {
        acknowledge(&self.tcp);
    }

    /// Whether anything comes on it.
    pub fn received(&self) -> Progress {
        self.received.clone()
    }

    /// Whether the system takes anything of what is to go out on it.
    pub fn sent(&self) -> Progress {
        self.sent.clone()
    }

    /// The connection itself.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether there is something to read, or the end. Takes nothing.
    ///
    /// # Errors
    /// When the runtime stops.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_read_ready(cx)
    }

    /// Waits for the next byte and says whether it begins plain text instead of a TLS record. Takes nothing. Only on a
    /// connection that is read record by record.
    ///
    /// # Errors
    /// When the connection broke. Its end counts as a record: reading says what it is.
    pub async fn next_is_plain(&self) -> io::Result<bool> {
        let Reading::Record(record) = &self.reading else { return Ok(false) };
        if record.header_read > 0 {
            return Ok(false);
        }
        let mut first = [0; 1];
        let peeked = self.tcp.peek(&mut first).await?;
        Ok(peeked == 1 && !RECORD_KINDS.contains(&first[0]))
    }

    /// Whether closing resets the connection instead of ending it, so that the peer sees that something broke. It holds
    /// for every way of closing, the end of the process included.
    pub fn reset_on_close(&self, reset: bool) {
        let linger = reset.then_some(std::time::Duration::ZERO);
        if let Err(error) = SockRef::from(&self.tcp).set_linger(linger) {
            tracing::debug!(%error, "a connection could not be marked for reset");
        }
    }
}

impl Record {
    /// How much may be read now.
    fn allowance(&self) -> usize {
        if self.header_read < RECORD_HEADER { RECORD_HEADER - self.header_read } else { self.body_left }
    }

    /// Nothing of the next record has been read.
    fn is_whole(&self) -> bool {
        self.header_read == 0
    }

    /// Takes note of bytes read within the allowance.
    fn advance(&mut self, bytes: &[u8]) {
        if self.header_read < RECORD_HEADER {
            self.header[self.header_read..self.header_read + bytes.len()].copy_from_slice(bytes);
            self.header_read += bytes.len();
            if self.header_read == RECORD_HEADER {
                self.body_left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        } else {
            self.body_left -= bytes.len();
        }
        if self.header_read == RECORD_HEADER && self.body_left == 0 {
            self.header_read = 0;
        }
    }
}

fn acknowledge(tcp: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(tcp).set_tcp_quickack(true) {
        tracing::trace!(%error, "a connection could not be told to acknowledge at once");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = tcp;
}

/// Reads without concluding from a short read that nothing more is there: where urgent data begins or ends, the kernel
/// stops a read short of what it holds, and says nothing more about what is behind.
fn poll_to_the_mark(tcp: &TcpStream, cx: &mut Context<'_>, block: &mut [u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        match tcp.try_io(Interest::READABLE, || (&*SockRef::from(tcp)).read(block)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return Poll::Ready(other),
        }
    }
}

/// A write, and when nothing is known of any room for it, the same past the runtime where somebody insists. Whoever waits is
/// woken by the runtime all the same.
fn poll_insisting(
    known: Poll<io::Result<usize>>,
    sent: &Progress,
    write: impl FnOnce() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    let written = match known {
        Poll::Ready(written) => written,
        Poll::Pending if sent.insists() => match write() {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                sent.has_insisted();
                return Poll::Pending;
            }
            written => written,
        },
        Poll::Pending => return Poll::Pending,
    };
    if written.is_ok() {
        sent.note();
    }
    Poll::Ready(written)
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, received, sent: _, at_once, reading } = self.get_mut();
        let at_once = *at_once.get_mut();
        let acknowledge_small = |tcp: &TcpStream, read: usize| {
            if at_once && (1..SMALL).contains(&read) {
                acknowledge(tcp);
            }
        };
        let mut tcp = Pin::new(tcp);
        match reading {
            Reading::Straight => {
                let before = buf.filled().len();
                ready!(tcp.as_mut().poll_read(cx, buf))?;
                received.note();
                acknowledge_small(&tcp, buf.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Reading::Telnet => {
                let read = ready!(poll_to_the_mark(&tcp, cx, buf.initialize_unfilled()))?;
                received.note();
                acknowledge_small(&tcp, read);
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
            Reading::Record(record) => {
                // The limit is a record's, so a safe view of initialised bytes costs little.
                let allowance = record.allowance().min(buf.remaining());
                let block = buf.initialize_unfilled_to(allowance);
                let read = ready!(poll_to_the_mark(&tcp, cx, block))?;
                received.note();
                record.advance(&block[..read]);
                if record.is_whole() {
                    acknowledge_small(&tcp, read);
                }
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { tcp, sent, .. } = self.get_mut();
        let known = Pin::new(&mut *tcp).poll_write(cx, buf);
        poll_insisting(known, sent, || (&*SockRef::from(&*tcp)).write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { tcp, sent, .. } = self.get_mut();
        let known = Pin::new(&mut *tcp).poll_write_vectored(cx, bufs);
        poll_insisting(known, sent, || (&*SockRef::from(&*tcp)).write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
