//! The chain of a session: greeted → logged in → served → ended.
//!
//! A session's memory is the memory of the stage it is in: each stage's future is boxed and goes when the stage ends, so
//! that a session that idles behind its login does not carry what a login or a handshake once needed.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(super) progress: Arc<Progress>,
}

/// How far a session has come, for whoever tells of its end when the session itself no longer can.
#[derive(Default)]
pub(super) struct Progress(Mutex<Reached>);

struct Reached {
    stage: Stage,
    user: Option<Vec<u8>>,
}

impl Default for Reached {
    fn default() -> Self {
        Self { stage: Stage::Greeting, user: None }
    }
}

/// Tells of a session's end, whatever ends it: also where its future is dropped in the middle, by a stop that does not wait
/// any longer or by a fault.
struct Report {
    who: Arc<Who>,
    observer: Arc<dyn Observer>,
    started: Instant,
    progress: Arc<Progress>,
    /// Once the session knows it.
    known: Option<(Ended, Option<Vec<u8>>)>,
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

impl Progress {
    /// The session is at this stage.
    pub(super) fn is_at(&self, stage: Stage) {
        self.reached().stage = stage;
    }

    /// A user has logged in; `None`: the session begins anew.
    pub(super) fn is_of(&self, user: Option<Vec<u8>>) {
        let stage = if user.is_some() { Stage::Commands } else { Stage::Greeting };
        *self.reached() = Reached { stage, user };
    }

    /// No other task ever waits for it.
    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let (ended, user) = self.known.take().unwrap_or_else(|| {
            let reason = if std::thread::panicking() { Reason::Fault } else { Reason::Stopped };
            let Reached { stage, user } = std::mem::take(&mut *self.progress.reached());
            (Ended { by: By::Gateway, during: stage, why: Why::Reason(reason) }, user)
        });
        let lasted = self.started.elapsed();
        self.observer.observe(&Event::Ended { who: &self.who, user: user.as_deref(), ended, lasted });
    }
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
    let progress = Arc::<Progress>::default();
    let context = Context {
        client: who.client.ip().to_canonical(),
        dialled: dialled.ip().to_canonical(),
        own: own.ip().to_canonical(),
        endpoints: Endpoints { source: who.client, destination: dialled },
        who: Arc::new(who),
        surroundings,
        course,
        implicit,
        progress: Arc::clone(&progress),
    };
    let who = Arc::clone(&context.who);
    let observer = Arc::clone(&context.surroundings.observer);
    observer.observe(&Event::Started { who: &who });
    let started = Instant::now();
    let mut report = Report { who: Arc::clone(&who), observer: Arc::clone(&observer), started, progress, known: None };
    let Leave { front, tell, ended, user } = *Box::pin(chain(tcp, context)).await;
    report.known = Some((ended, user));
    if let Some(mut front) = front {
        if tell {
            let goodbye = answers::goodbye(ended.why);
            front.answer(&goodbye);
            observer.observe(&Event::Reply { who: &who, class: goodbye.code().class() });
        }
        front.finish().await;
    }
    drop(report);
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
        lobby.context.progress.is_of(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Via;

    fn of<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Hears how sessions ended.
    #[derive(Default)]
    struct Ends(Mutex<Vec<(Ended, Option<Vec<u8>>)>>);

    impl Observer for Ends {
        fn observe(&self, event: &Event<'_>) {
            if let Event::Ended { ended, user, .. } = event {
                self.0.lock().unwrap().push((*ended, user.map(<[u8]>::to_vec)));
            }
        }
    }

    #[test]
    fn a_session_that_is_dropped_has_an_end_and_says_whose_doing_it_was() {
        let ends = Arc::<Ends>::default();
        let report = || {
            let client = "192.0.2.7:4021".parse().unwrap();
            let who = Who { session: crate::event::SessionId(7), listener: "a".into(), client, via: Via::Direct };
            let (observer, started) = (Arc::clone(&ends) as Arc<dyn Observer>, Instant::now());
            Report { who: Arc::new(who), observer, started, progress: Arc::default(), known: None }
        };
        let by_gateway = |during, reason| Ended { by: By::Gateway, during, why: Why::Reason(reason) };
        let expected = [
            (by_gateway(Stage::Handshake, Reason::Stopped), None),
            (by_gateway(Stage::Transfer, Reason::Fault), Some(b"anna".to_vec())),
            (Ended { by: By::Client, during: Stage::Commands, why: Why::Reason(Reason::Quit) }, None),
        ];
        let stopped = report();
        stopped.progress.is_at(Stage::Handshake);
        drop(stopped);
        let broken = report();
        let fault = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            broken.progress.is_of(Some(b"anna".to_vec()));
            broken.progress.is_at(Stage::Transfer);
            panic!("a fault");
        }));
        assert!(fault.is_err());
        let mut ended = report();
        ended.known = Some(expected[2].clone());
        drop(ended);
        assert_eq!(*ends.0.lock().unwrap(), expected);
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
