//! PASV, EPSV, PORT, EPRT: translated in place. When the client asks for a data connection, the gateway arranges its
//! own with the backend at the same point of the conversation, so that REST keeps standing right before RETR.

use std::net::{IpAddr, SocketAddr};

use super::{Arranged, Dialogue, Front, FrontNews, Phase, Step, Timer};
use crate::backend::DataPreference;
use crate::event::{DataMode, TransferResult};
use crate::ftp::{
    Command, EndpointFlaw, EpsvRequest, Reply, ReplyLine, Verb, parse_eprt, parse_epsv_port, parse_epsv_request,
    parse_pasv, parse_port, write_eprt, write_port,
};
use crate::policy::{Claim, Cleared, Refusal, claim_active};
use crate::session::answers;

/// A data connection that is being arranged.
#[derive(Debug)]
pub(super) struct Arranging {
    front_mode: DataMode,
    /// What the client hears when all is arranged.
    answer: Reply,
    stage: Stage,
    /// The backend's port, once a line of its reply has named it.
    port: Option<u16>,
    /// The client has connected before it was told where to: it guessed, or it was told the port before.
    pub(super) arrived: Option<FrontNews>,
}

#[derive(Debug)]
enum Stage {
    /// A passive port is being reserved.
    Reserving,
    /// A listener for the backend is being bound.
    Listening,
    /// The backend has been asked in this way; the other ways are left to try.
    Asked(DataMode, Vec<DataMode>),
}

impl Arranging {
    pub(super) fn timer(&self) -> Option<Timer> {
        match self.stage {
            // Bounded by whoever does them.
            Stage::Reserving | Stage::Listening => None,
            Stage::Asked(..) => Some(Timer::UnheardReply),
        }
    }
}

impl Dialogue {
    pub(super) fn arrange(&mut self, command: &Command, steps: &mut Vec<Step>) {
        let verb = command.verb();
        let wish = match self.wish(command) {
            Ok(wish) => wish,
            Err(refusal) => {
                steps.push(Step::Refuse(verb, refusal));
                return;
            }
        };
        if let Wish::EpsvAll = wish {
            self.epsv_all = true;
            steps.push(Step::Answer(Reply::new(200, "From now on only EPSV.")));
            return;
        }
        self.drop_arrangement(steps);
        match wish {
            Wish::EpsvAll => {}
            Wish::Passive(front_mode) => {
                steps.push(Step::Reserve(front_mode, self.protection.protection()));
                let answer = Reply::new(425, "");
                let arranging = Arranging { front_mode, answer, stage: Stage::Reserving, port: None, arrived: None };
                self.phase = Phase::Arranging(Box::new(arranging));
            }
            Wish::Active(front_mode, claim) => {
                steps.push(Step::Aim(claim, front_mode));
                let answer = Reply::new(200, format!("{} is noted.", verb.label()));
                self.ask_backend(front_mode, answer, steps);
            }
        }
    }

    pub(super) fn reserved(&mut self, reserved: Result<Reply, Refusal>, steps: &mut Vec<Step>) {
        let Phase::Arranging(arranging) = &self.phase else { return };
        let front_mode = arranging.front_mode;
        match reserved {
            Ok(answer) => self.ask_backend(front_mode, answer, steps),
            Err(refusal) => {
                steps.push(Step::DropData);
                steps.push(Step::Refuse(verb_of(front_mode), refusal));
                self.phase = Phase::Idle;
            }
        }
    }

    pub(super) fn listening(&mut self, endpoint: Option<SocketAddr>, steps: &mut Vec<Step>) {
        let Phase::Arranging(arranging) = &mut self.phase else { return };
        let Some(endpoint) = endpoint else {
            self.arranging_failed(None, steps);
            return;
        };
        let (mode, command) = match endpoint.ip().to_canonical() {
            IpAddr::V4(address) => (DataMode::Port, Cleared::own(Verb::Port, write_port(address, endpoint.port()))),
            IpAddr::V6(_) => (DataMode::Eprt, Cleared::own(Verb::Eprt, write_eprt(endpoint))),
        };
        arranging.stage = Stage::Asked(mode, Vec::new());
        steps.push(Step::Forward(command));
    }

