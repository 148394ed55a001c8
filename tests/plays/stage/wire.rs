//! A socket as an actor has it: plain or under TLS, with every way of ending it, and how the peer ended it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// A socket, plain or under TLS.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// It was reset or dropped.
    Gone,
}

/// How a peer ended its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Properly under TLS.
    CloseNotify,
    /// FIN: the proper end of a plain connection, a truncation of one under TLS.
    Fin,
    /// RST.
    Reset,
    /// TLS itself broke.
    Broken,
}

impl Wire {
    /// The next bytes, or how the peer ended.
    pub(crate) async fn read(&mut self, block: &mut [u8]) -> Result<usize, End> {
        let read = match self {
            Self::Plain(tcp) => tcp.read(block).await,
            Self::Tls(tls) => tls.read(block).await,
            Self::Gone => panic!("nobody reads a socket that is gone"),
        };
        match read {
            Ok(0) => Err(if self.is_private() { End::CloseNotify } else { End::Fin }),
            Ok(read) => Ok(read),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => End::Fin,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
                _ => End::Broken,
            }),
        }
    }

    /// Writes and flushes: under TLS one record for each 16 KiB.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes).await,
            Self::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ends this side properly: `close_notify` where TLS is up, then FIN.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
            Self::Gone => Ok(()),
        }
    }

    /// FIN, without `close_notify`.
    pub(crate) async fn fin(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.get_mut().0.shutdown().await,
            Self::Gone => Ok(()),
        }
    }

    /// Says `close_notify` and keeps the connection open below it.
    pub(crate) async fn close_notify(&mut self) -> io::Result<()> {
        let Self::Tls(tls) = self else { return Ok(()) };
        tls.get_mut().1.send_close_notify();
        tls.flush().await
    }

    /// The connection below; TLS on it is forgotten.
    pub(crate) fn plain_again(&mut self) {
        *self = match std::mem::replace(self, Self::Gone) {
            Self::Tls(tls) => match *tls {
                TlsStream::Client(tls) => Self::Plain(tls.into_inner().0),
                TlsStream::Server(tls) => Self::Plain(tls.into_inner().0),
            },
            other => other,
        };
    }

    /// RST.
    pub(crate) fn reset(&mut self) {
        if let Some(tcp) = self.tcp() {
            SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap();
        }
        *self = Self::Gone;
    }

    /// Closes as a process that dies closes: FIN, or RST where something is left unread.
    pub(crate) fn vanish(&mut self) {
        *self = Self::Gone;
    }

    /// TLS as client.
    pub(crate) async fn connect_tls(&mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<()> {
        let Self::Plain(tcp) = std::mem::replace(self, Self::Gone) else { panic!("TLS begins on a plain connection") };
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        *self = Self::Tls(Box::new(TlsStream::Client(tls)));
        Ok(())
    }

    /// TLS as server.
    pub(crate) async fn accept_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Self::Plain(tcp) = std::mem::replace(self, Self::Gone) else { panic!("TLS begins on a plain connection") };
        let tls = TlsAcceptor::from(config).accept(tcp).await?;
        *self = Self::Tls(Box::new(TlsStream::Server(tls)));
        Ok(())
    }

    pub(crate) fn is_private(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the TLS session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        let Self::Tls(tls) = self else { return false };
        tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(tls) => Some(tls.get_ref().0),
            Self::Gone => None,
        }
    }

    /// The connection below, to speak past TLS.
    pub(crate) fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
            Self::Gone => panic!("the socket is gone"),
        }
    }
}
