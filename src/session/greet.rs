//! A client that has not logged in: the greeting, AUTH, and the few commands that are answered before USER. The
//! backend is not dialled here and hears nothing of it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::answers;
use super::dialogue::Pending;
use super::front::{FrontEvent, FrontLeg, Look};
use super::login::Stop;
use super::run::{Context, Course, Leave};
use crate::event::{By, Channel, Event, HandshakeResult, Leg, Object, Reason, Stage, Why};
use crate::ftp::{Command, Reply, Verb};
use crate::policy::{
    ClearCommandChannel, ClientCertificate, Disposition, Mechanism, ProtectionState, Refusal, Requirement, Traveller,
    disposition,
};
use crate::tls::{HandshakeFailure, SessionTls};

/// A client that has not logged in.
pub(super) struct Lobby {
    pub(super) front: FrontLeg,
    pub(super) context: Context,
    /// TLS of this session, once there is any.
    pub(super) tls: Option<Arc<SessionTls>>,
    pub(super) protection: ProtectionState,
    /// The name TLS asked for.
    pub(super) sni: Option<String>,
    /// The name HOST gave.
    pub(super) host: Option<String>,
    /// The client asked for UTF-8 before there was a backend to ask.
    pub(super) utf8: bool,
    /// What the client calls itself.
    pub(super) software: Option<Vec<u8>>,
    /// Until when it must have logged in.
    pub(super) deadline: Instant,
    /// Wrong passwords so far.
    pub(super) rejected: u32,
    /// Names so far that no password has followed.
    pub(super) given_up: u32,
    /// Why it ends, once a backend has decided that still has a password on trial.
    pub(super) over: Option<Stop>,
    /// Lines that came ahead of a USER or REIN and have waited their turn since.
    pub(super) waiting: VecDeque<Pending>,
    /// No command has come yet.
    fresh: bool,
}

/// What a command before login comes to.
pub(super) enum Early {
    /// It is answered.
    Answered,
    /// AUTH: 234, then TLS.
    Secure(Mechanism),
    /// REIN: 220, then as after the greeting.
    Reinitialise,
    /// QUIT, or something that ends the session.
    Leave(By, Why),
    /// USER, PASS or ACCT.
    Login(Command),
}

impl Lobby {
    /// Greets. On an implicit listener TLS comes first.
    pub(super) async fn open(front: FrontLeg, context: Context) -> Result<Self, Leave> {
        let deadline = context.login_deadline();
        let mut lobby = Self {
            front,
            tls: None,
            protection: ProtectionState::plain(),
            sni: None,
            host: None,
            utf8: false,
            software: None,
            deadline,
            rejected: 0,
            given_up: 0,
            over: None,
            waiting: VecDeque::new(),
            fresh: true,
            context,
        };
        if lobby.context.implicit {
            lobby = lobby.start_tls(ProtectionState::implicit()).await?;
        }
        lobby.greet();
        Ok(lobby)
    }

    /// The next command; flaws are answered here.
    pub(super) async fn next(&mut self) -> Result<Command, (By, Why)> {
        loop {
            if *self.context.course.borrow() != Course::Serve {
                return Err((By::Gateway, Why::Refused(Refusal::Draining)));
            }
            // A command that is there already would win over a deadline that has passed.
            if Instant::now() >= self.deadline {
                return Err((By::Client, Why::Reason(Reason::LoginTimeout)));
            }
            match self.waiting.pop_front() {
                Some(Pending::Command(command)) => return Ok(command),
                Some(Pending::Flawed(refusal)) => {
                    self.refuse(Verb::Other, refusal);
                    continue;
                }
                None => {}
            }
            let turn = async {
                tokio::select! {
                    event = self.front.turn(true) => Some(event),
                    _ = self.context.course.changed() => None,
                }
            };
            let event = match timeout_at(self.deadline, turn).await {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(_) => return Err((By::Client, Why::Reason(Reason::LoginTimeout))),
            };
            match event {
                Ok(FrontEvent::Drained) => {}
                Ok(FrontEvent::Flawed(refusal @ (Refusal::ProxyHeaderForeign | Refusal::HttpVerb))) => {
                    return Err((By::Client, Why::Refused(refusal)));
                }
                Ok(FrontEvent::Flawed(refusal)) => self.refuse(Verb::Other, refusal),
                Ok(FrontEvent::Command(command)) => {
                    self.context.observe(&Event::Command { who: &self.context.who, verb: command.verb() });
                    return Ok(command);
                }
                Err(why) => return Err((By::Client, Why::Reason(self.context.client_closed(&why)))),
            }
        }
    }