    pub(super) fn arranging_reply(&mut self, line: ReplyLine, steps: &mut Vec<Step>) {
        let Phase::Arranging(arranging) = &mut self.phase else { return };
        let Stage::Asked(mode, others) = &mut arranging.stage else { return };
        let mode = *mode;
        let found = match (mode, line.code.number()) {
            // The address is ignored: the data connection goes to the host of the control connection.
            (DataMode::Pasv, 227) => parse_pasv(line.text()).ok().map(|endpoint| endpoint.port()),
            (DataMode::Epsv, 229) => parse_epsv_port(line.text()).ok(),
            (DataMode::Pasv | DataMode::Epsv | DataMode::Port | DataMode::Eprt, _) => None,
        };
        arranging.port = arranging.port.or(found.filter(|&port| port != 0));
        if !line.last || line.code.is_preliminary() {
            return;
        }
        let accepted = match mode {
            DataMode::Pasv | DataMode::Epsv => arranging.port.is_some(),
            DataMode::Port | DataMode::Eprt => line.code.is_completion(),
        };
        if !accepted {
            if let Some(next) = others.pop() {
                let others = std::mem::take(others);
                arranging.stage = Stage::Asked(next, others);
                steps.push(Step::Forward(Cleared::own_bare(verb_of(next))));
            } else {
                self.arranging_failed(Some(line.code.number()), steps);
            }
            return;
        }
        let (front_mode, port, answer) = (arranging.front_mode, arranging.port, arranging.answer.clone());
        let arrived = arranging.arrived;
        if let Some(port) = port {
            steps.push(Step::AimBack(port));
        }
        self.back_mode = Some(mode);
        self.arranged = Some(Arranged { front_mode, back_mode: mode, front: Front::Awaited });
        if matches!(front_mode, DataMode::Pasv | DataMode::Epsv) {
            steps.push(Step::Invite);
        }
        steps.push(Step::Answer(answer));
        self.phase = Phase::Idle;
        if let Some(arrived) = arrived {
            self.front_news(arrived, steps);
        }
    }

    fn ask_backend(&mut self, front_mode: DataMode, answer: Reply, steps: &mut Vec<Step>) {
        let stage = match self.premises.preference {
            DataPreference::Active => {
                steps.push(Step::Listen);
                Stage::Listening
            }
            DataPreference::Auto | DataPreference::Passive => {
                let usual = if self.premises.backend.is_ipv4() { DataMode::Pasv } else { DataMode::Epsv };
                let first = self.back_mode.unwrap_or(usual);
                // PASV cannot name a port of an IPv6 host; whoever is on IPv4 may know only the other of the two.
                let other = match first {
                    DataMode::Pasv => vec![DataMode::Epsv],
                    DataMode::Epsv if self.premises.backend.is_ipv4() => vec![DataMode::Pasv],
                    DataMode::Epsv | DataMode::Port | DataMode::Eprt => Vec::new(),
                };
                steps.push(Step::Forward(Cleared::own_bare(verb_of(first))));
                Stage::Asked(first, other)
            }
        };
        self.phase = Phase::Arranging(Box::new(Arranging { front_mode, answer, stage, port: None, arrived: None }));
    }

    fn arranging_failed(&mut self, code: Option<u16>, steps: &mut Vec<Step>) {
        let detail = code.map(|code| format!("it answered {code}"));
        steps.push(Step::DropData);
        steps.push(Step::Answer(answers::failed(TransferResult::BackendDataFailed, detail.as_deref())));
        self.phase = Phase::Idle;
    }

    fn wish(&self, command: &Command) -> Result<Wish, Refusal> {
        let verb = command.verb();
        if self.epsv_all && verb != Verb::Epsv {
            return Err(Refusal::EpsvAllInEffect);
        }
        let ipv4 = self.premises.client.to_canonical().is_ipv4();
        let endpoint = match verb {
            Verb::Pasv if ipv4 => return Ok(Wish::Passive(DataMode::Pasv)),
            Verb::Pasv => return Err(Refusal::PasvOnIpv6),
            Verb::Epsv => return epsv_wish(command.argument(), ipv4),
            _ if !self.premises.active => return Err(Refusal::ActiveDisabled),
            Verb::Port => parse_port(command.argument()),
            _ => parse_eprt(command.argument()),
        };
        let endpoint = endpoint.map_err(|flaw| match flaw {
            EndpointFlaw::Syntax => Refusal::Syntax,
            EndpointFlaw::Protocol => Refusal::UnknownNetworkProtocol,
        })?;
        let mode = if verb == Verb::Port { DataMode::Port } else { DataMode::Eprt };
        Ok(Wish::Active(mode, claim_active(endpoint, self.premises.client)?))
    }
}

/// What the client asked for.
enum Wish {
    EpsvAll,
    Passive(DataMode),
    Active(DataMode, Claim),
}

fn epsv_wish(argument: &[u8], ipv4: bool) -> Result<Wish, Refusal> {
    match parse_epsv_request(argument) {
        Ok(EpsvRequest::All) => Ok(Wish::EpsvAll),
        Ok(EpsvRequest::Ipv4) if !ipv4 => Err(Refusal::OnlyIpv6),
        Ok(EpsvRequest::Ipv6) if ipv4 => Err(Refusal::OnlyIpv4),
        Ok(EpsvRequest::Any | EpsvRequest::Ipv4 | EpsvRequest::Ipv6) => Ok(Wish::Passive(DataMode::Epsv)),
        Err(EndpointFlaw::Protocol) => Err(if ipv4 { Refusal::OnlyIpv4 } else { Refusal::OnlyIpv6 }),
        Err(EndpointFlaw::Syntax) => Err(Refusal::Syntax),
    }
}

fn verb_of(mode: DataMode) -> Verb {
    match mode {
        DataMode::Pasv => Verb::Pasv,
        DataMode::Epsv => Verb::Epsv,
        DataMode::Port => Verb::Port,
        DataMode::Eprt => Verb::Eprt,
    }
}
