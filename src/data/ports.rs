//! The passive ports and who waits for a connection on which.
//!
//! Invariants: every port is bound once, when the gateway starts; an arriving connection is matched by (port, client
//! address), so several clients may hold reservations on one port; one that matches none is dropped and counted; a
//! reservation that is dropped is forgotten. A port goes to the same client again as late as possible, so that a late
//! connection of an earlier transfer finds nobody. Who a balancer brings is waited for outside the accept loop.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::event::{Event, Observer, Stray};
use crate::net::{bind, read_header, tune};
use crate::policy::{Claim, Refusal, canonical, claim_passive};

/// After a failed accept (no file descriptors left, mostly): trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of balancers on one port whose PROXY header is awaited at once. It comes with the first packet.
const HEADERS: usize = 256;

/// All passive ports. Dropping it closes them.
pub struct PassivePorts {
    table: Arc<Mutex<Table>>,
    ports: Vec<u16>,
    _acceptors: JoinSet<()>,
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

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<(u16, IpAddr), Waiting>,
    /// How many reservations each port has; ports without any are not in it.
    reserved: HashMap<u16, usize>,
    /// Where the search for a free port begins next.
    next: usize,
    serial: u64,
    balancers: Vec<IpNet>,
    /// How long a balancer's PROXY header may take.
    header: Duration,
}

#[derive(Debug)]
struct Waiting {
    serial: u64,
    sender: oneshot::Sender<(TcpStream, Claim)>,
}

/// A client address may connect to a port, once.
#[derive(Debug)]
pub struct Reservation {
    table: Arc<Mutex<Table>>,
    key: (u16, IpAddr),
    serial: u64,
    arrival: oneshot::Receiver<(TcpStream, Claim)>,
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
        let table = Arc::new(Mutex::new(Table::default()));
        let mut acceptors = JoinSet::new();
        let mut ports = Vec::new();
        for port in range.clone() {
            let mut bound = port;
            for &address in addresses {
                let address = SocketAddr::new(address, bound);
                let problem = |source| PortError { address, source };
                let listener = bind(address).map_err(problem)?;
                // A port the system chose on the first address is the port on all others.
                bound = listener.local_addr().map_err(problem)?.port();
                acceptors.spawn(accept(listener, bound, Arc::clone(&table), Arc::clone(observer)));
            }
            ports.push(bound);
        }
        Ok(Self { table, ports, _acceptors: acceptors })
    }

    /// From now on connections from these networks begin with a PROXY header, which must be there within `header`, and
    /// belong to whom it names.
    pub fn set_balancers(&self, balancers: Vec<IpNet>, header: Duration) {
        let mut table = lock(&self.table);
        (table.balancers, table.header) = (balancers, header);
    }

    /// Reserves a port for one connection from this client.
    ///
    /// # Errors
    /// When this client address holds a reservation on every port.
    pub fn reserve(&self, client: IpAddr) -> Result<Reservation, Refusal> {
        let client = canonical(client);
        let mut table = lock(&self.table);
        let count = self.ports.len();
        for step in 0..count {
            let at = (table.next + step) % count;
            let key = (self.ports[at], client);
            let serial = table.serial;
            let Entry::Vacant(vacant) = table.waiting.entry(key) else { continue };
            let (sender, arrival) = oneshot::channel();
            vacant.insert(Waiting { serial, sender });
            table.serial += 1;
            table.next = (at + 1) % count;
            *table.reserved.entry(key.0).or_default() += 1;
            return Ok(Reservation { table: Arc::clone(&self.table), key, serial, arrival });
        }
        Err(Refusal::PassivePortsExhausted)
    }

    /// Ports without a reservation, and ports with at least one.
    pub fn usage(&self) -> (usize, usize) {
        let reserved = lock(&self.table).reserved.len();
        (self.ports.len() - reserved, reserved)
    }

    /// The ports, in the order of the range.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }
}

impl Reservation {
    /// The port.
    pub fn port(&self) -> u16 {
        self.key.0
    }

    /// Waits for the client's connection. Has no deadline of its own: whoever reserved says how long.
    ///
    /// # Errors
    /// When the gateway stops.
    pub async fn arrived(&mut self) -> io::Result<(TcpStream, Claim)> {
        (&mut self.arrival).await.map_err(|_| io::Error::other("the gateway stops"))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.table).forget(self.key, self.serial);
    }
}

impl Table {
    /// Takes out the reservation that this connection belongs to.
    fn take(&mut self, key: (u16, IpAddr)) -> Option<Waiting> {
        let waiting = self.waiting.remove(&key)?;
        self.release(key.0);
        Some(waiting)
    }

