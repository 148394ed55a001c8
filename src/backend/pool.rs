//! All backends by name, and what is remembered of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::settings::{Security, Settings};
use crate::tls::{Connector, ConnectorError};

/// One backend, ready to be dialled.
pub struct Backend {
    settings: Settings,
    connector: Option<Connector>,
    features: ArcSwapOption<Vec<Vec<u8>>>,
    old_tls: AtomicBool,
}

/// All backends of one configuration.
#[derive(Default)]
pub struct Pool {
    backends: HashMap<Arc<str>, Arc<Backend>>,
    command_length: usize,
}

impl Backend {
    /// Loads what TLS towards the backend needs.
    ///
    /// # Errors
    /// When authorities or name cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ConnectorError> {
        let connector = match &settings.security {
            Security::None => None,
            Security::Explicit(verification) | Security::Implicit(verification) => {
                Some(Connector::new(verification, &settings.server.host)?)
            }
        };
        Ok(Self { settings, connector, features: ArcSwapOption::empty(), old_tls: AtomicBool::new(false) })
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// TLS towards it, when it is to be reached over TLS.
    pub fn connector(&self) -> Option<&Connector> {
        self.connector.as_ref()
    }

    /// Whether it is known not to speak TLS 1.3.
    pub(super) fn has_old_tls(&self) -> bool {
        self.old_tls.load(Ordering::Relaxed)
    }

    /// Remembers whether it does not speak TLS 1.3.
    pub(super) fn note_old_tls(&self, old: bool) {
        self.old_tls.store(old, Ordering::Relaxed);
    }

    /// The feature lines of its last FEAT reply, without the leading blank; `None`: it was never asked.
    pub fn features(&self) -> Option<Arc<Vec<Vec<u8>>>> {
        self.features.load_full()
    }

    /// Remembers its feature lines; none when it does not know FEAT.
    pub fn learn_features(&self, lines: Vec<Vec<u8>>) {
        self.features.store(Some(Arc::new(lines)));
    }
}

impl Pool {
    /// Takes backends in; each has a name of its own.
    pub fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        let named = |backend: Backend| (Arc::clone(&backend.settings.name), Arc::new(backend));
        let backends: HashMap<_, _> = backends.into_iter().map(named).collect();
        let lengths = backends.values().map(|backend| backend.settings.command_length);
        Self { command_length: lengths.min().unwrap_or_default(), backends }
    }

    /// The backend of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Backend>> {
        self.backends.get(name)
    }

    /// The longest command that each of them takes as one, in bytes without the line end.
    pub fn command_length(&self) -> usize {
        self.command_length
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.values()
    }
}
