//! The gateway as TLS server: control and data connections with clients.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{Acceptor, ClientHello, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, CommonState, ProtocolVersion, ServerConfig};

use super::clients::{ClientAuthorities, ClientIdentity};
use super::data::DataStream;
use super::failure::HandshakeFailure;
use super::identity::Identities;
use super::records;
use super::rejected::{Remembering, naming_rejected};
use super::seal::Seal;
use super::settings::MinimumVersion;
use super::stream::Stream;
use super::tickets::{ConnectionTickets, Offer, SessionTickets};
use crate::event::{Channel, Handshake, HandshakeKind, HandshakeResult, Leg, Resumption, TlsVersion};
use crate::net::Socket;
use crate::policy::{ClientCertificate, DataResumption};

/// The suites of TLS 1.3 (RFC 8446 §B.4). A client that speaks it has one of them.
const TLS13_SUITES: std::ops::RangeInclusive<u16> = 0x1301..=0x1305;
/// The protocol name of FTP (IANA, ALPN protocol ids).
const ALPN: &[u8] = b"ftp";
/// Tickets on the control connection: rustls and Go clients use each ticket once, PHP offers one session for ever.
const CONTROL_TICKETS: usize = 8;
/// Tickets on downloads and listings: the client reads, so it sees them.
const DOWNLOAD_TICKETS: usize = 2;
/// One on an upload, held back until the client has ended its side: a client that only sends never reads it, and when it
/// closes, its kernel would answer unread bytes with a reset, which can destroy the tail of the upload (curl#6149,
/// proftpd#744, libunftp#285). OpenSSL offers each session once; a client that keeps only the newest (PHP) has none left
/// after an upload without a ticket.
const UPLOAD_TICKETS: usize = 1;
/// How long a client has to hear an alert, and how many pieces of what it sends meanwhile are read.
const FAREWELL: Duration = Duration::from_secs(1);
const UNHEARD: usize = 64;
const READS: u8 = 1;
const SENDS: u8 = 2;

/// TLS towards clients, as one configuration has it.
#[derive(Debug, Clone)]
pub struct FrontTls {
    base: Arc<ServerConfig>,
    /// The same for those who are asked for a certificate, and for those who must have one.
    asking: Option<[Arc<ServerConfig>; 2]>,
    resumption: DataResumption,
}

/// TLS of one session: its control connection and the data connections that resume it. It keeps the identities it
/// began with, so a reload does not change the certificate between the two (RFC 4217 §15.1.1).
#[derive(Debug)]
pub struct SessionTls {
    base: Arc<ServerConfig>,
    tickets: Arc<SessionTickets>,
    control_name: Option<String>,
    /// The client was asked for a certificate.
    asked: bool,
    client: Option<ClientIdentity>,
}

/// A secured control connection.
#[derive(Debug)]
pub struct Secured {
    /// The stream.
    pub stream: Stream,
    /// The name the client asked for.
    pub sni: Option<String>,
    /// What the handshake came to.
    pub handshake: Handshake,
}

/// A secured data connection.
#[derive(Debug)]
pub struct SecuredData {
    /// The stream.
    pub stream: DataStream,
    /// What the handshake came to.
    pub handshake: Handshake,
    /// Whether it resumed its control connection's session, and if not why.
    pub resumption: Resumption,
}

/// What a data connection is for, as far as is known when its ClientHello comes: it decides how many tickets it gets.
#[derive(Debug, Clone, Default)]
pub struct TicketHint(Arc<AtomicU8>);

impl TicketHint {
    /// The transfer is known: the client reads this data connection, or it sends.
    pub fn client(&self, reads: bool) {
        self.0.store(if reads { READS } else { SENDS }, Ordering::Relaxed);
    }

    /// The client will read this data connection: it is a download or a listing.
    pub fn is_read(&self) -> bool {
        self.0.load(Ordering::Relaxed) == READS
    }

    fn tickets(&self) -> Tickets {
        match self.0.load(Ordering::Relaxed) {
            READS => Tickets { number: DOWNLOAD_TICKETS, held_back: false },
            SENDS => Tickets { number: UPLOAD_TICKETS, held_back: true },
            _ => Tickets { number: 0, held_back: false },
        }
    }
}

/// What the server hands out behind a handshake, and when.
#[derive(Debug, Clone, Copy)]
struct Tickets {
    number: usize,
    held_back: bool,
}

impl FrontTls {
    /// TLS with these identities.
    ///
    /// # Errors
    /// When the cryptographic library does not know the versions; with the built-in one that does not happen.
    pub fn new(
        identities: Arc<Identities>,
        minimum: MinimumVersion,
        resumption: DataResumption,
    ) -> Result<Self, rustls::Error> {
        let verifier = WebPkiClientVerifier::no_client_auth();
        Ok(Self { base: Self::base(identities, minimum, verifier)?, asking: None, resumption })
    }

