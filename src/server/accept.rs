//! The accept loops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::drain::Drain;
use super::settings::{ListenerSettings, TlsMode};
use crate::event::{Event, SessionId, Who};
use crate::net::bind;
use crate::policy::{Admission, Refusal};
use crate::session::{Course, Newcomer, Surroundings, run};

/// After a failed accept (no file descriptors left, mostly): trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
            Ok((tcp, client)) => admit(&settings, tcp, client, &shared, &course),
            Err(error) => {
                tracing::error!(%error, listener = &*settings.name, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(
    settings: &ListenerSettings,
    tcp: TcpStream,
    client: SocketAddr,
    shared: &Arc<Shared>,
    course: &watch::Receiver<Course>,
) {
    let surroundings = shared.surroundings.load_full();
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let permit = match shared.admission.admit(client.ip(), Instant::now()) {
        Ok(permit) => permit,
        Err(refusal) => {
            surroundings.observer.observe(&Event::Turned { listener: &settings.name, client, refusal });
            turn_away(&tcp, settings.tls, refusal);
            return;
        }
    };
    // A client that is gone already has no address any more.
    let Ok(dialled) = tcp.local_addr() else { return };
    let session = SessionId(shared.next_id.fetch_add(1, Ordering::Relaxed));
    let who = Who { session, listener: Arc::clone(&settings.name), client };
    let implicit = settings.tls == TlsMode::Implicit;
    let newcomer = Newcomer { tcp, permit, who, dialled, implicit };
    let kill = shared.kill.clone();
    let course = course.clone();
    shared.sessions.spawn(async move {
        tokio::select! {
            _ = run(newcomer, surroundings, course) => {}
            () = kill.cancelled() => {}
        }
    });
}

/// `421` in clear where clear is spoken; nothing where TLS would have to come first. The socket's buffer is empty, so
/// one attempt is enough, and a client that does not take it hears nothing.
fn turn_away(tcp: &TcpStream, tls: TlsMode, refusal: Refusal) {
    if tls == TlsMode::Explicit
        && let Err(error) = tcp.try_write(&refusal.reply().to_wire())
    {
        tracing::trace!(%error, "a client that was turned away is gone");
    }
}
