//! The handshake of a renewable control connection: all of it rustls', without its buffers.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::client::UnbufferedClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

use super::records::{Opener, Sealer};
use super::{LONGEST_RECORD, RECORD_HEADER, Renewable};
use crate::event::HandshakeResult;
use crate::net::Socket;
use crate::tls::failure::HandshakeFailure;
use crate::tls::records::encode;

/// What a server may send during a handshake: certificates, mostly.
const LONGEST_FLIGHT: usize = 256 * 1024;

/// Shakes hands over TLS 1.3. `config` must offer nothing else and must let its secrets be taken out. Records are read
/// one by one, so that no ticket is seen by rustls before it can be kept.
///
/// # Errors
/// When the handshake fails; the peer is told with an alert.
pub(in crate::tls) async fn secure(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut socket: Socket,
) -> Result<(Renewable, Option<HandshakeKind>), HandshakeFailure> {
    let mut connection = UnbufferedClientConnection::new(config, name)?;
    let mut incoming: Vec<u8> = Vec::new();
    let mut outgoing: Vec<u8> = Vec::new();
    loop {
        let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(&mut incoming);
        let mut blocked = false;
        match state {
            Ok(ConnectionState::EncodeTlsData(mut state)) => encode(&mut outgoing, |out| state.encode(out))?,
            Ok(ConnectionState::TransmitTlsData(state)) => {
                socket.write_all(&outgoing).await?;
                outgoing.clear();
                state.done();
            }
            Ok(ConnectionState::BlockedHandshake) => blocked = true,
            Ok(ConnectionState::WriteTraffic(_)) => break,
            Ok(_) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Err(error) => {
                incoming.drain(..discard);
                tell(&mut connection, &mut incoming, &mut outgoing, &mut socket).await;
                return Err(error.into());
            }
        }
        incoming.drain(..discard);
        if blocked {
            read_record(&mut socket, &mut incoming).await?;
        }
    }
    let kind = connection.handshake_kind();
    let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
    let renewable = Renewable::new(socket, kernel, Opener::new(secrets.rx)?, Sealer::new(secrets.tx)?);
    Ok((renewable, kind))
}

/// Sends the alert that says why the handshake failed, if there is one and the peer is still there.
async fn tell(
    connection: &mut UnbufferedClientConnection,
    incoming: &mut [u8],
    outgoing: &mut Vec<u8>,
    socket: &mut Socket,
) {
    // Asked once: the alert comes first, and a failed connection shall not look at the peer's bytes again.
    let status = connection.process_tls_records(incoming);
    let Ok(ConnectionState::EncodeTlsData(mut state)) = status.state else { return };
    if encode(outgoing, |out| state.encode(out)).is_err() {
        return;
    }
    if let Err(error) = socket.write_all(outgoing).await {
        tracing::trace!(%error, "the backend is gone and hears no alert");
    }
}

/// One record and not a byte of the next.
async fn read_record(socket: &mut Socket, incoming: &mut Vec<u8>) -> Result<(), HandshakeFailure> {
    let mut header = [0; RECORD_HEADER];
    socket.read_exact(&mut header).await?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > LONGEST_RECORD || incoming.len() + RECORD_HEADER + length > LONGEST_FLIGHT {
        return Err(HandshakeFailure::new(HandshakeResult::Protocol, "more than a TLS handshake may be"));
    }
    incoming.extend_from_slice(&header);
    // Alert, handshake, or a change of cipher: anything else is no TLS, and rustls says so.
    if !(20..=23).contains(&header[0]) {
        return Ok(());
    }
    let start = incoming.len();
    incoming.resize(start + length, 0);
    socket.read_exact(&mut incoming[start..]).await?;
    Ok(())
}
