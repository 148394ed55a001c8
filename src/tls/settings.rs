//! What the TLS room must be told.

use std::path::PathBuf;

use crate::policy::{ClientCertificate, UserFrom};

/// The gateway's own identities and versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Chains and keys, chosen by SNI; the first is the default. Empty: one self-signed, kept in `state_dir`.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest TLS version that clients may use.
    pub minimum_version: MinimumVersion,
    /// Where a self-signed identity is kept. `None`: it lives as long as the process.
    pub state_dir: Option<PathBuf>,
    /// Certificates of clients; `None`: nobody is asked for one.
    pub client_certificates: Option<ClientCertificates>,
}

/// Whose certificates clients may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A PEM file of certificate authorities.
    pub authorities: PathBuf,
    /// PEM or DER files of revocation lists. Where there are any, each authority of a chain must have one, in date.
    pub revocation_lists: Vec<PathBuf>,
    /// Who is asked, on listeners that say nothing else.
    pub ask: ClientCertificate,
    /// What must equal the user.
    pub user_from: UserFrom,
}

/// Two PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The leaf's key: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
}

/// The oldest TLS version allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinimumVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// How a backend's certificate is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// A PEM file of certificate authorities; `None`: the system's.
    pub authorities: Option<PathBuf>,
    /// The name the certificate must carry; `None`: the server's own from `servers`.
    pub name: Option<String>,
    /// SHA-256 of the leaf certificate (DER). Pins it instead of verifying chain, name and dates.
    pub fingerprint: Option<[u8; 32]>,
}
