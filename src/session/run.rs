//! The chain of a session: greeted → logged in → served → ended.
//!
//! A session's memory is the memory of the stage it is in: each stage's future is boxed and goes when the stage ends, so
//! that a session that idles behind its login does not carry what a login or a handshake once needed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answers;
use super::front::FrontLeg;
use super::greet::Lobby;
use super::login::LoggedIn;
use super::serve::{Served, serve};
use super::settings::Settings;
use crate::backend::Pool;
use crate::data::{Advertise, Bandwidths, PassivePorts, SourcePort};
use crate::event::{By, Channel, Ended, Event, Leg, Observer, Reason, Stage, Who, Why};
use crate::net::{Blocks, Endpoints, Socket};
use crate::policy::{Admission, ClientCertificate, Pace, Permit, SecondFactor};
use crate::tls::{FrontTls, Stream};

/// What all sessions of one configuration share. A session keeps the one it began with, across reloads.
pub struct Surroundings {
    /// What sessions go by.
    pub settings: Settings,
    /// TLS towards clients.
    pub front_tls: FrontTls,
    /// The backends.
    pub pool: Pool,
    /// The passive ports.
    pub ports: Arc<PassivePorts>,
    /// What PASV names.
    pub advertise: Advertise,
    /// Active mode; `None`: switched off.
    pub active: Option<SourcePort>,
    /// The places for users.
    pub admission: Arc<Admission>,
    /// How long logins take.
    pub pace: Arc<Pace>,
    /// How many bytes a second.
    pub bandwidths: Arc<Bandwidths>,
    /// Memory for transfers.
    pub blocks: Blocks,
    /// The second factor; `None`: the password is enough.
    pub second_factor: Option<SecondFactor>,
    /// Who hears of everything.
    pub observer: Arc<dyn Observer>,
}

/// Whether the gateway serves, drains or stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// As usual.
    Serve,
    /// Sessions end as soon as no transfer runs.
    Drain,
    /// Sessions end now.
    Stop,
}

/// A connection that may become a session.
pub struct Newcomer {
    /// The connection.
    pub tcp: TcpStream,
    /// It may.
    pub permit: Permit,
    /// Who it is.
    pub who: Who,
    /// The address it dialled; a balancer's, where it came through one.
    pub dialled: SocketAddr,
    /// The gateway's own end of the connection.
    pub own: SocketAddr,
    /// TLS comes first (implicit listener).
    pub implicit: bool,
}

/// What a session carries from stage to stage.
pub(super) struct Context {
    pub(super) who: Arc<Who>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) course: watch::Receiver<Course>,
    pub(super) client: IpAddr,
    pub(super) dialled: IpAddr,
    /// The gateway's own address, from which active data connections leave.
    pub(super) own: IpAddr,
    /// What a backend is told of the client.
    pub(super) endpoints: Endpoints,
    pub(super) implicit: bool,
}

/// A stage's end that is the session's end too: the leg that is left, and why.
pub(super) struct Leave {
    /// The client's control connection, when it is still there.
    pub(super) front: Option<FrontLeg>,
    /// The client is told why, before the good-bye.
    pub(super) tell: bool,
    /// By whom, during what, why.
    pub(super) ended: Ended,
    /// The user, when one had logged in.
    pub(super) user: Option<Vec<u8>>,
}

impl Context {
    pub(super) fn observe(&self, event: &Event<'_>) {
        self.surroundings.observer.observe(event);
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.surroundings.settings
    }

    /// Whether this client is asked for a certificate.
    pub(super) fn client_certificate(&self) -> ClientCertificate {
        let Settings { listener_certificates, client_certificate, .. } = self.settings();
        listener_certificates.get(&self.who.listener).copied().unwrap_or(*client_certificate)
    }

    /// Until when a client that connects or begins anew now must have logged in.
    pub(super) fn login_deadline(&self) -> Instant {
        Instant::now() + self.settings().timeouts.login
    }

    /// The client's control connection ended.
    pub(super) fn client_closed(&self, why: &crate::tls::WhyClosed) -> Reason {
        if matches!(why, crate::tls::WhyClosed::Unclean) {
            let event = Event::MissingCloseNotify { who: &self.who, leg: Leg::Front, channel: Channel::Control };
            self.observe(&event);
        }
        super::front::reason(why)
    }
}

impl Leave {
    /// The session ends with words for the client.
    pub(super) fn telling(front: FrontLeg, by: By, during: Stage, why: Why) -> Self {
        Self { front: Some(front), tell: true, ended: Ended { by, during, why }, user: None }
    }

    /// The session ends; the client has been told, or is not there to be told.
    pub(super) fn silently(front: Option<FrontLeg>, by: By, during: Stage, why: Why) -> Self {
        Self { front, tell: false, ended: Ended { by, during, why }, user: None }
    }
}

/// Runs one session to its end and reports it.
pub async fn run(newcomer: Newcomer, surroundings: Arc<Surroundings>, course: watch::Receiver<Course>) -> Ended {
    let Newcomer { tcp, permit, who, dialled, own, implicit } = newcomer;
    let started = Instant::now();
    let context = Context {
        client: who.client.ip().to_canonical(),
        dialled: dialled.ip().to_canonical(),
        own: own.ip().to_canonical(),
        endpoints: Endpoints { source: who.client, destination: dialled },
        who: Arc::new(who),
        surroundings,
        course,
        implicit,
    };
    let who = Arc::clone(&context.who);
    let observer = Arc::clone(&context.surroundings.observer);
    observer.observe(&Event::Started { who: &who });
    let Leave { front, tell, ended, user } = *Box::pin(chain(tcp, context)).await;
    if let Some(mut front) = front {
        if tell {
            let goodbye = answers::goodbye(ended.why);
            front.answer(&goodbye);
            observer.observe(&Event::Reply { who: &who, class: goodbye.code().class() });
        }
        front.finish().await;
    }
    observer.observe(&Event::Ended { who: &who, user: user.as_deref(), ended, lasted: started.elapsed() });
    drop(permit);
    ended
}

async fn chain(tcp: TcpStream, context: Context) -> Box<Leave> {
    crate::net::tune(&tcp);
    let front = FrontLeg::new(Stream::Plain(Socket::control(tcp)), context.settings().command_length);
    let mut lobby = match Box::pin(Lobby::open(front, context)).await {
        Ok(lobby) => Box::new(lobby),
        Err(leave) => return Box::new(leave),
    };
    let mut user = None;
    loop {
        let logged_in: Box<LoggedIn> = match Box::pin(lobby.log_in(user.take())).await {
            Ok(logged_in) => logged_in,
            Err(leave) => return Box::new(leave),
        };
        (lobby, user) = match Box::pin(serve(logged_in)).await {
            Served::Left(leave) => return leave,
            Served::Anew(lobby, user) => (lobby, user),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// docs/operations.md says what a session that idles takes. Its future is the part that a careless local in a rarely
    /// used branch makes grow, for every session.
    #[test]
    fn an_idle_session_is_small() {
        let run = |newcomer, (surroundings, course)| run(newcomer, surroundings, course);
        let serve = |logged_in, ()| serve(logged_in);
        let idle = of(run) + of(chain) + of(serve);
        assert!(idle <= 6 * 1024, "run {}, chain {}, serve {} bytes", of(run), of(chain), of(serve));
        // Who has not proven to be anybody costs no more.
        let greet = of(|lobby: Box<Lobby>, user| lobby.log_in(user));
        assert!(greet <= 4 * 1024, "log_in {greet} bytes");
    }
}
