//! Connections that come to a passive port: whose they are.
//!
//! Nothing is read here. Where the address alone does not say whose a connection is, its ClientHello is looked at where it
//! lies, in a task of its own, and the session that it names does the handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::table::{Arrival, Called, Key, Receipt};
use super::{Ports, lock};
use crate::event::{Event, Resumption, Stray};
use crate::net::{Start, peek_start, read_header, tune};
use crate::policy::{Nobodys, Offer, canonical, claim_offered, claim_passive};
use crate::tls::{Hello, LONGEST_HELLO, Offered, Seal, SessionName, read_hello};

/// After a failed accept (no file descriptors left, mostly): trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections of balancers on one port whose PROXY header is awaited at once. It comes with the first packet.
const HEADERS: usize = 256;

/// A look that is under way; its place is free when it is dropped.
struct Look {
    ports: Arc<Ports>,
    key: Key,
    number: u64,
    called: oneshot::Receiver<Called>,
    within: Duration,
}

/// Looks that are under way. What comes of one is a connection that its address says enough of after all.
type Looks = JoinSet<Option<(TcpStream, SocketAddr)>>;

/// Takes connections to one port for ever.
pub(super) async fn accept(listener: TcpListener, port: u16, ports: Arc<Ports>) {
    let mut introductions = JoinSet::new();
    let mut looks = Looks::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(introduced) = introductions.join_next() => {
                if let Ok(Some((stream, peer))) = introduced {
                    receive(stream, peer, port, &ports, &mut looks);
                }
                continue;
            }
            Some(looked) = looks.join_next() => {
                if let Ok(Some((stream, peer))) = looked {
                    receive(stream, peer, port, &ports, &mut looks);
                }
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, port, "a data connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let deadline = lock(&ports.table).awaits_header(canonical(peer.ip()));
        match deadline {
            None => receive(stream, peer, port, &ports, &mut looks),
            Some(_) if introductions.len() >= HEADERS => ports.stray(peer, port, Stray::ProxyHeader),
            Some(deadline) => {
                introductions.spawn(introduce(stream, peer, port, deadline, Arc::clone(&ports)));
            }
        }
    }
}

/// A balancer says whose connection it is.
async fn introduce(
    mut stream: TcpStream,
    balancer: SocketAddr,
    port: u16,
    deadline: Duration,
    ports: Arc<Ports>,
) -> Option<(TcpStream, SocketAddr)> {
    match read_header(&mut stream, deadline).await {
        Ok(named) => Some((stream, named.map_or(balancer, |named| named.source))),
        Err(error) => {
            tracing::debug!(%error, %balancer, port, "a balancer did not say whose data connection it is");
            ports.stray(balancer, port, Stray::ProxyHeader);
            None
        }
    }
}

/// Gives a connection to whoever waits for it, or has a look at it first.
fn receive(stream: TcpStream, peer: SocketAddr, port: u16, ports: &Arc<Ports>, looks: &mut Looks) {
    let address = canonical(peer.ip());
    let receipt = lock(&ports.table).receive((port, address), ports.numbers.len());
    match receipt {
        Receipt::Nobody => ports.stray(peer, port, Stray::NoReservation),
        Receipt::ByAddress(waiting) => {
            tune(&stream);
            let claim = claim_passive(peer, address);
            if !claim.is_ok_and(|claim| waiting.give(Arrival::Connection(stream, claim))) {
                ports.stray(peer, port, Stray::NoReservation);
            }
        }
        Receipt::Look { number, called, within } => {
            let look = Look { ports: Arc::clone(ports), key: (port, address), number, called, within };
            looks.spawn(look.at(stream, peer));
        }
    }
}

impl Look {
    async fn at(mut self, stream: TcpStream, peer: SocketAddr) -> Option<(TcpStream, SocketAddr)> {
        let hello = tokio::select! {
            // A connection that has shown itself is not called off in the same moment.
            biased;
            hello = timeout(self.within, hello_of(&stream)) => match hello {
                Ok(Some(hello)) => Ok(hello),
                Ok(None) | Err(_) => Err(Stray::NoHello),
            },
            called = &mut self.called => match called {
                Ok(Called::Known) => return Some((stream, peer)),
                Ok(Called::Crowded) => Err(Stray::CrowdedOut),
                Ok(Called::Nobody) | Err(_) => Err(Stray::NoReservation),
            },
        };
        let ports = Arc::clone(&self.ports);
        let port = self.key.0;
        if let Err(stray) = hello.and_then(|hello| self.settle(&hello, stream, peer)) {
            ports.stray(peer, port, stray);
        }
        None
    }

    /// Gives the connection to the session whose it is.
    fn settle(self, hello: &Hello, stream: TcpStream, peer: SocketAddr) -> Result<(), Stray> {
        let named = match hello {
            Hello::Whole(offered) => Some((offered, self.session_of(offered))),
            Hello::Not | Hello::Needs(_) => None,
        };
        tune(&stream);
        let mut table = lock(&self.ports.table);
        let name = named.as_ref().and_then(|(_, name)| *name);
        let (waiters, at) = table.waiters(self.key, name);
        if waiters.is_empty() {
            return Err(Stray::NoReservation);
        }
        let offer = match (named, at) {
            (None, _) => Offer::NotTls,
            (Some(_), Some(at)) => Offer::Of(at),
            (Some((_, Some(_))), None) => Offer::Elsewhere,
            (Some((offered, None)), None) if offered.has_tickets() => Offer::Unknown,
            (Some((_, None)), None) => Offer::Nothing,
        };
        match claim_offered(peer, self.key.1, &waiters, offer) {
            Ok((at, claim)) if table.give(self.key, at, stream, claim) => Ok(()),
            Ok(_) => Err(Stray::CrowdedOut),
            Err(Nobodys::Elsewhere) => Err(Stray::SessionElsewhere),
            Err(Nobodys::NotTls) => Err(Stray::NotTls),
            Err(Nobodys::Unknown) => {
                table.tell_of_anonymous(self.key, Resumption::OtherSession);
                Err(Stray::UnknownSession)
            }
            Err(Nobodys::Nothing) => {
                table.tell_of_anonymous(self.key, Resumption::NoneOffered);
                Err(Stray::NoSession)
            }
        }
    }

    /// The session here that handed out what is offered. Tickets are opened without the table's lock.
    fn session_of(&self, offered: &Offered) -> Option<SessionName> {
        let by_name = lock(&self.ports.table).seals(offered.names());
        let by_ticket = by_name.iter().find(|seal| seal.opens_ticket(offered)).map(Seal::name);
        by_ticket.or_else(|| {
            let waiting = lock(&self.ports.table).seals_at(self.key);
            waiting.iter().find(|seal| seal.knows_id(offered)).map(Seal::name)
        })
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        lock(&self.ports.table).looked(self.key, self.number);
    }
}

/// `None`: it ended before it had shown what it is.
async fn hello_of(stream: &TcpStream) -> Option<Hello> {
    peek_start(stream, |bytes| match read_hello(bytes) {
        Hello::Needs(needed) if needed <= LONGEST_HELLO => Start::Needs(needed),
        hello => Start::Enough(hello),
    })
    .await
}

impl Ports {
    fn stray(&self, peer: SocketAddr, port: u16, stray: Stray) {
        self.observer.observe(&Event::Stray { peer, port, stray });
    }
}
