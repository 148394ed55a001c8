//! Tells whether a TLS session that a client offers is a given front session's.

use std::fmt;
use std::sync::Arc;

use super::hello::Offered;
use super::tickets::{SessionName, SessionTickets};

/// Knows the tickets and session ids of one front session. It is not the proof that whoever shows one may have what is
/// meant for that session: a ticket can be seen on the wire and shown again by anybody. That proof is a handshake that
/// resumes.
#[derive(Clone)]
pub struct Seal(Arc<SessionTickets>);

impl Seal {
    pub(super) fn new(tickets: Arc<SessionTickets>) -> Self {
        Self(tickets)
    }

    /// The session's name.
    pub fn name(&self) -> SessionName {
        self.0.name()
    }

    /// Whether the session hands out anything that could be offered.
    pub fn is_in_use(&self) -> bool {
        self.0.enabled()
    }

    /// Whether one of the tickets is this session's.
    pub fn opens_ticket(&self, offered: &Offered) -> bool {
        offered.tickets().iter().any(|ticket| self.0.sealed(ticket))
    }

    /// Whether the session id is one of this session's (TLS 1.2 without tickets).
    pub fn knows_id(&self, offered: &Offered) -> bool {
        offered.session_id().is_some_and(|id| self.0.gave(id))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
    }
}
