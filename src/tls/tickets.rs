//! The tickets of one front session: only this session can open them, and it opens them as often as they come.
//!
//! Invariants: the sealing key is made for one control connection and dies with it, so a ticket cannot outlive its
//! session and no session can outlive its tickets, whatever its length and whatever certificate reloads come between.
//! A ticket names its session in clear (RFC 5077 §4's key name), so that another session's ticket can be told from
//! none, and under the seal the connection that it was handed out on: it counts when that was the control connection,
//! or a data connection that had resumed itself. Whoever takes the client's place on a data connection wins no ticket
//! that counts. Why a resumption did not happen is remembered with the connection.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use tokio_rustls::rustls::server::{ProducesTickets, StoresServerSessions};

/// Names a session in its tickets.
pub(super) const NAME: usize = 16;
/// The name of a session, as its tickets carry it in clear.
pub type SessionName = [u8; NAME];

/// A week, the longest RFC 8446 §4.6.1 allows. It is a hint to the client; the key's life is the limit.
const LIFETIME_HINT: u32 = 7 * 24 * 60 * 60;
/// TLS 1.2 sessions without tickets that are kept: the control connection's own and the latest of data connections.
const STORED_SESSIONS: usize = 8;

/// Data connections whose tickets count; the oldest go first. No client keeps that many tickets.
const TRUSTED: usize = 4096;
/// The control connection's number among the connections of a session.
const CONTROL: u32 = 0;

/// What became of the session that a client offered, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Offer {
    /// Nothing was offered.
    None,
    /// Something that is not of this session.
    Foreign,
    /// A session of this control connection, from a data connection so long ago that it is forgotten whether it counted.
    Expired,
    /// A session of this control connection.
    Own,
}

/// The key and the memory of one session.
pub(super) struct SessionTickets {
    enabled: bool,
    name: SessionName,
    key: RandomizedNonceKey,
    memory: Mutex<Memory>,
}

struct Memory {
    next: u32,
    trusted: BTreeSet<u32>,
    /// What data connections before this one were is forgotten.
    forgotten: u32,
    sessions: Vec<StoredSession>,
}

struct StoredSession {
    key: Vec<u8>,
    value: Vec<u8>,
    connection: u32,
}

/// Hands out tickets on one connection of a session, and opens those of all.
pub(super) struct ConnectionTickets {
    session: Arc<SessionTickets>,
    number: u32,
    offer: Mutex<Offer>,
    tls12: AtomicBool,
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
        let memory = Memory { next: CONTROL + 1, trusted: BTreeSet::new(), forgotten: CONTROL, sessions: Vec::new() };
        Ok(Self { enabled, name, key, memory: Mutex::new(memory) })
    }

    /// Whether resumption is offered at all.
    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// For the control connection.
    pub(super) fn control(self: &Arc<Self>) -> Arc<ConnectionTickets> {
        self.connection(CONTROL)
    }

    /// For one more data connection.
    pub(super) fn data(self: &Arc<Self>) -> Arc<ConnectionTickets> {
        let mut memory = self.memory();
        let number = memory.next;
        memory.next += 1;
        drop(memory);
        self.connection(number)
    }

    /// As after thousands of data connections.
    #[cfg(test)]
    pub(super) fn forget_data_connections(self: &Arc<Self>) {
        for _ in 0..=TRUSTED {
            self.data().trust();
        }
    }

    /// The name that tickets carry.
    pub(super) fn name(&self) -> SessionName {
        self.name
    }

    /// Whether a ticket was sealed by this session, on whichever of its connections.
    pub(super) fn sealed(&self, ticket: &[u8]) -> bool {
        self.open(ticket).is_some()
    }

    /// Whether a TLS 1.2 session id was given by this session, on whichever of its connections.
    pub(super) fn gave(&self, session_id: &[u8]) -> bool {
        self.memory().sessions.iter().any(|stored| stored.key == session_id)
    }

    fn connection(self: &Arc<Self>, number: u32) -> Arc<ConnectionTickets> {
        Arc::new(ConnectionTickets {
            session: Arc::clone(self),
            number,
            offer: Mutex::new(Offer::None),
            tls12: AtomicBool::new(false),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, number: u32, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = [&number.to_be_bytes(), plain].concat();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(self.name), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut sealed);
        Some(ticket)
    }

    /// What is in a ticket, and what it is worth.
    fn open(&self, ticket: &[u8]) -> Option<(Offer, Vec<u8>)> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        if name != self.name {
            return None;
        }
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(self.name), &mut opened).ok()?;
        let (number, plain) = opened.split_first_chunk()?;
        Some((self.memory().standing(u32::from_be_bytes(*number)), plain.to_vec()))
    }
}

impl Memory {
    /// What is worth what was handed out on a connection.
    fn standing(&self, connection: u32) -> Offer {
        if connection == CONTROL || self.trusted.contains(&connection) {
            Offer::Own
        } else if connection < self.forgotten {
            Offer::Expired
        } else {
            Offer::Foreign
        }
    }

    fn trust(&mut self, connection: u32) {
        self.trusted.insert(connection);
        if self.trusted.len() > TRUSTED
            && let Some(oldest) = self.trusted.pop_first()
        {
            self.forgotten = oldest + 1;
        }
    }
}

impl ConnectionTickets {
    /// What the client offered on this connection.
    pub(super) fn offer(&self) -> Offer {
        *self.offered()
    }

    /// This connection has resumed, so what was handed out on it counts.
    pub(super) fn trust(&self) {
        self.session.memory().trust(self.number);
    }

    /// The client offers TLS 1.2 at best.
    pub(super) fn expect_tls12(&self) {
        self.tls12.store(true, Ordering::Relaxed);
    }

