//! From USER to 230: the route, the backend's dial, and USER, PASS and ACCT passed through.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;

use super::greet::{Early, Lobby};
use super::run::{Course, Leave, Surroundings};
use crate::backend::{BackLeg, Backend, BackendError, Deadlines, WholeReply, dial};
use crate::event::{BackendFailure, By, Channel, Event, Leg, LoginResult, Reason, Stage, Who, Why};
use crate::ftp::{Command, Reply, Verb};
use crate::policy::{Cleared, Protection, Refusal, Seat, Traveller, clear};
use crate::tls::WhyClosed;

/// Wrong passwords in one session, after which it ends (RFC 2577 §5).
const ATTEMPTS: u32 = 5;

/// A client that has logged in, and the backend it is logged in to.
pub(super) struct LoggedIn {
    pub(super) lobby: Lobby,
    pub(super) back: BackLeg,
    pub(super) user: Vec<u8>,
    pub(super) seat: Seat,
}

/// A login that has begun with USER.
struct Attempt {
    user: Vec<u8>,
    /// `None`: no route. It goes on like any other and fails like a wrong password.
    back: Option<Box<BackLeg>>,
    /// The backend has rejected this user; the connection is kept for another try.
    over: bool,
}

/// What a login command comes to.
enum Step {
    /// It is answered and the login goes on.
    On,
    /// The backend has let the user in; its reply.
    In(WholeReply),
}

/// Why a login cannot go on.
enum Stop {
    Backend(BackendError),
    Refused(Refusal),
    /// The client is gone; nobody waits for the backend's answer any more.
    ClientGone(WhyClosed),
    /// The login has taken too long.
    TooLate,
    /// The gateway drains or stops.
    Draining,
}

