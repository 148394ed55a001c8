//! One connection of an actor, plain or under TLS, and what can be done to TLS from within and from below.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConnection, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::MOMENT;
use super::chance::Chance;
use super::tls::ClientTls;

/// What a handshake may take an actor. The gateway's own deadline is shorter.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// The most that a record may hold in clear, and a little more.
const RECORD: usize = 17_000;
/// Changes of keys in a row.
const KEY_UPDATES: usize = 300;

/// A connection, plain or under TLS.
pub(crate) enum Leg {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Leg {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Below TLS.
    async fn writes_below(&mut self, bytes: &[u8]) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        };
        // It may not be taken.
        timeout(MOMENT, tcp.write_all(bytes)).await.unwrap_or(Ok(()))
    }

    /// Becomes its TLS, as client.
    pub(crate) async fn secured(self, tls: &ClientTls) -> io::Result<Self> {
        let Self::Plain(tcp) = self else { return Err(io::Error::other("it is under TLS already")) };
        let connecting = TlsConnector::from(tls.config()).connect(tls.name(), tcp);
        Ok(Self::Tls(Box::new(TlsStream::Client(timeout(HANDSHAKE, connecting).await??))))
    }

    /// Becomes its TLS, as server.
    pub(crate) async fn accepted(self, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let Self::Plain(tcp) = self else { return Err(io::Error::other("it is under TLS already")) };
        let accepting = TlsAcceptor::from(Arc::clone(config)).accept(tcp);
        Ok(Self::Tls(Box::new(TlsStream::Server(timeout(HANDSHAKE, accepting).await??))))
    }

    /// Does something to its TLS that no peer does.
    pub(crate) async fn spoils(&mut self, words: &[Vec<u8>], chance: &mut Chance) -> io::Result<()> {
        match chance.below(6) {
            // Records of every kind, of which no key knows.
            0 => {
                let kinds = [20, 21, 22, 23, 24, chance.byte()];
                let kind = kinds[chance.below(kinds.len())];
                self.writes_below(&record(kind, &chance.word(words))).await
            }
            // As if the handshake began anew.
            1 => self.writes_below(&hello(&ClientTls::tls12())).await,
            2 => self.changes_keys(1 + chance.below(KEY_UPDATES)).await,
            // A record whose rest does not come, or that holds nothing.
            3 => self.writes_below(&[23, 3, 3, chance.byte() & 0x3F, chance.byte(), chance.byte()]).await,
            4 => self.writes_below(&record(23, &[]).repeat(1 + chance.below(200))).await,
            // Whatever comes behind the end.
            _ => {
                if let Self::Tls(tls) = self {
                    tls.get_mut().1.send_close_notify();
                    timeout(MOMENT, tls.flush()).await.unwrap_or(Ok(()))?;
                }
                self.writes_below(&chance.word(words)).await
            }
        }
    }

    /// New keys again and again, and hardly a word under them. TLS 1.2 knows none.
    async fn changes_keys(&mut self, times: usize) -> io::Result<()> {
        let Self::Tls(tls) = self else { return Ok(()) };
        for _ in 0..times {
            let changed = match &mut **tls {
                TlsStream::Client(tls) => tls.get_mut().1.refresh_traffic_keys(),
                TlsStream::Server(tls) => tls.get_mut().1.refresh_traffic_keys(),
            };
            if changed.is_err() {
                return Ok(());
            }
            timeout(MOMENT, tls.flush()).await.unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// From here on closing is a reset.
    pub(crate) fn resets(&self) {
        // One that is gone already needs none.
        let _ = SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO));
    }
}

/// One record.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min(RECORD)];
    [&[kind, 3, 3][..], &u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

/// The ClientHello of this client, with its tickets.
pub(crate) fn hello(tls: &ClientTls) -> Vec<u8> {
    let mut bytes = Vec::new();
    ClientConnection::new(tls.config(), tls.name()).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

impl AsyncRead for Leg {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, block: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, block),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, block),
        }
    }
}

impl AsyncWrite for Leg {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