    /// TLS that can ask clients for certificates of these authorities.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn asking(
        self,
        identities: &Arc<Identities>,
        minimum: MinimumVersion,
        authorities: &ClientAuthorities,
    ) -> Result<Self, rustls::Error> {
        let config = |verifier: &Arc<dyn ClientCertVerifier>| {
            Self::base(Arc::clone(identities), minimum, Arc::new(Remembering(Arc::clone(verifier))))
        };
        Ok(Self { asking: Some([config(&authorities.request)?, config(&authorities.require)?]), ..self })
    }

    fn base(
        identities: Arc<Identities>,
        minimum: MinimumVersion,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let versions: &[&rustls::SupportedProtocolVersion] = match minimum {
            MinimumVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinimumVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(identities);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// TLS for one session, which asks for no certificate.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn session(&self) -> io::Result<SessionTls> {
        self.session_asking(ClientCertificate::None)
    }

    /// TLS for one session.
    ///
    /// # Errors
    /// When the system has no random numbers, or there is nobody whose certificates could be taken.
    pub fn session_asking(&self, ask: ClientCertificate) -> io::Result<SessionTls> {
        let nobody = || io::Error::other("there are no authorities for clients' certificates");
        let base = match (ask, &self.asking) {
            (ClientCertificate::None, _) => &self.base,
            (ClientCertificate::Request, Some([request, _])) => request,
            (ClientCertificate::Require, Some([_, require])) => require,
            (ClientCertificate::Request | ClientCertificate::Require, None) => return Err(nobody()),
        };
        let enabled = self.resumption != DataResumption::Off;
        let tickets = SessionTickets::new(enabled).map_err(|_| io::Error::other("no random numbers"))?;
        let asked = ask != ClientCertificate::None;
        Ok(SessionTls { base: Arc::clone(base), tickets: Arc::new(tickets), control_name: None, asked, client: None })
    }
}

impl SessionTls {
    /// The certificate that the client showed on the control connection.
    pub fn client(&self) -> Option<&ClientIdentity> {
        self.client.as_ref()
    }

    /// A data connection must be the same client's: a resumed session brings its certificate along, a full handshake has
    /// shown one again.
    fn same_client(&self, shown: Option<&[CertificateDer<'_>]>) -> Result<(), HandshakeFailure> {
        let same = match (&self.client, shown) {
            (Some(client), Some(chain)) => client.is(chain),
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => !self.asked,
        };
        let differs = HandshakeResult::CertificateDiffers;
        if same { Ok(()) } else { Err(HandshakeFailure::new(differs, differs.text())) }
    }

    /// Secures the control connection.
    ///
    /// # Errors
    /// When the handshake fails or is not finished within `deadline`.
    pub async fn secure_control(&mut self, socket: Socket, deadline: Duration) -> Result<Secured, HandshakeFailure> {
        naming_rejected(self.shake_control(socket, deadline)).await
    }

    async fn shake_control(&mut self, socket: Socket, deadline: Duration) -> Result<Secured, HandshakeFailure> {
        let connection = self.tickets.control();
        let shaking = async {
            let start = LazyConfigAcceptor::new(Acceptor::default(), socket.record_by_record()).await?;
            let (sni, tls13) = look_at(&start.client_hello());
            if !tls13 {
                connection.expect_tls12();
            }
            let config = self.config(&connection, CONTROL_TICKETS);
            Ok::<_, HandshakeFailure>((start.into_stream(config).into_fallible().await, sni))
        };
        let (shaken, sni) = timeout(deadline, shaking).await.map_err(|_| HandshakeFailure::timeout(deadline))??;
        let stream = match shaken {
            Ok(stream) => stream,
            Err((error, socket)) => {
                let failure = HandshakeFailure::from(error);
                if failure.result == HandshakeResult::CertificateRejected {
                    let_hear(socket).await;
                }
                return Err(failure);
            }
        };
        let handshake = describe(stream.get_ref().1, Leg::Front, Channel::Control);
        self.control_name.clone_from(&sni);
        self.client = match stream.get_ref().1.peer_certificates() {
            None => None,
            Some(chain) => Some(ClientIdentity::of(chain).ok_or_else(unreadable)?),
        };
        Ok(Secured { stream: Stream::Server(Box::new(stream)), sni, handshake })
    }

    /// Tells the tickets of this session from those of others.
    pub fn seal(&self) -> Seal {
        Seal::new(Arc::clone(&self.tickets))
    }

    /// Secures a data connection, in passive and active mode alike (RFC 4217 §7). The caller sets the deadline.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn secure_data(&self, socket: Socket, hint: &TicketHint) -> Result<SecuredData, HandshakeFailure> {
        let connection = self.tickets.data();
        let hello = records::hello(socket).await?;
        let (sni, tls13) = look_at(&hello.client_hello());
        if !tls13 {
            connection.expect_tls12();
        }
        let tickets = hint.tickets();
        let hold_back = tickets.held_back && self.tickets.enabled();
        let stream = naming_rejected(hello.answer(self.config(&connection, tickets.number), hold_back)).await?;
        self.same_client(stream.common().peer_certificates())?;
        let handshake = describe(stream.common(), Leg::Front, Channel::Data);
        let resumption = match (handshake.kind, connection.offer()) {
            (HandshakeKind::Resumed, _) => {
                connection.trust();
                Resumption::Resumed
            }
            (HandshakeKind::Full | HandshakeKind::None, Offer::None) => Resumption::NoneOffered,
            (HandshakeKind::Full | HandshakeKind::None, Offer::Foreign) => Resumption::OtherSession,
            (HandshakeKind::Full | HandshakeKind::None, Offer::Expired) => Resumption::Expired,
            (HandshakeKind::Full | HandshakeKind::None, Offer::Own) if sni != self.control_name => {
                Resumption::NameDiffers
            }
            (HandshakeKind::Full | HandshakeKind::None, Offer::Own) => Resumption::CipherDiffers,
        };
        Ok(SecuredData { stream: DataStream::Private(Box::new(stream)), handshake, resumption })
    }

