//! Metrics that belong to a listener or a backend.
//!
//! Invariant: the names come from the configuration, never from a peer, so their number is bounded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{Histogram, IntCounter, IntGauge};

use super::closed::Family;
use crate::event::{BackendFailure, Why};
use crate::policy::Refusal;

/// What is counted for one listener.
#[derive(Debug)]
pub(super) struct Listener {
    /// Sessions that are open now.
    pub(super) active: IntGauge,
    /// Sessions that ended.
    pub(super) ended: Family<Why, IntCounter>,
    /// Connections that did not become sessions.
    pub(super) refused: Family<Refusal, IntCounter>,
}

/// What is counted for one backend.
#[derive(Debug)]
pub(super) struct Backend {
    /// The configuration in force has it. Sessions that began before a reload may still report on one that it has not.
    pub(super) configured: AtomicBool,
    /// Seconds to connect.
    pub(super) connect: Histogram,
    /// Failures.
    pub(super) failures: Family<BackendFailure, IntCounter>,
}

impl Backend {
    /// Whether `backend_up` may speak of it.
    pub(super) fn is_configured(&self) -> bool {
        self.configured.load(Ordering::Relaxed)
    }
}

/// Things found by a configured name, each made once.
#[derive(Debug)]
pub(super) struct ByName<T> {
    known: RwLock<HashMap<Box<str>, Arc<T>>>,
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self { known: RwLock::default() }
    }
}

impl<T> ByName<T> {
    /// The thing of this name; `make` makes it when it is asked for the first time.
    pub(super) fn get(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(known);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(name.into()).or_insert_with(|| Arc::new(make())))
    }

    /// Looks at each.
    pub(super) fn each(&self, mut look: impl FnMut(&str, &T)) {
        for (name, thing) in self.known.read().unwrap_or_else(PoisonError::into_inner).iter() {
            look(name, thing);
        }
    }
}
