//! From USER to 230: the route, the backend's dial, and USER, PASS and ACCT passed through.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::{sleep, sleep_until};

use super::attempt::{Attempt, Standing, dial_for, part, prepare};
use super::greet::{Early, Lobby};
use super::proof::{Said, no_goodbye, password_required};
use super::run::{Course, Leave};
use super::second_factor::{Factor, code_required};
use crate::backend::{BackLeg, Backend, BackendError, WholeReply};
use crate::event::{BackendFailure, By, Channel, Event, Leg, LoginResult, Reason, Stage, Why};
use crate::ftp::{Command, Verb};
use crate::policy::{Cleared, LoginAnswer, Refusal, Seat, Traveller, Trial, check_length, is_unmistakable};
use crate::tls::WhyClosed;

/// Wrong passwords in one session, after which it ends (RFC 2577 §5). As many names that no password has followed.
pub(super) const ATTEMPTS: u32 = 5;

/// A client that has logged in, and the backend it is logged in to.
pub(super) struct LoggedIn {
    pub(super) lobby: Box<Lobby>,
    pub(super) back: BackLeg,
    pub(super) user: Vec<u8>,
    pub(super) seat: Seat,
}

/// What a login command comes to.
pub(super) enum Step {
    /// It is answered and the login goes on.
    On,
    /// The backend has let the user in; its reply, and what was on trial.
    In(WholeReply, Option<Trial>),
}

/// Why a login cannot go on.
pub(super) enum Stop {
    Backend(BackendError),
    Refused(Refusal),
    /// The client is gone; nobody waits for the backend's answer any more.
    ClientGone(WhyClosed),
    /// The login has taken too long.
    TooLate,
    /// The same, and the client has heard so.
    ToldTooLate,
    /// The gateway drains or stops.
    Draining,
}

impl Lobby {
    /// Deals with commands until the client has logged in. `user`: the USER it begins with.
    pub(super) async fn log_in(mut self: Box<Self>, mut user: Option<Command>) -> Result<Box<LoggedIn>, Leave> {
        let mut attempt: Option<Attempt> = None;
        loop {
            let stage = if attempt.is_some() { Stage::Login } else { Stage::Greeting };
            self.context.progress.is_at(stage);
            let early = match user.take() {
                Some(command) => self.early(command),
                None => match self.next().await {
                    Ok(command) => self.early(command),
                    Err((by, why)) => {
                        part(&mut attempt).await;
                        return Err(self.leave(by, stage, why));
                    }
                },
            };
            let command = match early {
                Early::Answered => continue,
                Early::Leave(by, why) => {
                    part(&mut attempt).await;
                    return Err(self.leave(by, stage, why));
                }
                Early::Secure(mechanism) => {
                    // RFC 4217 §4.2: what was said in clear does not count under TLS.
                    self.give_up(attempt.as_ref());
                    part(&mut attempt).await;
                    self = Box::new(Box::pin(self.secure(mechanism)).await?);
                    continue;
                }
                Early::Reinitialise => {
                    self.give_up(attempt.as_ref());
                    part(&mut attempt).await;
                    self = Box::new(Box::pin(self.reinitialise()).await?);
                    continue;
                }
                Early::Login(command) => command,
            };
            self.context.progress.is_at(Stage::Login);
            let step = Box::pin(self.step(command, &mut attempt)).await;
            let stop = match (step, self.over.take()) {
                (Ok(None), None) => continue,
                (Ok(Some((back, user, seat))), None) => {
                    return Ok(Box::new(LoggedIn { lobby: self, back, user, seat }));
                }
                (Err(stop), None) => stop,
                (Err(Stop::Backend(error)), Some(stop)) => {
                    self.backend_failed(attempt.as_ref(), &error);
                    stop
                }
                (Ok(_) | Err(_), Some(stop)) => stop,
            };
            if let Stop::Backend(error) = &stop {
                self.backend_failed(attempt.as_ref(), error);
                if let Some(mut back) = attempt.take().and_then(|attempt| attempt.back) {
                    back.finish().await;
                }
            } else {
                part(&mut attempt).await;
            }
            return Err(self.stops(stop));
        }
    }

    /// The session ends with its login.
    fn stops(self, stop: Stop) -> Leave {
        let late = Why::Reason(Reason::LoginTimeout);
        match stop {
            Stop::Refused(refusal) => self.leave(By::Client, Stage::Login, Why::Refused(refusal)),
            Stop::ClientGone(why) => {
                let reason = self.context.client_closed(&why);
                self.leave(By::Client, Stage::Login, Why::Reason(reason))
            }
            Stop::TooLate => self.leave(By::Client, Stage::Login, late),
            Stop::ToldTooLate => Leave::silently(None, By::Client, Stage::Login, late),
            Stop::Draining => self.leave(By::Gateway, Stage::Login, Why::Refused(Refusal::Draining)),
            Stop::Backend(error) => self.leave(By::Backend, Stage::Login, Why::Backend(error.failure)),
        }
    }

