//! The gateway's identities: chains and keys, chosen by SNI.
//!
//! Invariants: key and certificate of an identity belong together; an unknown or missing SNI gets the first identity;
//! a self-signed identity is written so that only the gateway's user can read its key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use tokio_rustls::rustls::Error as RustlsError;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::files::{self, FileError, holds};
use super::settings::{CertificateFiles, Settings};

const SELF_SIGNED_CERTIFICATE: &str = "self-signed.pem";
const SELF_SIGNED_KEY: &str = "self-signed.key";
/// The name in a self-signed certificate; nobody can verify it anyway, clients pin its fingerprint.
const SELF_SIGNED_NAME: &str = "ftps-gateway.invalid";

/// One chain with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// The certificate file's path, or `self-signed`: a metric's label.
    pub label: String,
    /// DNS names, in lower case; `*.` wildcards included.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; 32],
}

/// All identities; the first is the default.
#[derive(Debug, Clone)]
pub struct Identities {
    identities: Vec<Identity>,
}

/// Why an identity cannot be used. Names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read, does not hold what it should, or does not belong to the other.
    #[error("{key}: {file}")]
    File {
        /// The key of the configuration that names it, or the folder that it is kept in.
        key: String,
        /// The file, what is wrong with it, and what to do.
        file: FileError,
    },
    /// A self-signed identity cannot be made or kept.
    #[error(
        "a self-signed certificate cannot be made in {path}: {reason}. Set tls.certificates, or state_dir to a folder the gateway may write."
    )]
    SelfSigned {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Identities {
    /// Loads the configured identities, or the self-signed one, which is made when it is not there yet.
    ///
    /// # Errors
    /// All that cannot be used.
    pub fn load(settings: &Settings) -> Result<Self, Vec<IdentityError>> {
        let (mut identities, mut problems) = (Vec::new(), Vec::new());
        for (index, files) in settings.certificates.iter().enumerate() {
            match Identity::load(files) {
                Ok(identity) => identities.push(identity),
                Err(unusable) => {
                    let key = format!("tls.certificates[{index}].{}", unusable.key());
                    problems.push(IdentityError::File { key, file: unusable.file });
                }
            }
        }
        if settings.certificates.is_empty() {
            let own = match &settings.state_dir {
                Some(folder) => Identity::kept_self_signed(folder),
                None => Identity::self_signed(&[SELF_SIGNED_NAME.into()]),
            };
            own.map_or_else(|error| problems.push(error), |identity| identities.push(identity));
        }
        if problems.is_empty() { Ok(Self { identities }) } else { Err(problems) }
    }

    /// One identity.
    pub fn single(identity: Identity) -> Self {
        Self { identities: vec![identity] }
    }

    /// All of them, the default first.
    pub fn all(&self) -> &[Identity] {
        &self.identities
    }

    fn choose(&self, sni: Option<&str>) -> Option<&Identity> {
        let named = sni.and_then(|name| self.identities.iter().find(|identity| identity.covers(name)));
        named.or(self.identities.first())
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).map(|identity| Arc::clone(&identity.key))
    }
}

impl Identity {
    /// Reads a chain and its key: each can be read, and they belong together.
    fn load(files: &CertificateFiles) -> Result<Self, Unusable> {
        let (certificate, private_key) = (&files.certificate, &files.private_key);
        let chain = files::certificates(certificate).map_err(Unusable::certificate)?;
        let key = read_key(private_key).map_err(Unusable::private_key)?;
        let label = certificate.display().to_string();
        Self::new(chain, key, label).map_err(|flaw| match flaw {
            Flaw::Version(number) => {
                let what = format!("holds a certificate of X.509 version {number}, and TLS takes version 3");
                let remedy =
                    "Have it issued anew with extensions: openssl x509 -req … -extfile with subjectAltName in it.";
                Unusable::certificate(FileError::new(certificate, what, remedy))
            }
            Flaw::Certificate(reason) => {
                let what = format!("holds a certificate that cannot be used: {reason}");
                Unusable::certificate(FileError::new(certificate, what, "Copy it again, or have it issued anew."))
            }
            Flaw::Key(reason) => {
                let what = format!("holds a key that cannot be used: {reason}");
                let remedy =
                    "Make an RSA key of 2048 bits or more, or one for ECDSA or Ed25519, and a certificate for it.";
                Unusable::private_key(FileError::new(private_key, what, remedy))
            }
            Flaw::Mismatch => {
                let what = format!("is not the key of {}", certificate.display());
                let remedy = "Write the files of one pair; the gateway's own certificate stands first in its file.";
                Unusable::private_key(FileError::new(private_key, what, remedy))
            }
        })
    }

