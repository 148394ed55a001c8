//! The second factor during a login: asked for with 332, or given behind the password.
//!
//! The backend hears the password when the code has counted and not before, and never the code. What does not count looks
//! like a wrong password.

use std::time::{SystemTime, UNIX_EPOCH};

use super::attempt::Attempt;
use super::greet::Lobby;
use crate::backend::WholeReply;
use crate::event::LoginResult;
use crate::ftp::{Command, Reply, Verb};
use crate::policy::CodeFlaw;

/// How a login stands with the code.
pub(super) enum Factor {
    /// None is asked for.
    None,
    /// It is still to come, as is the password.
    Open,
    /// The password is there and waits for the code.
    Password(Command),
    /// The backend has let the user in without a password; its reply waits for the code.
    Welcome(WholeReply),
    /// It has counted.
    Proven,
}

/// What a PASS or ACCT comes to.
pub(super) enum Proof {
    /// It goes to the backend.
    Forward(Command),
    /// The code is asked for.
    Ask,
    /// The backend's welcome may be passed on.
    In(WholeReply),
    /// ACCT without a password before it.
    OutOfOrder,
    /// The code does not count.
    Failed(LoginResult),
}

impl Lobby {
    /// A login of this user begins: is a code wanted?
    pub(super) fn factor(&self, user: &[u8]) -> Factor {
        let second = self.context.surroundings.second_factor.as_ref();
        if second.is_some_and(|second| second.concerns(user)) { Factor::Open } else { Factor::None }
    }

    /// PASS and ACCT, before they go to the backend.
    pub(super) fn weigh(&self, command: Command, attempt: &mut Attempt) -> Proof {
        let Some(second) = &self.context.surroundings.second_factor else { return Proof::Forward(command) };
        let user = &attempt.user;
        // A clock before 1970 is wrong whatever it says.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let check = |code: &[u8]| second.check(user, code, now).map_err(result);
        let behind = |command: &Command| {
            let (bare, code) = second.split(user, command.argument())?;
            Some((Command::new(Verb::Pass, bare), code.to_vec()))
        };
        let (factor, proof) = match (std::mem::replace(&mut attempt.factor, Factor::Open), command.verb()) {
            (factor @ (Factor::None | Factor::Proven), _) => (factor, Proof::Forward(command)),
            (Factor::Open | Factor::Password(_), Verb::Pass) => match behind(&command) {
                None => (Factor::Password(command), Proof::Ask),
                Some((bare, code)) => match check(&code) {
                    Ok(()) => (Factor::Proven, Proof::Forward(bare)),
                    Err(result) => (Factor::Open, Proof::Failed(result)),
                },
            },
            (Factor::Open, _) => (Factor::Open, Proof::OutOfOrder),
            (Factor::Password(password), _) => match check(command.argument()) {
                Ok(()) => (Factor::Proven, Proof::Forward(password)),
                Err(result) => (Factor::Open, Proof::Failed(result)),
            },
            (Factor::Welcome(reply), verb) => {
                let code = if verb == Verb::Pass { behind(&command).map(|(_, code)| code) } else { None };
                match code {
                    None if verb == Verb::Pass => (Factor::Welcome(reply), Proof::Ask),
                    code => match check(code.as_deref().unwrap_or(command.argument())) {
                        Ok(()) => (Factor::Proven, Proof::In(reply)),
                        Err(result) => (Factor::Open, Proof::Failed(result)),
                    },
                }
            }
        };
        attempt.factor = factor;
        proof
    }
}

pub(super) fn code_required() -> Reply {
    Reply::new(332, "A one-time code is required: send it with ACCT.")
}

fn result(flaw: CodeFlaw) -> LoginResult {
    match flaw {
        CodeFlaw::Wrong => LoginResult::CodeWrong,
        CodeFlaw::Used => LoginResult::CodeUsed,
        CodeFlaw::NoSecret => LoginResult::CodeUnknown,
    }
}
