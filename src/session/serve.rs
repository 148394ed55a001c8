//! The command stage: performs what the dialogue says and tells it what came of it.
//!
//! Nothing is decided here. One task drives both control connections and both data connections.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::dialogue::{Dialogue, Input, Pending, Premises, Step, Timer};
use super::front::FrontEvent;
use super::greet::Lobby;
use super::login::LoggedIn;
use super::pair::{DataPair, Parties};
use super::run::{Course, Leave};
use super::timers::{arm, begins_anew, expiry};
use crate::backend::{BackEvent, BackLeg};
use crate::event::{BackendFailure, By, Channel, Direction, Ended, Event, Leg, Stage, Transfer, Why};
use crate::ftp::{Command, Printable, ReplyLine};
use crate::policy::{Mechanism, Seat, TransferKind, Traveller};

/// How the command stage ended.
pub(super) enum Served {
    /// With the session.
    Left(Box<Leave>),
    /// The client begins anew: AUTH, REIN, or USER.
    Anew(Box<Lobby>, Option<Command>),
}

/// A step that ends the stage, or needs the front leg as a whole.
enum Turn {
    On,
    ClearControl,
    SecureControl(Mechanism),
    Reinitialise,
    LoginAgain(Command),
    End(By, Why),
}

struct Stand {
    back: BackLeg,
    user: Vec<u8>,
    pair: DataPair,
    dialogue: Dialogue,
    transfer_began: Instant,
    reserved: Instant,
    stage: Stage,
    /// What the backend said with 421.
    goodbye: Option<String>,
    /// Its failure has had its event.
    failure_told: bool,
    _seat: Seat,
}

