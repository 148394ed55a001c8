//! The control connection with a client: commands in, replies out.

use std::time::Duration;

use tokio::time::timeout;

use crate::event::{Handshake, Reason};
use crate::ftp::{Command, Cut, Flaw, LineCutter, Reply, ReplyLine, Verb};
use crate::net::{Socket, is_header};
use crate::policy::Refusal;
use crate::tls::{HandshakeFailure, Secured, SessionTls, Stream, WhyClosed, Wire, WireEvent};

/// The content type of a handshake's records (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// Replies that may wait for a client that does not read them. Past it nothing more is read, from either peer, that
/// would make more of them.
const OUTBOX: usize = 64 * 1024;
/// Commands cut and waiting; a client can send many in one segment.
const CUT_AHEAD: usize = 64;
/// `close_notify` both ways, for CCC and REIN.
const END_TLS: Duration = Duration::from_secs(60);

/// The control connection with a client.
pub(super) struct FrontLeg {
    wire: Wire,
    commands: LineCutter,
    command_length: usize,
    beginning: Beginning,
    /// No command has come yet.
    fresh: bool,
}

/// What a client has sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Nothing,
    /// A PROXY header that nobody asked for. Version 2 is built so that its parts are lines, and one of them `QUIT`.
    Header,
    Lines,
}

impl Beginning {
    fn note(&mut self, bytes: &[u8]) {
        if *self == Self::Nothing && !bytes.is_empty() {
            *self = if is_header(bytes) { Self::Header } else { Self::Lines };
        }
    }
}

/// What a client sends where TLS is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// A handshake, or nothing more.
    Tls,
    /// A PROXY header that nobody asked for.
    Header,
    /// Anything else.
    Other,
}

/// What happened on a front leg.
#[derive(Debug)]
pub(super) enum FrontEvent {
    /// A command.
    Command(Command),
    /// A line that is none.
    Flawed(Refusal),
    /// Everything answered is with the system.
    Drained,
}

impl FrontLeg {
    pub(super) fn new(stream: Stream, command_length: usize) -> Self {
        Self {
            wire: Wire::new(stream),
            commands: LineCutter::commands(command_length),
            command_length,
            beginning: Beginning::Nothing,
            fresh: true,
        }
    }

    pub(super) fn is_private(&self) -> bool {
        self.wire.stream().is_private()
    }

    /// Whether the client takes its replies; when not, nothing is read that would make more.
    pub(super) fn has_room(&self) -> bool {
        self.wire.queued() < OUTBOX
    }

    pub(super) fn answer(&mut self, reply: &Reply) {
        self.wire.queue(&reply.to_wire());
    }

    pub(super) fn pass(&mut self, line: &ReplyLine) {
        self.wire.queue(&line.bytes);
        self.wire.queue(b"\r\n");
    }

    /// Sends what is answered and, when `read` is set, waits for the next command. Can be cancelled at any time.
    pub(super) async fn turn(&mut self, read: bool) -> Result<FrontEvent, WhyClosed> {
        let read = read && self.has_room();
        loop {
            if read && let Some(event) = self.next_command() {
                return Ok(event);
            }
            let (commands, beginning) = (&mut self.commands, &mut self.beginning);
            let more = read && commands.waiting() < CUT_AHEAD;
            let mut take = |bytes: &[u8]| {
                beginning.note(bytes);
                commands.push(bytes);
                !bytes.ends_with(b"\n")
            };
            match self.wire.turn(more, &mut take).await? {
                WireEvent::Read => {}
                WireEvent::Drained => return Ok(FrontEvent::Drained),
            }
        }
    }

