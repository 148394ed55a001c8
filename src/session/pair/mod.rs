//! The two data connections of a session, as far as they are: performs what the dialogue says, tells what came of it.
//!
//! Invariants: every future here is bounded or ended by one of the dialogue's timers; an upload's connection to the
//! backend is reset unless it was finished on purpose; nothing outlives the session.

mod close;
mod news;
mod passive;

use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Surroundings;
use super::dialogue::{BackNews, FrontNews, Input};
use crate::data::{
    BackDoor, FrontDoor, OpenError, Pump, PumpReport, Share, SourcePort, Standing, Tenancy, open_back, open_front,
    pump_download, pump_upload,
};
use crate::event::{DataMode, DataOutcome, Event, Handshake, Leg, Who};
use crate::ftp::{Reply, write_epsv, write_pasv};
use crate::net::{Socket, bind_data};
use crate::policy::{Claim, Mark, Protection, Refusal, Requirement, TransferKind};
use crate::tls::{BackTls, DataStream, HandshakeFailure, Seal, SecuredData, SessionTls, TicketHint};
use passive::{Awaited, NotSecured, Unopened, Witness};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a pair needs to know of its session.
pub(super) struct Parties {
    pub(super) who: Arc<Who>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) user: Vec<u8>,
    pub(super) share: Share,
    pub(super) software: Option<Vec<u8>>,
    /// The client's address and the address it dialled.
    pub(super) client: IpAddr,
    pub(super) dialled: IpAddr,
    /// The gateway's own address towards the client.
    pub(super) own: IpAddr,
    /// The backend's address and the gateway's address towards it.
    pub(super) backend: IpAddr,
    pub(super) inside: IpAddr,
    pub(super) front_tls: Option<Arc<SessionTls>>,
    pub(super) back_tls: Option<Arc<BackTls>>,
}

/// Both data connections.
pub(super) struct DataPair {
    pub(super) parties: Parties,
    news: VecDeque<Input>,
    reserving: Option<Work<Result<(Awaited, Reply), Refusal>>>,
    /// Of the last reservation, which may be over.
    standing: Option<Standing>,
    tenancy: Arc<Tenancy>,
    /// How the session's data connections can be told from those of others of its address.
    mark: Mark,
    /// The transfer runs: a client that has waited for it connects, or begins its handshake, now.
    running: watch::Sender<Option<Instant>>,
    front: Front,
    front_mode: DataMode,
    back: Back,
    back_mode: DataMode,
    hint: TicketHint,
    /// The handshake of the client's data connection that was made last.
    front_tls: Option<Handshake>,
    pump: Option<Work<PumpReport>>,
    upload: bool,
    close_notify_missing: bool,
    moved: Arc<AtomicU64>,
    latecomer: Option<Work<()>>,
    farewells: Vec<Work<()>>,
}

enum Front {
    Nothing,
    /// Active mode, not connected yet.
    Aimed(Claim),
    Opening(Work<Result<(Socket, Option<Awaited>), Unopened>>),
    /// With what goes on being awaited while this connection has not proved that it is the one.
    Open(Socket, Option<Awaited>),
    Securing(Work<Result<SecuredData, NotSecured>>),
    Ready(DataStream),
    Closing(Work<(bool, DataStream)>),
}

enum Back {
    Nothing,
    Aimed(u16),
    Listening(TcpListener),
    Opening(Work<Result<Socket, OpenError>>),
    Open(Socket),
    Securing(Work<Result<(DataStream, Handshake), HandshakeFailure>>),
    Ready(DataStream),
    Closing(Work<(bool, DataStream)>),
}

impl DataPair {
    pub(super) fn new(parties: Parties) -> Self {
        let seal = parties.front_tls.as_ref().map(|tls| tls.seal());
        // Tickets that nobody was given say nothing.
        let mark = if seal.as_ref().is_some_and(Seal::is_in_use) { Mark::Unknown } else { Mark::Unoffered };
        Self {
            tenancy: Arc::new(parties.surroundings.ports.join(parties.client, seal)),
            mark,
            running: watch::Sender::new(None),
            parties,
            news: VecDeque::new(),
            reserving: None,
            standing: None,
            front: Front::Nothing,
            front_mode: DataMode::Pasv,
            back: Back::Nothing,
            back_mode: DataMode::Pasv,
            hint: TicketHint::default(),
            front_tls: None,
            pump: None,
            upload: false,
            close_notify_missing: false,
            moved: Arc::default(),
            latecomer: None,
            farewells: Vec::new(),
        }
    }