    /// Takes out one reservation, unless its place has been taken since.
    fn forget(&mut self, key: (u16, IpAddr), serial: u64) {
        if let Entry::Occupied(entry) = self.waiting.entry(key)
            && entry.get().serial == serial
        {
            entry.remove();
            self.release(key.0);
        }
    }

    /// How long a header from this address is waited for; `None`: it sends none.
    fn awaits_header(&self, address: IpAddr) -> Option<Duration> {
        self.balancers.iter().any(|network| network.contains(&address)).then_some(self.header)
    }

    fn release(&mut self, port: u16) {
        if let Entry::Occupied(mut count) = self.reserved.entry(port) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    // The table is whole after every method, so a poisoned lock is still good.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, port: u16, table: Arc<Mutex<Table>>, observer: Arc<dyn Observer>) {
    let mut introductions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = introductions.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, port, "a data connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let deadline = lock(&table).awaits_header(canonical(peer.ip()));
        match deadline {
            None => hand_over(stream, peer, port, &table, &observer),
            Some(_) if introductions.len() >= HEADERS => {
                observer.observe(&Event::Stray { peer, port, stray: Stray::ProxyHeader });
            }
            Some(deadline) => {
                let (table, observer) = (Arc::clone(&table), Arc::clone(&observer));
                introductions.spawn(introduce(stream, peer, port, deadline, table, observer));
            }
        }
    }
}

/// A balancer says whose connection it is.
async fn introduce(
    mut stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    deadline: Duration,
    table: Arc<Mutex<Table>>,
    observer: Arc<dyn Observer>,
) {
    match read_header(&mut stream, deadline).await {
        Ok(named) => hand_over(stream, named.map_or(peer, |named| named.source), port, &table, &observer),
        Err(error) => {
            tracing::debug!(%error, balancer = %peer, port, "a balancer did not say whose data connection it is");
            observer.observe(&Event::Stray { peer, port, stray: Stray::ProxyHeader });
        }
    }
}

/// Gives a connection to whoever waits for it.
fn hand_over(stream: TcpStream, peer: SocketAddr, port: u16, table: &Mutex<Table>, observer: &Arc<dyn Observer>) {
    let address = canonical(peer.ip());
    let waiting = lock(table).take((port, address));
    let claimed = waiting.and_then(|waiting| Some((waiting, claim_passive(peer, address).ok()?)));
    tune(&stream);
    let handed = claimed.is_some_and(|(waiting, claim)| waiting.sender.send((stream, claim)).is_ok());
    if !handed {
        observer.observe(&Event::Stray { peer, port, stray: Stray::NoReservation });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Unobserved;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn ports(count: usize) -> PassivePorts {
        let observer: Arc<dyn Observer> = Arc::new(Unobserved);
        let mut all = PassivePorts::bind(&(0..=0), &[HERE], &observer).unwrap();
        while all.ports.len() < count {
            let more = PassivePorts::bind(&(0..=0), &[HERE], &observer).unwrap();
            all.ports.extend(&more.ports);
        }
        all
    }

    #[tokio::test]
    async fn a_connection_goes_to_its_reservation_and_once_only() {
        let ports = ports(1);
        let mut reservation = ports.reserve(HERE).unwrap();
        let client = TcpStream::connect((HERE, reservation.port())).await.unwrap();
        let (_, claim) = reservation.arrived().await.unwrap();
        assert_eq!(claim.peer(), client.local_addr().unwrap());
        assert_eq!(ports.usage(), (1, 0));
    }

    #[tokio::test]
    async fn a_client_gets_each_port_once_and_another_client_gets_them_too() {
        let ports = ports(2);
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let (first, second) = (ports.reserve(HERE).unwrap(), ports.reserve(HERE).unwrap());
        assert_ne!(first.port(), second.port());
        assert_eq!(ports.reserve(HERE).unwrap_err(), Refusal::PassivePortsExhausted);
        assert!(ports.reserve(other).is_ok());
        assert_eq!(ports.usage(), (0, 2));
        drop(first);
        assert_eq!(ports.usage(), (1, 1));
        assert!(ports.reserve(HERE).is_ok());
    }

    #[tokio::test]
    async fn a_dropped_reservation_leaves_nothing() {
        let ports = ports(1);
        for _ in 0..100 {
            drop(ports.reserve(HERE).unwrap());
        }
        let table = lock(&ports.table);
        assert!(table.waiting.is_empty() && table.reserved.is_empty());
    }
}
