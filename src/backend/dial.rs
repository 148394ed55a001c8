//! Dialling: connect, secure, read the greeting.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::leg::BackLeg;
use super::pool::Backend;
use super::settings::Security;
use crate::event::{BackendFailure, Handshake, HandshakeResult, TlsVersion};
use crate::ftp::{Printable, Verb};
use crate::net::{ConnectError, Endpoints, Socket, connect, send_header};
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
    /// The control connection ended under TLS and without `close_notify`.
    pub close_notify_missing: bool,
}

impl BackendError {
    /// A failure with words of its own.
    pub fn new(failure: BackendFailure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into(), handshake: None, close_notify_missing: false }
    }

    /// The handshake failed in a way in which it fails with a server that does not know TLS 1.3: some answer with an
    /// alert, some hang up.
    fn may_be_old_tls(&self) -> bool {
        self.handshake.as_ref().is_some_and(|failure| match failure.result {
            HandshakeResult::NoCommonParameters
            | HandshakeResult::Alert
            | HandshakeResult::Closed
            | HandshakeResult::Protocol => true,
            HandshakeResult::Ok
            | HandshakeResult::Timeout
            | HandshakeResult::NotTls
            | HandshakeResult::CertificateRejected
            | HandshakeResult::CertificateDiffers
            | HandshakeResult::ForeignProtocol => false,
        })
    }
}

impl From<HandshakeFailure> for BackendError {
    fn from(error: HandshakeFailure) -> Self {
        let failed = Self::new(BackendFailure::TlsFailed, error.detail.clone());
        Self { handshake: Some(Box::new(error)), ..failed }
    }
}

/// Connects to a backend, secures the connection where the settings say so, and reads the greeting.
///
/// TLS 1.3 is tried first and alone (see [`BackTls::secure_control`]). A backend that does not shake hands that way is
/// dialled once more with all versions on offer, and remembered until it agrees to TLS 1.3 after all. What an attacker can win by breaking the first attempt
/// is a handshake in which rustls itself guards the version (RFC 8446 §4.1.3).
///
/// `client`: whom it is for, for backends that want to know (the PROXY protocol); `None`: for the gateway itself.
///
/// # Errors
/// When any of it fails. There is no way from TLS back to plain.
pub async fn dial(
    backend: &Arc<Backend>,
    client: Option<Endpoints>,
    deadlines: Deadlines,
    reply_length: usize,
) -> Result<(BackLeg, Option<Handshake>), BackendError> {
    // What is known may change while it is dialled: another dial finds out at the same time.
    let old = backend.has_old_tls();
    let first = dial_once(backend, client, deadlines, reply_length, old).await;
    match first {
        Err(error) if !old && error.may_be_old_tls() => {
            let second = dial_once(backend, client, deadlines, reply_length, true).await?;
            if second.1.is_some_and(|handshake| handshake.version == TlsVersion::Tls13) {
                // It knows TLS 1.3 after all: something passing broke the first handshake.
                return dial_once(backend, client, deadlines, reply_length, false).await;
            }
            backend.note_old_tls(true);
            Ok(second)
        }
        // It has been upgraded since: from now on as with any other.
        Ok((mut leg, Some(handshake))) if old && handshake.version == TlsVersion::Tls13 => {
            backend.note_old_tls(false);
            leg.part().await;
            dial_once(backend, client, deadlines, reply_length, false).await
        }
        other => other,
    }
}

async fn dial_once(
    backend: &Arc<Backend>,
    client: Option<Endpoints>,
    deadlines: Deadlines,
    reply_length: usize,
    old_tls: bool,
) -> Result<(BackLeg, Option<Handshake>), BackendError> {
    let mut tcp = connect_to(backend, deadlines.connect).await?;
    if let Some(version) = backend.settings().proxy_protocol {
        send_header(&mut tcp, version, client, deadlines.connect)
            .await
            .map_err(|error| connect_failed(&backend.settings().server.to_string(), &ConnectError::Io(error)))?;
    }
    let socket = Socket::control(tcp);
    let tls = backend.connector().map(crate::tls::Connector::back_leg);
    match (&backend.settings().security, tls) {
        (Security::Explicit(_) | Security::Implicit(_), None) => {
            Err(BackendError::new(BackendFailure::TlsFailed, "TLS towards it is not set up"))
        }
        (Security::None, _) => {
            let mut leg = BackLeg::new(Arc::clone(backend), Stream::Plain(socket), None, reply_length);
            greeting(&mut leg, deadlines.reply).await?;
            Ok((leg, None))
        }
        (Security::Implicit(_), Some(tls)) => {
            let (stream, handshake) = secure(&tls, socket, deadlines.handshake, old_tls).await?;
            let mut leg = BackLeg::new(Arc::clone(backend), stream, Some(tls), reply_length);
            greeting(&mut leg, deadlines.reply).await?;
            Ok((leg, Some(handshake)))
        }
        (Security::Explicit(_), Some(tls)) => {
            let mut plain = BackLeg::new(Arc::clone(backend), Stream::Plain(socket), None, reply_length);
            greeting(&mut plain, deadlines.reply).await?;
            let socket = start_tls(plain, deadlines).await?;
            let (stream, handshake) = secure(&tls, socket, deadlines.handshake, old_tls).await?;
            Ok((BackLeg::new(Arc::clone(backend), stream, Some(tls), reply_length), Some(handshake)))
        }
    }
}

async fn secure(
    tls: &BackTls,
    socket: Socket,
    deadline: Duration,
    old_tls: bool,
) -> Result<(Stream, Handshake), HandshakeFailure> {
    if old_tls { tls.secure_old_control(socket, deadline).await } else { tls.secure_control(socket, deadline).await }
}

/// Dials a backend without a user, asks what it offers, and says good-bye.
///
/// # Errors
/// As [`dial`].
pub async fn probe(backend: &Arc<Backend>, deadlines: Deadlines, reply_length: usize) -> Result<(), BackendError> {
    let (mut leg, _) = dial(backend, None, deadlines, reply_length).await?;
    let reply = leg.exchange(&Cleared::own_bare(Verb::Feat), deadlines.reply).await?;
    // A server may want a login first (530); then nothing is learnt.
    if reply.code.number() == 211 {
        let inner = reply.lines.iter().filter(|line| !line.first && !line.last);
        backend.learn_features(inner.map(|line| line.bytes.trim_ascii().to_vec()).collect());
    }
    leg.part().await;
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

/// AUTH TLS, up to the handshake.
async fn start_tls(mut plain: BackLeg, deadlines: Deadlines) -> Result<Socket, BackendError> {
    let reply = plain.exchange(&Cleared::own(Verb::Auth, "TLS"), deadlines.reply).await?;
    // RFC 4217 §4.1: 234. Old servers say 334.
    if !matches!(reply.code.number(), 234 | 334) {
        let detail = format!("answered AUTH TLS with {} {}", reply.code, Printable(reply.text()));
        return Err(BackendError::new(BackendFailure::TlsRefused, detail));
    }
    plain.into_plain_socket()
}
