//! A login that has begun with USER, and what it needs of its backend: the dial, the preparation, the parting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::run::Surroundings;
use super::second_factor::Factor;
use crate::backend::{BackLeg, Backend, BackendError, Deadlines, dial};
use crate::event::{BackendFailure, Event, LoginResult, Who};
use crate::ftp::Verb;
use crate::net::Endpoints;
use crate::policy::{Cleared, Protection};

/// A login that has begun with USER.
pub(super) struct Attempt {
    pub(super) user: Vec<u8>,
    /// `None`: no route. It goes on like any other and fails like a wrong password.
    pub(super) back: Option<Box<BackLeg>>,
    pub(super) standing: Standing,
    /// The backend has asked for ACCT, with 332.
    pub(super) account_asked: bool,
    /// The backend has heard a password.
    pub(super) password_given: bool,
    /// What it will be called when there is no backend to ask.
    pub(super) without: LoginResult,
    /// How it stands with the second factor.
    pub(super) factor: Factor,
}

/// How a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// PASS or ACCT goes on with it.
    Open,
    /// The backend has said no to USER. Where that would tell users apart, the client shall hear it after PASS.
    Lost,
    /// It has failed; the connection with the backend is kept for another try.
    Over,
}

impl Attempt {
    pub(super) fn new(user: Vec<u8>, back: Option<Box<BackLeg>>, factor: Factor) -> Self {
        let (standing, without) = (Standing::Open, LoginResult::NoRoute);
        Self { user, back, standing, account_asked: false, password_given: false, without, factor }
    }

    /// ACCT is what comes next: the backend has asked for it, or the gateway for a code.
    pub(super) fn is_account_asked(&self) -> bool {
        match &self.factor {
            Factor::None | Factor::Proven => self.account_asked,
            Factor::Open => false,
            Factor::Password(_) | Factor::Welcome(_) => true,
        }
    }
}

/// Dials the backend for a session.
pub(super) async fn dial_for(
    who: Arc<Who>,
    surroundings: Arc<Surroundings>,
    backend: &Arc<Backend>,
    client: Endpoints,
) -> Result<BackLeg, BackendError> {
    let timeouts = surroundings.settings.timeouts;
    let deadlines = Deadlines {
        connect: timeouts.backend_connect,
        handshake: timeouts.tls_handshake,
        reply: timeouts.backend_reply,
    };
    let started = Instant::now();
    let (back, handshake) = dial(backend, Some(client), deadlines, surroundings.settings.reply_length).await?;
    let observer = &surroundings.observer;
    if let Some(handshake) = handshake {
        observer.observe(&Event::Handshake { who: &who, handshake, detail: "" });
    }
    let name = &backend.settings().name;
    observer.observe(&Event::BackendConnected { who: &who, backend: name, took: started.elapsed() });
    Ok(back)
}

/// PROT P with a backend under TLS, and the UTF-8 that the client asked for before there was a backend.
pub(super) async fn prepare(back: &mut BackLeg, utf8: bool, deadline: Duration) -> Result<(), BackendError> {
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

/// The login goes no further; a backend that waits for it hears QUIT, and `close_notify` where TLS is up.
pub(super) async fn part(attempt: &mut Option<Attempt>) {
    if let Some(mut back) = attempt.take().and_then(|attempt| attempt.back) {
        back.part().await;
    }
}
