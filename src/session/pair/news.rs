//! News of data connections: drives what is under way and tells what came of it.

use std::task::{Context, Poll};

use super::close::linger;
use super::passive::{Awaited, NotSecured, Unopened};
use super::{Back, DataPair, Front};
use crate::data::{OpenError, PumpEnd, PumpReport};
use crate::event::{Channel, DataOutcome, Event, Handshake, Leg, Resumption};
use crate::net::Socket;
use crate::policy::{DataResumption, Mark};
use crate::session::dialogue::{BackNews, FrontNews, Input};
use crate::tls::{DataStream, HandshakeFailure, SecuredData};

/// Why an arrangement is over before its time.
const LAPSED: &str = "others of its address wait for the port";

impl DataPair {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Some(latecomer) = &mut self.latecomer
            && latecomer.as_mut().poll(cx).is_ready()
        {
            self.latecomer = None;
        }
        self.farewells.retain_mut(|farewell| farewell.as_mut().poll(cx).is_pending());
        if let Some(news) = self.news.pop_front() {
            return Poll::Ready(news);
        }
        if let Some(reserving) = &mut self.reserving
            && let Poll::Ready(reserved) = reserving.as_mut().poll(cx)
        {
            self.reserving = None;
            return Poll::Ready(Input::Reserved(reserved.map(|(awaited, reply)| {
                self.standing = Some(awaited.standing());
                self.set_front(Front::Opening(Box::pin(awaited.first())));
                reply
            })));
        }
        if let Some(pump) = &mut self.pump
            && let Poll::Ready(report) = pump.as_mut().poll(cx)
        {
            self.pump = None;
            return Poll::Ready(self.pumped(report));
        }
        if let Some(news) = self.poll_front(cx) {
            return Poll::Ready(Input::Front(news));
        }
        match self.poll_back(cx) {
            Some(news) => Poll::Ready(Input::Back(news)),
            None => Poll::Pending,
        }
    }

    fn poll_front(&mut self, cx: &mut Context<'_>) -> Option<FrontNews> {
        match &mut self.front {
            Front::Nothing | Front::Aimed(_) | Front::Open(..) | Front::Ready(_) => None,
            Front::Opening(opening) => {
                let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return None };
                Some(self.front_opened(opened))
            }
            Front::Securing(securing) => {
                let Poll::Ready(secured) = securing.as_mut().poll(cx) else { return None };
                Some(self.front_secured(secured))
            }
            Front::Closing(closing) => {
                let Poll::Ready((whole, stream)) = closing.as_mut().poll(cx) else { return None };
                self.front = Front::Nothing;
                self.farewell(Box::pin(linger(stream)));
                Some(FrontNews::Closed { whole })
            }
        }
    }

    fn front_opened(&mut self, opened: Result<(Socket, Option<Awaited>), Unopened>) -> FrontNews {
        match opened {
            Ok((socket, awaited)) => {
                let must_resume = awaited.is_some();
                self.front = Front::Open(socket, awaited);
                FrontNews::Arrived { must_resume }
            }
            Err(Unopened::Failed(error)) => {
                self.front = Front::Nothing;
                let outcome = outcome_of(&error);
                self.report(Leg::Front, outcome, &error.to_string());
                FrontNews::Failed(outcome)
            }
            Err(Unopened::Anonymous(resumption)) => self.front_not_resumed(resumption),
            Err(Unopened::Lapsed(mark)) => {
                self.front = Front::Nothing;
                self.report(Leg::Front, DataOutcome::Timeout, LAPSED);
                FrontNews::Lapsed(mark.refusal())
            }
        }
    }

    fn front_secured(&mut self, secured: Result<SecuredData, NotSecured>) -> FrontNews {
        match secured {
            Ok(SecuredData { stream, handshake, resumption }) => {
                self.front = Front::Ready(stream);
                self.front_tls = Some(handshake);
                self.parties.observe(&Event::Handshake { who: &self.parties.who, handshake, detail: "" });
                let policy = self.front_resumption(resumption);
                if policy == DataResumption::Require && resumption != Resumption::Resumed {
                    self.report(Leg::Front, DataOutcome::NotResumed, resumption.text());
                }
                FrontNews::Secured(resumption)
            }
            Err(NotSecured::Failed(failure)) => {
                self.front = Front::Nothing;
                self.handshake_failed(Leg::Front, &failure);
                FrontNews::TlsFailed(failure.result)
            }
            Err(NotSecured::NotResumed(resumption)) => self.front_not_resumed(resumption),
        }
    }

    /// Only a connection that resumed could have been known to be this session's.
    fn front_not_resumed(&mut self, resumption: Resumption) -> FrontNews {
        self.front = Front::Nothing;
        self.front_resumption(resumption);
        self.report(Leg::Front, DataOutcome::NotResumed, resumption.text());
        FrontNews::NotResumed(resumption)
    }

    /// Tells of it, and remembers it for the next passive port.
    fn front_resumption(&mut self, resumption: Resumption) -> DataResumption {
        let parties = &self.parties;
        let policy = parties.surroundings.settings.protection.data_resumption;
        parties.observe(&Event::Resumption {
            who: &parties.who,
            user: &parties.user,
            software: parties.software.as_deref(),
            resumption,
            audited: matches!(policy, DataResumption::Audit | DataResumption::Require),
        });
        self.mark = match (self.mark, resumption) {
            (Mark::Unoffered, _) => Mark::Unoffered,
            (_, Resumption::Resumed) => Mark::Resumes,
            (_, _) => Mark::Unmarked,
        };
        policy
    }

    fn poll_back(&mut self, cx: &mut Context<'_>) -> Option<BackNews> {
        match &mut self.back {
            Back::Nothing | Back::Aimed(_) | Back::Listening(_) | Back::Open(_) | Back::Ready(_) => None,
            Back::Opening(opening) => {
                let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return None };
                Some(self.back_opened(opened))
            }
            Back::Securing(securing) => {
                let Poll::Ready(secured) = securing.as_mut().poll(cx) else { return None };
                Some(self.back_secured(secured))
            }
            Back::Closing(closing) => {
                let Poll::Ready((whole, stream)) = closing.as_mut().poll(cx) else { return None };
                self.back = Back::Nothing;
                self.farewell(Box::pin(linger(stream)));
                Some(BackNews::Closed { whole })
            }
        }
    }

    fn back_opened(&mut self, opened: Result<Socket, OpenError>) -> BackNews {
        match opened {
            Ok(socket) => {
                // Until it is finished properly, an upload must not look like a whole file, not even an empty one.
                socket.reset_on_close(!self.hint.is_read());
                self.back = Back::Open(socket);
                self.report(Leg::Back, DataOutcome::Opened, "");
                BackNews::Opened
            }
            Err(error) => {
                self.back = Back::Nothing;
                let outcome = outcome_of(&error);
                self.report(Leg::Back, outcome, &error.to_string());
                BackNews::Failed(outcome)
            }
        }
    }

    fn back_secured(&mut self, secured: Result<(DataStream, Handshake), HandshakeFailure>) -> BackNews {
        match secured {
            Ok((stream, handshake)) => {
                self.back = Back::Ready(stream);
                self.parties.observe(&Event::Handshake { who: &self.parties.who, handshake, detail: "" });
                BackNews::Secured
            }
            Err(failure) => {
                self.back = Back::Nothing;
                self.handshake_failed(Leg::Back, &failure);
                BackNews::Failed(DataOutcome::TlsFailed)
            }
        }
    }

    /// The relay ended: its streams come back for closing.
    fn pumped(&mut self, report: PumpReport) -> Input {
        let PumpReport { front, back, end } = report;
        let source = if self.upload { &front } else { &back };
        self.close_notify_missing = end == (PumpEnd::SourceEnded { clean: false }) && source.is_private();
        if self.close_notify_missing {
            let leg = if self.upload { Leg::Front } else { Leg::Back };
            self.parties.observe(&Event::MissingCloseNotify { who: &self.parties.who, leg, channel: Channel::Data });
        }
        self.front = Front::Ready(front);
        self.back = Back::Ready(back);
        Input::Pumped(end)
    }

    /// The client's data connection is not there, or not secured, and its time is over.
    pub(in crate::session) fn client_is_late(&self) {
        match self.front {
            Front::Opening(_) => self.report(Leg::Front, DataOutcome::Timeout, ""),
            Front::Securing(_) => {
                let deadline = self.parties.surroundings.settings.timeouts.data_connect;
                self.handshake_failed(Leg::Front, &HandshakeFailure::timeout(deadline));
            }
            Front::Nothing | Front::Aimed(_) | Front::Open(..) | Front::Ready(_) | Front::Closing(_) => {}
        }
    }

    fn handshake_failed(&self, leg: Leg, failure: &HandshakeFailure) {
        let who = &self.parties.who;
        let handshake = failure.handshake(leg, Channel::Data);
        self.parties.observe(&Event::Handshake { who, handshake, detail: &failure.detail });
        self.report(leg, DataOutcome::TlsFailed, &failure.detail);
    }

    pub(super) fn report(&self, leg: Leg, outcome: DataOutcome, detail: &str) {
        let mode = match leg {
            Leg::Front => self.front_mode,
            Leg::Back => self.back_mode,
        };
        self.parties.observe(&Event::Data { who: &self.parties.who, leg, mode, outcome, detail });
    }
}

fn outcome_of(error: &OpenError) -> DataOutcome {
    match error {
        OpenError::Timeout(_) => DataOutcome::Timeout,
        OpenError::Io(_) => DataOutcome::ConnectFailed,
    }
}
