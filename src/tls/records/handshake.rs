//! The handshake of a data connection, as server and as client: all of it rustls', without its buffers.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::client::UnbufferedClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{Accepted, Acceptor, ClientHello, UnbufferedServerConnection};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, ServerConfig};

use super::Records;
use super::connection::{Connection, Step};
use crate::event::HandshakeResult;
use crate::net::Socket;
use crate::tls::failure::HandshakeFailure;

/// What a peer may send during a handshake: certificates, mostly.
const LONGEST_FLIGHT: usize = 256 * 1024;
/// What is read at once.
const CHUNK: usize = 4096;

/// A client's first message, before it is answered.
pub(in crate::tls) struct Hello {
    socket: Socket,
    incoming: Vec<u8>,
    accepted: Accepted,
}

/// Waits for a client's first message.
///
/// # Errors
/// When it is none; the client is told with an alert.
pub(in crate::tls) async fn hello(mut socket: Socket) -> Result<Hello, HandshakeFailure> {
    let mut incoming = Vec::new();
    let mut acceptor = Acceptor::default();
    loop {
        let shown = incoming.len();
        read(&mut socket, &mut incoming).await?;
        let mut fresh = &incoming[shown..];
        while !fresh.is_empty() {
            if acceptor.read_tls(&mut fresh)? == 0 {
                return Err(too_long());
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return Ok(Hello { socket, incoming, accepted }),
                Err((error, mut alert)) => {
                    let mut outgoing = Vec::new();
                    alert.write_all(&mut outgoing)?;
                    tell(&mut socket, &outgoing).await;
                    return Err(error.into());
                }
            }
        }
    }
}

impl Hello {
    /// What the client offers.
    pub(in crate::tls) fn client_hello(&self) -> ClientHello<'_> {
        self.accepted.client_hello()
    }

    /// Answers. `hold_back`: what the server says behind a TLS 1.3 handshake, tickets that is, waits for the end.
    ///
    /// # Errors
    /// When the handshake fails; the client is told with an alert.
    pub(in crate::tls) async fn answer(
        self,
        config: Arc<ServerConfig>,
        hold_back: bool,
    ) -> Result<Records, HandshakeFailure> {
        let connection = Connection::Server(Box::new(UnbufferedServerConnection::new(config)?));
        shake(connection, self.socket, self.incoming, hold_back).await
    }
}

/// Secures a connection as its client.
///
/// # Errors
/// When the handshake fails; the peer is told with an alert.
pub(in crate::tls) async fn connect(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    socket: Socket,
) -> Result<Records, HandshakeFailure> {
    let connection = Connection::Client(Box::new(UnbufferedClientConnection::new(config, name)?));
    shake(connection, socket, Vec::new(), false).await
}

async fn shake(
    mut connection: Connection,
    mut socket: Socket,
    mut incoming: Vec<u8>,
    hold_back: bool,
) -> Result<Records, HandshakeFailure> {
    let mut outgoing = Vec::new();
    let mut early = Vec::new();
    loop {
        let mut keep = |text: &[u8]| {
            early.extend_from_slice(text);
            Ok(())
        };
        let (done, step) = connection.step(&mut incoming, &mut outgoing, &mut keep);
        incoming.drain(..done);
        match step {
            Ok(Step::Again) => {}
            Ok(Step::Open | Step::PeerEnded) if !connection.common().is_handshaking() => {
                // Behind the client's Finished a server of TLS 1.3 has nothing to send but tickets.
                let tls13 = connection.common().protocol_version() == Some(ProtocolVersion::TLSv1_3);
                let mut records = Records::new(socket, connection, incoming, early);
                records.held = hold_back && tls13;
                records.outgoing = outgoing;
                if step == Ok(Step::PeerEnded) {
                    records.end = Some(crate::tls::stream::WhyClosed::Clean);
                }
                std::future::poll_fn(|cx| records.poll_send(cx)).await?;
                return Ok(records);
            }
            Ok(Step::Shaking | Step::Open) => {
                socket.write_all(&outgoing).await?;
                outgoing.clear();
                read(&mut socket, &mut incoming).await?;
            }
            Ok(Step::PeerEnded | Step::Ended) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Err(error) => {
                while let (done, Ok(Step::Again)) = connection.step(&mut incoming, &mut outgoing, &mut |_| Ok(())) {
                    incoming.drain(..done);
                }
                tell(&mut socket, &outgoing).await;
                return Err(error.into());
            }
        }
    }
}

async fn read(socket: &mut Socket, incoming: &mut Vec<u8>) -> Result<(), HandshakeFailure> {
    if incoming.len() >= LONGEST_FLIGHT {
        return Err(too_long());
    }
    incoming.reserve(CHUNK);
    match socket.read_buf(incoming).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within the TLS handshake").into()),
        _ => Ok(()),
    }
}

/// Sends the alert that says why the handshake failed, if there is one and the peer is still there.
async fn tell(socket: &mut Socket, alert: &[u8]) {
    if let Err(error) = socket.write_all(alert).await {
        tracing::trace!(%error, "the peer is gone and hears no alert");
    }
}

fn too_long() -> HandshakeFailure {
    HandshakeFailure::new(HandshakeResult::Protocol, "more than a TLS handshake may be")
}