/// Serves a client that has logged in.
pub(super) async fn serve(logged_in: Box<LoggedIn>) -> Served {
    let (mut lobby, mut stand) = Stand::new(logged_in);
    stand.dialogue.set_recording(lobby.context.surroundings.observer.can_record());
    let mut steps = VecDeque::new();
    let failure = match stand.back.said_already() {
        Ok(None) => None,
        Ok(Some(_)) => Some(BackendFailure::Unasked),
        Err(error) => Some(error.failure),
    };
    if let Some(failure) = failure {
        let mut next = Vec::new();
        stand.dialogue.handle(Input::BackGone(failure), &mut next);
        steps.extend(next);
    }
    for pending in std::mem::take(&mut lobby.waiting) {
        let mut next = Vec::new();
        let input = match pending {
            Pending::Command(command) => Input::Command(command),
            Pending::Flawed(refusal) => Input::Flawed(refusal),
        };
        stand.dialogue.handle(input, &mut next);
        steps.extend(next);
    }
    let mut timer: Option<(Timer, Instant)> = None;
    let mut drain_told = false;
    let mut client_gone = false;
    let mut back_gone = false;
    // The first word on a transfer, until the client's handshake has had its turn.
    let mut held = None;
    // The client has been heard although a deadline has passed.
    let mut overdue = false;
    loop {
        while let Some(step) = steps.pop_front() {
            match stand.perform(step, &mut lobby) {
                Turn::On => {}
                Turn::ClearControl => match Box::pin(lobby.unsecure()).await {
                    Ok(plain) => lobby = Box::new(plain),
                    Err(leave) => {
                        stand.back.part().await;
                        return Served::Left(Box::new(stand.left(leave)));
                    }
                },
                Turn::SecureControl(mechanism) => {
                    stand.back.part().await;
                    lobby.deadline = lobby.context.login_deadline();
                    return match Box::pin(lobby.secure(mechanism)).await {
                        Ok(lobby) => Served::Anew(Box::new(lobby), None),
                        Err(leave) => Served::Left(Box::new(Leave { user: Some(stand.user), ..leave })),
                    };
                }
                Turn::Reinitialise => {
                    stand.back.part().await;
                    lobby.waiting = stand.dialogue.into_waiting();
                    lobby.deadline = lobby.context.login_deadline();
                    return match Box::pin(lobby.reinitialise()).await {
                        Ok(lobby) => Served::Anew(Box::new(lobby), None),
                        Err(leave) => Served::Left(Box::new(Leave { user: Some(stand.user), ..leave })),
                    };
                }
                Turn::LoginAgain(command) => {
                    stand.back.part().await;
                    lobby.protection = stand.dialogue.protection();
                    lobby.waiting = stand.dialogue.into_waiting();
                    lobby.deadline = lobby.context.login_deadline();
                    return Served::Anew(lobby, Some(command));
                }
                Turn::End(by, why) => {
                    stand.report_end(&lobby, why);
                    let ended = Ended { by, during: stand.stage, why };
                    stand.back.finish().await;
                    let front = Some(lobby.front);
                    return Served::Left(Box::new(Leave { front, tell: false, ended, user: Some(stand.user) }));
                }
            }
        }
        arm(&mut timer, stand.dialogue.timer(), &lobby.context.settings().timeouts, stand.reserved);
        let stage = if stand.dialogue.in_transfer() { Stage::Transfer } else { Stage::Commands };
        if std::mem::replace(&mut stand.stage, stage) != stage {
            lobby.context.progress.is_at(stage);
        }
        let wants_commands = stand.dialogue.wants_commands();
        let wants_replies = lobby.front.has_room();
        let course = *lobby.context.course.borrow();
        if course == Course::Stop {
            return Served::Left(Box::new(Box::pin(stand.stopped(*lobby)).await));
        }
        if stand.dialogue.has_more() {
            tokio::task::yield_now().await;
            stand.dialogue.set_recording(lobby.context.surroundings.observer.can_record());
            let mut next = Vec::new();
            stand.dialogue.go_on(&mut next);
            steps.extend(next);
            continue;
        }
        // Whether the client has died is seen on its control connection: it is looked at once more when the time is over.
        let witnessed = matches!(timer, Some((Timer::Grace | Timer::ClearGrace, _)));
        let input = if let Some(line) = held.take() {
            // A ClientHello is answered before the 150 goes. Node's basic-ftp ends an empty upload when it hears that, be it
            // in the middle of its handshake.
            match stand.pair.look().await {
                Some(news) => {
                    held = Some(line);
                    news
                }
                None => Input::Reply(line),
            }
        } else if course == Course::Drain && !drain_told {
            drain_told = true;
            Input::Drain
        } else {
            tokio::select! {
                biased;
                // What the backend has said already is no reply to what the client says now, so it is heard first.
                event = stand.back.turn(wants_replies), if !back_gone => match event {
                    Ok(BackEvent::Drained) => continue,
                    Ok(BackEvent::Line(line)) => {
                        stand.hear(&line);
                        if stand.dialogue.is_beginning() {
                            held = Some(line);
                            continue;
                        }
                        Input::Reply(line)
                    }
                    Err(error) => {
                        back_gone = true;
                        stand.report_back_gone(&lobby, &error);
                        Input::BackGone(error.failure)
                    }
                },
                news = stand.pair.next() => news,
                // A client that sends on and on would win over every deadline.
                expired = expiry(timer), if !witnessed || overdue => {
                    if expired == Timer::DataConnect {
                        stand.pair.client_is_late();
                    }
                    Input::Expired(expired)
                }
                event = lobby.front.turn(wants_commands), if !client_gone => match event {
                    Ok(FrontEvent::Drained) => continue,
                    Ok(FrontEvent::Flawed(refusal)) => Input::Flawed(refusal),
                    Ok(FrontEvent::Command(command)) => {
                        lobby.context.observe(&Event::Command { who: &lobby.context.who, verb: command.verb() });
                        Input::Command(command)
                    }
                    Err(why) => {
                        client_gone = true;
                        Input::ClientGone(lobby.context.client_closed(&why))
                    }
                },
                expired = expiry(timer), if witnessed && !overdue => Input::Expired(expired),
                _ = lobby.context.course.changed() => continue,
            }
        };
        let from_client = matches!(input, Input::Command(_) | Input::Flawed(_));
        overdue = from_client && timer.is_some_and(|(_, at)| at <= Instant::now());
        let mut anew = timer.is_some_and(|(timer, _)| begins_anew(timer, &input));
        stand.dialogue.set_recording(lobby.context.surroundings.observer.can_record());
        let mut next = Vec::new();
        let mut input = input;
        // All that has come is heard before the client's next command goes out.
        while let Input::Reply(line) = input {
            let behind = match stand.back.said_already() {
                Ok(None) => {
                    input = Input::Reply(line);
                    break;
                }
                Ok(Some(behind)) => {
                    stand.hear(&behind);
                    Input::Reply(behind)
                }
                Err(error) => {
                    back_gone = true;
                    stand.report_back_gone(&lobby, &error);
                    Input::BackGone(error.failure)
                }
            };
            stand.dialogue.hear(line, &mut next);
            anew |= timer.is_some_and(|(timer, _)| begins_anew(timer, &behind));
            input = behind;
        }
        stand.dialogue.handle(input, &mut next);
        // Each line that the client hears gives the backend its time again, and each command that it gets.
        let on = next.iter().any(|step| matches!(step, Step::Pass(_) | Step::Forward(_)));
        if anew || (on && matches!(timer, Some((Timer::BackendReply, _)))) {
            timer = None;
        }
        steps.extend(next);
    }
}

