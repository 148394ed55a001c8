//! The accept loops.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drain::Drain;
use super::settings::{ListenerSettings, TlsMode};
use crate::event::{Ended, Event, SessionId, Via, Who};
use crate::net::{HeaderError, bind, read_header};
use crate::policy::{Admission, Refusal};
use crate::session::{Course, Newcomer, Surroundings, run};

/// After a failed accept (no file descriptors left, mostly): trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of balancers whose PROXY header is awaited at once. It comes with the first packet, so few are.
const HEADERS: usize = 1024;

/// A listening socket.
#[derive(Debug)]
pub struct Bound {
    settings: ListenerSettings,
    listener: TcpListener,
    address: SocketAddr,
}

/// A listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("listener {name} cannot listen on {address}: {source}")]
pub struct BindError {
    /// Its name.
    pub name: Arc<str>,
    /// Where it should listen.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// All listeners and the sessions that came through them.
pub struct Server {
    shared: Arc<Shared>,
    course: watch::Sender<Course>,
    listeners: Vec<(Arc<str>, SocketAddr)>,
}

struct Shared {
    surroundings: Arc<ArcSwap<Surroundings>>,
    admission: Arc<Admission>,
    tasks: TaskTracker,
    sessions: TaskTracker,
    kill: CancellationToken,
    next_id: AtomicU64,
    headers: Arc<Semaphore>,
}

/// Who comes, from where, to where.
struct Arrival {
    tcp: TcpStream,
    client: SocketAddr,
    dialled: SocketAddr,
    via: Via,
}

impl Bound {
    /// Binds a listener. Must run inside the runtime.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn new(settings: ListenerSettings) -> Result<Self, BindError> {
        let (name, address) = (Arc::clone(&settings.name), settings.address);
        let problem = |source| BindError { name: Arc::clone(&name), address, source };
        let listener = bind(address).map_err(problem)?;
        let address = listener.local_addr().map_err(problem)?;
        Ok(Self { settings, listener, address })
    }

    /// Where it listens, with the port the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Server {
    /// Begins to accept.
    pub fn start(bound: Vec<Bound>, surroundings: Arc<ArcSwap<Surroundings>>, admission: Arc<Admission>) -> Self {
        let (course, watched) = watch::channel(Course::Serve);
        let shared = Arc::new(Shared {
            surroundings,
            admission,
            tasks: TaskTracker::new(),
            sessions: TaskTracker::new(),
            kill: CancellationToken::new(),
            next_id: AtomicU64::new(1),
            headers: Arc::new(Semaphore::new(HEADERS)),
        });
        let listeners = bound.iter().map(|bound| (Arc::clone(&bound.settings.name), bound.address)).collect();
        for bound in bound {
            shared.tasks.spawn(accept(bound, Arc::clone(&shared), watched.clone()));
        }
        Self { shared, course, listeners }
    }

    /// Names and addresses of the listeners.
    pub fn listeners(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.listeners
    }

    /// Sessions that run now.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Takes no new sessions, lets running transfers finish, for at most `limit`; then stops what is left.
    pub async fn drain(&self, limit: Duration) -> Drain {
        self.shared.admission.close();
        self.course.send_replace(Course::Drain);
        self.shared.tasks.close();
        self.shared.sessions.close();
        let drained = tokio::time::timeout(limit, self.shared.sessions.wait()).await.is_ok();
        if drained {
            return Drain::Finished;
        }
        let cut = self.shared.sessions.len();
        self.stop().await;
        Drain::CutOff(cut)
    }

    /// Ends all sessions now: they have a moment to say so to their peers, then they are dropped.
    pub async fn stop(&self) {
        /// What a good-bye to a peer that is there takes.
        const MOMENT: Duration = Duration::from_secs(3);
        self.shared.admission.close();
        self.course.send_replace(Course::Stop);
        self.shared.tasks.close();
        self.shared.sessions.close();
        if tokio::time::timeout(MOMENT, self.shared.sessions.wait()).await.is_err() {
            self.shared.kill.cancel();
            self.shared.sessions.wait().await;
        }
        self.shared.tasks.wait().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.course.send_replace(Course::Stop);
        self.shared.kill.cancel();
    }
}

