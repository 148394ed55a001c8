//! What a configuration names, read and opened.

use std::sync::Arc;

use super::second_factor;
use crate::backend::Backend;
use crate::config::Settings;
use crate::data::Advertise;
use crate::policy::Secrets;
use crate::telemetry::AuditFile;
use crate::tls::{ClientAuthorities, FrontTls, Identities, IdentityError};

/// What a configuration needs besides sockets: everything that can be wrong with it is found here.
pub(super) struct Prepared {
    pub(super) identities: Arc<Identities>,
    pub(super) front_tls: FrontTls,
    pub(super) backends: Vec<Backend>,
    pub(super) advertise: Advertise,
    pub(super) secrets: Option<Secrets>,
    pub(super) audit: Option<AuditFile>,
}

impl Prepared {
    /// Loads certificates and authorities.
    ///
    /// # Errors
    /// Every problem, each naming its file.
    pub(super) fn new(settings: &Settings) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let identities = match Identities::load(&settings.tls) {
            Ok(identities) => Some(Arc::new(identities)),
            Err(error) => {
                problems.push(described(&error));
                None
            }
        };
        let mut backends = Vec::new();
        for backend in &settings.backends {
            match Backend::new(backend.clone()) {
                Ok(backend) => backends.push(backend),
                Err(error) => problems.push(format!("backends.{}.verify: {error}", backend.name)),
            }
        }
        let advertise = match Advertise::new(settings.data.advertise.clone()) {
            Ok(advertise) => Some(advertise),
            Err(error) => {
                problems.push(format!("passive.advertise: the system's resolver cannot be used: {error}"));
                None
            }
        };
        let clients = settings.tls.client_certificates.as_ref().map(ClientAuthorities::load).transpose();
        let clients = clients.unwrap_or_else(|error| {
            problems.push(format!("tls.client_certificates: {error}"));
            None
        });
        let secrets = settings.second_factor.as_ref().map(|totp| second_factor::load(&totp.secrets)).transpose();
        let secrets = secrets.unwrap_or_else(|mut flaws| {
            problems.append(&mut flaws);
            None
        });
        let audit = settings.audit.as_ref().map(|audit| AuditFile::open(&audit.path)).transpose();
        let audit = audit.unwrap_or_else(|error| {
            problems.push(error.to_string());
            None
        });
        let (Some(identities), Some(advertise), true) = (identities, advertise, problems.is_empty()) else {
            return Err(problems);
        };
        let (minimum, resumption) = (settings.tls.minimum_version, settings.protection.data_resumption);
        let mut front_tls = FrontTls::new(Arc::clone(&identities), minimum, resumption);
        if let Some(clients) = &clients {
            front_tls = front_tls.and_then(|front_tls| front_tls.asking(&identities, minimum, clients));
            for path in clients.outdated() {
                tracing::warn!(path = %path.display(), "a revocation list is out of date: its authority's clients are refused");
            }
        }
        let front_tls = front_tls.map_err(|error| vec![format!("tls: {error}")])?;
        Ok(Self { identities, front_tls, backends, advertise, secrets, audit })
    }
}

fn described(error: &IdentityError) -> String {
    match error {
        IdentityError::SelfSigned { .. } => error.to_string(),
        IdentityError::File { .. } | IdentityError::Mismatch { .. } => format!("tls.certificates: {error}"),
    }
}