    /// Deals with a command that needs no backend.
    pub(super) fn early(&mut self, command: Command) -> Early {
        let fresh = std::mem::replace(&mut self.fresh, false);
        if fresh && command.name().eq_ignore_ascii_case(b"PROXY") {
            return Early::Leave(By::Client, Why::Refused(Refusal::ProxyHeaderForeign));
        }
        let verb = command.verb();
        let private = self.front.is_private();
        // Also behind CCC: a name and a password go under TLS or not at all.
        let required = self.context.settings().protection.control == Requirement::Required
            || self.context.client_certificate() == ClientCertificate::Require;
        let tls_missing = !private && required;
        match verb {
            Verb::Auth if private => self.refuse(verb, Refusal::AlreadySecured),
            Verb::Auth => match Mechanism::parse(command.argument()) {
                Ok(mechanism) => return Early::Secure(mechanism),
                Err(refusal) => self.refuse(verb, refusal),
            },
            Verb::Feat => self.answer_features(),
            Verb::Host => self.take_host(&command),
            Verb::Help => self.answer(&answers::help()),
            Verb::Noop => self.answer(&Reply::new(200, "NOOP: done.")),
            Verb::Clnt => {
                self.software = Some(command.argument().to_vec());
                self.answer(&Reply::new(200, "Noted."));
            }
            Verb::Opts if is_utf8_option(command.argument()) => {
                self.utf8 = true;
                self.answer(&Reply::new(200, "UTF8 is noted."));
            }
            Verb::Quit => return Early::Leave(By::Client, Why::Reason(Reason::Quit)),
            _ if disposition(verb) == Disposition::NotImplemented => self.refuse(verb, Refusal::NotImplemented),
            _ if tls_missing && !matches!(verb, Verb::Pbsz | Verb::Prot) => self.refuse(verb, Refusal::TlsRequired),
            Verb::User | Verb::Pass | Verb::Acct => return Early::Login(command),
            Verb::Pbsz => match self.protection.pbsz(command.argument()) {
                Ok(()) => self.answer(&Reply::new(200, "PBSZ=0")),
                Err(refusal) => self.refuse(verb, refusal),
            },
            Verb::Prot => {
                let policy = self.context.settings().protection;
                match self.protection.prot(command.argument(), &policy) {
                    Ok(protection) => {
                        let text = format!("Data connections are {} now.", protection.label());
                        self.answer(&Reply::new(200, text));
                    }
                    Err(refusal) => self.refuse(verb, refusal),
                }
            }
            // Before login there is nothing that CCC helps, and a password that it would lay open.
            Verb::Ccc => match self.context.settings().protection.clear_command_channel {
                ClearCommandChannel::Allow => self.refuse(verb, Refusal::NotLoggedIn),
                ClearCommandChannel::Refuse => self.refuse(verb, Refusal::ClearControlRefused),
            },
            Verb::Rein => return Early::Reinitialise,
            Verb::Abor => self.answer(&Reply::new(226, "No transfer is running.")),
            _ => self.refuse(verb, Refusal::NotLoggedIn),
        }
        Early::Answered
    }

    /// 234, then TLS.
    pub(super) async fn secure(mut self, mechanism: Mechanism) -> Result<Self, Leave> {
        self.answer(&Reply::new(234, "Proceed with the TLS handshake."));
        // Said in clear, by whoever is on the wire: like what stands unread behind AUTH it does not count under TLS. A HOST
        // would choose the backend that gets the password.
        self.waiting.clear();
        self.host = None;
        self.utf8 = false;
        self.software = None;
        if let Err(why) = self.front.flush().await {
            let reason = self.context.client_closed(&why);
            return Err(Leave::silently(None, By::Client, Stage::Greeting, Why::Reason(reason)));
        }
        self.start_tls(ProtectionState::secured(mechanism)).await
    }

