//! Who waits for a connection at which port.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::line::Line;
use crate::event::Resumption;
use crate::policy::{Claim, Mark, Waiter, is_told_by_address};
use crate::tls::{Seal, SessionName};

/// Connections that may come for one reservation before it is looked after. Among several that say the same, all but one
/// are strangers.
const ARRIVALS: usize = 4;
/// Connections of one address that have not said whose they are, at one port: two for each of its sessions, and these.
pub(super) const LOOKS: usize = 16;

/// A port and the address of clients.
pub(super) type Key = (u16, IpAddr);

/// What comes for a reservation.
#[derive(Debug)]
pub enum Arrival {
    /// A connection, and on what terms it may have what is awaited.
    Connection(TcpStream, Claim),
    /// A connection that may have been the one, and that could not be told from another session's for this reason. It was
    /// dropped.
    Anonymous(Resumption),
    /// None has come in time, and another session of the address has the port now. How this one's could have been told.
    Lapsed(Mark),
}

/// All that is known of sessions and their reservations.
#[derive(Debug, Default)]
pub(super) struct Table {
    waiting: HashMap<Key, Vec<Waiting>>,
    /// How many reservations each port has; ports without any are not in it.
    reserved: HashMap<u16, usize>,
    /// Sessions whose clients could be told by what they offer.
    sealed: HashMap<SessionName, (u64, Seal)>,
    crowds: HashMap<IpAddr, Crowd>,
    looks: HashMap<Key, BTreeMap<u64, oneshot::Sender<Called>>>,
    /// Where the search for a free port begins next.
    next: usize,
    serial: u64,
    balancers: Vec<IpNet>,
    /// How long a balancer's PROXY header may take.
    header: Duration,
}

/// The sessions of one address.
#[derive(Debug, Default)]
struct Crowd {
    sessions: usize,
    line: Line,
}

/// A session that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    serial: u64,
    mark: Mark,
    shares: bool,
    /// From then on it is late. `None`: nobody can come yet.
    late: Option<Instant>,
    patience: Duration,
    seal: Option<Seal>,
    arrivals: mpsc::Sender<Arrival>,
}

/// What a reservation wants.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) client: IpAddr,
    pub(super) mark: Mark,
    pub(super) patience: Duration,
    pub(super) seal: Option<&'a Seal>,
}

/// A reservation that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) key: Key,
    pub(super) serial: u64,
    pub(super) arrivals: mpsc::Receiver<Arrival>,
}

/// A look at a connection is called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// Nobody waits there any more.
    Nobody,
    /// Too many others have come since.
    Crowded,
    /// Its address says by now whose it is.
    Known,
}

/// What is to be done with a connection that has come.
#[derive(Debug)]
pub(super) enum Receipt {
    /// Nobody waits for it.
    Nobody,
    /// It is this one's, who waits no more.
    ByAddress(Waiting),
    /// Its ClientHello must be seen, within this time.
    Look { number: u64, called: oneshot::Receiver<Called>, within: Duration },
}

impl Waiting {
    fn waiter(&self) -> Waiter {
        Waiter { mark: self.mark, shares: self.shares }
    }

    /// Hands it over; what cannot be handed over is dropped.
    pub(super) fn give(&self, arrival: Arrival) -> bool {
        self.arrivals.try_send(arrival).is_ok()
    }
}

impl Table {
    /// See [`super::PassivePorts::set_balancers`].
    pub(super) fn set_balancers(&mut self, balancers: Vec<IpNet>, header: Duration) {
        (self.balancers, self.header) = (balancers, header);
    }

    /// How long a header from this address is waited for; `None`: it sends none.
    pub(super) fn awaits_header(&self, address: IpAddr) -> Option<Duration> {
        self.balancers.iter().any(|network| network.contains(&address)).then_some(self.header)
    }

    /// One more session at an address. Returns its number.
    pub(super) fn join(&mut self, client: IpAddr, seal: Option<&Seal>) -> u64 {
        let serial = self.number();
        self.crowds.entry(client).or_default().sessions += 1;
        if let Some(seal) = seal {
            self.sealed.insert(seal.name(), (serial, seal.clone()));
        }
        serial
    }

    pub(super) fn part(&mut self, client: IpAddr, serial: u64, seal: Option<&Seal>) {
        if let Entry::Occupied(mut crowd) = self.crowds.entry(client) {
            crowd.get_mut().sessions -= 1;
            if crowd.get().sessions == 0 {
                crowd.remove();
            }
        }
        if let Some(seal) = seal
            && let Entry::Occupied(entry) = self.sealed.entry(seal.name())
            && entry.get().0 == serial
        {
            entry.remove();
        }
    }

    /// One of an address waits for a port from now on, and holds up others until then at most. Returns its place in the line,
    /// and what says that it should look again.
    pub(super) fn queue(&mut self, wish: &Wish<'_>, until: Instant) -> (u64, Arc<Notify>) {
        let number = self.number();
        let line = &mut self.crowds.entry(wish.client).or_default().line;
        (number, line.join(number, wish.mark.stands_alone(), until))
    }

