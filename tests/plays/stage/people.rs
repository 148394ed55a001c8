//! An authority for certificates of clients, what it issues, and what it takes back.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, DnValue, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::tls::ClientTls;

/// An authority with its files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What its certificates are shown with: itself, where it is not the root.
    above: Vec<CertificateDer<'static>>,
    folder: tempfile::TempDir,
}

/// A client's certificate and its key.
pub(crate) struct Person {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    serial: u64,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::called("authority of clients")
    }

    pub(crate) fn called(name: &str) -> Self {
        let (params, key) = Self::params(name);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), above: Vec::new(), folder }
    }

    /// An authority of this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let (params, key) = Self::params(name);
        let above = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        Self { issuer: Issuer::new(params, key), above, folder: tempfile::tempdir().unwrap() }
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        (params, KeyPair::generate().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `client_certificates: { … }` with this authority and more entries.
    pub(crate) fn entry(&self, more: &str) -> String {
        format!("client_certificates: {{ authorities: \"{}\", {more} }}", self.file("authority.pem").display())
    }

    /// A certificate for a common name, with an e-mail address and a DNS name made of it.
    pub(crate) fn issues(&self, name: &str, serial: u64) -> Person {
        self.issues_with(name, serial, |_| {})
    }

    /// The same with two common names, the second of which may be one that cannot be read as text.
    pub(crate) fn issues_with_second(&self, name: &str, second: DnValue) -> Person {
        // The same attribute, X.520's commonName, under a key of its own.
        let again = DnType::CustomDnType(vec![2, 5, 4, 3]);
        self.issues_with(name, 9, |params| params.distinguished_name.push(again.clone(), second.clone()))
    }

    fn issues_with(&self, name: &str, serial: u64, more: impl FnOnce(&mut CertificateParams)) -> Person {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.push(SanType::Rfc822Name(format!("{name}@acme.example").try_into().unwrap()));
        params.serial_number = Some(SerialNumber::from(serial));
        more(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let chain = [&[leaf.der().clone()][..], &self.above].concat();
        Person { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(), serial }
    }

    /// Writes a revocation list in PEM and in DER that is good for so many days from now, or was until so many days ago.
    pub(crate) fn revokes(&self, people: &[&Person], days: i64) {
        let now = OffsetDateTime::now_utc();
        let revoked = |person: &&Person| RevokedCertParams {
            serial_number: SerialNumber::from(person.serial),
            revocation_time: now - Duration::days(9),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now - Duration::days(9),
            next_update: now + Duration::days(days),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: people.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap();
        std::fs::write(self.file("revoked.pem"), list.pem().unwrap()).unwrap();
        std::fs::write(self.file("revoked.crl"), list.der()).unwrap();
    }
}

impl ClientTls {
    /// Shows this certificate when it is asked for one.
    #[must_use]
    pub(crate) fn showing(mut self, person: &Person) -> Self {
        let signer = aws_lc_rs::default_provider().key_provider.load_private_key(person.key.clone_key()).unwrap();
        let key = CertifiedKey::new(person.chain.clone(), signer);
        self.config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
        self
    }
}
