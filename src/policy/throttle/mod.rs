//! Wrong passwords: counted, slowed down, and after too many a ban for a time (RFC 2577 §5).
//!
//! The rule, in one sentence: whoever has logged in from an address before is shut out there by his own wrong passwords
//! and by nobody else's. So three things are counted: a user from an address; an address, by the users that have failed
//! from it; a user, by the addresses he has failed from. The last two leave out users who are known at the address: one of
//! many behind one address (NAT) does not shut out the others, and strangers do not shut a user out of his own address.
//!
//! What is on trial counts like what has failed, until it is decided ([`Trial`]).
//!
//! Invariants: time is an argument; memory is bounded whatever attackers try; nothing here depends on whether a user
//! exists. No password comes here.

mod ban;
mod table;
mod trial;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::table::{Table, Weigh};
use self::trial::Trials;
use super::refusal::Refusal;

pub use ban::{Ban, BanKind, Origin, Subject, UserKey};
pub use trial::{Decision, Trial, Turn};

/// Entries of each table.
const BOUND: usize = 1 << 15;
/// Marks in each table together, whatever `attempts` is: as many as its entries have with five. All tables take some
/// 55 MB at the most, under an attack from many addresses with many long names.
const MARKS: usize = 4 * BOUND;
/// So many logins of a user who is known at his address that end without a yes and without a no count as one wrong
/// password.
const DOUBTS: usize = 10;
/// How long it is remembered that a user has logged in from an address.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A login that is remembered already is written down anew after this time.
const KNOWN_ANEW: Duration = Duration::from_secs(60 * 60);
/// How long the answer to the second wrong password waits; each further one twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// How long it waits at most.
const LONGEST_DELAY: Duration = Duration::from_secs(8);

/// How many wrong passwords are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedLogins {
    /// So many …
    pub attempts: usize,
    /// … within this time …
    pub within: Duration,
    /// … and there is a ban for this time.
    pub ban: Duration,
}

/// What a wrong password leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Penalty {
    /// The answer waits so long.
    pub delay: Duration,
    /// What is banned from now on.
    pub bans: Vec<Ban>,
}

/// What outlives a process.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bans, and how long they go on.
    pub bans: Vec<(Subject, Duration)>,
    /// Who has logged in from where, and how long ago.
    pub known: Vec<(Origin, UserKey, Duration)>,
}

/// Counts wrong passwords. Shared by all sessions.
#[derive(Debug)]
pub struct Throttle {
    state: Arc<Mutex<State>>,
}

/// How a login has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// It was wrong.
    Wrong,
    /// The backend has said neither yes nor no.
    Doubtful,
}

/// What failed within the time: of a user from an address each, as its [`Failure`]; of others each once, with its latest
/// time.
type Marks = Vec<(u64, Instant)>;

#[derive(Debug)]
struct State {
    rule: Option<FailedLogins>,
    hasher: RandomState,
    logins: Table<(Origin, UserKey), Marks>,
    addresses: Table<Origin, Marks>,
    users: Table<UserKey, Marks>,
    trials: Trials,
    known: Table<(Origin, UserKey), ()>,
    /// By when they end. The value: the ban's number, and whether somebody known is at the address.
    bans: Table<Subject, (u64, bool)>,
    next: u64,
    version: u64,
}

