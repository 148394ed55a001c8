//! Passwords and codes on trial in a login: when they may be tried, who waits for what becomes of them, and what wrong
//! ones lead to.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::Instant;

use tokio::time::{sleep, sleep_until};

use super::answers;
use super::attempt::{Attempt, Standing};
use super::greet::Lobby;
use super::login::{ATTEMPTS, Stop};
use super::run::Course;
use crate::backend::BackendError;
use crate::event::{BackendFailure, Event, LoginResult, Reason, Why};
use crate::policy::{Ban, LoginAnswer, Penalty, Refusal, Trial, Turn, login_delay};

impl Lobby {
    /// Whether a ban stands against this login. Backends hear nothing of one that is banned.
    pub(super) fn check_ban(&self, user: &[u8]) -> Result<(), Stop> {
        let throttle = self.context.surroundings.admission.throttle();
        throttle.check(self.context.client, user, Instant::now()).map_err(|refusal| self.banned(user, refusal))
    }

    /// Puts a password or a code on trial, once there are few enough beside it.
    pub(super) async fn begin_trial(&mut self, attempt: &Attempt) -> Result<Trial, Stop> {
        let (user, backend) = (&attempt.user, attempt.back.as_ref().map(|back| back.backend_name()));
        let mut after = None;
        loop {
            let throttle = self.context.surroundings.admission.throttle();
            match throttle.begin(self.context.client, user, backend.clone(), Instant::now(), after) {
                Err(refusal) => return Err(self.banned(user, refusal)),
                Ok(Turn::Now(trial)) => return Ok(trial),
                Ok(Turn::After(mut decision)) => {
                    self.while_wanted(decision.comes()).await?;
                    after = Some(decision);
                }
            }
        }
    }

    /// Waits until it is known what becomes of what is on trial, and gives it back. A client that goes, or is too late,
    /// does not end it: what it does not hear counts all the same, or whoever does not wait for a no could guess for ever.
    pub(super) async fn decided<T>(
        &mut self,
        trial: Trial,
        deciding: impl Future<Output = T>,
    ) -> Result<(Trial, T), Stop> {
        let mut deciding = pin!(deciding);
        let mut course = self.context.course.clone();
        let mut draining = pin!(course.wait_for(|course| *course != Course::Serve));
        let stop = tokio::select! {
            decision = &mut deciding => return Ok((trial, decision)),
            why = self.front.gone() => Stop::ClientGone(why),
            () = sleep_until(self.deadline) => Stop::TooLate,
            _ = &mut draining => {
                trial.withdrawn();
                return Err(Stop::Draining);
            }
        };
        let late = matches!(stop, Stop::TooLate);
        if late {
            // It is told now, and not when the backend has decided.
            self.answer(&answers::goodbye(Why::Reason(Reason::LoginTimeout)));
        }
        self.over = Some(if late { Stop::ToldTooLate } else { stop });
        let farewell = async {
            if late {
                self.front.finish().await;
            }
            pending::<Infallible>().await
        };
        tokio::select! {
            decision = deciding => Ok((trial, decision)),
            never = farewell => match never {},
            _ = draining => {
                trial.withdrawn();
                Err(Stop::Draining)
            }
        }
    }

    /// The backend has said no, or would have: counts it and lets the answer wait. `trial`: none where the name alone was
    /// refused.
    pub(super) async fn punish(&mut self, user: &[u8], trial: Option<Trial>) -> Result<(), Stop> {
        let throttle = self.context.surroundings.admission.throttle();
        let failed = match trial {
            Some(trial) => trial.failed(Instant::now()),
            None => throttle.failed(self.context.client, user, Instant::now()),
        };
        let Penalty { delay, bans } = failed.map_err(Stop::Refused)?;
        self.tell(&bans);
        self.while_wanted(sleep(delay)).await?;
        if bans.is_empty() { Ok(()) } else { Err(Stop::Refused(Refusal::TooManyLoginAttempts)) }
    }

    /// The backend has gone instead of deciding, or has said what is no reply. The session ends with that, whatever else
    /// there is.
    pub(super) async fn undecided(&mut self, trial: Trial, error: &BackendError) {
        let counted = match error.failure {
            // A client may have brought it about, by what the server reads out of a password.
            BackendFailure::Nonsense => trial.failed(Instant::now()),
            // Of replies that are out of step one may have been the no.
            BackendFailure::SaidGoodbye | BackendFailure::Closed | BackendFailure::Reset | BackendFailure::Unasked => {
                trial.doubtful(Instant::now())
            }
            BackendFailure::Timeout
            | BackendFailure::Resolve
            | BackendFailure::Refused
            | BackendFailure::Unreachable
            | BackendFailure::NotReady
            | BackendFailure::TlsRefused
            | BackendFailure::TlsFailed
            | BackendFailure::ProtectionRefused => return trial.withdrawn(),
        };
        // A ban that came in between has been told by whoever brought it about.
        let Ok(Penalty { delay, bans }) = counted else { return };
        self.tell(&bans);
        if self.over.is_none() {
            self.over = self.while_wanted(sleep(delay)).await.err();
        }
    }

    /// The backend has said neither yes nor no.
    pub(super) fn doubt(&self, trial: Trial) {
        if let Ok(Penalty { bans, .. }) = trial.doubtful(Instant::now()) {
            self.tell(&bans);
        }
    }

    fn tell(&self, bans: &[Ban]) {
        for ban in bans {
            let lasts = ban.until.saturating_duration_since(Instant::now());
            self.context.observe(&Event::Banned { who: &self.context.who, ban, lasts });
        }
    }

    /// The backend has said yes. Where a ban has come in between, by guesses that ran beside this one, the client hears
    /// what it hears of a wrong one, and after as long a time. `trial`: none where no password was asked for.
    pub(super) async fn forgive(&mut self, user: &[u8], trial: Option<Trial>) -> Result<(), Stop> {
        let throttle = self.context.surroundings.admission.throttle();
        let succeeded = match trial {
            Some(trial) => trial.succeeded(Instant::now()),
            None => throttle.succeeded(self.context.client, user, Instant::now()),
        };
        let Err(refusal) = succeeded else { return Ok(()) };
        let banned = self.banned(user, refusal);
        self.imitate(LoginAnswer::Password).await?;
        Err(banned)
    }

    fn banned(&self, user: &[u8], refusal: Refusal) -> Stop {
        self.report_login(user, None, LoginResult::Banned);
        Stop::Refused(refusal)
    }

    /// A name that no password has followed is given up for another, or for a new beginning.
    pub(super) fn give_up(&mut self, attempt: Option<&Attempt>) {
        if attempt.is_some_and(|attempt| attempt.standing != Standing::Over) {
            self.given_up += 1;
        }
    }

    /// Each USER can cost the backend a connection. So there are few that nothing comes of, and each waits longer.
    pub(super) async fn slow_down(&mut self) -> Result<(), Stop> {
        if self.given_up >= ATTEMPTS {
            return Err(Stop::Refused(Refusal::TooManyLoginAttempts));
        }
        self.while_wanted(sleep(login_delay(self.given_up as usize))).await
    }
}
