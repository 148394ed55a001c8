//! Why a handshake failed, as one closed set and as a text for people.

use std::io;

use tokio_rustls::rustls::{AlertDescription, Error as RustlsError};

use crate::event::{Channel, Handshake, HandshakeKind, HandshakeResult, Leg, TlsVersion};

/// A failed handshake.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct HandshakeFailure {
    /// The reason as a label.
    pub result: HandshakeResult,
    /// The reason in words. Of the peer's bytes nothing is in it but what a certificate says that was rejected, printable.
    pub detail: String,
}

impl HandshakeFailure {
    /// A failure with words of its own.
    pub fn new(result: HandshakeResult, detail: impl Into<String>) -> Self {
        Self { result, detail: detail.into() }
    }

    /// The failure as part of an event.
    pub fn handshake(&self, leg: Leg, channel: Channel) -> Handshake {
        Handshake {
            leg,
            channel,
            version: TlsVersion::Unknown,
            kind: HandshakeKind::None,
            result: self.result,
            cipher: None,
        }
    }

    /// Not finished in time.
    pub fn timeout(deadline: std::time::Duration) -> Self {
        Self::new(HandshakeResult::Timeout, format!("the TLS handshake was not finished within {deadline:?}"))
    }
}

impl From<io::Error> for HandshakeFailure {
    fn from(error: io::Error) -> Self {
        let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
        let result = match rustls {
            Some(error) => classify(error),
            None => HandshakeResult::Closed,
        };
        Self { result, detail: error.to_string() }
    }
}

impl From<RustlsError> for HandshakeFailure {
    fn from(error: RustlsError) -> Self {
        Self { result: classify(&error), detail: error.to_string() }
    }
}

fn classify(error: &RustlsError) -> HandshakeResult {
    match error {
        RustlsError::InvalidMessage(_) => HandshakeResult::NotTls,
        RustlsError::PeerIncompatible(_) => HandshakeResult::NoCommonParameters,
        // A list that is signed by somebody else, or cannot be read, is found out when a certificate is held against it.
        RustlsError::InvalidCertificate(_)
        | RustlsError::InvalidCertRevocationList(_)
        | RustlsError::NoCertificatesPresented => HandshakeResult::CertificateRejected,
        RustlsError::NoApplicationProtocol => HandshakeResult::ForeignProtocol,
        RustlsError::AlertReceived(alert) => match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => HandshakeResult::CertificateRejected,
            AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
                HandshakeResult::NoCommonParameters
            }
            _ => HandshakeResult::Alert,
        },
        _ => HandshakeResult::Protocol,
    }
}