    /// CCC: 200 under TLS, then plain. PROT stays as it was (RFC 4217 §12.3).
    pub(super) async fn unsecure(mut self) -> Result<Self, Leave> {
        self.answer(&Reply::new(200, "The control connection is clear from now on."));
        self.end_tls(None).await
    }

    /// REIN: as after the greeting. Its reply goes out under TLS (RFC 4217 §13), then TLS ends on an explicit listener;
    /// on an implicit one there is no plain to go back to. The end of TLS is the client's to say, within the login's time.
    pub(super) async fn reinitialise(mut self) -> Result<Self, Leave> {
        self.answer(&Reply::new(220, "Begin anew."));
        self.host = None;
        self.utf8 = false;
        if self.context.implicit && self.front.is_private() {
            self.protection = ProtectionState::implicit();
            return Ok(self);
        }
        // Behind CCC on an implicit listener too: TLS begins again with AUTH.
        self.protection = ProtectionState::plain();
        if !self.front.is_private() {
            return Ok(self);
        }
        self.sni = None;
        self.tls = None;
        let login = self.deadline;
        self.end_tls(Some(login)).await
    }

    pub(super) fn answer(&mut self, reply: &Reply) {
        self.front.answer(reply);
        self.context.observe(&Event::Reply { who: &self.context.who, class: reply.code().class() });
    }

    pub(super) fn refuse(&mut self, verb: Verb, refusal: Refusal) {
        self.refuse_to(None, verb, None, refusal);
    }

    /// The same to a user who has logged in, with what the command was about.
    pub(super) fn refuse_to(&mut self, user: Option<&[u8]>, verb: Verb, object: Option<&Object>, refusal: Refusal) {
        self.context.observe(&Event::Refused { who: &self.context.who, user, object, verb, refusal });
        self.answer(&refusal.reply());
    }

    /// The session ends with words for the client.
    pub(super) fn leave(self, by: By, during: Stage, why: Why) -> Leave {
        let tell = !matches!(
            why,
            Why::Reason(Reason::ClientClosed | Reason::ClientReset | Reason::ClientStalled | Reason::TlsFailed)
        );
        if tell { Leave::telling(self.front, by, during, why) } else { Leave::silently(None, by, during, why) }
    }

    fn greet(&mut self) {
        let banner = Reply::new(220, self.context.settings().banner.clone());
        self.answer(&banner);
    }

