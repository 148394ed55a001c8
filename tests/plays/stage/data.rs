//! One end of a data connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::rustls::ServerConfig;

use super::tls::ClientTls;
use super::transcript::Transcript;
use super::wire::{End, Wire};

/// One end of a data connection.
pub(crate) struct Data {
    name: &'static str,
    pub(crate) wire: Wire,
    transcript: Transcript,
}

impl Data {
    pub(crate) fn new(name: &'static str, tcp: TcpStream, transcript: Transcript) -> Self {
        transcript.note(name, "is connected");
        tcp.set_nodelay(true).unwrap();
        Self { name, wire: Wire::Plain(tcp), transcript }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.wire.tcp().unwrap().peer_addr().unwrap()
    }

    /// TLS as client, which must succeed.
    pub(crate) async fn secures(&mut self, tls: &ClientTls) {
        let secured = self.try_secure(tls).await;
        assert!(secured.is_ok(), "{}: the handshake failed: {secured:?}\n\n{}", self.name, self.transcript);
    }

    /// TLS as client, which may fail.
    pub(crate) async fn try_secure(&mut self, tls: &ClientTls) -> std::io::Result<()> {
        let shaking = self.wire.connect_tls(tls.config(), tls.name());
        let secured = self.transcript.soon(format_args!("{} is secured", self.name), shaking).await;
        let outcome = if secured.is_ok() { "is secured" } else { "could not be secured" };
        self.transcript.note(self.name, outcome);
        secured
    }

    /// TLS as server, which must succeed.
    pub(crate) async fn secures_as_server(&mut self, config: Arc<ServerConfig>) {
        let shaking = self.wire.accept_tls(config);
        let secured = self.transcript.soon(format_args!("{} is secured", self.name), shaking).await;
        assert!(secured.is_ok(), "{}: the handshake failed: {secured:?}\n\n{}", self.name, self.transcript);
        self.transcript.note(self.name, "is secured");
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.wire.is_resumed()
    }

    /// Sends, and the gateway must take it.
    pub(crate) async fn sends(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.try_send(bytes).await;
        assert!(sent.is_ok(), "{} could not send: {sent:?}\n\n{}", self.name, self.transcript);
    }

    /// Sends what the gateway may not take any more.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let bytes = bytes.as_ref();
        self.transcript.note(self.name, format_args!("sends {} bytes", bytes.len()));
        self.transcript.soon(format_args!("{} can send", self.name), self.wire.write(bytes)).await
    }

    /// Reads exactly these bytes.
    pub(crate) async fn receives(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut received = Vec::new();
        while received.len() < expected.len() {
            let mut block = vec![0; (expected.len() - received.len()).min(64 * 1024)];
            let awaited = format_args!("{} receives {} bytes, has {}", self.name, expected.len(), received.len());
            match self.transcript.soon(awaited, self.wire.read(&mut block)).await {
                Ok(read) => received.extend_from_slice(&block[..read]),
                Err(end) => panic!("{}: {end:?} after {} bytes\n\n{}", self.name, received.len(), self.transcript),
            }
        }
        assert!(received == expected, "{} received other bytes\n\n{}", self.name, self.transcript);
        self.transcript.note(self.name, format_args!("received {} bytes", received.len()));
    }

    /// Reads to the end: everything, and how it ended.
    pub(crate) async fn receives_all(&mut self) -> (Vec<u8>, End) {
        let mut received = Vec::new();
        let mut block = vec![0; 64 * 1024];
        loop {
            let awaited = format_args!("{} sees the end, has {} bytes", self.name, received.len());
            match self.transcript.soon(awaited, self.wire.read(&mut block)).await {
                Ok(read) => received.extend_from_slice(&block[..read]),
                Err(end) => {
                    self.transcript.note(self.name, format_args!("received {} bytes and {end:?}", received.len()));
                    return (received, end);
                }
            }
        }
    }

    /// How the peer ends, after nothing more.
    pub(crate) async fn ends(&mut self) -> End {
        let (rest, end) = self.receives_all().await;
        assert!(rest.is_empty(), "{} expected the end, got {} bytes\n\n{}", self.name, rest.len(), self.transcript);
        end
    }

    /// Nothing comes and nothing ends, for a moment.
    pub(crate) async fn stays_open(&mut self) {
        let mut block = [0; 1024];
        let read = tokio::time::timeout(std::time::Duration::from_millis(60), self.wire.read(&mut block)).await;
        assert!(read.is_err(), "{} should be silent: {read:?}\n\n{}", self.name, self.transcript);
    }

    /// `close_notify` where TLS is up, and FIN.
    pub(crate) async fn finishes(&mut self) {
        self.transcript.note(self.name, "finishes");
        let _ = self.wire.finish().await;
    }

    /// FIN without `close_notify`.
    pub(crate) async fn fins(&mut self) {
        self.transcript.note(self.name, "FIN");
        let _ = self.wire.fin().await;
    }

    /// RST.
    pub(crate) fn resets(&mut self) {
        self.transcript.note(self.name, "RST");
        self.wire.reset();
    }

    /// Closes as a process that dies.
    pub(crate) fn vanishes(&mut self) {
        self.transcript.note(self.name, "vanishes");
        self.wire.vanish();
    }
}