    /// Waits for the end of the client's connection. What the client sends meanwhile is kept for later.
    pub(super) async fn gone(&mut self) -> WhyClosed {
        loop {
            let commands = &mut self.commands;
            let more = commands.waiting() < CUT_AHEAD && self.wire.queued() < OUTBOX;
            let mut take = |bytes: &[u8]| {
                commands.push(bytes);
                !bytes.ends_with(b"\n")
            };
            if let Err(why) = self.wire.turn(more, &mut take).await {
                return why;
            }
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), WhyClosed> {
        self.wire.flush().await
    }

    /// Says good-bye on the wire: what is answered, `close_notify` where TLS is up, FIN.
    pub(super) async fn finish(&mut self) {
        self.wire.finish().await;
    }

    /// Waits for what the client sends first where TLS is awaited, and takes nothing. What is no TLS has cost no more.
    pub(super) async fn look(&self) -> Look {
        let mut first = [0; 12];
        match self.wire.stream().socket().tcp().peek(&mut first).await {
            Ok(0) | Err(_) => Look::Tls,
            Ok(_) if first[0] == HANDSHAKE => Look::Tls,
            Ok(seen) if is_header(&first[..seen]) => Look::Header,
            Ok(_) => Look::Other,
        }
    }

    /// Starts TLS. Plain bytes that stand behind AUTH are thrown away and never run (RFC 4217 §4.2, CVE-2011-1575 and
    /// its many siblings). What was answered must have been flushed.
    pub(super) async fn secure(
        self,
        tls: &mut SessionTls,
        deadline: Duration,
    ) -> Result<(Self, Option<String>, Handshake), HandshakeFailure> {
        let Self { wire, mut commands, command_length, beginning: _, fresh: _ } = self;
        let discarded = commands.discard();
        if discarded > 0 {
            tracing::debug!(discarded, "plaintext behind AUTH was thrown away");
        }
        let socket: Socket = wire.into_stream().into_socket();
        let Secured { stream, sni, handshake } = tls.secure_control(socket, deadline).await?;
        Ok((Self::new(stream, command_length), sni, handshake))
    }

    /// Ends TLS and goes on in clear. What was answered must have been flushed.
    pub(super) async fn unsecure(self) -> Result<Self, WhyClosed> {
        let Self { wire, commands, command_length, beginning, fresh } = self;
        let plain = timeout(END_TLS, wire.into_stream().end_tls())
            .await
            .map_err(|_| WhyClosed::Broken(std::io::ErrorKind::TimedOut.into()))?
            .map_err(WhyClosed::from)?;
        // Commands sent ahead came under TLS and are run.
        Ok(Self { wire: Wire::new(plain), commands, command_length, beginning, fresh })
    }

    fn next_command(&mut self) -> Option<FrontEvent> {
        if self.beginning == Beginning::Header {
            return Some(FrontEvent::Flawed(Refusal::ProxyHeaderForeign));
        }
        let Some(cut) = self.commands.next_cut() else {
            // A request of HTTP is not waited out, however long it is.
            let http = self.fresh && Verb::begins_http(self.commands.begun());
            return http.then_some(FrontEvent::Flawed(Refusal::HttpVerb));
        };
        let event = match cut {
            Cut::Line(line) if self.fresh && Verb::is_http(&line) => FrontEvent::Flawed(Refusal::HttpVerb),
            Cut::Flawed(_, edges) if self.fresh && Verb::is_http(edges.bytes()) => {
                FrontEvent::Flawed(Refusal::HttpVerb)
            }
            Cut::Line(line) => match Command::parse(&line) {
                Ok(command) => {
                    self.fresh = false;
                    FrontEvent::Command(command)
                }
                Err(_) => FrontEvent::Flawed(Refusal::NotACommand),
            },
            Cut::Flawed(Flaw::TooLong, _) => FrontEvent::Flawed(Refusal::LineTooLong),
            Cut::Flawed(Flaw::Nul, _) => FrontEvent::Flawed(Refusal::LineWithNul),
            Cut::Flawed(Flaw::BareCr, _) => FrontEvent::Flawed(Refusal::LineWithBareCr),
        };
        Some(event)
    }
}

/// Why a session ends when its client's control connection does.
pub(super) fn reason(why: &WhyClosed) -> Reason {
    match why {
        WhyClosed::Clean | WhyClosed::Unclean => Reason::ClientClosed,
        WhyClosed::Broken(error) if error.kind() == std::io::ErrorKind::TimedOut => Reason::ClientStalled,
        WhyClosed::Broken(_) => Reason::ClientReset,
    }
}
