//! A control connection, plain or under TLS, on either leg.
//!
//! Invariants: reading tells a proper end (`close_notify`, or FIN on a plain connection) from a truncation and from a
//! break; [`Stream::finish`] is the only way to a proper end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::{client, server};

use super::renewable::Renewable;
use crate::net::Socket;

/// How long a client may take to be the first with `close_notify` when TLS ends and the session goes on.
const CLIENT_FIRST: Duration = Duration::from_secs(1);

/// A control connection.
#[derive(Debug)]
pub enum Stream {
    /// No TLS.
    Plain(Socket),
    /// The gateway is the TLS server: the front leg.
    Server(Box<server::TlsStream<Socket>>),
    /// The gateway is the TLS client, over TLS 1.2: the back leg.
    Client(Box<client::TlsStream<Socket>>),
    /// The gateway is the TLS client, over TLS 1.3.
    Renewable(Box<Renewable>),
}

/// Why nothing more can be read.
#[derive(Debug)]
pub enum WhyClosed {
    /// The peer ended properly.
    Clean,
    /// Under TLS: the connection ended without `close_notify`. It may have been cut by anyone on the way.
    Unclean,
    /// Reset, or broken TLS.
    Broken(io::Error),
}

impl Stream {
    /// Whether TLS is on it.
    pub fn is_private(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// The connection below.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Server(stream) => stream.get_ref().0,
            Self::Client(stream) => stream.get_ref().0,
            Self::Renewable(stream) => stream.socket(),
        }
    }

    /// The connection below; TLS on it is forgotten.
    pub fn into_socket(self) -> Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Server(stream) => stream.into_inner().0,
            Self::Client(stream) => stream.into_inner().0,
            Self::Renewable(stream) => stream.into_socket(),
        }
    }

    /// Ends this side properly: `close_notify` where TLS is up, then FIN. Reading goes on.
    ///
    /// # Errors
    /// When the peer is gone already.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.socket().reset_on_close(false);
        self.shutdown().await
    }

    /// Ends TLS and keeps the connection (CCC, RFC 4217 §12.3; REIN, §13): `close_notify` both ways, then plain. Plain
    /// bytes that follow the peer's `close_notify` are not lost, see [`Socket`].
    ///
    /// Who goes first differs: lftp takes a `close_notify` right behind the 200 for the end of the session and wants to
    /// send its own before; curl waits for the server's and then goes on in clear without one. So the client's is waited
    /// for, but not for long. The caller sets the deadline.
    ///
    /// # Errors
    /// When the peer is gone, or sends data instead of `close_notify`.
    pub async fn end_tls(self) -> io::Result<Self> {
        let Self::Server(mut stream) = self else { return Err(io::Error::other("no TLS to end")) };
        let ended = match timeout(CLIENT_FIRST, peer_ends_tls(&mut stream)).await {
            Ok(ended) => ended.map(|()| true)?,
            Err(_) => false,
        };
        stream.get_mut().1.send_close_notify();
        stream.flush().await?;
        if !ended {
            peer_ends_tls(&mut stream).await?;
        }
        Ok(Self::Plain(stream.into_inner().0.plain_again()))
    }
}

/// Waits until the peer has ended TLS, with `close_notify` or by speaking in clear. Can be cancelled at any time.
async fn peer_ends_tls(stream: &mut server::TlsStream<Socket>) -> io::Result<()> {
    if stream.get_ref().0.next_is_plain().await? {
        return Ok(());
    }
    match stream.read(&mut [0; 1]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("the client went on under TLS")),
    }
}

impl From<io::Error> for WhyClosed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Unclean } else { Self::Broken(error) }
    }
}

macro_rules! delegate {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Server(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
            Stream::Client(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
            Stream::Renewable(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(delegate!(self, poll_shutdown(cx)));
        // The peer may have closed first; then there is nothing left to end.
        Poll::Ready(match result {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        })
    }
}
