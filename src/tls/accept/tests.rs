//! How long a session's tickets live, and why one is not taken, with a clock that can be moved.

use std::sync::atomic::AtomicU64;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{ClientSessionMemoryCache, ResolvesClientCert, Resumption as ClientResumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerified;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls::Identity;

const DEADLINE: Duration = Duration::from_secs(10);
const HOUR: u64 = 60 * 60;

/// Seconds since 1970, from now on.
#[derive(Debug)]
struct Clock(AtomicU64);

impl Clock {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(UnixTime::now().as_secs())))
    }

    fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// A session of a gateway and its client, whose clocks can be moved.
struct Scene {
    session: SessionTls,
    client: ClientConfig,
    /// Of the gateway, and of the client.
    clocks: [Arc<Clock>; 2],
    leaf: Vec<u8>,
    _control: (TlsStream<TcpStream>, Secured),
}

fn front(identity: &Identity, clock: &Arc<Clock>) -> FrontTls {
    let identities = Arc::new(Identities::single(identity.clone()));
    let mut front = FrontTls::new(identities, MinimumVersion::Tls12, DataResumption::Require).unwrap();
    Arc::make_mut(&mut front.base).time_provider = Arc::clone(clock) as Arc<dyn TimeProvider>;
    front
}

impl Scene {
    async fn open(version: &'static SupportedProtocolVersion, sessions: Tls12Resumption) -> Self {
        let identity = Identity::self_signed(&["gateway.test".into()]).unwrap();
        let leaf = identity.leaf().to_vec();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(leaf.clone())).unwrap();
        let clocks = [Clock::new(), Clock::new()];
        let mut client = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.time_provider = Arc::clone(&clocks[1]) as Arc<dyn TimeProvider>;
        client.resumption =
            ClientResumption::store(Arc::new(ClientSessionMemoryCache::new(64))).tls12_resumption(sessions);
        let mut session = front(&identity, &clocks[0]).session().unwrap();
        let (near, far) = pair().await;
        let connector = TlsConnector::from(Arc::new(client.clone()));
        let (secured, connected) =
            tokio::join!(session.secure_control(near, DEADLINE), connector.connect(name("gateway.test"), far));
        let (mut secured, mut connected) = (secured.unwrap(), connected.unwrap());
        // The tickets stand before the text.
        secured.stream.write_all(b"220 ready").await.unwrap();
        secured.stream.flush().await.unwrap();
        connected.read_exact(&mut [0; 9]).await.unwrap();
        Self { session, client, clocks, leaf, _control: (connected, secured) }
    }

    fn forward(&self, hours: u64) {
        for clock in &self.clocks {
            clock.forward(hours * HOUR);
        }
    }

    /// A data connection that the client reads: what came of resuming, and the certificate of a full handshake.
    async fn data(&self) -> (Resumption, Option<Vec<u8>>) {
        let (near, far) = pair().await;
        let hint = TicketHint::default();
        hint.client(true);
        let connector = TlsConnector::from(Arc::new(self.client.clone()));
        let server = async {
            let mut secured = self.session.secure_data(near, &hint).await.unwrap();
            secured.stream.finish().await.unwrap();
            secured.resumption
        };
        let client = async {
            let mut stream = connector.connect(name("gateway.test"), far).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
            stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec())
        };
        tokio::time::timeout(DEADLINE, async { tokio::join!(server, client) }).await.unwrap()
    }
}

fn name(name: &'static str) -> ServerName<'static> {
    ServerName::try_from(name).unwrap()
}

async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Socket::new(listener.accept().await.unwrap().0), far)
}

/// Every way in which a client can be given a session.
const KINDS: [(&SupportedProtocolVersion, Tls12Resumption); 3] = [
    (&TLS13, Tls12Resumption::SessionIdOrTickets),
    (&TLS12, Tls12Resumption::SessionIdOrTickets),
    (&TLS12, Tls12Resumption::SessionIdOnly),
];

/// RFC 8446 §4.6.1: no client offers a TLS 1.3 ticket that is older than a week.
#[tokio::test]
async fn a_session_of_two_days_still_resumes_and_so_does_one_of_six() {
    for (version, sessions) in KINDS {
        let scene = Scene::open(version, sessions).await;
        for hours in [0, 1, 47, 96] {
            scene.forward(hours);
            assert_eq!(scene.data().await.0, Resumption::Resumed, "{version:?} {sessions:?} after {hours} h");
        }
    }
}

/// The gateway itself has no limit; what the client still offers is taken.
#[tokio::test]
async fn the_gateway_takes_its_sessions_tickets_at_any_age() {
    for (version, sessions) in KINDS {
        let scene = Scene::open(version, sessions).await;
        scene.clocks[0].forward(365 * 24 * HOUR);
        assert_eq!(scene.data().await.0, Resumption::Resumed, "{version:?} {sessions:?}");
    }
}

