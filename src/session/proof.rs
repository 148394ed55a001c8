//! PASS and ACCT: what they come to, with the backend and without it.

use std::time::Instant;

use tokio::time::sleep;

use super::attempt::{Attempt, Standing};
use super::greet::Lobby;
use super::login::{ATTEMPTS, Step, Stop};
use super::second_factor::{Proof, code_required};
use crate::backend::{BackendError, WholeReply};
use crate::event::{BackendFailure, LoginResult};
use crate::ftp::{Code, Command, Reply, Verb};
use crate::policy::{LoginAnswer, Refusal, Trial, check_proof, clear_proof};

/// An account is asked for (RFC 959 §4.2.2).
const ACCOUNT: u16 = 332;
/// A password is asked for.
const PASSWORD: u16 = 331;
/// Not needed (RFC 959 §4.2.2).
const SUPERFLUOUS: u16 = 202;

/// What a backend's reply in a login says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The user is in.
    Yes,
    /// Something else is asked for.
    More,
    /// The user is not in.
    No,
}

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
        let trial = self.begin_trial(current).await?;
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
        let asked = cleared.command().verb();
        let said = Said::of(asked, reply.code, current.password_given);
        current.password_given |= asked == Verb::Pass;
        let trial = match said {
            Said::Yes => Some(trial),
            Said::No => {
                // A no to an account is none to a password, and has a time of its own.
                if asked == Verb::Pass {
                    self.context.surroundings.pace.note(LoginAnswer::Password, began.elapsed());
                }
                Some(trial)
            }
            // No word was said of what there is: of the password as little as of an account before it.
            Said::More if asked == Verb::Pass => {
                trial.withdrawn();
                None
            }
            Said::More => {
                self.doubt(trial);
                None
            }
        };
        self.judge(said, reply, attempt, trial).await
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

    /// What follows from the backend's reply to USER, PASS or ACCT.
    pub(super) async fn judge(
        &mut self,
        said: Said,
        reply: WholeReply,
        attempt: &mut Option<Attempt>,
        trial: Option<Trial>,
    ) -> Result<Step, Stop> {
        let told_apart = self.tells_apart();
        let code = reply.code.number();
        match said {
            Said::Yes => return Ok(Step::In(reply, trial)),
            Said::More => {
                if let Some(attempt) = attempt {
                    attempt.account_asked = code == ACCOUNT;
                }
                // With routes by user the backend's own words would tell which users exist.
                if told_apart && code == PASSWORD {
                    self.answer(&password_required());
                } else {
                    self.pass(&reply);
                }
                return Ok(Step::On);
            }
            Said::No => {}
        }
        let words = (!told_apart && !reply.code.is_completion()).then_some(&reply);
        let mut user = Vec::new();
        if let Some(attempt) = attempt {
            // Who is asked once more may try once more.
            let again = words.is_some() && !reply.code.is_negative();
            attempt.account_asked = again && code == ACCOUNT;
            attempt.standing = if again { Standing::Open } else { Standing::Over };
            user.clone_from(&attempt.user);
            let backend = attempt.back.as_ref().map(|back| back.backend_name());
            self.report_login(&attempt.user, backend.as_deref(), LoginResult::Rejected);
        }
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

impl Said {
    /// What it says to USER, PASS or ACCT. `password_given`: PASS has gone to the backend before.
    pub(super) fn of(asked: Verb, code: Code, password_given: bool) -> Self {
        match (asked, code.number()) {
            // RFC 959 §5.4 has it among the ways to say yes to PASS. Pure-FTPd says it to ACCT, whoever has or has not
            // logged in.
            (Verb::Pass, SUPERFLUOUS) => Self::Yes,
            (_, SUPERFLUOUS) => Self::No,
            // Behind PASS an account alone can be asked for, and behind that nothing (RFC 959 §5.4). Whoever asks for the
            // same again has not liked it.
            (Verb::Pass, ACCOUNT) => Self::More,
            (Verb::Acct, PASSWORD) if !password_given => Self::More,
            _ if code.is_completion() => Self::Yes,
            (Verb::User, _) if !code.is_negative() => Self::More,
            _ => Self::No,
        }
    }
}

/// 421 is no answer to a login: the backend leaves.
pub(super) fn no_goodbye(reply: WholeReply) -> Result<WholeReply, BackendError> {
    if reply.code.number() == 421 {
        return Err(BackendError::new(BackendFailure::SaidGoodbye, "answered the login with 421"));
    }
    Ok(reply)
}

pub(super) fn password_required() -> Reply {
    Reply::new(331, "Password required.")
}