impl Stand {
    fn new(logged_in: Box<LoggedIn>) -> (Box<Lobby>, Self) {
        // Moved out here and not in `serve`: the box goes when its owner does.
        let LoggedIn { lobby, back, user, seat } = *logged_in;
        lobby.context.progress.is_of(Some(user.clone()));
        let surroundings = &lobby.context.surroundings;
        let traveller = Traveller {
            user: &user,
            host: lobby.sni.as_deref().or(lobby.host.as_deref()),
            client: lobby.context.client,
            listener: &lobby.context.who.listener,
        };
        let premises = Premises {
            rights: surroundings.settings.commands.rights(&traveller),
            policy: surroundings.settings.protection,
            client: lobby.context.client,
            backend: back.peer(),
            preference: back.backend().settings().data,
            back: back.protection(),
            command_length: back.backend().settings().command_length,
            active: surroundings.active.is_some(),
            recorded: surroundings.settings.recorded,
        };
        let dialogue = Dialogue::new(premises, lobby.protection, lobby.front.is_private());
        let parties = Parties {
            who: Arc::clone(&lobby.context.who),
            surroundings: Arc::clone(surroundings),
            user: user.clone(),
            share: surroundings.bandwidths.share(&user),
            software: lobby.software.clone(),
            client: lobby.context.client,
            dialled: lobby.context.dialled,
            own: lobby.context.own,
            backend: back.peer(),
            inside: back.local(),
            front_tls: lobby.tls.clone(),
            back_tls: back.tls().cloned(),
        };
        let stand = Self {
            back,
            user,
            pair: DataPair::new(parties),
            dialogue,
            transfer_began: Instant::now(),
            reserved: Instant::now(),
            stage: Stage::Commands,
            goodbye: None,
            failure_told: false,
            _seat: seat,
        };
        (lobby, stand)
    }

