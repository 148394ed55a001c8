//! A back leg's control connection under TLS 1.3 whose tickets can be given again and again.
//!
//! ProFTPD hands out two tickets on the control connection and none on data connections that resume, and refuses data
//! connections that do not. rustls gives each ticket away once, for good, and has no way to keep or copy one
//! (rustls#3103). Its kernel interface is the only door: it takes a NewSessionTicket message as often as it is shown.
//! The price is that the records of this one connection are protected here ([`records`]); handshake, certificates, key
//! schedule and data connections stay with rustls. See docs/decisions.
//!
//! Invariants: only TLS 1.3; a record that does not open ends the connection; buffers are bounded by a record's and a
//! handshake message's length; keys are never printed.

mod handshake;
mod records;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::client::ClientConnectionData;
use tokio_rustls::rustls::kernel::KernelConnection;

use crate::net::Socket;
use records::{Content, Opener, Sealer};

pub(super) use handshake::secure;

/// The longest protected record: 2^14 and 256 for protection (RFC 8446 §5.2).
const LONGEST_RECORD: usize = 16384 + 256;
const RECORD_HEADER: usize = 5;
/// The longest text put into one record.
const LONGEST_TEXT: usize = 16384;
/// The longest handshake message after the handshake: a ticket is at most 2^16 and its frame.
const LONGEST_MESSAGE: usize = 70_000;
/// RFC 8446 §4: the messages that may come after the handshake.
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// Records under one key, of 2^24.5 that AES-GCM can bear (RFC 8446 §5.5): then a new one is agreed on. rustls does so by
/// itself where it seals, and leaves it to whoever has its kernel interface.
const RECORDS: u64 = 1 << 23;

/// Shows the last ticket to rustls again, which puts it on the shelf again.
#[derive(Clone)]
pub(super) struct Renewal(Arc<Mutex<Tickets>>);

struct Tickets {
    kernel: KernelConnection<ClientConnectionData>,
    last: Option<Vec<u8>>,
}

/// The control connection.
pub struct Renewable {
    socket: Socket,
    renewal: Renewal,
    opener: Opener,
    sealer: Sealer,
    /// Records under one key before there is a new one.
    records: u64,
    /// The backend has been asked for new keys of its own.
    asked: bool,
    incoming: BytesMut,
    text: BytesMut,
    messages: BytesMut,
    outgoing: BytesMut,
    ended: bool,
    finished: bool,
}

impl Renewal {
    /// One more ticket on the shelf, if the backend has ever sent one.
    pub(super) fn renew(&self) -> bool {
        let mut tickets = self.tickets();
        let Some(last) = tickets.last.clone() else { return false };
        tickets.kernel.handle_new_session_ticket(&last).is_ok()
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, message: &[u8]) -> io::Result<()> {
        let mut tickets = self.tickets();
        tickets.kernel.handle_new_session_ticket(message).map_err(broken)?;
        tickets.last = Some(message.to_vec());
        Ok(())
    }
}

impl Renewable {
    fn new(socket: Socket, kernel: KernelConnection<ClientConnectionData>, opener: Opener, sealer: Sealer) -> Self {
        let renewal = Renewal(Arc::new(Mutex::new(Tickets { kernel, last: None })));
        Self {
            socket,
            renewal,
            opener,
            sealer,
            records: RECORDS,
            asked: false,
            incoming: BytesMut::new(),
            text: BytesMut::new(),
            messages: BytesMut::new(),
            outgoing: BytesMut::new(),
            ended: false,
            finished: false,
        }
    }