impl Throttle {
    /// Nobody has failed. `None`: nothing is counted.
    pub fn new(rule: Option<FailedLogins>) -> Self {
        let state = State {
            rule,
            hasher: RandomState::new(),
            logins: Table::new(BOUND, MARKS),
            addresses: Table::new(BOUND, MARKS),
            users: Table::new(BOUND, MARKS),
            trials: Trials::default(),
            known: Table::new(BOUND, 0),
            bans: Table::new(BOUND, 0),
            next: 1,
            version: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Another rule from now on. Bans stay, unless nothing is counted any more.
    pub fn set_rule(&self, rule: Option<FailedLogins>) {
        let mut state = self.state();
        state.rule = rule;
        if rule.is_none() {
            state.bans = Table::new(BOUND, 0);
            state.version += 1;
        }
        state.trials.wake();
    }

    /// Whether a connection from this address is worth a session. An address where somebody is known is let in: at USER
    /// it is seen who it is.
    ///
    /// # Errors
    /// When the address is banned.
    pub fn check_address(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        let state = self.state();
        match state.ban(&Subject::Address(Origin::of(address)), now) {
            Some((_, false)) => Err(Refusal::AddressBanned),
            Some((_, true)) | None => Ok(()),
        }
    }

    /// Whether this user may try to log in from this address.
    ///
    /// # Errors
    /// When a ban stands against it.
    pub fn check(&self, address: IpAddr, user: &[u8], now: Instant) -> Result<(), Refusal> {
        self.state().check(Origin::of(address), &UserKey::of(user), now)
    }

    /// A login has failed before anything was on trial: the backend does not know the user.
    ///
    /// # Errors
    /// When a ban has come in between: the answer is that of the ban, whatever the password was.
    pub fn failed(&self, address: IpAddr, user: &[u8], now: Instant) -> Result<Penalty, Refusal> {
        let (origin, user) = (Origin::of(address), UserKey::of(user));
        let mut state = self.state();
        state.check(origin, &user, now)?;
        Ok(state.failed(origin, user, Failure::Wrong, now))
    }

    /// A login has succeeded though nothing was on trial: the backend asks this user for no password.
    ///
    /// # Errors
    /// When a ban has come in between.
    pub fn succeeded(&self, address: IpAddr, user: &[u8], now: Instant) -> Result<(), Refusal> {
        self.state().succeed(Origin::of(address), &UserKey::of(user), now)
    }

    /// The bans in force, the one that ends first at the front.
    pub fn bans(&self, now: Instant) -> Vec<Ban> {
        let state = self.state();
        let live = state.bans.iter().filter(|(_, (until, _))| *until > now);
        let mut bans: Vec<Ban> =
            live.map(|(subject, (until, (id, _)))| Ban { id: *id, subject: subject.clone(), until: *until }).collect();
        drop(state);
        bans.sort_by_key(|ban| (ban.until, ban.id));
        bans
    }

    /// How many bans are in force, in the order of [`BanKind::ALL`].
    pub fn count(&self, now: Instant) -> [usize; 3] {
        let state = self.state();
        let mut counts = [0; 3];
        for (subject, _) in state.bans.iter().filter(|(_, (until, _))| *until > now) {
            counts[subject.kind() as usize] += 1;
        }
        counts
    }

    /// Ends a ban. Says which it was.
    pub fn lift(&self, id: u64, now: Instant) -> Option<Ban> {
        let ban = self.bans(now).into_iter().find(|ban| ban.id == id)?;
        let mut state = self.state();
        state.bans.remove(&ban.subject)?;
        state.version += 1;
        Some(ban)
    }

    /// Another number whenever there is something new to be kept.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// What is to be kept over a restart.
    pub fn kept(&self, now: Instant) -> Kept {
        let bans = self.bans(now).into_iter().map(|ban| (ban.subject, ban.until - now)).collect();
        let state = self.state();
        let known =
            state.known.iter().map(|((origin, user), (last, ()))| (*origin, user.clone(), now.duration_since(*last)));
        Kept { bans, known: known.collect() }
    }

    /// What was kept is in force again. A ban lasts no longer than one of now would.
    pub fn restore(&self, kept: Kept, now: Instant) {
        let mut state = self.state();
        let Some(rule) = state.rule else { return };
        for (origin, user, age) in kept.known {
            // A clock that begins with the machine cannot go back behind its beginning.
            let last = now.checked_sub(age).unwrap_or(now);
            if age < KNOWN_FOR {
                state.known.insert((origin, user), last, ());
            }
        }
        for (subject, left) in kept.bans {
            state.set_ban(subject, now + left.min(rule.ban), now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Every state of the tables is a sound one.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn ban(&self, subject: &Subject, now: Instant) -> Option<(u64, bool)> {
        self.bans.get(subject).filter(|(until, _)| *until > now).map(|(_, ban)| *ban)
    }

    fn check(&self, origin: Origin, user: &UserKey, now: Instant) -> Result<(), Refusal> {
        if self.ban(&Subject::Login(origin, user.clone()), now).is_some() {
            return Err(Refusal::LoginBanned);
        }
        if self.is_known(origin, user, now) {
            return Ok(());
        }
        if self.ban(&Subject::Address(origin), now).is_some() {
            return Err(Refusal::AddressBanned);
        }
        match self.ban(&Subject::User(user.clone()), now) {
            Some(_) => Err(Refusal::LoginBanned),
            None => Ok(()),
        }
    }

    fn is_known(&self, origin: Origin, user: &UserKey, now: Instant) -> bool {
        self.known.get(&(origin, user.clone())).is_some_and(|(last, ())| now.duration_since(*last) < KNOWN_FOR)
    }

    fn failed(&mut self, origin: Origin, user: UserKey, failure: Failure, now: Instant) -> Penalty {
        let Some(rule) = self.rule else { return Penalty::default() };
        let known = self.is_known(origin, &user, now);
        // To strangers it is a no, and some servers say it so.
        let failure = if known { failure } else { Failure::Wrong };
        let (from, who) = (self.hasher.hash_one(origin), self.hasher.hash_one(&user));
        let login = (origin, user.clone());
        let mut count = self.logins.change(&login, now, |marks| {
            live(marks, rule.within, now);
            marks.push((failure as u64, now));
            count(marks.iter())
        });
        let mut banned = Vec::new();
        if count >= rule.attempts {
            self.logins.remove(&login);
            banned.push(Subject::Login(origin, user.clone()));
        }
        if !known {
            let others = self.addresses.change(&origin, now, |marks| mark(marks, who, rule.within, now));
            if others >= rule.attempts {
                self.addresses.remove(&origin);
                banned.push(Subject::Address(origin));
            }
            let elsewhere = self.users.change(&user, now, |marks| mark(marks, from, rule.within, now));
            if elsewhere >= rule.attempts {
                self.users.remove(&user);
                banned.push(Subject::User(user));
            }
            count = count.max(others).max(elsewhere);
        }
        let bans = banned.into_iter().map(|subject| self.set_ban(subject, now + rule.ban, now)).collect();
        Penalty { delay: login_delay(count), bans }
    }

    fn succeed(&mut self, origin: Origin, user: &UserKey, now: Instant) -> Result<(), Refusal> {
        if self.rule.is_none() {
            return Ok(());
        }
        self.check(origin, user, now)?;
        let (from, who) = (self.hasher.hash_one(origin), self.hasher.hash_one(user));
        unmark(&mut self.addresses, &origin, who);
        unmark(&mut self.users, user, from);
        let login = (origin, user.clone());
        self.logins.remove(&login);
        let fresh = self.known.get(&login).is_some_and(|(last, ())| now.duration_since(*last) < KNOWN_ANEW);
        if !fresh {
            self.known.insert(login, now, ());
            self.version += 1;
        }
        Ok(())
    }

    fn set_ban(&mut self, subject: Subject, until: Instant, now: Instant) -> Ban {
        // What is over makes room before what is in force does.
        self.bans.forget_until(now);
        let spares = match &subject {
            Subject::Address(banned) => {
                let here =
                    self.known.range((*banned, UserKey::first())..).take_while(|((origin, _), _)| origin == banned);
                here.into_iter().any(|(_, (last, ()))| now.duration_since(*last) < KNOWN_FOR)
            }
            Subject::Login(..) | Subject::User(_) => false,
        };
        let id = self.next;
        self.next += 1;
        self.version += 1;
        self.bans.insert(subject.clone(), until, (id, spares));
        Ban { id, subject, until }
    }
}

impl Weigh for Marks {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weigh for () {
    fn weight(&self) -> usize {
        0
    }
}

/// Bans are bounded by their number alone.
impl Weigh for (u64, bool) {
    fn weight(&self) -> usize {
        0
    }
}

/// Takes out what is too old.
fn live(marks: &mut Marks, within: Duration, now: Instant) {
    marks.retain(|mark| is_live(mark, within, now));
}

fn is_live((_, at): &(u64, Instant), within: Duration, now: Instant) -> bool {
    now.duration_since(*at) < within
}

/// How many wrong passwords it counts as, what has failed of a user from an address.
fn count<'m>(marks: impl Iterator<Item = &'m (u64, Instant)>) -> usize {
    let (mut wrong, mut doubtful) = (0, 0);
    for (failure, _) in marks {
        *(if *failure == Failure::Doubtful as u64 { &mut doubtful } else { &mut wrong }) += 1;
    }
    wrong + doubtful / DOUBTS
}

/// Marks one that failed, and says how many have. There are never more than `attempts`: then there is a ban.
fn mark(marks: &mut Marks, what: u64, within: Duration, now: Instant) -> usize {
    live(marks, within, now);
    match marks.iter_mut().find(|(own, _)| *own == what) {
        Some((_, at)) => *at = now,
        None => marks.push((what, now)),
    }
    marks.len()
}

fn unmark<K: Ord + Clone>(table: &mut Table<K, Marks>, key: &K, what: u64) {
    if let Some((time, mut marks)) = table.remove(key) {
        marks.retain(|(own, _)| *own != what);
        if !marks.is_empty() {
            table.insert(key.clone(), time, marks);
        }
    }
}

/// How long the answer to so many waits. Nothing for the first: it is a slip of the finger.
pub fn login_delay(count: usize) -> Duration {
    let doubled = u32::try_from(count).unwrap_or(u32::MAX).checked_sub(2);
    let factor = doubled.map(|times| 2u32.saturating_pow(times));
    factor.map_or(Duration::ZERO, |factor| FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY))
}

#[cfg(test)]
mod tests;