    /// What a connection of this session is answered with.
    fn config(&self, connection: &Arc<ConnectionTickets>, tickets: usize) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.base);
        config.ticketer = Arc::clone(connection) as Arc<dyn rustls::server::ProducesTickets>;
        config.session_storage = Arc::clone(connection) as Arc<dyn rustls::server::StoresServerSessions>;
        config.send_tls13_tickets = if self.tickets.enabled() { tickets } else { 0 };
        Arc::new(config)
    }
}

/// Who shows a certificate is never taken for one who shows none.
fn unreadable() -> HandshakeFailure {
    HandshakeFailure::new(HandshakeResult::CertificateRejected, "the certificate cannot be read")
}

/// Lets a client hear the alert that says what is wrong with its certificate. With TLS 1.3 it believes itself connected
/// and sends on; closing with bytes unread would be a reset, which overtakes the alert.
async fn let_hear(mut socket: Socket) {
    let hearing = async {
        socket.shutdown().await?;
        let mut rest = [0; 1024];
        for _ in 0..UNHEARD {
            if socket.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    if let Ok(Err(error)) = timeout(FAREWELL, hearing).await {
        tracing::trace!(%error, "a client did not wait for the alert");
    }
}

/// The name that a client asks for, and whether it offers TLS 1.3.
fn look_at(hello: &ClientHello<'_>) -> (Option<String>, bool) {
    let tls13 = hello.cipher_suites().iter().any(|suite| TLS13_SUITES.contains(&u16::from(*suite)));
    (hello.server_name().map(str::to_ascii_lowercase), tls13)
}

/// What a handshake came to.
pub(super) fn describe(connection: &CommonState, leg: Leg, channel: Channel) -> Handshake {
    Handshake {
        leg,
        channel,
        version: version(connection.protocol_version()),
        kind: kind(connection.handshake_kind()),
        result: HandshakeResult::Ok,
        cipher: cipher(connection),
    }
}

/// Its name in the standard: rustls writes those of TLS 1.3 another way.
fn cipher(connection: &CommonState) -> Option<&'static str> {
    let suite = connection.negotiated_cipher_suite()?.suite();
    let name = suite.as_str()?;
    Some(match name.strip_prefix("TLS13_") {
        None => name,
        Some("AES_128_GCM_SHA256") => "TLS_AES_128_GCM_SHA256",
        Some("AES_256_GCM_SHA384") => "TLS_AES_256_GCM_SHA384",
        Some("CHACHA20_POLY1305_SHA256") => "TLS_CHACHA20_POLY1305_SHA256",
        Some(_) => name,
    })
}

fn version(version: Option<ProtocolVersion>) -> TlsVersion {
    match version {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(_) | None => TlsVersion::Unknown,
    }
}

pub(super) fn kind(kind: Option<rustls::HandshakeKind>) -> HandshakeKind {
    match kind {
        Some(rustls::HandshakeKind::Resumed) => HandshakeKind::Resumed,
        Some(rustls::HandshakeKind::Full | rustls::HandshakeKind::FullWithHelloRetryRequest) => HandshakeKind::Full,
        None => HandshakeKind::None,
    }
}

#[cfg(test)]
mod tests;
