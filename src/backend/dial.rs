//! Dialling: connect, secure, read the greeting.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::leg::BackLeg;
use super::pool::Backend;
use super::settings::Security;
use crate::event::{BackendFailure, Handshake};
use crate::ftp::{Printable, Verb};
use crate::net::{ConnectError, Socket, connect};
use crate::policy::Cleared;
use crate::tls::{BackTls, HandshakeFailure, Stream};

/// The deadlines of a dial.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Name and connection, for each address of the name.
    pub connect: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// The greeting and each reply.
    pub reply: Duration,
}

/// A backend could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct BackendError {
    /// The reason as a label.
    pub failure: BackendFailure,
    /// The reason in words, escaped.
    pub detail: String,
    /// The TLS handshake that failed, when it was one.
    pub handshake: Option<Box<HandshakeFailure>>,
}

impl BackendError {
    /// A failure with words of its own.
    pub fn new(failure: BackendFailure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into(), handshake: None }
    }
}

impl From<HandshakeFailure> for BackendError {
    fn from(error: HandshakeFailure) -> Self {
        Self { failure: BackendFailure::TlsFailed, detail: error.detail.clone(), handshake: Some(Box::new(error)) }
    }
}

/// Connects to a backend, secures the connection where the settings say so, and reads the greeting.
///
/// # Errors
/// When any of it fails. There is no way from TLS back to plain.
pub async fn dial(
    backend: &Arc<Backend>,
    deadlines: Deadlines,
    reply_length: usize,
) -> Result<(BackLeg, Option<Handshake>), BackendError> {
    let tcp = connect_to(backend, deadlines.connect).await?;
    let socket = Socket::new(tcp);
    let tls = backend.connector().map(crate::tls::Connector::back_leg);
    match (&backend.settings().security, tls) {
        (Security::None, _) | (Security::Explicit(_) | Security::Implicit(_), None) => {
            let mut leg = BackLeg::new(Arc::clone(backend), Stream::Plain(socket), None, reply_length);
            greeting(&mut leg, deadlines.reply).await?;
            Ok((leg, None))
        }
        (Security::Implicit(_), Some(tls)) => {
            let (stream, handshake) = tls.secure_control(socket, deadlines.handshake).await?;
            let mut leg = BackLeg::new(Arc::clone(backend), stream, Some(tls), reply_length);
            greeting(&mut leg, deadlines.reply).await?;
            Ok((leg, Some(handshake)))
        }
        (Security::Explicit(_), Some(tls)) => {
            let mut plain = BackLeg::new(Arc::clone(backend), Stream::Plain(socket), None, reply_length);
            greeting(&mut plain, deadlines.reply).await?;
            let (stream, handshake) = start_tls(plain, &tls, deadlines).await?;
            Ok((BackLeg::new(Arc::clone(backend), stream, Some(tls), reply_length), Some(handshake)))
        }
    }
}

/// Dials a backend without a user, asks what it offers, and says good-bye.
///
/// # Errors
/// As [`dial`].
pub async fn probe(backend: &Arc<Backend>, deadlines: Deadlines, reply_length: usize) -> Result<(), BackendError> {
    let (mut leg, _) = dial(backend, deadlines, reply_length).await?;
    let reply = leg.exchange(&Cleared::own_bare(Verb::Feat), deadlines.reply).await?;
    // A server may want a login first (530); then nothing is learnt.
    if reply.code.number() == 211 {
        let inner = reply.lines.iter().filter(|line| !line.first && !line.last);
        backend.learn_features(inner.map(|line| line.bytes.trim_ascii().to_vec()).collect());
    }
    leg.send(&Cleared::own_bare(Verb::Quit));
    leg.finish().await;
    Ok(())
}

async fn connect_to(backend: &Backend, deadline: Duration) -> Result<TcpStream, BackendError> {
    let server = &backend.settings().server;
    let resolve = |detail: String| BackendError::new(BackendFailure::Resolve, detail);
    let addresses = timeout(deadline, lookup_host((server.host.as_str(), server.port)))
        .await
        .map_err(|_| resolve(format!("{server}: the name was not resolved within {deadline:?}")))?
        .map_err(|error| resolve(format!("{server}: {error}")))?;
    let mut last = resolve(format!("{server}: the name has no address"));
    for address in addresses {
        match connect(address, deadline).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = connect_failed(&server.to_string(), &error),
        }
    }
    Err(last)
}

fn connect_failed(server: &str, error: &ConnectError) -> BackendError {
    let failure = match error {
        ConnectError::Timeout(_) => BackendFailure::Timeout,
        ConnectError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => BackendFailure::Refused,
        // Accepted, and reset before the system had told of it.
        ConnectError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => BackendFailure::Reset,
        ConnectError::Io(_) => BackendFailure::Unreachable,
    };
    BackendError::new(failure, format!("{server}: {error}"))
}

/// Reads the greeting and swallows it: it names the server and its software. `120` announces a delay (RFC 959 §5.4).
async fn greeting(leg: &mut BackLeg, deadline: Duration) -> Result<(), BackendError> {
    let reply = leg.final_reply(deadline).await?;
    if reply.code.is_completion() {
        return Ok(());
    }
    let detail = format!("greeted with {} {}", reply.code, Printable(reply.text()));
    Err(BackendError::new(BackendFailure::NotReady, detail))
}

async fn start_tls(
    mut plain: BackLeg,
    tls: &BackTls,
    deadlines: Deadlines,
) -> Result<(Stream, Handshake), BackendError> {
    let reply = plain.exchange(&Cleared::own(Verb::Auth, "TLS"), deadlines.reply).await?;
    // RFC 4217 §4.1: 234. Old servers say 334.
    if !matches!(reply.code.number(), 234 | 334) {
        let detail = format!("answered AUTH TLS with {} {}", reply.code, Printable(reply.text()));
        return Err(BackendError::new(BackendFailure::TlsRefused, detail));
    }
    Ok(tls.secure_control(plain.into_plain_socket()?, deadlines.handshake).await?)
}