    fn perform(&mut self, step: Step, lobby: &mut Lobby) -> Turn {
        match step {
            Step::Answer(reply) => lobby.answer(&reply),
            Step::Refuse(verb, refusal) => lobby.refuse_to(Some(&self.user), verb, None, refusal),
            Step::Deny(object, verb, refusal) => lobby.refuse_to(Some(&self.user), verb, Some(&object), refusal),
            Step::Pass(line) => {
                lobby.front.pass(&line);
                if line.last {
                    lobby.context.observe(&Event::Reply { who: &lobby.context.who, class: line.code.class() });
                }
            }
            Step::Forward(cleared) => self.back.send(&cleared),
            Step::Reserve(mode, protection) => {
                self.reserved = Instant::now();
                self.pair.reserve(mode, protection);
            }
            Step::Reprotect(protection) => self.pair.reprotect(protection),
            Step::Invite => self.pair.invited(),
            Step::Aim(claim, mode) => {
                self.reserved = Instant::now();
                self.pair.aim(claim, mode);
            }
            Step::Listen => self.pair.listen(),
            Step::AimBack(port) => self.pair.aim_back(port),
            Step::DropData => self.pair.drop_all(),
            Step::OpenBack(mode) => {
                self.transfer_began = Instant::now();
                self.pair.open_back(mode);
            }
            Step::SecureBack => self.pair.secure_back(),
            Step::OpenFront => self.pair.open_front(),
            Step::SecureFront => self.pair.secure_front(),
            Step::Direct(kind) => self.pair.direct(kind),
            Step::Pump(kind) => self.pair.pump(kind),
            Step::StopPump => self.pair.stop_pump(),
            Step::CloseFront(close) => self.pair.close_front(close),
            Step::CloseBack(close) => self.pair.close_back(close),
            Step::TransferStarted(kind) => {
                self.pair.begun();
                lobby.context.observe(&Event::TransferStarted { direction: direction(kind) });
            }
            Step::TransferEnded { command, particulars, kind, protection, result, code, ran } => {
                let transfer = Transfer {
                    user: &self.user,
                    backend: &self.back.backend().settings().name,
                    verb: command.verb(),
                    path: command.argument(),
                    particulars: &particulars,
                    kind,
                    bytes: self.pair.moved(),
                    took: self.transfer_began.elapsed(),
                    front: protection,
                    front_tls: self.pair.front_tls(),
                    back: self.back.protection(),
                    close_notify_missing: self.pair.close_notify_missing(),
                    result,
                    code,
                };
                let event = Event::Transferred { who: &lobby.context.who, transfer: &transfer, ran };
                lobby.context.observe(&event);
                self.pair.forget_transfer();
            }
            Step::Changed { change, code, result } => lobby.context.observe(&Event::Changed {
                who: &lobby.context.who,
                user: &self.user,
                backend: &self.back.backend().settings().name,
                change: &change,
                code,
                result,
            }),
            Step::Software(name) => {
                self.pair.parties.software = Some(name.clone());
                lobby.software = Some(name);
            }
            Step::Features(lines) => self.back.backend().learn_features(lines),
            Step::SecureControl(mechanism) => return Turn::SecureControl(mechanism),
            Step::ClearControl => return Turn::ClearControl,
            Step::Reinitialise => return Turn::Reinitialise,
            Step::LoginAgain(command) => return Turn::LoginAgain(command),
            Step::End(by, why) => return Turn::End(by, why),
        }
        Turn::On
    }

    fn left(self, leave: Leave) -> Leave {
        Leave { user: Some(self.user), ended: Ended { during: self.stage, ..leave.ended }, ..leave }
    }

    /// The gateway stops: what runs is cut so that both peers can see it.
    async fn stopped(mut self, mut lobby: Lobby) -> Leave {
        let why = Why::Reason(crate::event::Reason::Stopped);
        let mut steps = Vec::new();
        self.dialogue.stop(&mut steps);
        for step in steps {
            self.perform(step, &mut lobby);
        }
        self.back.part().await;
        let ended = Ended { by: By::Gateway, during: self.stage, why };
        Leave { front: Some(lobby.front), tell: true, ended, user: Some(self.user) }
    }

    /// A goodbye's words are for the log: the client hears the gateway's own.
    fn hear(&mut self, line: &ReplyLine) {
        if line.code.number() == 421 {
            self.goodbye = Some(Printable(line.text()).to_string());
        }
    }

    fn report_back_gone(&mut self, lobby: &Lobby, error: &crate::backend::BackendError) {
        self.failure_told = true;
        if error.close_notify_missing {
            let (leg, channel) = (Leg::Back, Channel::Control);
            lobby.context.observe(&Event::MissingCloseNotify { who: &lobby.context.who, leg, channel });
        }
        self.backend_failed(lobby, error.failure, &error.detail);
    }

    /// What the dialogue found out about the backend (421, no reply in time) has not been told yet.
    fn report_end(&self, lobby: &Lobby, why: Why) {
        if let Why::Backend(failure) = why
            && !self.failure_told
        {
            self.backend_failed(lobby, failure, self.goodbye.as_deref().unwrap_or(failure.text()));
        }
    }

    fn backend_failed(&self, lobby: &Lobby, failure: BackendFailure, detail: &str) {
        let backend = &self.back.backend().settings().name;
        lobby.context.observe(&Event::BackendFailed {
            who: &lobby.context.who,
            backend,
            dialled: false,
            failure,
            detail,
        });
    }
}

fn direction(kind: TransferKind) -> Direction {
    match kind {
        TransferKind::Upload => Direction::Upload,
        TransferKind::Download | TransferKind::Listing => Direction::Download,
    }
}
