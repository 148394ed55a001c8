//! Who may start a session, and how many at once: the lists of addresses, and places in all, per client address and per
//! user.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::access::Access;
use super::refusal::Refusal;
use super::throttle::{FailedLogins, Origin, Throttle, UserKey};

/// How many sessions may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub sessions: usize,
    /// From one client address. Of IPv6 addresses a /64 counts as one: one customer has all of it.
    pub sessions_per_address: usize,
    /// Of one user, counted from login on.
    pub sessions_per_user: usize,
    /// Wrong passwords; `None`: not counted.
    pub failed_logins: Option<FailedLogins>,
}

/// Knows who may come and counts the places taken. Shared by all listeners.
#[derive(Debug)]
pub struct Admission {
    counts: Mutex<Counts>,
    throttle: Throttle,
}

#[derive(Debug)]
struct Counts {
    access: Access,
    limits: Limits,
    closed: bool,
    sessions: usize,
    addresses: HashMap<Origin, usize>,
    users: HashMap<UserKey, usize>,
}

/// A connection may start. The place is given back when the stamp is dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    origin: Origin,
}

/// A user has one of his places. Given back when dropped.
#[derive(Debug)]
pub struct Seat {
    admission: Arc<Admission>,
    user: UserKey,
}

impl Admission {
    /// All places free.
    pub fn new(access: Access, limits: Limits) -> Arc<Self> {
        let (addresses, users) = (HashMap::new(), HashMap::new());
        let counts = Counts { access, limits, closed: false, sessions: 0, addresses, users };
        Arc::new(Self { counts: Mutex::new(counts), throttle: Throttle::new(limits.failed_logins) })
    }

    /// Takes a place for a connection from this address. Nothing has been spent on it before.
    ///
    /// # Errors
    /// When the gateway drains, the address may not come or is banned, or there is no place in all or for this address.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Permit, Refusal> {
        let mut counts = self.counts();
        if counts.closed {
            return Err(Refusal::Draining);
        }
        counts.access.check(address)?;
        self.throttle.check_address(address, now)?;
        if counts.sessions >= counts.limits.sessions {
            return Err(Refusal::TooManySessions);
        }
        let limit = counts.limits.sessions_per_address;
        let origin = Origin::of(address);
        if !take(&mut counts.addresses, origin, limit) {
            return Err(Refusal::TooManySessionsFromAddress);
        }
        counts.sessions += 1;
        Ok(Permit { admission: Arc::clone(self), origin })
    }

    /// Takes a place for a user who has proven to be one. Before that, a stranger could shut a user out by naming him.
    ///
    /// # Errors
    /// When the user has no place left.
    pub fn seat(self: &Arc<Self>, user: &[u8]) -> Result<Seat, Refusal> {
        let user = UserKey::of(user);
        let mut counts = self.counts();
        let limit = counts.limits.sessions_per_user;
        if !take(&mut counts.users, user.clone(), limit) {
            return Err(Refusal::TooManySessionsOfUser);
        }
        Ok(Seat { admission: Arc::clone(self), user })
    }

    /// New rules for whoever comes from now on. Places already taken stay taken.
    pub fn set_rules(&self, access: Access, limits: Limits) {
        self.throttle.set_rule(limits.failed_logins);
        let mut counts = self.counts();
        counts.limits = limits;
        let old = std::mem::replace(&mut counts.access, access);
        drop(counts);
        // Long lists take a moment to go, and connections wait for the lock.
        drop(old);
    }

    /// Admits nobody from now on.
    pub fn close(&self) {
        self.counts().closed = true;
    }

    /// Who has tried too many wrong passwords.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Sessions that hold a place now.
    pub fn sessions(&self) -> usize {
        self.counts().sessions
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // The counts are whole after every statement, so a poisoned lock is still good.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.sessions -= 1;
        give_back(&mut counts.addresses, &self.origin);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        give_back(&mut self.admission.counts().users, &self.user);
    }
}

fn take<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    let count = counts.entry(key).or_default();
    let free = *count < limit;
    if free {
        *count += 1;
    }
    free
}

fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn admission(sessions: usize, per_address: usize, per_user: usize) -> Arc<Admission> {
        Admission::new(
            Access::default(),
            Limits { sessions, sessions_per_address: per_address, sessions_per_user: per_user, failed_logins: None },
        )
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = admission(3, 2, 1);
        let first = admission.admit(HERE, Instant::now()).unwrap();
        let _second = admission.admit(HERE, Instant::now()).unwrap();
        assert_eq!(admission.admit(HERE, Instant::now()).unwrap_err(), Refusal::TooManySessionsFromAddress);
        let _third = admission.admit(THERE, Instant::now()).unwrap();
        assert_eq!(admission.admit(THERE, Instant::now()).unwrap_err(), Refusal::TooManySessions);
        drop(first);
        assert!(admission.admit(HERE, Instant::now()).is_ok());
        assert_eq!(admission.sessions(), 2);
    }

    #[test]
    fn the_addresses_of_one_customer_count_as_one() {
        let admission = admission(9, 2, 9);
        let admit = |address: &str| admission.admit(address.parse().unwrap(), Instant::now());
        let _places = ["2001:db8:1::1", "2001:db8:1::2"].map(|address| admit(address).unwrap());
        assert_eq!(admit("2001:db8:1::3").unwrap_err(), Refusal::TooManySessionsFromAddress);
        assert!(admit("2001:db8:1:1::1").is_ok());
        let _places = ["192.0.2.1", "::ffff:192.0.2.1"].map(|address| admit(address).unwrap());
        assert_eq!(admit("192.0.2.1").unwrap_err(), Refusal::TooManySessionsFromAddress);
        assert!(admit("192.0.2.2").is_ok());
    }

    #[test]
    fn users_are_counted_apart_and_nothing_is_left_behind() {
        let admission = admission(9, 9, 1);
        let seat = admission.seat(b"anna").unwrap();
        for spelling in [&b"anna"[..], b"Anna", b" anna"] {
            assert_eq!(admission.seat(spelling).unwrap_err(), Refusal::TooManySessionsOfUser);
        }
        drop(admission.seat(b"berta").unwrap());
        drop(seat);
        assert!(admission.counts().users.is_empty());
    }

    #[test]
    fn who_may_not_come_takes_no_place() {
        let admission = admission(9, 9, 9);
        let kept = admission.admit(HERE, Instant::now()).unwrap();
        let limits = Limits { sessions: 1, sessions_per_address: 9, sessions_per_user: 9, failed_logins: None };
        admission.set_rules(Access::new(&[], &[HERE.into()]), limits);
        assert_eq!(admission.admit(HERE, Instant::now()).unwrap_err(), Refusal::AddressDenied);
        assert_eq!(admission.sessions(), 1);
        drop(kept);
        assert!(admission.admit(THERE, Instant::now()).is_ok());
    }

    #[test]
    fn a_draining_gateway_admits_nobody() {
        let admission = admission(9, 9, 9);
        admission.close();
        assert_eq!(admission.admit(HERE, Instant::now()).unwrap_err(), Refusal::Draining);
    }
}