    /// Waits for the next news. Can be cancelled at any time.
    pub(super) async fn next(&mut self) -> Input {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// News that are there. What is under way is driven on in any case.
    pub(super) async fn look(&mut self) -> Option<Input> {
        std::future::poll_fn(|cx| {
            Poll::Ready(match self.poll_next(cx) {
                Poll::Ready(news) => Some(news),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Bytes moved by the transfer that ran last, or runs.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// The bytes of the transfer that ran last came under TLS and ended without `close_notify`.
    pub(super) fn close_notify_missing(&self) -> bool {
        self.close_notify_missing
    }

    /// The handshake of the client's data connection, if it has come to one.
    pub(super) fn front_tls(&self) -> Option<Handshake> {
        self.front_tls
    }

    /// The next transfer counts from nothing.
    pub(super) fn forget_transfer(&mut self) {
        self.moved = Arc::default();
        self.close_notify_missing = false;
    }

    pub(super) fn reserve(&mut self, mode: DataMode, protection: Protection) {
        // A latecomer's port is wanted more by whoever comes now.
        self.latecomer = None;
        self.front_mode = mode;
        self.hint = TicketHint::default();
        self.front_tls = None;
        self.running = watch::Sender::new(None);
        let mark = self.mark_under(protection);
        let witness = Witness {
            who: Arc::clone(&self.parties.who),
            observer: Arc::clone(&self.parties.surroundings.observer),
            running: self.running.subscribe(),
        };
        let surroundings = Arc::clone(&self.parties.surroundings);
        let tenancy = Arc::clone(&self.tenancy);
        let (client, dialled) = (self.parties.client, self.parties.dialled);
        self.reserving = Some(Box::pin(async move {
            let reservation = tenancy.reserve(mark, surroundings.settings.timeouts.data_connect).await?;
            let reply = match mode {
                DataMode::Epsv | DataMode::Eprt => Reply::new(229, write_epsv(reservation.port())),
                DataMode::Pasv | DataMode::Port => {
                    let address = surroundings.advertise.address(client, dialled).await?;
                    Reply::new(227, write_pasv(address, reservation.port()))
                }
            };
            Ok((Awaited::new(reservation, witness), reply))
        }));
    }

    /// A connection that is awaited will come under this protection and no other.
    pub(super) fn reprotect(&mut self, protection: Protection) {
        let mark = self.mark_under(protection);
        let awaited = matches!(self.front, Front::Opening(_));
        if awaited && self.standing.as_ref().is_some_and(|standing| !standing.remark(mark)) {
            self.news.push_back(Input::Front(FrontNews::Untold));
        }
    }

    fn mark_under(&self, protection: Protection) -> Mark {
        match (protection, self.parties.surroundings.settings.protection.data) {
            (Protection::Clear, Requirement::Optional) => Mark::Clear,
            // What would come in clear is refused in any case: PROT P is still to be said.
            (Protection::Clear, Requirement::Required) | (Protection::Private, _) => self.mark,
        }
    }

    /// The client has been told where to connect to.
    pub(super) fn invited(&self) {
        if let Some(standing) = &self.standing {
            standing.invited();
        }
    }

    /// The transfer runs.
    pub(super) fn begun(&self) {
        self.invited();
        self.running.send_replace(Some(Instant::now()));
    }

    pub(super) fn aim(&mut self, claim: Claim, mode: DataMode) {
        self.front_mode = mode;
        self.hint = TicketHint::default();
        self.front_tls = None;
        self.set_front(Front::Aimed(claim));
    }

    /// A client's connection that is still being closed goes on being closed.
    fn set_front(&mut self, front: Front) {
        if let Front::Closing(closing) = std::mem::replace(&mut self.front, front) {
            self.farewell(Box::pin(async move {
                let (_, stream) = closing.await;
                close::linger(stream).await;
            }));
        }
    }

    pub(super) fn listen(&mut self) {
        let bound = bind_data(self.parties.inside).and_then(|listener| Ok((listener.local_addr()?, listener)));
        match bound {
            Ok((address, listener)) => {
                self.back = Back::Listening(listener);
                self.news.push_back(Input::Listening(Some(address)));
            }
            Err(error) => {
                tracing::error!(%error, "no port for a backend's active data connection");
                self.news.push_back(Input::Listening(None));
            }
        }
    }

    pub(super) fn aim_back(&mut self, port: u16) {
        self.back = Back::Aimed(port);
    }

    pub(super) fn direct(&self, kind: TransferKind) {
        // Some clients connect when they hear that the transfer runs.
        if let Some(standing) = &self.standing {
            standing.held_up();
        }
        self.hint.client(kind != TransferKind::Upload);
    }

    pub(super) fn open_back(&mut self, mode: DataMode) {
        self.back_mode = mode;
        let door = match std::mem::replace(&mut self.back, Back::Nothing) {
            Back::Aimed(port) => {
                BackDoor::Passive { peer: SocketAddr::new(self.parties.backend, port), local: self.parties.inside }
            }
            Back::Listening(listener) => BackDoor::Active { listener, backend: self.parties.backend },
            Back::Nothing
            | Back::Opening(_)
            | Back::Open(_)
            | Back::Securing(_)
            | Back::Ready(_)
            | Back::Closing(_) => {
                self.report(Leg::Back, DataOutcome::ConnectFailed, "nothing was arranged");
                self.news.push_back(Input::Back(BackNews::Failed(DataOutcome::ConnectFailed)));
                return;
            }
        };
        let timeouts = self.parties.surroundings.settings.timeouts;
        let deadline = match door {
            BackDoor::Passive { .. } => timeouts.backend_connect,
            BackDoor::Active { .. } => timeouts.data_connect.max(timeouts.backend_reply),
        };
        self.back = Back::Opening(Box::pin(open_back(door, deadline)));
    }

    pub(super) fn secure_back(&mut self) {
        let Some(tls) = self.parties.back_tls.clone() else { return };
        let deadline = self.parties.surroundings.settings.timeouts.tls_handshake;
        match std::mem::replace(&mut self.back, Back::Nothing) {
            Back::Open(socket) => {
                self.back = Back::Securing(Box::pin(async move { tls.secure_data(socket, deadline).await }));
            }
            other => self.back = other,
        }
    }

    pub(super) fn open_front(&mut self) {
        let Front::Aimed(claim) = self.front else { return };
        let timeouts = self.parties.surroundings.settings.timeouts;
        let source_port = self.parties.surroundings.active.unwrap_or(SourcePort::Any);
        let door = FrontDoor { claim, local: self.parties.own, source_port };
        let opening = open_front(door, timeouts.data_connect);
        self.front = Front::Opening(Box::pin(async move { Ok((opening.await?, None)) }));
    }

    pub(super) fn secure_front(&mut self) {
        let Some(tls) = self.parties.front_tls.clone() else { return };
        match std::mem::replace(&mut self.front, Front::Nothing) {
            Front::Open(socket, awaited) => {
                let hint = self.hint.clone();
                self.front = Front::Securing(match awaited {
                    None => Box::pin(async move { Ok(tls.secure_data(socket, &hint).await?) }),
                    Some(awaited) => Box::pin(awaited.proof(socket, tls, hint)),
                });
            }
            other => self.front = other,
        }
    }

    pub(super) fn pump(&mut self, kind: TransferKind) {
        self.upload = kind == TransferKind::Upload;
        self.forget_transfer();
        let front = match std::mem::replace(&mut self.front, Front::Nothing) {
            Front::Open(socket, None) => DataStream::Plain(socket),
            Front::Ready(stream) => stream,
            other => {
                self.front = other;
                return;
            }
        };
        let back = match std::mem::replace(&mut self.back, Back::Nothing) {
            Back::Open(socket) => DataStream::Plain(socket),
            Back::Ready(stream) => stream,
            other => {
                self.back = other;
                return;
            }
        };
        self.report(Leg::Front, DataOutcome::Opened, "");
        let stall = self.parties.surroundings.settings.timeouts.data_stall;
        let surroundings = &self.parties.surroundings;
        let blocks = surroundings.blocks.clone();
        let (share, observer) = (self.parties.share.clone(), Arc::clone(&surroundings.observer));
        let pump = Pump { front, back, stall, blocks, share, observer };
        let moved = Arc::clone(&self.moved);
        let count = move |bytes| {
            moved.fetch_add(bytes, Ordering::Relaxed);
        };
        self.pump =
            Some(if self.upload { Box::pin(pump_upload(pump, count)) } else { Box::pin(pump_download(pump, count)) });
    }

    /// Stops the relay where it is. Its streams go with it: the backend's is marked for reset, the client's ends without
    /// `close_notify`.
    pub(super) fn stop_pump(&mut self) {
        self.pump = None;
    }
}

impl Parties {
    fn observe(&self, event: &Event<'_>) {
        self.surroundings.observer.observe(event);
    }
}