    /// One command of the login, and what follows from it.
    async fn step(
        &mut self,
        command: Command,
        attempt: &mut Option<Attempt>,
    ) -> Result<Option<(BackLeg, Vec<u8>, Seat)>, Stop> {
        // Of all backends, whoever it is: the answer shall not tell where a user is sent.
        if check_length(&command, self.context.surroundings.pool.command_length()).is_err() {
            self.refuse(command.verb(), Refusal::LineTooLong);
            return Ok(None);
        }
        let step = match command.verb() {
            Verb::User => self.user(command, attempt).await?,
            _ => self.proof(command, attempt).await?,
        };
        match step {
            Step::In(reply, trial) => self.admit(attempt, reply, trial).await,
            Step::On => Ok(None),
        }
    }

    /// USER: picks the route, dials, asks.
    async fn user(&mut self, command: Command, attempt: &mut Option<Attempt>) -> Result<Step, Stop> {
        if !command.has_argument() {
            self.refuse(Verb::User, Refusal::Syntax);
            return Ok(Step::On);
        }
        if !is_unmistakable(command.argument()) {
            self.refuse(Verb::User, Refusal::UserWithControls);
            return Ok(Step::On);
        }
        self.give_up(attempt.as_ref());
        self.slow_down().await?;
        let user = command.argument().to_vec();
        self.check_ban(&user)?;
        if !self.context.surroundings.observer.can_record() {
            self.refuse(Verb::User, Refusal::AuditUnavailable);
            return Ok(Step::On);
        }
        let backend = self.route(&user);
        let mut kept = attempt.take().and_then(|attempt| attempt.back);
        if self.tells_apart()
            && let Some(mut back) = kept.take()
        {
            // A connection that is there already would be told by its haste.
            back.part().await;
        }
        let factor = self.factor(&user);
        let certified = self.certificate_allows(&user);
        let Some(backend) = backend.filter(|_| certified) else {
            let without = if certified { LoginResult::NoRoute } else { LoginResult::CertificateMismatch };
            *attempt = Some(Attempt { without, ..Attempt::new(user, None, factor) });
            self.imitate(LoginAnswer::User).await?;
            self.answer(&password_required());
            return Ok(Step::On);
        };
        let began = Instant::now();
        let reusable = kept.filter(|back| Arc::ptr_eq(back.backend(), &backend));
        let dialled = reusable.is_none();
        let mut back = match reusable {
            Some(back) => back,
            None => {
                *attempt = Some(Attempt::new(user.clone(), None, Factor::None));
                let (who, surroundings) = (Arc::clone(&self.context.who), Arc::clone(&self.context.surroundings));
                let client = self.context.endpoints;
                Box::new(self.unless_gone(dial_for(who, surroundings, &backend, client)).await?)
            }
        };
        let deadline = self.context.settings().timeouts.backend_reply;
        // The verb is USER, and the client's bytes have passed the line's checks.
        let reply = self.unless_gone(back.exchange(&Cleared::own(Verb::User, user.clone()), deadline)).await;
        *attempt = Some(Attempt::new(user, Some(back), factor));
        let reply = reply?;
        if dialled {
            self.context.surroundings.pace.note(LoginAnswer::User, began.elapsed());
        }
        let said = Said::of(Verb::User, reply.code, false);
        if said == Said::No && self.tells_apart() {
            // The words are for the log's reader; the client hears no more than anybody else.
            if let Some(attempt) = attempt {
                attempt.standing = Standing::Lost;
            }
            self.answer(&password_required());
            return Ok(Step::On);
        }
        let reply = no_goodbye(reply).map_err(Stop::Backend)?;
        if said == Said::Yes
            && let Some(attempt) = attempt.as_mut().filter(|attempt| matches!(attempt.factor, Factor::Open))
        {
            attempt.factor = Factor::Welcome(reply);
            self.answer(&code_required());
            return Ok(Step::On);
        }
        self.judge(said, reply, attempt, None).await
    }