    /// One waits for a port no more.
    pub(super) fn unqueue(&mut self, client: IpAddr, place: u64) {
        if let Some(crowd) = self.crowds.get_mut(&client) {
            crowd.line.leave(place);
        }
    }

    /// Reserves a port where nobody of this address waits, or else, when it may be, beside the fewest others, or else where
    /// one waits in vain whom nobody may join. `place`: in the line of those who wait for one.
    ///
    /// # Errors
    /// None can be had. With when one can, as far as is known.
    pub(super) fn reserve(
        &mut self,
        ports: &[u16],
        wish: &Wish<'_>,
        gladly: bool,
        place: Option<u64>,
    ) -> Result<Made, Option<Instant>> {
        // Who can share has a port that comes free at once; who cannot would keep it from those who have waited.
        if wish.mark.stands_alone() && self.crowds.get(&wish.client).is_some_and(|crowd| crowd.line.is_before(place)) {
            return Err(None);
        }
        let count = ports.len();
        let free = (0..count)
            .map(|step| (self.next + step) % count)
            .find(|&at| !self.waiting.contains_key(&(ports[at], wish.client)));
        let (at, late) = match free.or_else(|| self.best_shared(ports, wish, gladly)) {
            Some(at) => (at, None),
            None => {
                let at = self.latest(ports, wish)?;
                (at, self.take((ports[at], wish.client), |_| true))
            }
        };
        self.next = (at + 1) % count;
        let key = (ports[at], wish.client);
        let serial = self.number();
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        let others = self.waiting.entry(key).or_default();
        // What still comes for whoever was late is not to be taken for this one's.
        let shares = !others.is_empty() || late.is_some();
        for other in others.iter_mut() {
            other.shares = true;
        }
        let (mark, patience, seal) = (wish.mark, wish.patience, wish.seal.cloned());
        others.push(Waiting { serial, mark, shares, late: None, patience, seal, arrivals: sender });
        *self.reserved.entry(key.0).or_default() += 1;
        if let Some(late) = late {
            // It has had nothing to look at yet, so there is room; and the end of its reservation says enough.
            let _ = late.give(Arrival::Lapsed(late.mark));
        }
        Ok(Made { key, serial, arrivals })
    }

    fn best_shared(&self, ports: &[u16], wish: &Wish<'_>, gladly: bool) -> Option<usize> {
        let candidates = ports.iter().enumerate().filter_map(|(at, &port)| {
            let others = self.waiting.get(&(port, wish.client))?;
            let marks = others.iter().map(|other| other.mark);
            let may = if gladly { wish.mark.joins_gladly(marks) } else { wish.mark.may_join(marks) };
            let unknown = others.iter().filter(|other| other.mark == Mark::Unknown).count();
            may.then_some((unknown, others.len(), at))
        });
        candidates.min().map(|(_, _, at)| at)
    }

    /// Where one waits whose port may be taken over: who has been late for the longest.
    fn latest(&self, ports: &[u16], wish: &Wish<'_>) -> Result<usize, Option<Instant>> {
        let candidates =
            ports.iter().enumerate().filter_map(|(at, &port)| match &self.waiting.get(&(port, wish.client))?[..] {
                [only] if wish.mark.may_take_over(only.mark) => Some((only.late?, at)),
                _ => None,
            });
        match candidates.min() {
            Some((late, at)) if late <= Instant::now() => Ok(at),
            soonest => Err(soonest.map(|(late, _)| late)),
        }
    }

    /// One who waits is late from then on. `None`: nobody can come for now.
    pub(super) fn expect(&mut self, key: Key, serial: u64, late: Option<Instant>) {
        let mut waiting = self.waiting.get_mut(&key).into_iter().flatten();
        if let Some(waiting) = waiting.find(|waiting| waiting.serial == serial) {
            waiting.late = late;
        }
    }

    /// The connection of one who waits can be told by something else than when he began to. `false`: not beside those who
    /// wait there too. Nothing is changed then.
    pub(super) fn remark(&mut self, key: Key, serial: u64, mark: Mark) -> bool {
        let mut waiting = self.waiting.get_mut(&key).into_iter().flatten();
        // Who waits no more has his connection.
        let Some(waiting) = waiting.find(|waiting| waiting.serial == serial) else { return true };
        let may = waiting.waiter().may_become(mark);
        if may {
            waiting.mark = mark;
            self.recall(key);
        }
        may
    }

    /// Of the connections that are looked at, the oldest is received anew when its address says enough by now: in clear a
    /// client that waits for its bytes never shows anything.
    fn recall(&mut self, key: Key) {
        let (waiters, _) = self.waiters(key, None);
        if !is_told_by_address(&waiters, true) {
            return;
        }
        if let Entry::Occupied(mut looks) = self.looks.entry(key) {
            while let Some((_, oldest)) = looks.get_mut().pop_first() {
                if oldest.send(Called::Known).is_ok() {
                    break;
                }
            }
            if looks.get().is_empty() {
                looks.remove();
            }
        }
    }

