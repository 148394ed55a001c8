//! One authority and one certificate for the whole run, and TLS settings that every proxy here can speak.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The version that a client insists on. The suite is AES-256-GCM, the key exchange X25519 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// The certificate of every proxy and of the backend, for `localhost`, and the authority that signed it.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: PathBuf,
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    /// Makes both and writes them into `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        // OpenSSL takes a certificate whose issuer has its own name for a self-signed one.
        authority.distinguished_name.push(DnType::CommonName, "authority of the run");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        let identity = Self {
            folder: folder.to_owned(),
            authority: authority.der().clone(),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        };
        std::fs::write(identity.authority(), authority.pem())?;
        std::fs::write(identity.certificate(), certificate.pem())?;
        std::fs::write(identity.key(), key.serialize_pem())?;
        // HAProxy wants both in one file.
        std::fs::write(identity.both(), certificate.pem() + &key.serialize_pem())?;
        Ok(identity)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    pub(crate) fn both(&self) -> PathBuf {
        self.folder.join("both.pem")
    }

    /// How a client comes to a proxy.
    pub(crate) fn client(&self, version: Version) -> Result<ClientConfig> {
        let mut provider = default_provider();
        // Under TLS 1.2 the curve of the certificate must be among them (RFC 8422 §5.1).
        provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
        let (version, suite) = match version {
            Version::Tls12 => (&TLS12, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
            Version::Tls13 => (&TLS13, cipher_suite::TLS13_AES_256_GCM_SHA384),
        };
        provider.cipher_suites = vec![suite];
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        Ok(ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }

    /// How the backend takes a proxy's TLS, on control connections and on data connections.
    pub(crate) fn server(&self) -> Result<[Arc<ServerConfig>; 2]> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], PrivateKeyDer::Pkcs8(self.key.clone_key()))
            .context("the backend's certificate")?;
        config.ticketer = tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer::new()?;
        // Who uploads never reads them, and answers them with a reset when it closes.
        let mut data = config.clone();
        data.send_tls13_tickets = 0;
        Ok([Arc::new(config), Arc::new(data)])
    }
}

/// The settings of one session: its tickets are its own, as those of a client program are.
pub(crate) fn of_one_session(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut own = config.clone();
    own.resumption = Resumption::in_memory_sessions(4);
    Arc::new(own)
}