    /// The backend has let the user in: what must be settled with it before the client hears so.
    async fn admit(
        &mut self,
        attempt: &mut Option<Attempt>,
        reply: WholeReply,
        trial: Option<Trial>,
    ) -> Result<Option<(BackLeg, Vec<u8>, Seat)>, Stop> {
        let Some(Attempt { user, back: Some(mut back), factor, .. }) = attempt.take() else { return Ok(None) };
        let name = back.backend_name();
        if let Err(stop) = self.forgive(&user, trial).await {
            back.part().await;
            return Err(stop);
        }
        let seat = match self.context.surroundings.admission.seat(&user) {
            Ok(seat) => seat,
            Err(refusal) => {
                self.report_login(&user, Some(&name), LoginResult::UserLimit);
                back.part().await;
                return Err(Stop::Refused(refusal));
            }
        };
        let deadline = self.context.settings().timeouts.backend_reply;
        let utf8 = self.utf8;
        if let Err(stop) = self.unless_gone(prepare(&mut back, utf8, deadline)).await {
            if !matches!(stop, Stop::Backend(_)) {
                // The server's own log has a login.
                self.report_login(&user, Some(&name), LoginResult::Unheard);
            }
            *attempt = Some(Attempt::new(user, Some(back), Factor::None));
            return Err(stop);
        }
        self.pass(&reply);
        let second_factor = matches!(factor, Factor::Proven);
        let (backend, result) = (Some(name.as_ref()), LoginResult::Accepted);
        self.context.observe(&Event::Login { who: &self.context.who, user: &user, backend, result, second_factor });
        Ok(Some((*back, user, seat)))
    }

    /// Waits for the backend, for as long as there is somebody to wait for it.
    pub(super) async fn unless_gone<T>(
        &mut self,
        asked: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, Stop> {
        self.while_wanted(asked).await?.map_err(Stop::Backend)
    }

    /// Waits, for as long as the client is there and in time, and the gateway serves.
    pub(super) async fn while_wanted<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Stop> {
        if let Some(stop) = self.over.take() {
            return Err(stop);
        }
        let mut course = self.context.course.clone();
        tokio::select! {
            outcome = waiting => Ok(outcome),
            why = self.front.gone() => Err(Stop::ClientGone(why)),
            () = sleep_until(self.deadline) => Err(Stop::TooLate),
            _ = course.wait_for(|course| *course != Course::Serve) => Err(Stop::Draining),
        }
    }

    /// Takes as long as a backend would, where there is none to ask.
    pub(super) async fn imitate(&mut self, answer: LoginAnswer) -> Result<(), Stop> {
        self.while_wanted(sleep(self.context.surroundings.pace.imitate(answer))).await
    }

    /// Users can have different fates, so no reply may tell which.
    pub(super) fn tells_apart(&self) -> bool {
        self.context.surroundings.second_factor.is_some() || self.context.settings().routes.tell_users_apart()
    }

    /// The client's certificate, where it showed one, is this user's.
    fn certificate_allows(&self, user: &[u8]) -> bool {
        let client = self.tls.as_ref().and_then(|tls| tls.client());
        self.context.settings().user_from.allows(client.map(|client| &client.names), user)
    }

    fn route(&self, user: &[u8]) -> Option<Arc<Backend>> {
        let context = &self.context;
        let traveller = Traveller {
            user,
            host: self.sni.as_deref().or(self.host.as_deref()),
            client: context.client,
            listener: &context.who.listener,
        };
        let name = context.settings().routes.choose(&traveller)?;
        context.surroundings.pool.get(name).cloned()
    }

    pub(super) fn pass(&mut self, reply: &WholeReply) {
        for line in &reply.lines {
            self.front.pass(line);
        }
        self.context.observe(&Event::Reply { who: &self.context.who, class: reply.code.class() });
    }

    pub(super) fn report_login(&self, user: &[u8], backend: Option<&str>, result: LoginResult) {
        self.context.observe(&Event::Login { who: &self.context.who, user, backend, result, second_factor: false });
    }

    fn backend_failed(&self, attempt: Option<&Attempt>, error: &BackendError) {
        let Some(attempt) = attempt else { return };
        let dialled = attempt.back.is_none() || error.failure == BackendFailure::ProtectionRefused;
        let backend = match &attempt.back {
            Some(back) => Some(Arc::clone(back.backend())),
            None => self.route(&attempt.user),
        };
        let Some(backend) = backend else { return };
        let (who, name) = (&self.context.who, &backend.settings().name);
        if let Some(failure) = &error.handshake {
            let handshake = failure.handshake(Leg::Back, Channel::Control);
            self.context.observe(&Event::Handshake { who, handshake, detail: &failure.detail });
        }
        if error.close_notify_missing {
            self.context.observe(&Event::MissingCloseNotify { who, leg: Leg::Back, channel: Channel::Control });
        }
        let (failure, detail) = (error.failure, error.detail.as_str());
        self.context.observe(&Event::BackendFailed { who, backend: name, dialled, failure, detail });
        self.report_login(&attempt.user, Some(name), LoginResult::BackendFailed);
    }
}
