//! The passive ports and who waits for a connection on which.
//!
//! Invariants: every port is bound once, when the gateway starts; an arriving connection is matched by (port, client
//! address), so clients of many addresses hold reservations on one port; where sessions of one address do, which happens
//! when there are more of them than ports, by the TLS session that its ClientHello offers; one that matches none is
//! dropped and counted; a reservation that is dropped is forgotten. A port goes to the same client again as late as
//! possible, so that a late connection of an earlier transfer finds nobody. Who a balancer brings is waited for outside
//! the accept loop.
//!
//! Not in this room: the handshake, and so the proof that a connection is of the session that it names (`session`).

mod arrive;
mod line;
mod table;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::advertise::LastKnown;
use crate::event::Observer;
use crate::net::bind;
use crate::policy::{Mark, Refusal, canonical};
use crate::tls::Seal;
use table::{Key, Made, Table, Wish};

pub use table::Arrival;

/// How long a session waits for a port of its own before it shares one with another of which no more is known.
const MOMENT: Duration = Duration::from_millis(250);
/// How long a session waits for a port that it may have at all. Most reservations last for a few round trips.
const WHILE: Duration = Duration::from_secs(5);
/// How long a port is kept for a session alone that others of its address wait for. To connect is one round trip; a lost
/// packet costs a second.
const LATE: Duration = Duration::from_secs(2);

/// All passive ports. Dropping it closes them.
pub struct PassivePorts {
    ports: Arc<Ports>,
    last_known: LastKnown,
    _acceptors: JoinSet<()>,
}

/// What acceptors, sessions and reservations share.
struct Ports {
    table: Mutex<Table>,
    numbers: Vec<u16>,
    observer: Arc<dyn Observer>,
}

/// A passive port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("passive port {address} cannot be bound: {source}{}", remedy(source))]
pub struct PortError {
    /// Address and port.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// What the system does not say: nobody need listen there.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (by another program or an outgoing connection: see net.ipv4.ip_local_reserved_ports in docs/operations.md)"
        }
        _ => "",
    }
}

/// A session that may reserve ports. While it is there, a connection that offers its TLS session is known to be its own.
pub struct Tenancy {
    ports: Arc<Ports>,
    client: IpAddr,
    seal: Option<Seal>,
    number: u64,
}

/// In the line of those of an address who wait for a port.
struct Place<'a> {
    tenancy: &'a Tenancy,
    number: u64,
    freed: Arc<Notify>,
}

/// Where a reservation stands, for as long as it does.
pub struct Standing {
    ports: Arc<Ports>,
    key: Key,
    serial: u64,
}

/// A client may connect to a port.
pub struct Reservation {
    ports: Arc<Ports>,
    key: Key,
    serial: u64,
    arrivals: mpsc::Receiver<Arrival>,
}

