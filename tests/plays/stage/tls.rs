//! TLS of the actors: a client that accepts any certificate and remembers what it was given, and backends with an
//! authority of their own.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption, Tls13ClientSessionValue,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, ServerConfig, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion, version,
};

/// TLS of a client. A clone is another look at the same tickets and the same certificates.
#[derive(Clone)]
pub(crate) struct ClientTls {
    pub(super) config: ClientConfig,
    name: ServerName<'static>,
    tickets: Arc<Tickets>,
    verifier: Arc<AnyCertificate>,
}

impl ClientTls {
    /// TLS 1.2 and 1.3, with the name `gateway.test`, resuming.
    pub(crate) fn new() -> Self {
        Self::of(&[&version::TLS13, &version::TLS12], provider::default_provider())
    }

    /// TLS 1.2 alone.
    pub(crate) fn tls12() -> Self {
        Self::of(&[&version::TLS12], provider::default_provider())
    }

    /// TLS 1.3 with these cipher suites, the favourite first.
    pub(crate) fn with_suites(suites: &[SupportedCipherSuite]) -> Self {
        let provider = CryptoProvider { cipher_suites: suites.to_vec(), ..provider::default_provider() };
        Self::of(&[&version::TLS13], provider)
    }

    fn of(versions: &[&'static SupportedProtocolVersion], provider: CryptoProvider) -> Self {
        let provider = Arc::new(provider);
        let verifier = Arc::new(AnyCertificate { seen: Mutex::default(), provider: Arc::clone(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>)
            .with_no_client_auth();
        let tickets = Arc::<Tickets>::default();
        config.resumption = Resumption::store(Arc::clone(&tickets) as Arc<_>);
        Self { config, name: ServerName::try_from("gateway.test").unwrap(), tickets, verifier }
    }

    /// The same client with its tickets, which prefers other suites now.
    #[must_use]
    pub(crate) fn preferring(mut self, suites: &[SupportedCipherSuite]) -> Self {
        let mut other = Self::with_suites(suites).config;
        // rustls offers a session only under the verifier that it came with.
        other.dangerous().set_certificate_verifier(Arc::clone(&self.verifier) as Arc<_>);
        other.client_auth_cert_resolver = Arc::clone(&self.config.client_auth_cert_resolver);
        other.resumption = self.config.resumption.clone();
        self.config = other;
        self
    }

    /// Offers no session.
    #[must_use]
    pub(crate) fn without_resumption(mut self) -> Self {
        self.config.resumption = Resumption::disabled();
        self
    }

    /// TLS 1.2 sessions by number, as clients without RFC 5077.
    #[must_use]
    pub(crate) fn with_session_ids(mut self) -> Self {
        self.config.resumption = self.config.resumption.tls12_resumption(Tls12Resumption::SessionIdOnly);
        self
    }

    /// Sends this name (SNI).
    #[must_use]
    pub(crate) fn naming(mut self, name: &'static str) -> Self {
        self.name = ServerName::try_from(name).unwrap();
        self
    }

    /// Sends no name.
    #[must_use]
    pub(crate) fn nameless(mut self) -> Self {
        self.config.enable_sni = false;
        self
    }

    /// Offers these protocols (ALPN).
    #[must_use]
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::new(self.config.clone())
    }

    pub(crate) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// TLS 1.3 tickets taken in so far.
    pub(crate) fn tickets_received(&self) -> usize {
        self.tickets.received.load(Ordering::Relaxed)
    }

    /// The certificates of all full handshakes so far.
    pub(crate) fn certificates(&self) -> Vec<Vec<u8>> {
        self.verifier.seen.lock().unwrap().clone()
    }
}

/// One shelf whatever the server's name, so that a session can be offered under another.
#[derive(Debug, Default)]
struct Tickets {
    received: AtomicUsize,
    group: Mutex<Option<NamedGroup>>,
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<VecDeque<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        *self.group.lock().unwrap() = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        *self.group.lock().unwrap()
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().unwrap() = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.tls13.lock().unwrap().push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop_front()
    }
}

#[derive(Debug)]
struct AnyCertificate {
    seen: Mutex<Vec<Vec<u8>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.lock().unwrap().push(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate with its key, from an authority of its own, in files and in memory.
pub(crate) struct Identity {
    /// The authority's certificate.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A certificate for these names, its files in `folder`.
    pub(crate) fn new(folder: &Path, label: &str, names: &[&str]) -> Self {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, format!("authority of {label}"));
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let write = |file: &str, pem: String| {
            let path = folder.join(format!("{label}-{file}.pem"));
            std::fs::write(&path, pem).unwrap();
            path
        };
        Self {
            authority: write("authority", authority_certificate.pem()),
            certificate: write("certificate", leaf.pem()),
            private_key: write("key", key.serialize_pem()),
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// The leaf (DER).
    pub(crate) fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }

    /// As `verify.fingerprint` wants it.
    pub(crate) fn fingerprint(&self) -> String {
        let hex: String = digest(&SHA256, self.leaf()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// A server's TLS as OpenSSL's: two tickets a connection, which open again and again.
    pub(crate) fn server(&self) -> ServerConfig {
        self.server_of(&[&version::TLS13, &version::TLS12])
    }

    /// The same with TLS 1.2 alone.
    pub(crate) fn server_tls12(&self) -> ServerConfig {
        self.server_of(&[&version::TLS12])
    }

    fn server_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap();
        config.send_tls13_tickets = 2;
        config.ticketer = provider::Ticketer::new().unwrap();
        config
    }
}