/// So that the tests above are known to move a clock that counts.
#[tokio::test]
async fn a_client_throws_its_tickets_away_after_a_week() {
    let scene = Scene::open(&TLS13, Tls12Resumption::SessionIdOrTickets).await;
    scene.forward(8 * 24);
    assert_eq!(scene.data().await.0, Resumption::NoneOffered);
}

/// The downloads of a session renew what the client has: a session of a month resumes all along.
#[tokio::test]
async fn tickets_of_downloads_carry_a_session_on_for_ever() {
    let scene = Scene::open(&TLS13, Tls12Resumption::SessionIdOrTickets).await;
    for _ in 0..30 {
        scene.forward(24);
        assert_eq!(scene.data().await.0, Resumption::Resumed);
    }
}

/// RFC 4217 §15.1.1: the certificate stays, and so do the tickets, whatever is loaded for sessions to come.
#[tokio::test]
async fn a_reload_takes_neither_certificate_nor_tickets_from_a_running_session() {
    for (version, sessions) in KINDS {
        let mut scene = Scene::open(version, sessions).await;
        let new = front(&Identity::self_signed(&["gateway.test".into()]).unwrap(), &scene.clocks[0]);
        scene.forward(48);
        let (resumption, certificate) = scene.data().await;
        assert_eq!((resumption, certificate.as_ref()), (Resumption::Resumed, Some(&scene.leaf)));
        scene.client.resumption = ClientResumption::disabled();
        let (resumption, certificate) = scene.data().await;
        assert_eq!((resumption, certificate.as_ref()), (Resumption::NoneOffered, Some(&scene.leaf)));
        // A session that begins now is another's.
        scene.session = new.session().unwrap();
        scene.client.resumption = ClientResumption::default();
        let (near, far) = pair().await;
        let hint = TicketHint::default();
        let connector = TlsConnector::from(Arc::new(scene.client.clone()));
        let (secured, connected) =
            tokio::join!(scene.session.secure_data(near, &hint), connector.connect(name("gateway.test"), far));
        assert!(secured.is_err() && connected.is_err(), "the old certificate is trusted alone");
    }
}

/// A client that keeps a data connection's ticket and uses it thousands of data connections later.
#[tokio::test]
async fn a_ticket_of_a_forgotten_data_connection_has_expired() {
    let scene = Scene::open(&TLS13, Tls12Resumption::SessionIdOrTickets).await;
    // Until all that the client has is from data connections: it keeps the latest eight.
    for _ in 0..16 {
        assert_eq!(scene.data().await.0, Resumption::Resumed);
    }
    scene.session.tickets.forget_data_connections();
    assert_eq!(scene.data().await.0, Resumption::Expired);
}

/// An authority that signs whatever it is given, and a client that shows it.
#[derive(Debug)]
struct Careless(Option<Arc<CertifiedKey>>);

impl ClientCertVerifier for Careless {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl ResolvesClientCert for Careless {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Who shows a certificate that names nobody is not let in as one who shows none.
#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_rejected_though_it_is_verified() {
    let own = rcgen::generate_simple_self_signed(vec!["bob".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let (whole, garbage) = (own.cert.der().clone(), CertificateDer::from(own.cert.der()[..40].to_vec()));
    let identity = Identity::self_signed(&["gateway.test".into()]).unwrap();
    let identities = Arc::new(Identities::single(identity.clone()));
    for version in [&TLS13, &TLS12] {
        for (leaf, expected) in [(None, Ok(None)), (Some(&whole), Ok(Some(()))), (Some(&garbage), Err(()))] {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(identity.leaf().to_vec())).unwrap();
            let shown = leaf.map(|leaf| Arc::new(CertifiedKey::new(vec![leaf.clone()], Arc::clone(&key))));
            let client = ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(roots)
                .with_client_cert_resolver(Arc::new(Careless(shown)));
            let careless: Arc<dyn ClientCertVerifier> = Arc::new(Careless(None));
            let authorities = ClientAuthorities { request: Arc::clone(&careless), require: careless };
            let front = FrontTls::new(Arc::clone(&identities), MinimumVersion::Tls12, DataResumption::Off).unwrap();
            let front = front.asking(&identities, MinimumVersion::Tls12, &authorities).unwrap();
            let mut session = front.session_asking(ClientCertificate::Request).unwrap();
            let (near, far) = pair().await;
            let connector = TlsConnector::from(Arc::new(client));
            let (secured, _connected) =
                tokio::join!(session.secure_control(near, DEADLINE), connector.connect(name("gateway.test"), far),);
            match secured {
                Ok(_) => assert_eq!(Ok(session.client().map(|_| ())), expected),
                Err(failure) => {
                    assert_eq!(failure.result, HandshakeResult::CertificateRejected);
                    assert!(failure.detail.ends_with("the certificate cannot be read"), "{}", failure.detail);
                    assert_eq!(expected, Err(()));
                }
            }
        }
    }
}