impl PassivePorts {
    /// Binds every port on every address. Must run inside the runtime.
    ///
    /// # Errors
    /// The first port that cannot be bound.
    pub fn bind(
        range: &RangeInclusive<u16>,
        addresses: &[IpAddr],
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, PortError> {
        let mut listeners = Vec::new();
        let mut numbers = Vec::new();
        for port in range.clone() {
            let mut bound = port;
            for &address in addresses {
                let address = SocketAddr::new(address, bound);
                let problem = |source| PortError { address, source };
                let listener = bind(address).map_err(problem)?;
                // A port the system chose on the first address is the port on all others.
                bound = listener.local_addr().map_err(problem)?.port();
                listeners.push((listener, bound));
            }
            numbers.push(bound);
        }
        let ports = Arc::new(Ports { table: Mutex::default(), numbers, observer: Arc::clone(observer) });
        let mut acceptors = JoinSet::new();
        for (listener, port) in listeners {
            acceptors.spawn(arrive::accept(listener, port, Arc::clone(&ports)));
        }
        Ok(Self { ports, last_known: LastKnown::default(), _acceptors: acceptors })
    }

    /// From now on connections from these networks begin with a PROXY header, which must be there within `header`, and
    /// belong to whom it names.
    pub fn set_balancers(&self, balancers: Vec<IpNet>, header: Duration) {
        lock(&self.ports.table).set_balancers(balancers, header);
    }

    /// A session from this address may reserve ports. `seal`: its control connection's TLS.
    pub fn join(&self, client: IpAddr, seal: Option<Seal>) -> Tenancy {
        let client = canonical(client);
        let number = lock(&self.ports.table).join(client, seal.as_ref());
        Tenancy { ports: Arc::clone(&self.ports), client, seal, number }
    }

    /// Ports without a reservation, and ports with at least one.
    pub fn usage(&self) -> (usize, usize) {
        let reserved = lock(&self.ports.table).reserved();
        (self.ports.numbers.len() - reserved, reserved)
    }

    /// What the names that are given with the ports were found to be.
    pub fn last_known(&self) -> LastKnown {
        self.last_known.clone()
    }

    /// The ports, in the order of the range.
    pub fn ports(&self) -> &[u16] {
        &self.ports.numbers
    }
}

impl Tenancy {
    /// Reserves a port for one data connection, which can be told by `mark` and will be there within about `patience`.
    /// Where only a port will do that other sessions of the address wait at, it waits for a moment for a better one.
    ///
    /// # Errors
    /// When no port is free for the address, and none may be shared.
    pub async fn reserve(&self, mark: Mark, patience: Duration) -> Result<Reservation, Refusal> {
        let wish = Wish { client: self.client, mark, patience, seal: self.seal.as_ref() };
        let began = Instant::now();
        let mut queued = None;
        loop {
            let gladly = began.elapsed() < MOMENT;
            let (late, place) = {
                let mut table = lock(&self.ports.table);
                let place = queued.as_ref().map(|place: &Place<'_>| place.number);
                match table.reserve(&self.ports.numbers, &wish, gladly, place) {
                    Ok(Made { key, serial, arrivals }) => {
                        return Ok(Reservation { ports: Arc::clone(&self.ports), key, serial, arrivals });
                    }
                    Err(late) => (late, queued.get_or_insert_with(|| self.queue(&mut table, &wish, began + WHILE))),
                }
            };
            if began.elapsed() >= WHILE {
                return Err(mark.refusal());
            }
            // Whether it was woken or not, it looks again.
            let until = began + if gladly { MOMENT } else { WHILE };
            // Whose time has not begun to run yet may be late in so long.
            let late = late.unwrap_or_else(|| Instant::now() + LATE);
            let _ = timeout_at(until.min(late), place.freed.notified()).await;
        }
    }

    fn queue(&self, table: &mut Table, wish: &Wish<'_>, until: Instant) -> Place<'_> {
        let (number, freed) = table.queue(wish, until);
        Place { tenancy: self, number, freed }
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        lock(&self.ports.table).part(self.client, self.number, self.seal.as_ref());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.tenancy.ports.table).unqueue(self.tenancy.client, self.number);
    }
}

impl Reservation {
    /// The port.
    pub fn port(&self) -> u16 {
        self.key.0
    }

    /// For whoever has to change it while somebody else waits for it.
    pub fn standing(&self) -> Standing {
        Standing { ports: Arc::clone(&self.ports), key: self.key, serial: self.serial }
    }

    /// Waits for what comes next. Has no deadline of its own: whoever reserved says how long. Behind a connection that
    /// need not prove whose it is, nothing comes any more.
    ///
    /// # Errors
    /// When the gateway stops.
    pub async fn arrived(&mut self) -> io::Result<Arrival> {
        self.arrivals.recv().await.ok_or_else(|| io::Error::other("the gateway stops"))
    }
}

impl Standing {
    /// The connection can be told by this from now on (PROT came behind PASV). `false`: other sessions of the address wait
    /// at the port too, so it could not be told from theirs.
    pub fn remark(&self, mark: Mark) -> bool {
        lock(&self.ports.table).remark(self.key, self.serial, mark)
    }

    /// The client knows where to connect to, and what for: it should be there soon. Where nobody may join it, the port is
    /// another's of its address who waits for it when it is not.
    pub fn invited(&self) {
        lock(&self.ports.table).expect(self.key, self.serial, Some(Instant::now() + LATE));
    }

    /// The client may have to wait for something before it connects.
    pub fn held_up(&self) {
        lock(&self.ports.table).expect(self.key, self.serial, None);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.ports.table).forget(self.key, self.serial);
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("key", &self.key).field("serial", &self.serial).finish_non_exhaustive()
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // The table is whole after every method, so a poisoned lock is still good.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