impl Lobby {
    /// Deals with commands until the client has logged in. `user`: the USER it begins with.
    pub(super) async fn log_in(mut self, mut user: Option<Command>) -> Result<LoggedIn, Leave> {
        let mut attempt: Option<Attempt> = None;
        let mut rejected = 0;
        loop {
            let stage = if attempt.is_some() { Stage::Login } else { Stage::Greeting };
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
                    part(&mut attempt).await;
                    self = self.secure(mechanism).await?;
                    continue;
                }
                Early::Reinitialise => {
                    part(&mut attempt).await;
                    self = self.reinitialise().await?;
                    continue;
                }
                Early::Login(command) => command,
            };
            let deadline = self.deadline;
            let mut course = self.context.course.clone();
            let step = tokio::select! {
                step = self.step(command, &mut attempt, &mut rejected) => step,
                () = sleep_until(deadline) => Err(Stop::TooLate),
                _ = course.wait_for(|course| *course != Course::Serve) => Err(Stop::Draining),
            };
            match step {
                Ok(None) => {}
                Ok(Some((back, user, seat))) => return Ok(LoggedIn { lobby: self, back, user, seat }),
                Err(Stop::Refused(refusal)) => {
                    part(&mut attempt).await;
                    return Err(self.leave(By::Client, Stage::Login, Why::Refused(refusal)));
                }
                Err(Stop::ClientGone(why)) => {
                    part(&mut attempt).await;
                    let reason = self.context.client_closed(&why);
                    return Err(self.leave(By::Client, Stage::Login, Why::Reason(reason)));
                }
                Err(Stop::TooLate) => {
                    part(&mut attempt).await;
                    return Err(self.leave(By::Client, Stage::Login, Why::Reason(Reason::LoginTimeout)));
                }
                Err(Stop::Draining) => {
                    part(&mut attempt).await;
                    return Err(self.leave(By::Gateway, Stage::Login, Why::Refused(Refusal::Draining)));
                }
                Err(Stop::Backend(error)) => {
                    self.backend_failed(attempt.as_ref(), &error);
                    if let Some(mut back) = attempt.take().and_then(|attempt| attempt.back) {
                        back.finish().await;
                    }
                    return Err(self.leave(By::Backend, Stage::Login, Why::Backend(error.failure)));
                }
            }
        }
    }

    /// One command of the login, and what follows from it.
    async fn step(
        &mut self,
        command: Command,
        attempt: &mut Option<Attempt>,
        rejected: &mut u32,
    ) -> Result<Option<(BackLeg, Vec<u8>, Seat)>, Stop> {
        let step = match command.verb() {
            Verb::User => self.user(command, attempt, rejected).await?,
            _ => self.proof(command, attempt, rejected).await?,
        };
        match step {
            Step::In(reply) => self.admit(attempt, reply).await,
            Step::On => Ok(None),
        }
    }

    /// USER: picks the route, dials, asks.
    async fn user(
        &mut self,
        command: Command,
        attempt: &mut Option<Attempt>,
        rejected: &mut u32,
    ) -> Result<Step, Stop> {
        if !command.has_argument() {
            self.refuse(Verb::User, Refusal::Syntax);
            return Ok(Step::On);
        }
        let user = command.argument().to_vec();
        let backend = self.route(&user);
        let kept = attempt.take().and_then(|attempt| attempt.back);
        let Some(backend) = backend else {
            *attempt = Some(Attempt { user, back: None, over: false });
            self.answer(&password_required());
            return Ok(Step::On);
        };
        let reusable = kept.filter(|back| Arc::ptr_eq(back.backend(), &backend));
        let mut back = match reusable {
            Some(back) => back,
            None => {
                *attempt = Some(Attempt { user: user.clone(), back: None, over: false });
                let (who, surroundings) = (Arc::clone(&self.context.who), Arc::clone(&self.context.surroundings));
                Box::new(self.unless_gone(dial_for(who, surroundings, &backend)).await?)
            }
        };
        let deadline = self.context.settings().timeouts.backend_reply;
        // The verb is USER, and the client's bytes have passed the line's checks.
        let reply = self.unless_gone(back.exchange(&Cleared::own(Verb::User, user.clone()), deadline)).await;
        *attempt = Some(Attempt { user, back: Some(back), over: false });
        self.judge(reply?, attempt, rejected)
    }

    /// PASS and ACCT.
    async fn proof(
        &mut self,
        command: Command,
        attempt: &mut Option<Attempt>,
        rejected: &mut u32,
    ) -> Result<Step, Stop> {
        let verb = command.verb();
        let Some(current) = attempt.as_mut().filter(|attempt| !attempt.over) else {
            self.refuse(verb, Refusal::UserFirst);
            return Ok(Step::On);
        };
        let Some(back) = &mut current.back else {
            current.over = true;
            let user = current.user.clone();
            self.report_login(&user, None, LoginResult::NoRoute);
            return self.reject(rejected, None);
        };
        let Ok(cleared) = clear(command) else {
            self.refuse(verb, Refusal::NotImplemented);
            return Ok(Step::On);
        };
        let deadline = self.context.settings().timeouts.backend_reply;
        let reply = self.unless_gone(back.exchange(&cleared, deadline)).await?;
        self.judge(reply, attempt, rejected)
    }

    /// What the backend's reply to USER, PASS or ACCT means.
    fn judge(&mut self, reply: WholeReply, attempt: &mut Option<Attempt>, rejected: &mut u32) -> Result<Step, Stop> {
        let told_apart = self.context.settings().routes.tell_users_apart();
        let code = reply.code.number();
        if code == 421 {
            return Err(Stop::Backend(BackendError::new(BackendFailure::SaidGoodbye, "answered the login with 421")));
        }
        if reply.code.is_completion() {
            return Ok(Step::In(reply));
        }
        if !reply.code.is_negative() {
            // With routes by user the backend's own words would tell which users exist.
            if told_apart && code == 331 {
                self.answer(&password_required());
            } else {
                self.pass(&reply);
            }
            return Ok(Step::On);
        }
        if let Some(attempt) = attempt {
            attempt.over = true;
            let backend = attempt.back.as_ref().map(|back| Arc::clone(&back.backend().settings().name));
            self.report_login(&attempt.user, backend.as_deref(), LoginResult::Rejected);
        }
        let words = (!told_apart).then_some(&reply);
        self.reject(rejected, words)
    }

    fn reject(&mut self, rejected: &mut u32, words: Option<&WholeReply>) -> Result<Step, Stop> {
        *rejected += 1;
        if *rejected >= ATTEMPTS {
            return Err(Stop::Refused(Refusal::TooManyLoginAttempts));
        }
        match words {
            Some(reply) => self.pass(reply),
            None => self.answer(&Refusal::LoginIncorrect.reply()),
        }
        Ok(Step::On)
    }

    /// The backend has let the user in: what must be settled with it before the client hears so.
    async fn admit(
        &mut self,
        attempt: &mut Option<Attempt>,
        reply: WholeReply,
    ) -> Result<Option<(BackLeg, Vec<u8>, Seat)>, Stop> {
        let Some(Attempt { user, back: Some(mut back), .. }) = attempt.take() else { return Ok(None) };
        let name = Arc::clone(&back.backend().settings().name);
        let seat = match self.context.surroundings.admission.seat(&user) {
            Ok(seat) => seat,
            Err(refusal) => {
                self.report_login(&user, Some(&name), LoginResult::UserLimit);
                back.send(&Cleared::own_bare(Verb::Quit));
                back.finish().await;
                return Err(Stop::Refused(refusal));
            }
        };
        let deadline = self.context.settings().timeouts.backend_reply;
        let utf8 = self.utf8;
        if let Err(stop) = self.unless_gone(prepare(&mut back, utf8, deadline)).await {
            *attempt = Some(Attempt { user, back: Some(back), over: false });
            return Err(stop);
        }
        self.pass(&reply);
        self.report_login(&user, Some(&name), LoginResult::Accepted);
        Ok(Some((*back, user, seat)))
    }

    /// Waits for the backend, for as long as there is somebody to wait for it.
    async fn unless_gone<T>(&mut self, asked: impl Future<Output = Result<T, BackendError>>) -> Result<T, Stop> {
        tokio::select! {
            answer = asked => answer.map_err(Stop::Backend),
            why = self.front.gone() => Err(Stop::ClientGone(why)),
        }
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

    fn pass(&mut self, reply: &WholeReply) {
        for line in &reply.lines {
            self.front.pass(line);
        }
        self.context.observe(&Event::Reply { who: &self.context.who, class: reply.code.class() });
    }

    fn report_login(&self, user: &[u8], backend: Option<&str>, result: LoginResult) {
        self.context.observe(&Event::Login { who: &self.context.who, user, backend, result });
    }

    fn backend_failed(&self, attempt: Option<&Attempt>, error: &BackendError) {
        let Some(attempt) = attempt else { return };
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
        let (failure, detail) = (error.failure, error.detail.as_str());
        self.context.observe(&Event::BackendFailed { who, backend: name, failure, detail });
        self.report_login(&attempt.user, Some(name), LoginResult::BackendFailed);
    }
}

