//! The client's connection to a passive port: the first that comes, or the first of several that proves whose it is.
//!
//! On a port that sessions of one address share, a ticket says which session a connection is meant for, and whoever has
//! seen that ticket on the wire can send it again. So a connection that was told by its ticket is taken when it has
//! resumed the session, which needs the secret that was never on the wire. Until then the reservation stands: a stranger
//! who cannot finish does not use it up, and does not hold up the client's own connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Work;
use crate::data::{Arrival, OpenError, Reservation, Standing};
use crate::event::{Channel, Event, Leg, Observer, Resumption, Stray, Who};
use crate::net::Socket;
use crate::policy::Mark;
use crate::tls::{HandshakeFailure, SecuredData, SessionTls, TicketHint};

/// After a connection that may have been the client's and did not prove it, the client's own is awaited for so long,
/// counted from the 150: by then every client connects. A client that does not resume hears no before its patience ends.
const GRACE: Duration = Duration::from_secs(3);
/// Handshakes at once for one reservation. All but one are a stranger's; when there are more, the oldest goes, because the
/// client's own is the quickest.
const CANDIDATES: usize = 4;

/// A reservation, and what has come of it so far.
pub(super) struct Awaited {
    reservation: Reservation,
    witness: Witness,
    /// Who came last.
    peer: Option<SocketAddr>,
    lost: Option<(Instant, Lost)>,
}

/// Who hears of what happens while somebody is awaited, and when the client's connection is due.
pub(super) struct Witness {
    pub(super) who: Arc<Who>,
    pub(super) observer: Arc<dyn Observer>,
    /// Since when the transfer runs.
    pub(super) running: watch::Receiver<Option<Instant>>,
}

/// Why there is no connection.
pub(super) enum Unopened {
    /// It could not be opened.
    Failed(OpenError),
    /// One came that may have been the client's and said nothing that tells it from others'.
    Anonymous(Resumption),
    /// None came in time, and others of the client's address have the port.
    Lapsed(Mark),
}

/// Why there is no secured connection.
pub(super) enum NotSecured {
    /// The handshake failed.
    Failed(HandshakeFailure),
    /// It had to resume the session, and did not.
    NotResumed(Resumption),
}

enum Lost {
    Failed(HandshakeFailure),
    NotResumed(Resumption),
}

struct Candidate {
    peer: SocketAddr,
    handshake: Work<Result<SecuredData, HandshakeFailure>>,
}

impl From<OpenError> for Unopened {
    fn from(error: OpenError) -> Self {
        Self::Failed(error)
    }
}

impl From<HandshakeFailure> for NotSecured {
    fn from(failure: HandshakeFailure) -> Self {
        Self::Failed(failure)
    }
}

impl Awaited {
    pub(super) fn new(reservation: Reservation, witness: Witness) -> Self {
        Self { reservation, witness, peer: None, lost: None }
    }

    pub(super) fn standing(&self) -> Standing {
        self.reservation.standing()
    }

    /// Waits for the first connection. It comes with what is still awaited when it has to prove whose it is.
    pub(super) async fn first(mut self) -> Result<(Socket, Option<Self>), Unopened> {
        loop {
            let lost = self.lost_since();
            tokio::select! {
                arrival = self.reservation.arrived() => match arrival.map_err(OpenError::Io)? {
                    Arrival::Connection(stream, claim) => {
                        self.peer = Some(claim.peer());
                        let still = claim.must_resume().then_some(self);
                        return Ok((Socket::new(stream), still));
                    }
                    Arrival::Anonymous(resumption) => self.lose(Lost::NotResumed(resumption)),
                    Arrival::Lapsed(mark) => return Err(Unopened::Lapsed(mark)),
                },
                () = overdue(lost, &mut self.witness.running) => {
                    let resumption = match self.lost {
                        Some((_, Lost::NotResumed(resumption))) => resumption,
                        // Nobody has had a handshake yet.
                        Some((_, Lost::Failed(_))) | None => Resumption::NoneOffered,
                    };
                    return Err(Unopened::Anonymous(resumption));
                }
            }
        }
    }