    async fn start_tls(self, protection: ProtectionState) -> Result<Self, Leave> {
        let Self { front, context, .. } = self;
        context.progress.is_at(Stage::Handshake);
        let failed = |why| Leave::silently(None, By::Client, Stage::Handshake, why);
        let began = Instant::now();
        // No handshake outlasts the login's time.
        let deadline = context.settings().timeouts.tls_handshake.min(self.deadline.saturating_duration_since(began));
        let looked = match timeout(deadline, front.look()).await {
            Ok(Look::Tls) => Ok(()),
            Ok(Look::Header) => return Err(failed(Why::Refused(Refusal::ProxyHeaderForeign))),
            Ok(Look::Other) => Err(HandshakeFailure::new(HandshakeResult::NotTls, "what the client sent is no TLS")),
            Err(_) => Err(HandshakeFailure::timeout(deadline)),
        };
        if let Err(failure) = looked {
            let handshake = failure.handshake(Leg::Front, Channel::Control);
            context.observe(&Event::Handshake { who: &context.who, handshake, detail: &failure.detail });
            return Err(failed(Why::Reason(Reason::TlsFailed)));
        }
        let mut tls = match context.surroundings.front_tls.session_asking(context.client_certificate()) {
            Ok(tls) => tls,
            Err(error) => {
                tracing::error!(%error, "TLS for a session cannot be set up");
                return Err(Leave::silently(None, By::Gateway, Stage::Handshake, Why::Reason(Reason::TlsFailed)));
            }
        };
        match front.secure(&mut tls, deadline.saturating_sub(began.elapsed())).await {
            Ok((front, sni, handshake)) => {
                context.progress.is_at(Stage::Greeting);
                context.observe(&Event::Handshake { who: &context.who, handshake, detail: "" });
                if let Some(client) = tls.client() {
                    let (subject, issuer, serial) = (&client.subject, &client.issuer, &client.serial);
                    context.observe(&Event::ClientCertificate { who: &context.who, subject, issuer, serial });
                }
                Ok(Self { front, context, tls: Some(Arc::new(tls)), protection, sni, ..self })
            }
            Err(failure) => {
                let handshake = failure.handshake(Leg::Front, Channel::Control);
                context.observe(&Event::Handshake { who: &context.who, handshake, detail: &failure.detail });
                Err(failed(match failure.result {
                    HandshakeResult::ForeignProtocol => Why::Refused(Refusal::ForeignProtocol),
                    HandshakeResult::Ok
                    | HandshakeResult::Timeout
                    | HandshakeResult::Closed
                    | HandshakeResult::NotTls
                    | HandshakeResult::NoCommonParameters
                    | HandshakeResult::CertificateRejected
                    | HandshakeResult::CertificateDiffers
                    | HandshakeResult::Alert
                    | HandshakeResult::Protocol => Why::Reason(Reason::TlsFailed),
                }))
            }
        }
    }

    /// What is answered goes out, then TLS ends: by the end of the login where there is one, and no drain waits for it.
    async fn end_tls(self, login: Option<Instant>) -> Result<Self, Leave> {
        let Self { mut front, context, .. } = self;
        let mut course = context.course.clone();
        let ending = async {
            front.flush().await?;
            front.unsecure().await
        };
        let late = async {
            match login {
                Some(login) => sleep_until(login).await,
                None => std::future::pending().await,
            }
        };
        // In the middle of the end of TLS nothing can be said any more.
        let left = |by, why| Leave::silently(None, by, Stage::Greeting, why);
        tokio::select! {
            ended = ending => match ended {
                Ok(front) => Ok(Self { front, context, ..self }),
                Err(why) => Err(left(By::Client, Why::Reason(context.client_closed(&why)))),
            },
            () = late => Err(left(By::Client, Why::Reason(Reason::LoginTimeout))),
            _ = course.wait_for(|course| *course != Course::Serve) => Err(left(By::Gateway, Why::Refused(Refusal::Draining))),
        }
    }

    fn answer_features(&mut self) {
        let surroundings = &self.context.surroundings;
        let traveller = Traveller {
            user: b"",
            host: self.sni.as_deref().or(self.host.as_deref()),
            client: self.context.client,
            listener: &self.context.who.listener,
        };
        let possible = surroundings.settings.routes.possible(&traveller);
        let known = possible.into_iter().map(|name| surroundings.pool.get(name)?.features().as_deref().cloned());
        let lines = known.collect::<Option<Vec<_>>>().map(answers::common).unwrap_or_default();
        let reply = answers::features(&lines, surroundings.active.is_some());
        self.answer(&reply);
    }

    fn take_host(&mut self, command: &Command) {
        match self.context.settings().hosts.check(command.argument(), self.sni.as_deref()) {
            Ok(host) => {
                self.host = Some(host);
                let banner = self.context.settings().banner.clone();
                self.answer(&Reply::new(220, banner));
            }
            Err(refusal) => self.refuse(Verb::Host, refusal),
        }
    }
}

/// `OPTS UTF8 ON`, and the bare `OPTS UTF8` of some clients; Windows sends it before USER.
fn is_utf8_option(argument: &[u8]) -> bool {
    let mut words = argument.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let utf8 =
        words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"UTF8") || word.eq_ignore_ascii_case(b"UTF-8"));
    utf8 && words.next().is_none_or(|word| word.eq_ignore_ascii_case(b"ON"))
}
