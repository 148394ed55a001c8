//! Commands that the gateway answers itself.

use super::{Dialogue, Front, Phase, Step};
use crate::event::{By, Reason, Why};
use crate::ftp::{Command, Reply, Verb};
use crate::policy::{ClearCommandChannel, Cleared, Mechanism, Protection, Refusal};
use crate::session::answers;

impl Dialogue {
    pub(super) fn own(&mut self, command: Command, steps: &mut Vec<Step>) {
        match command.verb() {
            Verb::Abor => {
                self.drop_arrangement(steps);
                steps.push(Step::Answer(Reply::new(226, "No transfer is running.")));
            }
            Verb::Auth => self.auth(&command, steps),
            Verb::Ccc => self.ccc(steps),
            Verb::Clnt => {
                steps.push(Step::Software(command.argument().to_vec()));
                steps.push(Step::Answer(Reply::new(200, "Noted.")));
            }
            Verb::Feat => {
                steps.push(Step::Forward(Cleared::own_bare(Verb::Feat)));
                self.phase = Phase::Features(Vec::new());
            }
            Verb::Help => steps.push(Step::Answer(answers::help())),
            Verb::Host => steps.push(Step::Refuse(Verb::Host, Refusal::HostAfterLogin)),
            Verb::Pbsz => match self.protection.pbsz(command.argument()) {
                Ok(()) => steps.push(Step::Answer(Reply::new(200, "PBSZ=0"))),
                Err(refusal) => steps.push(Step::Refuse(Verb::Pbsz, refusal)),
            },
            Verb::Prot => self.prot(&command, steps),
            Verb::Quit => {
                steps.push(Step::Forward(Cleared::own_bare(Verb::Quit)));
                steps.push(Step::Answer(answers::goodbye(Why::Reason(Reason::Quit))));
                self.end(By::Client, Why::Reason(Reason::Quit), steps);
            }
            Verb::Rein => {
                self.drop_arrangement(steps);
                self.phase = Phase::Over;
                steps.push(Step::Reinitialise);
            }
            Verb::Stat if command.has_argument() => self.forward(command, steps),
            Verb::Stat => steps.push(Step::Answer(self.status())),
            Verb::User => {
                self.drop_arrangement(steps);
                self.phase = Phase::Over;
                steps.push(Step::LoginAgain(command));
            }
            _ => steps.push(Step::Refuse(command.verb(), Refusal::NotImplemented)),
        }
    }

    /// STAT: the backend's own answer would name its host and the gateway's inner address.
    pub(super) fn status(&self) -> Reply {
        let control = if self.control_private { "under TLS" } else { "in clear" };
        let data = match self.protection.protection() {
            Protection::Private => "private",
            Protection::Clear => "clear",
        };
        let transfer = if self.in_transfer() { "A transfer is running" } else { "No transfer is running" };
        let lines = [
            "FTPS gateway status:".to_owned(),
            format!("Control connection {control}, data connections {data}"),
            transfer.to_owned(),
            "End of status".to_owned(),
        ];
        Reply::lines(211, lines.map(String::into_bytes))
    }

    pub(super) fn drop_arrangement(&mut self, steps: &mut Vec<Step>) {
        if self.arranged.take().is_some() {
            steps.push(Step::DropData);
        }
    }

    fn auth(&mut self, command: &Command, steps: &mut Vec<Step>) {
        if self.control_private {
            steps.push(Step::Refuse(Verb::Auth, Refusal::AlreadySecured));
            return;
        }
        match Mechanism::parse(command.argument()) {
            Ok(mechanism) => {
                self.drop_arrangement(steps);
                self.phase = Phase::Over;
                steps.push(Step::SecureControl(mechanism));
            }
            Err(refusal) => steps.push(Step::Refuse(Verb::Auth, refusal)),
        }
    }

    fn ccc(&mut self, steps: &mut Vec<Step>) {
        let refusal = match self.premises.policy.clear_command_channel {
            ClearCommandChannel::Refuse => Refusal::ClearControlRefused,
            ClearCommandChannel::Allow if !self.control_private => Refusal::SecureFirst,
            ClearCommandChannel::Allow => {
                self.control_private = false;
                steps.push(Step::ClearControl);
                return;
            }
        };
        steps.push(Step::Refuse(Verb::Ccc, refusal));
    }

    fn prot(&mut self, command: &Command, steps: &mut Vec<Step>) {
        let before = self.protection.protection();
        match self.protection.prot(command.argument(), &self.premises.policy) {
            Ok(protection) => {
                if protection != before {
                    self.reprotect(protection, steps);
                }
                steps.push(Step::Answer(Reply::new(200, format!("Data connections are {} now.", protection.label()))));
            }
            Err(refusal) => steps.push(Step::Refuse(Verb::Prot, refusal)),
        }
    }

    /// PROT came behind PASV.
    fn reprotect(&mut self, protection: Protection, steps: &mut Vec<Step>) {
        let Some(arranged) = &mut self.arranged else { return };
        match arranged.front {
            // A handshake that has begun cannot be taken back.
            Front::Securing | Front::Ready => self.drop_arrangement(steps),
            Front::Awaited | Front::Untold => {
                arranged.front = Front::Awaited;
                steps.push(Step::Reprotect(protection));
            }
            Front::Arrived { .. } | Front::Lapsed(_) | Front::Failed(..) => {}
        }
    }
}