    pub(super) fn renewal(&self) -> Renewal {
        self.renewal.clone()
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Opens one record, if a whole one is there. `false`: more bytes are needed.
    fn open_record(&mut self) -> io::Result<bool> {
        let Some(header) = self.incoming.first_chunk::<RECORD_HEADER>() else { return Ok(false) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length > LONGEST_RECORD {
            return Err(broken("a TLS record longer than any may be"));
        }
        if self.incoming.len() < RECORD_HEADER + length {
            return Ok(false);
        }
        let mut record = self.incoming.split_to(RECORD_HEADER + length);
        if self.incoming.is_empty() {
            self.incoming = BytesMut::new();
        }
        let (content, text) = self.opener.open(&mut record)?;
        match content {
            Content::Text => self.text.extend_from_slice(text),
            Content::Alert => match text {
                // RFC 8446 §6.1: close_notify, and user_canceled before one.
                [_, 0] => self.ended = true,
                [_, 90] => {}
                [_, alert] => return Err(broken(format!("TLS alert {alert}"))),
                _ => return Err(broken("a TLS alert that is none")),
            },
            Content::Handshake => {
                let text = text.to_vec();
                self.messages.extend_from_slice(&text);
                self.take_messages()?;
            }
        }
        Ok(true)
    }

    /// Deals with whole handshake messages; a message may span records.
    fn take_messages(&mut self) -> io::Result<()> {
        while let Some(&[kind, a, b, c]) = self.messages.first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > LONGEST_MESSAGE {
                return Err(broken("a TLS handshake message longer than any may be"));
            }
            if self.messages.len() < 4 + length {
                return Ok(());
            }
            let message = self.messages.split_to(4 + length).split_off(4);
            match (kind, &message[..]) {
                (NEW_SESSION_TICKET, ticket) => self.renewal.take(ticket)?,
                (KEY_UPDATE, [requested @ (0 | 1)]) => self.update_keys(*requested == 1)?,
                _ => return Err(broken("a TLS handshake message that may not come now")),
            }
        }
        self.messages = BytesMut::new();
        Ok(())
    }

    /// RFC 8446 §4.6.3: the backend's keys are new from the next record on, and ours when it asks.
    fn update_keys(&mut self, requested: bool) -> io::Result<()> {
        // RFC 8446 §5.1: a message before a key change ends its record.
        if !self.messages.is_empty() || self.outgoing.len() > LONGEST_RECORD {
            return Err(broken("a TLS key update out of place"));
        }
        self.opener = Opener::new(self.renewal.tickets().kernel.update_rx_secret().map_err(broken)?)?;
        self.asked = false;
        if requested { self.renew_keys(false) } else { Ok(()) }
    }

    /// Our keys are new from the next record on, and when it is asked for, the backend's when it has heard of it.
    fn renew_keys(&mut self, ask: bool) -> io::Result<()> {
        let message = [KEY_UPDATE, 0, 0, 1, u8::from(ask)];
        self.sealer.seal(Content::Handshake, &message, &mut self.outgoing)?;
        self.sealer = Sealer::new(self.renewal.tickets().kernel.update_tx_secret().map_err(broken)?)?;
        self.asked |= ask;
        Ok(())
    }

    /// Seals a record, under new keys when either side's have been used for long enough.
    fn seal(&mut self, content: Content, text: &[u8]) -> io::Result<()> {
        let ask = self.opener.records() >= self.records && !self.asked;
        if ask || self.sealer.records() + 1 >= self.records {
            self.renew_keys(ask)?;
        }
        self.sealer.seal(content, text, &mut self.outgoing)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outgoing))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(sent);
        }
        self.outgoing = BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Renewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl AsyncRead for Renewable {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.text.is_empty() {
                let piece = this.text.len().min(buf.remaining());
                buf.put_slice(&this.text.split_to(piece));
                return Poll::Ready(Ok(()));
            }
            this.text = BytesMut::new();
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if this.open_record()? {
                // An answer to a key update goes out as it can; the next write sends what is left.
                let _ = this.poll_send(cx)?;
                continue;
            }
            let mut chunk = [0; 2048];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.incoming.extend_from_slice(read.filled());
        }
    }
}

impl AsyncWrite for Renewable {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let text = &buf[..buf.len().min(LONGEST_TEXT)];
        this.seal(Content::Text, text)?;
        // What the system does not take now goes out with the next write or flush.
        let _ = this.poll_send(cx)?;
        Poll::Ready(Ok(text.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.finished {
            this.finished = true;
            this.seal(Content::Alert, &[1, 0])?;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

fn broken(reason: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}

#[cfg(test)]
mod tests;