async fn accept(bound: Bound, shared: Arc<Shared>, mut course: watch::Receiver<Course>) {
    let Bound { settings, listener, .. } = bound;
    let settings = Arc::new(settings);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = course.changed() => {
                // Anything but serving closes the listener: a load balancer sees it at once.
                if changed.is_err() || *course.borrow() != Course::Serve {
                    return;
                }
                continue;
            }
        };
        match accepted {
            Ok((tcp, peer)) => receive(&settings, tcp, peer, &shared, &course),
            Err(error) => {
                tracing::error!(%error, listener = &*settings.name, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn receive(
    settings: &Arc<ListenerSettings>,
    tcp: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    course: &watch::Receiver<Course>,
) {
    // A client that is gone already has no address any more.
    let Ok(dialled) = tcp.local_addr() else { return };
    let arrival = Arrival { tcp, client: canonical(peer), dialled, via: Via::Direct };
    if settings.balancers.iter().any(|network| network.contains(&arrival.client.ip())) {
        introduce(settings, arrival, shared, course);
    } else if let Some(session) = admit(settings, arrival, shared, course) {
        spawn(shared, session);
    }
}

/// A balancer says who comes, in a task of its own; then the client is admitted like any other.
fn introduce(
    settings: &Arc<ListenerSettings>,
    mut arrival: Arrival,
    shared: &Arc<Shared>,
    course: &watch::Receiver<Course>,
) {
    let Ok(place) = Arc::clone(&shared.headers).try_acquire_owned() else {
        turn_away(settings, &arrival, Refusal::TooManySessions, shared);
        return;
    };
    let (settings, own, mut course) = (Arc::clone(settings), Arc::clone(shared), course.clone());
    spawn(shared, async move {
        let deadline = own.surroundings.load().settings.timeouts.tls_handshake;
        let read = tokio::select! {
            read = read_header(&mut arrival.tcp, deadline) => read,
            // Nobody is known to be there yet, so nobody has to be waited for.
            _ = course.wait_for(|course| *course != Course::Serve) => return,
        };
        drop(place);
        match read {
            Ok(Some(named)) => {
                let balancer = std::mem::replace(&mut arrival.client, canonical(named.source));
                arrival.dialled = named.destination;
                arrival.via = Via::Balancer(balancer);
            }
            Ok(None) => arrival.via = Via::Check,
            Err(error) => {
                tracing::debug!(%error, balancer = %arrival.client, "a balancer did not say who comes");
                let refusal = match error {
                    HeaderError::Late(_) | HeaderError::NotAHeader => Refusal::ProxyHeaderMissing,
                    HeaderError::Wrong(_) => Refusal::ProxyHeaderWrong,
                    // A balancer that connects and leaves looks whether somebody listens.
                    HeaderError::Io(_) => return,
                };
                turn_away(&settings, &arrival, refusal, &own);
                return;
            }
        }
        if let Some(session) = admit(&settings, arrival, &own, &course) {
            session.await;
        }
    });
}

/// The session of a client that may come in. It is boxed here: what awaits it would hold it twice, for as long as it lasts.
fn admit(
    settings: &ListenerSettings,
    arrival: Arrival,
    shared: &Arc<Shared>,
    course: &watch::Receiver<Course>,
) -> Option<Pin<Box<impl Future<Output = Ended> + Send + 'static>>> {
    let surroundings = shared.surroundings.load_full();
    let permit = match shared.admission.admit(arrival.client.ip(), Instant::now()) {
        Ok(permit) => permit,
        Err(refusal) => {
            turn_away(settings, &arrival, refusal, shared);
            return None;
        }
    };
    let Arrival { tcp, client, dialled, via } = arrival;
    // A client that is gone already has no address any more.
    let own = tcp.local_addr().ok()?;
    let session = SessionId(shared.next_id.fetch_add(1, Ordering::Relaxed));
    let who = Who { session, listener: Arc::clone(&settings.name), client, via };
    let implicit = settings.tls == TlsMode::Implicit;
    let newcomer = Newcomer { tcp, permit, who, dialled, own, implicit };
    let course = course.clone();
    Some(Box::pin(run(newcomer, surroundings, course)))
}

/// Runs until it ends or all are dropped.
fn spawn<T>(shared: &Arc<Shared>, session: impl Future<Output = T> + Send + 'static) {
    let kill = shared.kill.clone();
    shared.sessions.spawn(async move {
        tokio::select! {
            _ = session => {}
            () = kill.cancelled() => {}
        }
    });
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `421` in clear where clear is spoken; nothing where TLS would have to come first. The socket's buffer is empty, so
/// one attempt is enough, and a client that does not take it hears nothing.
fn turn_away(settings: &ListenerSettings, arrival: &Arrival, refusal: Refusal, shared: &Shared) {
    let event = Event::Turned { listener: &settings.name, client: arrival.client, refusal };
    shared.surroundings.load().observer.observe(&event);
    if settings.tls == TlsMode::Explicit
        && let Err(error) = arrival.tcp.try_write(&refusal.reply().to_wire())
    {
        tracing::trace!(%error, "a client that was turned away is gone");
    }
}
