//! Certificates of clients: whose they must be, which are revoked, and who is in one.
//!
//! Invariants: where a revocation list is given, a certificate that no list speaks of is refused, and so is one whose list
//! is out of date; what cannot be read is refused when it is loaded.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ClientCertVerifierBuilder, VerifierBuilderError, WebPkiClientVerifier};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::files::{self, FileError, SEQUENCE};
use super::settings::ClientCertificates;
use crate::policy::CertificateNames;

/// Verifies clients' certificates.
#[derive(Debug, Clone)]
pub struct ClientAuthorities {
    pub(super) request: Arc<dyn ClientCertVerifier>,
    pub(super) require: Arc<dyn ClientCertVerifier>,
}

/// Authorities or revocation lists cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {file}")]
pub struct ClientAuthoritiesError {
    /// The key that names the file, from `tls.client_certificates` on.
    pub key: String,
    /// The file, and what is wrong with it.
    pub file: FileError,
}

/// The certificate of a client, verified.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    leaf: CertificateDer<'static>,
    /// The subject as OpenSSL writes it. A client's text, if a verified one.
    pub subject: String,
    /// The subject of its authority, likewise.
    pub issuer: String,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// Whom it names.
    pub names: CertificateNames,
}

impl ClientAuthorities {
    /// Reads authorities and revocation lists.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(settings: &ClientCertificates) -> Result<Self, ClientAuthoritiesError> {
        let path = &settings.authorities;
        let problem = |file| ClientAuthoritiesError { key: "authorities".into(), file };
        let roots = Arc::new(files::authorities(path).map_err(problem)?);
        let builder = |lists: &[CertificateRevocationListDer<'static>]| {
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::new(default_provider()))
                .with_crls(lists.iter().cloned())
                .enforce_revocation_expiration()
        };
        let mut lists = Vec::new();
        for (index, path) in settings.revocation_lists.iter().enumerate() {
            // A single one may stand without a list around it.
            let single = settings.revocation_lists.len() == 1;
            let key = if single { "revocation_lists".to_owned() } else { format!("revocation_lists[{index}]") };
            let problem = |file| ClientAuthoritiesError { key: key.clone(), file };
            let (mut these, _) = revocation_lists(path).map_err(problem)?;
            // Alone: a problem of all together would not say whose it is.
            builder(&these).build().map_err(|error| problem(unusable_list(path, &error)))?;
            lists.append(&mut these);
        }
        let build = |builder: ClientCertVerifierBuilder| {
            builder.build().map_err(|error| {
                problem(FileError::new(path, format!("cannot be used: {error}"), "Write a file of other authorities."))
            })
        };
        Ok(Self { request: build(builder(&lists).allow_unauthenticated())?, require: build(builder(&lists))? })
    }
}

fn unusable_list(path: &Path, error: &VerifierBuilderError) -> FileError {
    let reason = match error {
        VerifierBuilderError::InvalidCrl(error) => format!("{error:?}"),
        error => error.to_string(),
    };
    let what = format!("holds a revocation list that cannot be used: {reason}");
    FileError::new(path, what, "Fetch the authority's full list (version 2, neither delta nor indirect).")
}

/// Files with a revocation list that is out of date: clients of its authority are refused until there is a new one. What
/// cannot be read is not among them.
pub fn outdated_lists(settings: &ClientCertificates) -> impl Iterator<Item = &Path> {
    let outdated = |path: &&Path| revocation_lists(path).is_ok_and(|(_, current)| !current);
    settings.revocation_lists.iter().map(PathBuf::as_path).filter(outdated)
}

/// Authorities, by their subject, that no list speaks for: clients whose certificates they have signed are refused.
/// Nobody, where there are no lists. What cannot be read is not among them.
pub fn unlisted_authorities(settings: &ClientCertificates) -> Vec<String> {
    let files = &settings.revocation_lists;
    let lists: Vec<_> =
        files.iter().filter_map(|path| revocation_lists(path).ok()).flat_map(|(lists, _)| lists).collect();
    let listed = |subject: &[u8]| {
        let issuer =
            |list| CertificateRevocationList::from_der(list).map(|(_, list)| list.issuer().as_raw() == subject);
        lists.iter().any(|list| issuer(list).unwrap_or(false))
    };
    let unlisted = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        (!listed(parsed.subject().as_raw())).then(|| parsed.subject().to_string())
    };
    let certificates = CertificateDer::pem_file_iter(&settings.authorities).into_iter().flatten().flatten();
    certificates.filter(|_| !lists.is_empty()).filter_map(|certificate| unlisted(&certificate)).collect()
}