    /// Does the handshake with this connection and with those that still come, until one has resumed the session.
    pub(super) async fn proof(
        mut self,
        first: Socket,
        tls: Arc<SessionTls>,
        hint: TicketHint,
    ) -> Result<SecuredData, NotSecured> {
        let candidate = |peer, socket: Socket| {
            let (tls, hint) = (Arc::clone(&tls), hint.clone());
            Candidate { peer, handshake: Box::pin(async move { tls.secure_data(socket, &hint).await }) }
        };
        let mut candidates: Vec<Candidate> = self.peer.map(|peer| candidate(peer, first)).into_iter().collect();
        let mut more = true;
        loop {
            let lost = self.lost_since();
            tokio::select! {
                (peer, outcome) = next(&mut candidates) => {
                    let lost = match outcome {
                        Ok(secured) if secured.resumption == Resumption::Resumed => {
                            self.report_lost();
                            return Ok(secured);
                        }
                        Ok(secured) => {
                            let handshake = secured.handshake;
                            self.witness.observe(&Event::Handshake { who: &self.witness.who, handshake, detail: "" });
                            Lost::NotResumed(secured.resumption)
                        }
                        Err(failure) => Lost::Failed(failure),
                    };
                    self.stray(peer, Stray::Unproven);
                    self.lose(lost);
                }
                arrival = self.reservation.arrived(), if more => match arrival {
                    Ok(Arrival::Connection(stream, claim)) => {
                        if candidates.len() == CANDIDATES {
                            let oldest = candidates.remove(0);
                            self.stray(oldest.peer, Stray::CrowdedOut);
                        }
                        candidates.push(candidate(claim.peer(), Socket::new(stream)));
                    }
                    Ok(Arrival::Anonymous(resumption)) => self.lose(Lost::NotResumed(resumption)),
                    Ok(Arrival::Lapsed(_)) | Err(_) => more = false,
                },
                () = overdue(lost, &mut self.witness.running), if candidates.is_empty() => {
                    return Err(match self.lost {
                        Some((_, Lost::Failed(failure))) => NotSecured::Failed(failure),
                        Some((_, Lost::NotResumed(resumption))) => NotSecured::NotResumed(resumption),
                        None => NotSecured::NotResumed(Resumption::NoneOffered),
                    });
                }
            }
        }
    }

    /// The last counts, from the first on.
    fn lose(&mut self, lost: Lost) {
        let since = self.lost_since().unwrap_or_else(Instant::now);
        self.report_lost();
        self.lost = Some((since, lost));
    }

    fn lost_since(&self) -> Option<Instant> {
        self.lost.as_ref().map(|(since, _)| *since)
    }

    /// A handshake that failed and is not what the transfer fails of has no other report.
    fn report_lost(&mut self) {
        if let Some((_, Lost::Failed(failure))) = self.lost.take() {
            let handshake = failure.handshake(Leg::Front, Channel::Data);
            let detail = &failure.detail;
            self.witness.observe(&Event::Handshake { who: &self.witness.who, handshake, detail });
        }
    }

    fn stray(&self, peer: SocketAddr, stray: Stray) {
        self.witness.observe(&Event::Stray { peer, port: self.reservation.port(), stray });
    }
}

impl Witness {
    fn observe(&self, event: &Event<'_>) {
        self.observer.observe(event);
    }
}

/// The next handshake that is over; never when there is none.
async fn next(candidates: &mut Vec<Candidate>) -> (SocketAddr, Result<SecuredData, HandshakeFailure>) {
    poll_fn(|cx| {
        for at in 0..candidates.len() {
            if let Poll::Ready(outcome) = candidates[at].handshake.as_mut().poll(cx) {
                return Poll::Ready((candidates.remove(at).peer, outcome));
            }
        }
        Poll::Pending
    })
    .await
}

/// The client's own connection should have come by now. Never while nothing is lost, or the transfer does not run.
async fn overdue(lost: Option<Instant>, running: &mut watch::Receiver<Option<Instant>>) {
    let begun = match lost {
        Some(_) => running.wait_for(Option::is_some).await.ok().and_then(|begun| *begun),
        None => None,
    };
    match (lost, begun) {
        (Some(lost), Some(begun)) => sleep_until(begun.max(lost) + GRACE).await,
        // Nobody waits any more for what nobody can begin.
        (_, _) => std::future::pending().await,
    }
}