    /// Takes out one reservation, unless it has been taken out.
    pub(super) fn forget(&mut self, key: Key, serial: u64) {
        self.take(key, |waiting| waiting.serial == serial);
    }

    /// A connection has come.
    pub(super) fn receive(&mut self, key: Key, ports: usize) -> Receipt {
        let crowded = self.crowds.get(&key.1).is_some_and(|crowd| crowd.sessions > ports);
        let Some(waiting) = self.waiting.get(&key) else { return Receipt::Nobody };
        let waiters: Vec<_> = waiting.iter().map(Waiting::waiter).collect();
        if is_told_by_address(&waiters, crowded) {
            return self.take(key, |_| true).map_or(Receipt::Nobody, Receipt::ByAddress);
        }
        let patience = waiting.iter().map(|waiting| waiting.patience).max().unwrap_or_default();
        let (call, called) = oneshot::channel();
        let number = self.number();
        let most = self.crowds.get(&key.1).map_or(0, |crowd| 2 * crowd.sessions) + LOOKS;
        let looks = self.looks.entry(key).or_default();
        looks.insert(number, call);
        // The oldest has had the most time.
        if looks.len() > most
            && let Some((_, oldest)) = looks.pop_first()
        {
            // It may have ended in this moment.
            let _ = oldest.send(Called::Crowded);
        }
        // From the reservation on, and once more from the 150 on.
        Receipt::Look { number, called, within: 2 * patience }
    }

    /// A look is over.
    pub(super) fn looked(&mut self, key: Key, number: u64) {
        if let Entry::Occupied(mut looks) = self.looks.entry(key) {
            looks.get_mut().remove(&number);
            if looks.get().is_empty() {
                looks.remove();
            }
        }
    }

    /// The seals of the sessions that have these names.
    pub(super) fn seals(&self, names: impl Iterator<Item = SessionName>) -> Vec<Seal> {
        names.filter_map(|name| self.sealed.get(&name)).map(|(_, seal)| seal.clone()).collect()
    }

    /// The seals of those who wait at a port.
    pub(super) fn seals_at(&self, key: Key) -> Vec<Seal> {
        self.waiting.get(&key).into_iter().flatten().filter_map(|waiting| waiting.seal.clone()).collect()
    }

    /// Those who wait at a port, and where among them the session of this name is.
    pub(super) fn waiters(&self, key: Key, name: Option<SessionName>) -> (Vec<Waiter>, Option<usize>) {
        let waiting = self.waiting.get(&key).map_or(&[][..], Vec::as_slice);
        let at = waiting.iter().position(|waiting| name.is_some() && waiting.seal.as_ref().map(Seal::name) == name);
        (waiting.iter().map(Waiting::waiter).collect(), at)
    }

    /// Gives one of those who wait at a port a connection. The reservation stands when the connection has something to
    /// prove: a stranger who cannot must not use it up.
    pub(super) fn give(&mut self, key: Key, at: usize, stream: TcpStream, claim: Claim) -> bool {
        let Some(waiting) = self.waiting.get(&key).and_then(|waiting| waiting.get(at)) else { return false };
        let (serial, given) = (waiting.serial, waiting.give(Arrival::Connection(stream, claim)));
        if !claim.must_resume() {
            self.forget(key, serial);
        }
        given
    }

    /// A connection was dropped that may have been of any of those who say nothing.
    pub(super) fn tell_of_anonymous(&self, key: Key, why: Resumption) {
        for waiting in self.waiting.get(&key).into_iter().flatten().filter(|waiting| waiting.mark != Mark::Resumes) {
            // Whoever has as many arrivals to look at as there may be has enough to look at.
            let _ = waiting.give(Arrival::Anonymous(why));
        }
    }

    /// How many ports have a reservation.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.len()
    }

    /// Nothing is kept of anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.reserved.is_empty() && self.looks.is_empty()
    }

    /// Connections that are looked at.
    #[cfg(test)]
    pub(super) fn looks_at(&self, key: Key) -> usize {
        self.looks.get(&key).map_or(0, BTreeMap::len)
    }

    /// As [`Self::is_empty`], with all sessions gone.
    #[cfg(test)]
    pub(super) fn is_deserted(&self) -> bool {
        self.is_empty() && self.sealed.is_empty() && self.crowds.is_empty()
    }

    fn take(&mut self, key: Key, which: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let Entry::Occupied(mut entry) = self.waiting.entry(key) else { return None };
        let at = entry.get().iter().position(which)?;
        let taken = entry.get_mut().swap_remove(at);
        if entry.get().is_empty() {
            entry.remove();
            for (_, look) in self.looks.remove(&key).into_iter().flatten() {
                // It may have ended in this moment.
                let _ = look.send(Called::Nobody);
            }
        }
        if let Entry::Occupied(mut count) = self.reserved.entry(key.0) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if let Some(crowd) = self.crowds.get(&key.1) {
            crowd.line.wake_next();
        }
        Some(taken)
    }

    fn number(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}
