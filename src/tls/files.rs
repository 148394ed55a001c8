//! Certificates in PEM files, and what is wrong with a file, said with a remedy.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};

/// The first byte of DER. PEM begins with text.
pub(super) const SEQUENCE: u8 = 0x30;

/// A file cannot be used: which, why, and what to do. One line of text.
#[derive(Debug, thiserror::Error)]
#[error("{path} {what}. {remedy}", path = path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it, a sentence.
    pub remedy: String,
}

impl FileError {
    pub(super) fn new(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::new(path, format!("cannot be read: {error}"), "Let the user that the gateway runs as read it.")
    }
}

/// All certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = fs::read(path).map_err(|error| FileError::unreadable(path, &error))?;
    let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| broken(path, &error))?;
    if certificates.is_empty() {
        let (what, remedy) = instead_of_certificates(&bytes);
        return Err(FileError::new(path, format!("holds {what}no certificate in PEM form"), remedy));
    }
    Ok(certificates)
}

/// The authorities of a PEM file; at least one.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| {
            let what = format!("holds a certificate that cannot be used: {error}");
            FileError::new(path, what, "Take it out, or copy it again.")
        })?;
    }
    Ok(roots)
}

/// PEM that begins and does not go on as it should.
pub(super) fn broken(path: &Path, error: &pem::Error) -> FileError {
    let what = match error {
        // The library would write the name of the section as numbers.
        pem::Error::MissingSectionEnd { .. } => "a section has no END line".to_owned(),
        error => error.to_string(),
    };
    FileError::new(path, format!("is damaged: {what}"), "Copy the whole file again, with its BEGIN and END lines.")
}

fn instead_of_certificates(bytes: &[u8]) -> (&'static str, &'static str) {
    if bytes.is_empty() {
        ("nothing: ", "Copy the file again.")
    } else if bytes.first() == Some(&SEQUENCE) {
        ("DER: ", "Convert it: openssl x509 -inform DER -in OLD -out NEW")
    } else if holds(bytes, b"PRIVATE KEY-----") {
        ("a private key and ", "Write the path of the certificate's file.")
    } else {
        ("", "Write the path of a file with BEGIN CERTIFICATE in it.")
    }
}

/// Whether these bytes are in the file.
pub(super) fn holds(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|part| part == mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_place_of_certificates_is_said_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(vec!["ftp.example.com".to_owned()]).unwrap();
        let path = folder.path().join("chain.pem");
        let says = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            certificates(&path).map(|found| found.len()).map_err(|error| error.to_string())
        };
        assert_eq!(says(own.cert.pem().as_bytes()), Ok(1));
        let key = own.signing_key.serialize_pem();
        let torn = own.cert.pem().replace("-----END", "");
        for (content, what, remedy) in [
            (&b""[..], "holds nothing: no certificate", "Copy the file again."),
            (b"garbage\n", "holds no certificate in PEM form", "BEGIN CERTIFICATE"),
            (own.cert.der(), "holds DER: no certificate", "openssl x509"),
            (key.as_bytes(), "holds a private key and no certificate", "certificate's file"),
            (torn.as_bytes(), "is damaged: a section has no END line", "Copy the whole file"),
        ] {
            let said = says(content).unwrap_err();
            assert!(said.starts_with(&format!("{} {what}", path.display())) && said.contains(remedy), "{said}");
        }
        assert!(certificates(folder.path()).unwrap_err().to_string().contains("cannot be read: "));
    }
}