/// PROT P with a backend under TLS, and the UTF-8 that the client asked for before there was a backend.
async fn prepare(back: &mut BackLeg, utf8: bool, deadline: Duration) -> Result<(), BackendError> {
    if back.protection() == Protection::Private {
        for command in [Cleared::own(Verb::Pbsz, "0"), Cleared::own(Verb::Prot, "P")] {
            let reply = back.exchange(&command, deadline).await?;
            if !reply.code.is_completion() {
                let detail = format!("answered {} with {}", command.command(), reply.code);
                return Err(BackendError::new(BackendFailure::ProtectionRefused, detail));
            }
        }
    }
    if utf8 {
        // Whatever it answers: a server without UTF-8 passes names as bytes, and so does the gateway.
        back.exchange(&Cleared::own(Verb::Opts, "UTF8 ON"), deadline).await?;
    }
    Ok(())
}

async fn dial_for(
    who: Arc<Who>,
    surroundings: Arc<Surroundings>,
    backend: &Arc<Backend>,
) -> Result<BackLeg, BackendError> {
    let timeouts = surroundings.settings.timeouts;
    let deadlines = Deadlines {
        connect: timeouts.backend_connect,
        handshake: timeouts.tls_handshake,
        reply: timeouts.backend_reply,
    };
    let started = std::time::Instant::now();
    let (back, handshake) = dial(backend, deadlines, surroundings.settings.reply_length).await?;
    let observer = &surroundings.observer;
    if let Some(handshake) = handshake {
        observer.observe(&Event::Handshake { who: &who, handshake, detail: "" });
    }
    let name = &backend.settings().name;
    observer.observe(&Event::BackendConnected { who: &who, backend: name, took: started.elapsed() });
    Ok(back)
}

/// The login goes no further; a backend that waits for it hears QUIT, and `close_notify` where TLS is up.
async fn part(attempt: &mut Option<Attempt>) {
    if let Some(mut back) = attempt.take().and_then(|attempt| attempt.back) {
        back.send(&Cleared::own_bare(Verb::Quit));
        back.finish().await;
    }
}

fn password_required() -> Reply {
    Reply::new(331, "Password required.")
}
