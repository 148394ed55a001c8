//! PASS and ACCT: what they come to, with the backend and without it.

use std::time::Instant;

use tokio::time::sleep;

use super::attempt::{Attempt, Standing};
use super::greet::Lobby;
use super::login::{ATTEMPTS, Step, Stop};
use super::second_factor::{Proof, code_required};
use crate::backend::{BackendError, WholeReply};
use crate::event::{BackendFailure, LoginResult};
use crate::ftp::{Command, Reply, Verb};
use crate::policy::{LoginAnswer, Refusal, Trial, check_proof, clear_proof};

/// An account is asked for (RFC 959 §4.2.2).
const ACCOUNT: u16 = 332;
/// Not needed (RFC 959 §4.2.2). Pure-FTPd says it to ACCT whoever has or has not logged in, so it lets nobody in.
const SUPERFLUOUS: u16 = 202;

impl Lobby {
    /// PASS and ACCT.
    pub(super) async fn proof(&mut self, command: Command, attempt: &mut Option<Attempt>) -> Result<Step, Stop> {
        let verb = command.verb();
        let Some(current) = attempt.as_mut().filter(|attempt| attempt.standing != Standing::Over) else {
            self.refuse(verb, Refusal::UserFirst);
            return Ok(Step::On);
        };
        if verb == Verb::Acct && !current.is_account_asked() {
            // For everybody alike: how long a backend takes to refuse it would tell who has one.
            self.refuse(verb, Refusal::AccountNotAsked);
            return Ok(Step::On);
        }
        if let Err(refusal) = check_proof(&command) {
            self.refuse(verb, refusal);
            return Ok(Step::On);
        }
        let trial = self.begin_trial(&current.user).await?;
        let command = match self.weigh(command, current) {
            Proof::Forward(command) => command,
            Proof::In(reply) => return Ok(Step::In(reply, Some(trial))),
            Proof::Ask => {
                trial.withdrawn();
                self.answer(&code_required());
                return Ok(Step::On);
            }
            Proof::OutOfOrder => {
                trial.withdrawn();
                self.refuse(verb, Refusal::AccountNotAsked);
                return Ok(Step::On);
            }
            Proof::Failed(result) => {
                let result = if current.back.is_some() { result } else { current.without };
                return self.fail(current, result, trial).await;
            }
        };
        let lost = current.standing == Standing::Lost;
        let Some(back) = current.back.as_mut().filter(|_| !lost) else {
            let result = if lost { LoginResult::Rejected } else { current.without };
            return self.fail(current, result, trial).await;
        };
        let cleared = match clear_proof(command) {
            Ok(cleared) => cleared,
            Err(refusal) => {
                trial.withdrawn();
                self.refuse(verb, refusal);
                return Ok(Step::On);
            }
        };
        let deadline = self.context.settings().timeouts.backend_reply;
        let began = Instant::now();
        let (trial, reply) = self.decided(trial, back.exchange(&cleared, deadline)).await?;
        let reply = match reply.and_then(no_goodbye) {
            Ok(reply) => reply,
            Err(error) => {
                self.undecided(trial, &error).await;
                return Err(Stop::Backend(error));
            }
        };
        // With a code it is PASS that goes on behind the client's ACCT.
        let to_pass = cleared.command().verb() == Verb::Pass;
        if reply.code.is_negative() || reply.code.is_completion() {
            // A no to an account is none to a password, and has a time of its own.
            if to_pass && reply.code.is_negative() {
                self.context.surroundings.pace.note(LoginAnswer::Password, began.elapsed());
            }
            return self.judge(reply, attempt, Some(trial)).await;
        }
        // Something more is asked for, and no word was said of what there is. Behind PASS it can be an account alone
        // (RFC 959 §5.4): whoever asks for the password again has not liked it.
        if to_pass && reply.code.number() != ACCOUNT {
            self.doubt(trial);
        } else {
            trial.withdrawn();
        }
        self.judge(reply, attempt, None).await
    }

    /// What is wrong without the backend's word takes as long as with it.
    async fn fail(&mut self, attempt: &mut Attempt, result: LoginResult, trial: Trial) -> Result<Step, Stop> {
        attempt.standing = Standing::Over;
        let pause = self.context.surroundings.pace.imitate(LoginAnswer::Password);
        let (trial, ()) = self.decided(trial, sleep(pause)).await?;
        let backend = attempt.back.as_ref().map(|back| back.backend_name());
        self.report_login(&attempt.user, backend.as_deref(), result);
        self.reject(&attempt.user, None, Some(trial)).await
    }

    /// What the backend's reply to USER, PASS or ACCT means.
    pub(super) async fn judge(
        &mut self,
        reply: WholeReply,
        attempt: &mut Option<Attempt>,
        trial: Option<Trial>,
    ) -> Result<Step, Stop> {
        let told_apart = self.tells_apart();
        let reply = no_goodbye(reply).map_err(Stop::Backend)?;
        let code = reply.code.number();
        if reply.code.is_completion() && code != SUPERFLUOUS {
            return Ok(Step::In(reply, trial));
        }
        if !reply.code.is_negative() && code != SUPERFLUOUS {
            if let Some(attempt) = attempt {
                attempt.account_asked = code == ACCOUNT;
            }
            // With routes by user the backend's own words would tell which users exist.
            if told_apart && code == 331 {
                self.answer(&password_required());
            } else {
                self.pass(&reply);
            }
            return Ok(Step::On);
        }
        let mut user = Vec::new();
        if let Some(attempt) = attempt {
            attempt.standing = Standing::Over;
            user.clone_from(&attempt.user);
            let backend = attempt.back.as_ref().map(|back| back.backend_name());
            self.report_login(&attempt.user, backend.as_deref(), LoginResult::Rejected);
        }
        let words = (!told_apart && reply.code.is_negative()).then_some(&reply);
        self.reject(&user, words, trial).await
    }

    async fn reject(&mut self, user: &[u8], words: Option<&WholeReply>, trial: Option<Trial>) -> Result<Step, Stop> {
        self.rejected += 1;
        self.punish(user, trial).await?;
        if self.rejected >= ATTEMPTS {
            return Err(Stop::Refused(Refusal::TooManyLoginAttempts));
        }
        match words {
            Some(reply) => self.pass(reply),
            None => self.answer(&Refusal::LoginIncorrect.reply()),
        }
        Ok(Step::On)
    }
}

/// 421 is no answer to a login: the backend leaves.
fn no_goodbye(reply: WholeReply) -> Result<WholeReply, BackendError> {
    if reply.code.number() == 421 {
        return Err(BackendError::new(BackendFailure::SaidGoodbye, "answered the login with 421"));
    }
    Ok(reply)
}

pub(super) fn password_required() -> Reply {
    Reply::new(331, "Password required.")
}