    /// Makes a self-signed identity for these names that lives as long as the process.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn self_signed(names: &[String]) -> Result<Self, IdentityError> {
        let problem = |reason: String| IdentityError::SelfSigned { path: PathBuf::new(), reason };
        let (certificate, key) = make_self_signed(names).map_err(|error| problem(error.to_string()))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| problem(error.into()))?;
        Self::new(vec![certificate.der().clone()], key, "self-signed".into()).map_err(|flaw| problem(flaw.to_string()))
    }

    /// The leaf certificate (DER), for a client that shall trust it.
    pub fn leaf(&self) -> &[u8] {
        self.key.cert.first().map(AsRef::as_ref).unwrap_or_default()
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, label: String) -> Result<Self, Flaw> {
        let leaf = chain.first().ok_or_else(|| Flaw::Certificate("there is none".into()))?;
        let (names, not_after) = describe(leaf)?;
        let fingerprint = fingerprint(leaf);
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            RustlsError::InconsistentKeys(_) => Flaw::Mismatch,
            RustlsError::InvalidCertificate(reason) => Flaw::Certificate(reason.to_string()),
            error => Flaw::Key(error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), label, names, not_after, fingerprint })
    }

    /// Reads the kept self-signed identity, or makes and keeps one.
    fn kept_self_signed(folder: &Path) -> Result<Self, IdentityError> {
        let files = self_signed_files(folder);
        if !keeps_self_signed(folder) {
            keep_self_signed(folder, &[SELF_SIGNED_NAME.into()])?;
        }
        let mut identity = Self::load(&files).map_err(|Unusable { mut file, .. }| {
            file.remedy.push_str(" Or delete it: the gateway makes another, with a new fingerprint.");
            IdentityError::File { key: "state_dir".into(), file }
        })?;
        identity.label = "self-signed".into();
        Ok(identity)
    }

    /// RFC 6125 §6.4.3: `*.` stands for one label.
    fn covers(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(own_parent) => parent == Some(own_parent),
            None => *own == name,
        })
    }
}

/// Configured certificates whose time is over: clients that verify turn away. What cannot be read is not among them.
pub fn expired_certificates(settings: &Settings) -> impl Iterator<Item = &Path> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let over = move |identity: Identity| u64::try_from(identity.not_after).unwrap_or_default() < now;
    let expired = move |files: &&CertificateFiles| Identity::load(files).is_ok_and(over);
    settings.certificates.iter().filter(expired).map(|files| files.certificate.as_path())
}

/// Which of the two files, and what is wrong with it.
struct Unusable {
    of_key: bool,
    file: FileError,
}

impl Unusable {
    fn certificate(file: FileError) -> Self {
        Self { of_key: false, file }
    }

    fn private_key(file: FileError) -> Self {
        Self { of_key: true, file }
    }

    /// The last part of the configuration's key.
    fn key(&self) -> &'static str {
        if self.of_key { "private_key" } else { "certificate" }
    }
}

/// Why chain and key are no identity.
#[derive(Debug, thiserror::Error)]
enum Flaw {
    #[error("{0}")]
    Certificate(String),
    /// Not 3, counted as people do.
    #[error("X.509 version {0}")]
    Version(u32),
    #[error("{0}")]
    Key(String),
    #[error("key and certificate are of different pairs")]
    Mismatch,
}

/// Reads a key, or says what is there in its place.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = fs::read(path).map_err(|error| FileError::unreadable(path, &error))?;
    let encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| holds(&text, mark)) {
        let remedy = "Write the key without: openssl pkey -in OLD -out NEW";
        return Err(FileError::new(path, "has a passphrase, and nobody could give it at a start", remedy));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound if holds(&text, b"BEGIN CERTIFICATE") => FileError::new(
            path,
            "holds a certificate and no private key in PEM form",
            "Write the path of the key's file.",
        ),
        pem::Error::NoItemsFound => FileError::new(
            path,
            "holds no private key in PEM form",
            "Write the path of a file with BEGIN PRIVATE KEY in it; openssl pkey converts from DER.",
        ),
        error => files::broken(path, &error),
    })
}

/// Makes a self-signed certificate for these names and keeps it and its key in `folder`.
///
/// # Errors
/// When the folder cannot be written to.
pub fn keep_self_signed(folder: &Path, names: &[String]) -> Result<CertificateFiles, IdentityError> {
    let files = self_signed_files(folder);
    let problem = |reason: String| IdentityError::SelfSigned { path: folder.to_owned(), reason };
    let (certificate, key) = make_self_signed(names).map_err(|error| problem(error.to_string()))?;
    keep(folder, &files, &certificate.pem(), &key.serialize_pem()).map_err(|error| problem(error.to_string()))?;
    Ok(files)
}

