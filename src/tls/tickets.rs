//! The tickets of one front session: only this session can open them, and it opens them as often as they come.
//!
//! Invariants: the sealing key is made for one control connection and dies with it, so a ticket cannot outlive its
//! session and no session can outlive its tickets, whatever its length and whatever certificate reloads come between.
//! A ticket names its session in clear (RFC 5077 §4's key name), so that another session's ticket can be told from
//! none. Why a resumption did not happen is remembered for the handshake that asks next.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use tokio_rustls::rustls::server::{ProducesTickets, StoresServerSessions};

/// Names a session in its tickets.
const NAME: usize = 16;
/// A week, the longest RFC 8446 §4.6.1 allows. It is a hint to the client; the key's life is the limit.
const LIFETIME_HINT: u32 = 7 * 24 * 60 * 60;
/// TLS 1.2 sessions without tickets that are kept: the control connection's own and the latest of data connections.
const STORED_SESSIONS: usize = 8;

/// What became of the session that a client offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// Nothing was offered.
    None,
    /// Something that is not of this session.
    Foreign,
    /// A session of this control connection.
    Own,
}

/// Seals and opens the tickets of one control connection, and keeps its TLS 1.2 sessions.
pub(super) struct SessionTickets {
    enabled: bool,
    name: [u8; NAME],
    key: RandomizedNonceKey,
    memory: Mutex<Memory>,
}

struct Memory {
    offer: Offer,
    sessions: Vec<(Vec<u8>, Vec<u8>)>,
}

impl SessionTickets {
    /// A new name and a new key. `enabled`: whether resumption is offered at all.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new(enabled: bool) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut name = [0; NAME];
        rand::fill(&mut name)?;
        let mut key = [0; 32];
        rand::fill(&mut key)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key)?;
        Ok(Self { enabled, name, key, memory: Mutex::new(Memory { offer: Offer::None, sessions: Vec::new() }) })
    }

    /// Forgets what was offered before: a new handshake begins.
    pub(super) fn begin(&self) {
        self.memory().offer = Offer::None;
    }

    /// What the client offered since [`Self::begin`].
    pub(super) fn offer(&self) -> Offer {
        self.memory().offer
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, offer: Offer) {
        let mut memory = self.memory();
        // A TLS 1.3 client may offer several; one good one is enough.
        if memory.offer != Offer::Own {
            memory.offer = offer;
        }
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(self.name), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        if name != self.name {
            return None;
        }
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(self.name), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for SessionTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTickets").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl ProducesTickets for SessionTickets {
    fn enabled(&self) -> bool {
        self.enabled
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_HINT
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.open(cipher);
        self.note(if plain.is_some() { Offer::Own } else { Offer::Foreign });
        plain
    }
}

impl StoresServerSessions for SessionTickets {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut memory = self.memory();
        if memory.sessions.len() == STORED_SESSIONS {
            // The first is the control connection's own, which some clients offer for ever.
            memory.sessions.remove(1);
        }
        memory.sessions.push((key, value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.memory().sessions.iter().find(|(stored, _)| stored == key).map(|(_, value)| value.clone());
        self.note(if found.is_some() { Offer::Own } else { Offer::Foreign });
        found
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        self.enabled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_again_and_again_and_only_in_its_own_session() {
        let (mine, other) = (SessionTickets::new(true).unwrap(), SessionTickets::new(true).unwrap());
        let ticket = mine.encrypt(b"secret").unwrap();
        for _ in 0..100 {
            assert_eq!(mine.decrypt(&ticket).as_deref(), Some(&b"secret"[..]));
        }
        assert_eq!(mine.offer(), Offer::Own);
        other.begin();
        assert_eq!(other.decrypt(&ticket), None);
        assert_eq!(other.offer(), Offer::Foreign);
    }

    #[test]
    fn a_changed_or_cut_ticket_does_not_open() {
        let tickets = SessionTickets::new(true).unwrap();
        let ticket = tickets.encrypt(b"secret").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None);
            assert_eq!(tickets.decrypt(&ticket[..at]), None);
        }
    }

    #[test]
    fn the_control_connections_own_session_is_never_pushed_out() {
        let tickets = SessionTickets::new(true).unwrap();
        for number in 0..100u8 {
            tickets.put(vec![number], vec![number]);
        }
        assert_eq!(tickets.get(&[0]), Some(vec![0]));
        assert_eq!(tickets.get(&[99]), Some(vec![99]));
        assert_eq!(tickets.get(&[50]), None);
    }
}
