//! A back leg's control connection: commands out, reply lines in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::dial::BackendError;
use super::pool::Backend;
use crate::event::BackendFailure;
use crate::ftp::{Code, Printable, ReplyCutter, ReplyFlaw, ReplyLine, Verb, ends_with_final_reply};
use crate::net::Socket;
use crate::policy::{Cleared, Protection};
use crate::tls::{BackTls, Stream, WhyClosed, Wire, WireEvent};

/// How much of a reply that the gateway reads for itself is kept. FEAT and logins are far below.
const WHOLE_REPLY: usize = 64 * 1024;

/// The control connection with a backend.
pub struct BackLeg {
    backend: Arc<Backend>,
    wire: Wire,
    replies: ReplyCutter,
    tls: Option<Arc<BackTls>>,
    peer: SocketAddr,
    local: IpAddr,
}

/// What happened on a back leg.
#[derive(Debug)]
pub enum BackEvent {
    /// A line of a reply.
    Line(ReplyLine),
    /// Everything sent is with the system.
    Drained,
}

/// A reply that the gateway reads for itself.
#[derive(Debug, Clone)]
pub struct WholeReply {
    /// Its code.
    pub code: Code,
    /// Its lines as they would go to a client.
    pub lines: Vec<ReplyLine>,
}

impl WholeReply {
    /// The last line's text.
    pub fn text(&self) -> &[u8] {
        self.lines.last().map(ReplyLine::text).unwrap_or_default()
    }
}

impl BackLeg {
    pub(super) fn new(backend: Arc<Backend>, stream: Stream, tls: Option<BackTls>, reply_length: usize) -> Self {
        let tcp = stream.socket().tcp();
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        // Both were there a moment ago; if they are gone now, so is the connection, and the next read says so.
        let peer = tcp.peer_addr().unwrap_or(unknown);
        let local = tcp.local_addr().unwrap_or(unknown).ip();
        Self {
            backend,
            wire: Wire::new(stream),
            replies: ReplyCutter::new(reply_length),
            tls: tls.map(Arc::new),
            peer,
            local,
        }
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The backend's name.
    pub fn backend_name(&self) -> Arc<str> {
        Arc::clone(&self.backend.settings().name)
    }

    /// The control connection's peer: data connections go to its address.
    pub fn peer(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// The control connection's local address.
    pub fn local(&self) -> IpAddr {
        self.local.to_canonical()
    }

    /// TLS of this leg, for its data connections.
    pub fn tls(&self) -> Option<&Arc<BackTls>> {
        self.tls.as_ref()
    }

    /// How data connections with this backend are protected: as the control connection is.
    pub fn protection(&self) -> Protection {
        if self.tls.is_some() { Protection::Private } else { Protection::Clear }
    }

    /// Queues a command; it goes out while [`Self::turn`] is awaited.
    pub fn send(&mut self, command: &Cleared) {
        self.wire.queue(&command.command().to_wire());
    }

    /// Sends what is queued and, when `read` is set, waits for the next reply line. Can be cancelled at any time.
    ///
    /// # Errors
    /// When the backend closes, breaks, or sends what is no reply.
    pub async fn turn(&mut self, read: bool) -> Result<BackEvent, BackendError> {
        loop {
            if read && let Some(line) = self.said_already()? {
                return Ok(BackEvent::Line(line));
            }
            let replies = &mut self.replies;
            let mut take = |bytes: &[u8]| {
                replies.push(bytes);
                !ends_with_final_reply(bytes)
            };
            match self.wire.turn(read, &mut take).await {
                Ok(WireEvent::Read) => {}
                Ok(WireEvent::Drained) => return Ok(BackEvent::Drained),
                Err(why) => return Err(closed(why)),
            }
        }
    }

    /// A line that came together with the one before. It is no reply to anything that is sent from now on.
    ///
    /// # Errors
    /// When what came is no reply.
    pub fn said_already(&mut self) -> Result<Option<ReplyLine>, BackendError> {
        self.replies.next_line().map_err(|flaw| match flaw {
            ReplyFlaw::NotAReply | ReplyFlaw::TooLong => BackendError::new(BackendFailure::Nonsense, flaw.to_string()),
        })
    }

    /// Sends a command and reads its final reply; preliminary ones are passed over.
    ///
    /// # Errors
    /// As [`Self::turn`], when the reply is not there within `deadline`, and when one is there before the command.
    pub async fn exchange(&mut self, command: &Cleared, deadline: Duration) -> Result<WholeReply, BackendError> {
        if self.said_already()?.is_some() {
            return Err(BackendError::new(BackendFailure::Unasked, BackendFailure::Unasked.text()));
        }
        self.send(command);
        self.final_reply(deadline).await
    }

    /// Reads one final reply.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub async fn final_reply(&mut self, deadline: Duration) -> Result<WholeReply, BackendError> {
        let late = || BackendError::new(BackendFailure::Timeout, format!("no reply within {deadline:?}"));
        timeout(deadline, self.read_final_reply()).await.map_err(|_| late())?
    }

    /// Says good-bye on the wire: what is queued, `close_notify` where TLS is up, FIN.
    pub async fn finish(&mut self) {
        self.wire.finish().await;
    }

    /// Leaves: QUIT, whose answer nobody waits for, and the good-bye on the wire.
    pub async fn part(&mut self) {
        self.send(&Cleared::own_bare(Verb::Quit));
        self.finish().await;
    }

    /// The plain connection, for the handshake. What the backend sent behind its reply to AUTH came in plain and is
    /// refused: whoever is on the wire could have put it there.
    pub(super) fn into_plain_socket(self) -> Result<Socket, BackendError> {
        if self.replies.held_bytes() > 0 {
            return Err(BackendError::new(BackendFailure::Nonsense, "sent more in plain behind its reply to AUTH TLS"));
        }
        Ok(self.wire.into_stream().into_socket())
    }

    async fn read_final_reply(&mut self) -> Result<WholeReply, BackendError> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        loop {
            let BackEvent::Line(line) = self.turn(true).await? else { continue };
            let (code, last) = (line.code, line.last);
            bytes += line.weight();
            if bytes > WHOLE_REPLY {
                return Err(BackendError::new(BackendFailure::Nonsense, "a reply without an end"));
            }
            lines.push(line);
            if last && code.is_preliminary() {
                lines.clear();
            } else if last {
                return Ok(WholeReply { code, lines });
            }
        }
    }
}

fn closed(why: WhyClosed) -> BackendError {
    match why {
        WhyClosed::Clean => BackendError::new(BackendFailure::Closed, "the control connection was closed"),
        WhyClosed::Unclean => BackendError {
            close_notify_missing: true,
            ..BackendError::new(BackendFailure::Closed, "the control connection was closed without close_notify")
        },
        WhyClosed::Broken(error) => {
            let text = error.to_string();
            BackendError::new(BackendFailure::Reset, Printable(text.as_bytes()).to_string())
        }
    }
}
