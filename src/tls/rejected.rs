//! Whose certificate was rejected, for the log. rustls says why, and forgets which one it was.
//!
//! Invariants: what is told of it is printable and bounded. It is a stranger's text: nothing in it has been verified. A
//! certificate that cannot be read is rejected, whatever it is signed with.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::clients::ClientIdentity;
use super::failure::HandshakeFailure;
use crate::event::HandshakeResult;
use crate::ftp::Printable;

/// The most of a subject that is told.
const LONGEST_SUBJECT: usize = 256;

tokio::task_local! {
    /// What the handshake that is being driven has rejected.
    static REJECTED: RefCell<Option<String>>;
}

/// A verifier that remembers, for the handshake in whose course it is asked, what it has rejected.
#[derive(Debug)]
pub(super) struct Remembering(pub(super) Arc<dyn ClientCertVerifier>);

/// Drives a handshake. When a certificate is why it fails, the failure names it.
pub(super) async fn naming_rejected<T>(
    handshake: impl Future<Output = Result<T, HandshakeFailure>>,
) -> Result<T, HandshakeFailure> {
    REJECTED
        .scope(RefCell::default(), async {
            let mut shaken = handshake.await;
            if let Err(failure) = &mut shaken
                && failure.result == HandshakeResult::CertificateRejected
                && let Some(shown) = REJECTED.with(RefCell::take)
            {
                failure.detail = format!("{}; {shown}", failure.detail);
            }
            shaken
        })
        .await
}

fn told(leaf: &CertificateDer<'_>) -> String {
    let Some(identity) = ClientIdentity::of(std::slice::from_ref(leaf)) else {
        return "the certificate cannot be read".to_owned();
    };
    let shown = |text: &str| Printable(text.as_bytes().get(..LONGEST_SUBJECT).unwrap_or(text.as_bytes())).to_string();
    format!("its subject says {}, its serial number is {}", shown(&identity.subject), shown(&identity.serial))
}

impl ClientCertVerifier for Remembering {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(leaf, intermediates, now).and_then(|verified| {
            // Whose it is could not be told, and a client without a certificate may be anybody.
            let readable = ClientIdentity::of(std::slice::from_ref(leaf)).is_some();
            readable.then_some(verified).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
        });
        verified.inspect_err(|_| {
            // Outside a handshake that asks for it nobody would hear of it.
            let _ = REJECTED.try_with(|rejected| rejected.replace(Some(told(leaf))));
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
