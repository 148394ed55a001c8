//! Wrong passwords in a login: what they lead to, and what a ban leads to.

use std::time::Instant;

use tokio::time::sleep;

use super::greet::Lobby;
use super::login::Stop;
use crate::event::{Event, LoginResult};
use crate::policy::{LoginAnswer, Penalty, Refusal};

impl Lobby {
    /// Whether a ban stands against this login. Backends hear nothing of one that is banned.
    pub(super) fn check_ban(&self, user: &[u8]) -> Result<(), Stop> {
        let throttle = self.context.surroundings.admission.throttle();
        throttle.check(self.context.client, user, Instant::now()).map_err(|refusal| self.banned(user, refusal))
    }

    /// The backend has said no, or would have: counts it and lets the answer wait.
    pub(super) async fn punish(&mut self, user: &[u8]) -> Result<(), Stop> {
        let admission = &self.context.surroundings.admission;
        let failed = admission.throttle().failed(self.context.client, user, Instant::now());
        let Penalty { delay, bans } = failed.map_err(Stop::Refused)?;
        for ban in &bans {
            let lasts = ban.until.saturating_duration_since(Instant::now());
            self.context.observe(&Event::Banned { who: &self.context.who, ban, lasts });
        }
        self.unless_gone(async {
            sleep(delay).await;
            Ok(())
        })
        .await?;
        if bans.is_empty() { Ok(()) } else { Err(Stop::Refused(Refusal::TooManyLoginAttempts)) }
    }

    /// The backend has said yes. Where a ban has come in between, by guesses that ran beside this one, the client hears
    /// what it hears of a wrong one, and after as long a time.
    pub(super) async fn forgive(&mut self, user: &[u8]) -> Result<(), Stop> {
        let throttle = self.context.surroundings.admission.throttle();
        let Err(refusal) = throttle.succeeded(self.context.client, user, Instant::now()) else { return Ok(()) };
        self.imitate(LoginAnswer::Password).await?;
        Err(self.banned(user, refusal))
    }

    fn banned(&self, user: &[u8], refusal: Refusal) -> Stop {
        self.report_login(user, None, LoginResult::Banned);
        Stop::Refused(refusal)
    }
}