/// All lists of a file, and whether all are in date.
fn revocation_lists(path: &Path) -> Result<(Vec<CertificateRevocationListDer<'static>>, bool), FileError> {
    let bytes = std::fs::read(path).map_err(|error| FileError::unreadable(path, &error))?;
    // Authorities publish DER.
    let lists = if bytes.first() == Some(&SEQUENCE) {
        vec![CertificateRevocationListDer::from(bytes)]
    } else {
        let lists = CertificateRevocationListDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
        lists.map_err(|error| files::broken(path, &error))?
    };
    if lists.is_empty() {
        let remedy = "Write the path of the list that the authority publishes, in PEM or DER.";
        return Err(FileError::new(path, "holds no revocation list", remedy));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut current = true;
    for list in &lists {
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|error| {
            let what = format!("holds a revocation list that cannot be read: {error}");
            FileError::new(path, what, "Fetch the authority's list again.")
        })?;
        let next = parsed.next_update().and_then(|next| u64::try_from(next.timestamp()).ok());
        current &= next.is_some_and(|next| now < next);
    }
    Ok((lists, current))
}

impl ClientIdentity {
    /// Whose certificate it is; `None`: it cannot be read.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?.clone().into_owned();
        let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
        let subject = parsed.subject();
        let owned = |text: Result<&str, _>| text.ok().map(str::to_owned);
        let mut names = CertificateNames {
            // One that is left out would make the other one of two the only one.
            common_names: subject.iter_common_name().map(|name| owned(name.as_str())).collect(),
            emails: subject.iter_email().filter_map(|name| owned(name.as_str())).collect(),
            dns: Vec::new(),
        };
        let alternative = parsed.subject_alternative_name().ok()?;
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                _ => {}
            }
        }
        let (subject, issuer) = (subject.to_string(), parsed.issuer().to_string());
        let serial = parsed.raw_serial_as_string();
        Some(Self { leaf, subject, issuer, serial, names })
    }

    /// Whether this is the leaf of a chain.
    pub(super) fn is(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain.first().is_some_and(|leaf| *leaf == self.leaf)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("subject", &self.subject).field("serial", &self.serial).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ClientCertificate, UserFrom};

    #[test]
    fn what_cannot_be_read_is_refused_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let own = rcgen::generate_simple_self_signed(vec!["authority.example".to_owned()]).unwrap();
        let authority = file("authority.pem", own.cert.pem().as_bytes());
        let load = |authorities: &Path, lists: &[&Path]| {
            let settings = ClientCertificates {
                authorities: authorities.to_owned(),
                revocation_lists: lists.iter().map(|path| (*path).to_owned()).collect(),
                ask: ClientCertificate::Require,
                user_from: UserFrom::None,
            };
            ClientAuthorities::load(&settings).map(|_| ()).map_err(|error| (error.key, error.file.path))
        };
        assert_eq!(load(&authority, &[]), Ok(()));
        let (empty, garbage) = (file("empty.pem", b""), file("garbage.crl", b"\x30\x82\x01\x00"));
        let missing = folder.path().join("missing");
        let mut signer = rcgen::CertificateParams::new(Vec::new()).unwrap();
        signer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signer = rcgen::Issuer::new(signer, rcgen::KeyPair::generate().unwrap());
        let now = time::OffsetDateTime::now_utc();
        let good = rcgen::CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(9),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = file("list.crl", good.signed_by(&signer).unwrap().der());
        for wrong in [&empty, &garbage, &missing] {
            assert_eq!(load(wrong, &[]), Err(("authorities".to_owned(), wrong.clone())));
            assert_eq!(load(&authority, &[wrong]), Err(("revocation_lists".to_owned(), wrong.clone())));
            let second = ("revocation_lists[1]".to_owned(), wrong.clone());
            assert_eq!(load(&authority, &[&list, wrong]), Err(second));
        }
        // A certificate is no revocation list.
        assert_eq!(load(&authority, &[&authority]), Err(("revocation_lists".to_owned(), authority.clone())));
    }
}
