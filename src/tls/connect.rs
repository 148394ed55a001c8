//! The gateway as TLS client: control and data connections with backends.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
    version,
};

use super::accept::{describe, kind};
use super::data::DataStream;
use super::failure::HandshakeFailure;
use super::files::{self, FileError};
use super::identity::fingerprint;
use super::records;
use super::renewable::{self, Renewal};
use super::resumption::TicketShelf;
use super::settings::Verification;
use super::stream::Stream;
use crate::event::{Channel, Handshake, HandshakeResult, Leg, TlsVersion};
use crate::net::Socket;

/// TLS towards one backend.
#[derive(Debug, Clone)]
pub struct Connector {
    config: ClientConfig,
    /// The same for control connections over TLS 1.3 alone.
    renewable: ClientConfig,
    name: ServerName<'static>,
}

/// TLS of one back leg: its control connection and the data connections that resume it.
pub struct BackTls {
    config: Arc<ClientConfig>,
    renewable: Arc<ClientConfig>,
    renewal: OnceLock<Renewal>,
    name: ServerName<'static>,
    shelf: Arc<TicketShelf>,
}

/// Why TLS towards a backend cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The name to verify is neither a DNS name nor an address.
    #[error(
        "{0:?} is neither a DNS name nor an address, so no certificate can carry it. Write the name in the certificate."
    )]
    Name(String),
    /// The authorities' file cannot be used.
    #[error(transparent)]
    Authorities(#[from] FileError),
    /// The system has no roots.
    #[error(
        "the system's certificate authorities cannot be read ({0}). Install ca-certificates, or write verify.authorities."
    )]
    SystemRoots(String),
    /// The TLS library refused.
    #[error(transparent)]
    Tls(#[from] RustlsError),
}

impl Connector {
    /// TLS towards `host`, verified as asked.
    ///
    /// # Errors
    /// When authorities or name cannot be used.
    pub fn new(verification: &Verification, host: &str) -> Result<Self, ConnectorError> {
        let name = verification.name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| ConnectorError::Name(name.to_owned()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match verification.fingerprint {
            Some(pin) => Arc::new(Pinned { pin, provider: Arc::clone(&provider) }),
            None => WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots(verification.authorities.as_ref())?),
                Arc::clone(&provider),
            )
            .build()
            .map_err(|error| RustlsError::General(error.to_string()))?,
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier))
            .with_no_client_auth();
        let mut renewable = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        renewable.enable_secret_extraction = true;
        // A ticket is good for a configuration with the same checker and the same (no) client certificate.
        renewable.client_auth_cert_resolver = Arc::clone(&config.client_auth_cert_resolver);
        Ok(Self { config, renewable, name: server_name })
    }

    /// TLS for one back leg, with a shelf for tickets of its own.
    pub fn back_leg(&self) -> BackTls {
        let shelf = Arc::new(TicketShelf::default());
        let stocked = |config: &ClientConfig| {
            let mut config = config.clone();
            config.resumption = Resumption::store(Arc::clone(&shelf) as Arc<_>);
            Arc::new(config)
        };
        let (config, renewable) = (stocked(&self.config), stocked(&self.renewable));
        BackTls { config, renewable, renewal: OnceLock::new(), name: self.name.clone(), shelf }
    }
}

impl BackTls {
    /// Secures the control connection over TLS 1.3, so that its tickets can be given again and again. Without them a
    /// backend that demands resumption refuses the third transfer.
    ///
    /// # Errors
    /// When the backend does not speak TLS 1.3, the handshake fails, the certificate is not accepted, or it takes longer
    /// than `deadline`.
    pub async fn secure_control(
        &self,
        socket: Socket,
        deadline: Duration,
    ) -> Result<(Stream, Handshake), HandshakeFailure> {
        let shaking = renewable::secure(Arc::clone(&self.renewable), self.name.clone(), socket);
        let (stream, shaken) = timeout(deadline, shaking).await.map_err(|_| HandshakeFailure::timeout(deadline))??;
        self.renewal.get_or_init(|| stream.renewal());
        let handshake = Handshake {
            leg: Leg::Back,
            channel: Channel::Control,
            version: TlsVersion::Tls13,
            kind: kind(shaken),
            result: HandshakeResult::Ok,
            cipher: None,
        };
        Ok((Stream::Renewable(Box::new(stream)), handshake))
    }

    /// Secures the control connection over whatever version both sides know. A TLS 1.2 session can be resumed without end.
    ///
    /// # Errors
    /// When the handshake fails, the certificate is not accepted, or it takes longer than `deadline`.
    pub async fn secure_old_control(
        &self,
        socket: Socket,
        deadline: Duration,
    ) -> Result<(Stream, Handshake), HandshakeFailure> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = timeout(deadline, connector.connect(self.name.clone(), socket.record_by_record()))
            .await
            .map_err(|_| HandshakeFailure::timeout(deadline))??;
        let handshake = describe(stream.get_ref().1, Leg::Back, Channel::Control);
        Ok((Stream::Client(Box::new(stream)), handshake))
    }

    /// Secures a data connection, resuming the control connection's session.
    ///
    /// # Errors
    /// When the handshake fails or takes longer than `deadline`.
    pub async fn secure_data(
        &self,
        socket: Socket,
        deadline: Duration,
    ) -> Result<(DataStream, Handshake), HandshakeFailure> {
        if !self.shelf.is_stocked()
            && let Some(renewal) = self.renewal.get()
        {
            renewal.renew();
        }
        let shaking = records::connect(Arc::clone(&self.config), self.name.clone(), socket);
        let stream = timeout(deadline, shaking).await.map_err(|_| HandshakeFailure::timeout(deadline))??;
        let handshake = describe(stream.common(), Leg::Back, Channel::Data);
        Ok((DataStream::Private(Box::new(stream)), handshake))
    }
}

fn roots(authorities: Option<&PathBuf>) -> Result<RootCertStore, ConnectorError> {
    let Some(path) = authorities else {
        let mut store = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        let (added, _) = store.add_parsable_certificates(loaded.certs);
        if added == 0 {
            let reasons: Vec<_> = loaded.errors.iter().map(ToString::to_string).collect();
            return Err(ConnectorError::SystemRoots(reasons.join("; ")));
        }
        return Ok(store);
    };
    Ok(files::authorities(path)?)
}

/// Accepts one certificate, whatever it says of itself; the key behind it must still sign the handshake.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        if fingerprint(end_entity) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(RustlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
