//! File descriptors: as many as the system gives, and a word when they are too few for what is configured.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Settings;

/// A session has a control connection on each leg, and while it transfers a data connection on each.
const PER_SESSION: u64 = 4;
/// Standard streams, the runtime's own, signals, the admin pages, names being looked up.
const OWN: u64 = 64;

/// How many descriptors are wanted, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    /// What the configured sessions can need.
    pub(super) needed: u64,
    /// What the system allows.
    pub(super) limit: u64,
    /// How many sessions that carries.
    pub(super) sessions: u64,
}

/// Raises this process' soft limit to the hard one. A shell gives 1024 for programs that know no better (select); this
/// one does. It starts no other program that could inherit the limit.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of file descriptors stays as it is");
    }
}

/// Whether the sessions that are configured can run out of descriptors.
pub(super) fn shortage(settings: &Settings) -> Option<Shortage> {
    // `None`: there is no limit.
    getrlimit(Resource::Nofile).current.and_then(|limit| fall_short(settings, limit))
}

fn fall_short(settings: &Settings, limit: u64) -> Option<Shortage> {
    let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let listeners = count(settings.listeners.len());
    // A passive port is bound on each address that clients can dial.
    let bound =
        OWN.saturating_add(listeners).saturating_add(listeners.saturating_mul(count(settings.data.ports.len())));
    let needed = bound.saturating_add(count(settings.limits.sessions).saturating_mul(PER_SESSION));
    let sessions = limit.saturating_sub(bound) / PER_SESSION;
    (needed > limit).then_some(Shortage { needed, limit, sessions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_said_in_sessions() {
        let text = "listeners: [{ address: \"127.0.0.1:21\" }, { address: \"127.0.0.1:990\", tls: implicit }]\n\
                    passive: { ports: 50000-50099 }\nlimits: { sessions: 1000 }\n\
                    backends: { legacy: { servers: [\"127.0.0.1:9\"] } }\n";
        let settings = crate::config::parse(text, "gateway.yaml").unwrap();
        // 1000 sessions, a hundred ports on two addresses, two listeners, and the process' own.
        let needed = 4000 + 200 + 2 + OWN;
        assert_eq!(fall_short(&settings, needed), None);
        assert_eq!(fall_short(&settings, needed - 1), Some(Shortage { needed, limit: needed - 1, sessions: 999 }));
        assert_eq!(fall_short(&settings, 100), Some(Shortage { needed, limit: 100, sessions: 0 }));
    }
}