    fn offered(&self) -> MutexGuard<'_, Offer> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A TLS 1.3 client may offer several: the best counts.
    fn note(&self, offered: Offer) {
        let mut offer = self.offered();
        *offer = offered.max(*offer);
    }
}

impl fmt::Debug for SessionTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTickets").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTickets").field("number", &self.number).finish_non_exhaustive()
    }
}

impl ProducesTickets for ConnectionTickets {
    /// Over TLS 1.2 a session that is resumed keeps its ticket. To OpenSSL a new one means that the old one is void; it
    /// throws the session away that PHP and others want to offer again. rustls asks here once it has opened the ticket.
    fn enabled(&self) -> bool {
        self.session.enabled && !(self.tls12.load(Ordering::Relaxed) && self.offer() == Offer::Own)
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_HINT
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.session.seal(self.number, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let Some((offer, plain)) = self.session.open(cipher) else {
            self.note(Offer::Foreign);
            return None;
        };
        self.note(offer);
        (offer == Offer::Own).then_some(plain)
    }
}

impl StoresServerSessions for ConnectionTickets {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut memory = self.session.memory();
        if memory.sessions.len() == STORED_SESSIONS {
            // The first is the control connection's own, which some clients offer for ever.
            memory.sessions.remove(1);
        }
        memory.sessions.push(StoredSession { key, value, connection: self.number });
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let memory = self.session.memory();
        let known = memory.sessions.iter().filter(|stored| stored.key == key);
        let best = known.map(|stored| (memory.standing(stored.connection), stored)).max_by_key(|(offer, _)| *offer);
        let (offer, found) = match best {
            Some((Offer::Own, stored)) => (Offer::Own, Some(stored.value.clone())),
            Some((offer, _)) => (offer, None),
            None => (Offer::Foreign, None),
        };
        drop(memory);
        self.note(offer);
        found
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        self.session.enabled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Arc<SessionTickets> {
        Arc::new(SessionTickets::new(true).unwrap())
    }

    #[test]
    fn a_ticket_opens_again_and_again_and_only_in_its_own_session() {
        let (mine, other) = (session(), session());
        let ticket = mine.control().encrypt(b"secret").unwrap();
        for _ in 0..100 {
            let data = mine.data();
            assert_eq!(data.decrypt(&ticket).as_deref(), Some(&b"secret"[..]));
            assert_eq!(data.offer(), Offer::Own);
        }
        let data = other.data();
        assert_eq!(data.decrypt(&ticket), None);
        assert_eq!(data.offer(), Offer::Foreign);
    }

    /// rustls announces a new ticket when this says so, and asks behind `decrypt`.
    #[test]
    fn a_tls_1_2_session_that_resumes_gets_no_new_ticket() {
        let session = session();
        let ticket = session.control().encrypt(b"secret").unwrap();
        let (resumes, begins, new) = (session.data(), session.data(), session.data());
        resumes.expect_tls12();
        begins.expect_tls12();
        for data in [&resumes, &new] {
            assert!(data.decrypt(&ticket).is_some());
        }
        assert_eq!([resumes.enabled(), begins.enabled(), new.enabled()], [false, true, true]);
    }

    #[test]
    fn a_changed_or_cut_ticket_does_not_open() {
        let control = session().control();
        let ticket = control.encrypt(b"secret").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(control.decrypt(&changed), None);
            assert_eq!(control.decrypt(&ticket[..at]), None);
        }
    }

    #[test]
    fn what_a_data_connection_hands_out_counts_once_it_has_resumed() {
        let session = session();
        let data = session.data();
        let ticket = data.encrypt(b"secret").unwrap();
        data.put(vec![1], vec![2]);
        let next = session.data();
        assert_eq!((next.decrypt(&ticket), next.get(&[1])), (None, None));
        assert_eq!(next.offer(), Offer::Foreign);
        data.trust();
        assert_eq!((next.decrypt(&ticket), next.get(&[1])), (Some(b"secret".to_vec()), Some(vec![2])));
        for _ in 0..=TRUSTED {
            session.data().trust();
        }
        let late = session.data();
        assert_eq!((late.decrypt(&ticket), late.offer()), (None, Offer::Expired));
        // The control connection's own is never forgotten, and what was never known is not expired.
        let own = session.control().encrypt(b"secret").unwrap();
        assert!(session.data().decrypt(&own).is_some());
        let untrusted = session.data().encrypt(b"secret").unwrap();
        let late = session.data();
        assert_eq!((late.decrypt(&untrusted), late.offer()), (None, Offer::Foreign));
    }

    #[test]
    fn of_several_offers_the_best_counts() {
        let (mine, other) = (session(), session());
        let (good, foreign) = (mine.control().encrypt(b"a").unwrap(), other.control().encrypt(b"b").unwrap());
        let data = mine.data();
        assert_eq!(data.offer(), Offer::None);
        assert_eq!(data.decrypt(&foreign), None);
        assert_eq!(data.offer(), Offer::Foreign);
        assert!(data.decrypt(&good).is_some());
        assert_eq!(data.decrypt(&foreign), None);
        assert_eq!(data.offer(), Offer::Own);
    }

    #[test]
    fn the_control_connections_own_session_is_never_pushed_out() {
        let session = session();
        let control = session.control();
        control.put(vec![0], vec![0]);
        for number in 1..100u8 {
            let data = session.data();
            data.trust();
            data.put(vec![number], vec![number]);
        }
        assert_eq!(control.get(&[0]), Some(vec![0]));
        assert_eq!(control.get(&[99]), Some(vec![99]));
        assert_eq!(control.get(&[50]), None);
    }
}
