//! rustls' unbuffered connection, as server and as client alike: bytes in, bytes out, no sockets.

use std::fmt;
use std::ops::Range;

use tokio_rustls::rustls::client::UnbufferedClientConnection;
use tokio_rustls::rustls::server::UnbufferedServerConnection;
use tokio_rustls::rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use tokio_rustls::rustls::{CommonState, Error as RustlsError};

/// The longest text of one record (RFC 8446 §5.1).
const LONGEST_TEXT: usize = 16384;
/// More than `close_notify` and what may stand before it: an answer to a key update.
const GOODBYE: usize = 1024;

/// One side of a TLS connection.
pub(in crate::tls) enum Connection {
    /// The gateway is the server.
    Server(Box<UnbufferedServerConnection>),
    /// The gateway is the client.
    Client(Box<UnbufferedClientConnection>),
}

/// Where a connection stands when it has looked at what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tls) enum Step {
    /// Look again.
    Again,
    /// The handshake needs more of the peer's bytes.
    Shaking,
    /// No whole record is left; texts may be sealed.
    Open,
    /// The peer has sent `close_notify`.
    PeerEnded,
    /// Both have.
    Ended,
}

impl Connection {
    /// What there is to know of either side.
    pub(in crate::tls) fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// Looks at what came. What is to be sent goes to `outgoing`, what was opened to `text`. The first number is of bytes
    /// of `incoming` that are done with.
    pub(in crate::tls) fn step(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
        text: &mut dyn FnMut(&[u8]) -> Result<(), RustlsError>,
    ) -> (usize, Result<Step, RustlsError>) {
        match self {
            Self::Server(connection) => advance(connection.process_tls_records(incoming), outgoing, text),
            Self::Client(connection) => advance(connection.process_tls_records(incoming), outgoing, text),
        }
    }

    /// Seals the text at `range` of `memory` and says how many bytes of records now stand at the front of it. There must
    /// be [`HEAD`](crate::net::HEAD) bytes in front of the text. `rest` is what came and is no whole record yet.
    pub(super) fn seal(
        &mut self,
        rest: &mut [u8],
        memory: &mut [u8],
        range: Range<usize>,
    ) -> Result<usize, RustlsError> {
        match self {
            Self::Server(connection) => seal(traffic(connection.process_tls_records(rest))?, memory, range),
            Self::Client(connection) => seal(traffic(connection.process_tls_records(rest))?, memory, range),
        }
    }

    /// Adds `close_notify` to `outgoing`.
    pub(super) fn end(&mut self, rest: &mut [u8], outgoing: &mut Vec<u8>) -> Result<(), RustlsError> {
        let mut room = [0; GOODBYE];
        let written = match self {
            Self::Server(connection) => traffic(connection.process_tls_records(rest))?.queue_close_notify(&mut room),
            Self::Client(connection) => traffic(connection.process_tls_records(rest))?.queue_close_notify(&mut room),
        };
        outgoing.extend_from_slice(&room[..written.map_err(refused)?]);
        Ok(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

fn advance<Side>(
    status: UnbufferedStatus<'_, '_, Side>,
    outgoing: &mut Vec<u8>,
    text: &mut dyn FnMut(&[u8]) -> Result<(), RustlsError>,
) -> (usize, Result<Step, RustlsError>) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut records)) => loop {
            match records.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    if let Err(error) = text(record.payload) {
                        break Err(error);
                    }
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut state)) => {
            encode(outgoing, |room| state.encode(room)).map(|()| Step::Again)
        }
        // The caller sends what was encoded before it waits for an answer.
        Ok(ConnectionState::TransmitTlsData(state)) => {
            state.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Shaking),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Open),
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerEnded),
        Ok(ConnectionState::Closed) => Ok(Step::Ended),
        // No early data is ever offered or taken.
        Ok(_) => Err(RustlsError::General("a TLS connection in an unknown state".into())),
        Err(error) => Err(error),
    };
    (discard, step)
}

/// Adds what rustls wants sent to `outgoing`.
pub(in crate::tls) fn encode(
    outgoing: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), RustlsError> {
    let start = outgoing.len();
    match encode(&mut []) {
        Ok(_) => Ok(()),
        Err(EncodeError::InsufficientSize(size)) => {
            outgoing.resize(start + size.required_size, 0);
            let written = encode(&mut outgoing[start..]).map_err(|error| RustlsError::General(error.to_string()))?;
            outgoing.truncate(start + written);
            Ok(())
        }
        // Nothing is left to encode.
        Err(EncodeError::AlreadyEncoded) => Ok(()),
    }
}

fn traffic<'c, Side>(status: UnbufferedStatus<'c, '_, Side>) -> Result<WriteTraffic<'c, Side>, RustlsError> {
    match status.state? {
        ConnectionState::WriteTraffic(traffic) => Ok(traffic),
        _ => Err(RustlsError::General("nothing may be sent on this TLS connection any more".into())),
    }
}

/// Record by record, each in the room that the one before has left: the records are never written over texts that are
/// not sealed yet, because the head is longer than one record and all that the records add.
fn seal<Side>(
    mut traffic: WriteTraffic<'_, Side>,
    memory: &mut [u8],
    range: Range<usize>,
) -> Result<usize, RustlsError> {
    let mut sealed = 0;
    for start in range.clone().step_by(LONGEST_TEXT) {
        let end = range.end.min(start + LONGEST_TEXT);
        let (records, texts) = memory.split_at_mut(start);
        let room = records.get_mut(sealed..).unwrap_or_default();
        sealed += traffic.encrypt(&texts[..end - start], room).map_err(refused)?;
    }
    Ok(sealed)
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn refused(error: EncryptError) -> RustlsError {
    RustlsError::General(error.to_string())
}