/// Whether a self-signed identity is kept in this folder.
pub fn keeps_self_signed(folder: &Path) -> bool {
    let files = self_signed_files(folder);
    fs::exists(&files.certificate).unwrap_or(false) && fs::exists(&files.private_key).unwrap_or(false)
}

fn self_signed_files(folder: &Path) -> CertificateFiles {
    CertificateFiles { certificate: folder.join(SELF_SIGNED_CERTIFICATE), private_key: folder.join(SELF_SIGNED_KEY) }
}

/// A new key and a certificate for it: ECDSA P-256, ten years.
fn make_self_signed(names: &[String]) -> Result<(rcgen::Certificate, rcgen::KeyPair), rcgen::Error> {
    const YEARS: i64 = 10;
    let mut parameters = rcgen::CertificateParams::new(names.to_vec())?;
    let now = time::OffsetDateTime::now_utc();
    // A client whose clock is behind shall not see a certificate of tomorrow.
    parameters.not_before = now - time::Duration::days(1);
    parameters.not_after = now + time::Duration::days(365 * YEARS);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "ftps-gateway self-signed");
    let key = rcgen::KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate, key))
}

/// SHA-256 of a certificate.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
    bytes
}

/// DNS names and end of a certificate.
fn describe(leaf: &CertificateDer<'_>) -> Result<(Vec<String>, i64), Flaw> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| Flaw::Certificate(error.to_string()))?;
    if parsed.version() != X509Version::V3 {
        return Err(Flaw::Version(parsed.version().0 + 1));
    }
    let alternative = parsed.subject_alternative_name().map_err(|error| Flaw::Certificate(error.to_string()))?;
    let names = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    Ok((names, parsed.validity().not_after.timestamp()))
}

/// Writes both files, the key first and readable by the owner alone; a crash in between leaves no half identity.
fn keep(folder: &Path, files: &CertificateFiles, certificate: &str, key: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    write_new(&files.private_key, key, 0o600)?;
    write_new(&files.certificate, certificate, 0o644)
}

fn write_new(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    // What a crash left behind may be readable by others.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of X.509 version 1, as `openssl x509 -req` makes them without `-extfile`.
    const VERSION_1: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBKDCBzwIUfNZdgJYbyXv7mTT35KPQ+Q5v7hMwCgYIKoZIzj0EAwIwFjEUMBIG\n\
A1UEAwwLZnRwLmV4YW1wbGUwIBcNMjYxMTI2MTAwMTMwWhgPMjEyNjExMDIxMDAx\n\
MzBaMBYxFDASBgNVBAMMC2Z0cC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAEuCg6DXburzH3RdHeaTH2ECpqnBFuMWlRgjICwhOXvUsX6Le3OqJErRPj\n\
lPjTrd6C6XwtkX3V5T6VckuEQyq9+TAKBggqhkjOPQQDAgNIADBFAiEApaODLBup\n\
vTAiIBeYeUSrbqYfr1+bkg1F01Icj18WmdYCIH0tSKtVlFfzYwmwU+w5dAfKtU4q\n\
GZPjtrr9ud/RAQby\n\
-----END CERTIFICATE-----\n";

    #[test]
    fn a_certificate_of_version_1_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let files = self_signed_files(folder.path());
        fs::write(&files.certificate, VERSION_1).unwrap();
        fs::write(&files.private_key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let said = Identity::load(&files).err().unwrap().file.to_string();
        let told =
            "self-signed.pem holds a certificate of X.509 version 1, and TLS takes version 3. Have it issued anew";
        assert!(said.contains(told), "{said}");
    }

    #[test]
    fn what_stands_in_the_place_of_a_key_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(vec!["ftp.example.com".to_owned()]).unwrap();
        let path = folder.path().join("key.pem");
        let says = |content: &str| {
            fs::write(&path, content).unwrap();
            read_key(&path).map_or_else(|error| error.to_string(), |_| String::new())
        };
        assert_eq!(says(&own.signing_key.serialize_pem()), "");
        assert!(says(&own.cert.pem()).contains("holds a certificate and no private key"));
        assert!(says("").contains("holds no private key"));
        for begin in
            ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED"]
        {
            let reason = says(&format!("{begin}\n\nAAAA\n-----END KEY-----\n"));
            assert!(reason.contains("openssl pkey"), "{reason}");
        }
    }
}
