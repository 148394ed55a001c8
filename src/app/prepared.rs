//! What a configuration needs from outside before it can be in force, and what sessions have around them once it is.
//!
//! Invariant: everything that can be wrong with it is found before anything is changed.

use std::sync::Arc;

use super::second_factor;
use crate::backend::{Backend, Pool};
use crate::config::Settings;
use crate::data::{Advertise, Bandwidths, PassivePorts};
use crate::event::Observer;
use crate::net::Blocks;
use crate::policy::{Admission, ClientCertificate, HostNames, Pace, SecondFactor, Secrets, UsedCodes, UserFrom};
use crate::session::{self, Surroundings};
use crate::telemetry::AuditFile;
use crate::tls::{ClientAuthorities, ConnectorError, FrontTls, Identities, IdentityError};

/// What a configuration needs besides sockets: everything that can be wrong with it is found here.
pub(super) struct Prepared {
    pub(super) identities: Arc<Identities>,
    front_tls: FrontTls,
    backends: Vec<Backend>,
    advertise: Advertise,
    secrets: Option<Secrets>,
    pub(super) audit: Option<AuditFile>,
}

impl Prepared {
    /// Loads certificates and authorities.
    ///
    /// # Errors
    /// Every problem, each with its key, the file that it is in, and what to do.
    pub(super) fn new(settings: &Settings) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let identities = match Identities::load(&settings.tls) {
            Ok(identities) => Some(Arc::new(identities)),
            Err(errors) => {
                problems.extend(errors.iter().map(described));
                None
            }
        };
        let mut backends = Vec::new();
        for backend in &settings.backends {
            match Backend::new(backend.clone()) {
                Ok(backend) => backends.push(backend),
                Err(error) => problems.push(format!("backends.{}.{}: {error}", backend.name, key_of(&error))),
            }
        }
        let advertise = match Advertise::new(settings.data.advertise.clone()) {
            Ok(advertise) => Some(advertise),
            Err(error) => {
                problems.push(format!("passive.advertise: the system's resolver cannot be used: {error}. Mend /etc/resolv.conf, or write addresses."));
                None
            }
        };
        let clients = settings.tls.client_certificates.as_ref().map(ClientAuthorities::load).transpose();
        let clients = clients.unwrap_or_else(|error| {
            problems.push(format!("tls.client_certificates.{error}"));
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
        }
        let front_tls = front_tls.map_err(|error| vec![format!("tls: {error}")])?;
        Ok(Self { identities, front_tls, backends, advertise, secrets, audit })
    }
}

fn described(error: &IdentityError) -> String {
    match error {
        IdentityError::SelfSigned { .. } => format!("state_dir: {error}"),
        IdentityError::File { .. } => error.to_string(),
    }
}

/// The key of a backend that has to do with this.
fn key_of(error: &ConnectorError) -> &'static str {
    match error {
        ConnectorError::Authorities(_) => "verify.authorities",
        ConnectorError::Name(_) => "verify.name",
        ConnectorError::SystemRoots(_) | ConnectorError::Tls(_) => "verify",
    }
}

/// What outlives a configuration.
pub(super) struct Shared {
    pub(super) ports: Arc<PassivePorts>,
    pub(super) admission: Arc<Admission>,
    pub(super) pace: Arc<Pace>,
    pub(super) bandwidths: Arc<Bandwidths>,
    pub(super) blocks: Blocks,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) used_codes: Arc<UsedCodes>,
}

/// What a session has around it, under these settings.
pub(super) fn surroundings(settings: &Settings, prepared: Prepared, shared: Shared) -> Surroundings {
    let Shared { ports, admission, pace, bandwidths, blocks, observer, used_codes } = shared;
    let second_factor = settings.second_factor.as_ref().map(|totp| {
        let secrets = prepared.secrets.unwrap_or_default();
        SecondFactor::new(secrets, totp.required.clone(), totp.skew, used_codes)
    });
    let hosts = HostNames {
        routed: settings.routes.hosts().cloned().collect(),
        certified: prepared.identities.all().iter().flat_map(|identity| identity.names.clone()).collect(),
    };
    let clients = settings.tls.client_certificates.as_ref();
    Surroundings {
        settings: session::Settings {
            protection: settings.protection,
            routes: settings.routes.clone(),
            commands: settings.commands.clone(),
            hosts,
            client_certificate: clients.map_or(ClientCertificate::None, |clients| clients.ask),
            listener_certificates: settings.listener_certificates.clone(),
            user_from: clients.map_or(UserFrom::None, |clients| clients.user_from),
            recorded: settings.audit.is_some(),
            command_length: settings.command_length,
            reply_length: settings.reply_length,
            timeouts: settings.timeouts,
            banner: settings.banner.clone(),
        },
        front_tls: prepared.front_tls,
        pool: Pool::new(prepared.backends),
        advertise: prepared.advertise.remembering(ports.last_known()),
        ports,
        active: settings.data.active,
        admission,
        pace,
        bandwidths,
        blocks,
        second_factor,
        observer,
    }
}
