//! What the dialogue knows for whoever keeps a record: files from the root, offsets, changes and what came of them.
//!
//! Invariants: a change that was sent to the backend is told of exactly once, whatever ends the session; where nothing can
//! be recorded, nothing that would have to be is begun.

use super::{Dialogue, Phase, Step};
use crate::event::{Change, ChangeKind, ChangeResult, Object};
use crate::ftp::{Code, CodeClass, Command, Verb};
use crate::policy::{Cleared, Disposition, Refusal, WorkingDirectory, clear, disposition, located, may_move};

/// What the backend's good reply to a command means here.
#[derive(Debug)]
pub(super) enum Noted {
    /// Nothing.
    Nothing,
    /// REST: the next transfer begins there.
    Restart(u64),
    /// TYPE: files are text from now on, or not.
    Type { ascii: bool },
    /// RNFR: what the next RNTO renames.
    From(Object),
    /// It changes something.
    Change(Box<Change>),
}

/// What the backend has agreed to rename.
#[derive(Debug)]
pub(super) struct Renamed {
    object: Object,
    /// The session may be elsewhere since.
    moved: bool,
}

impl Renamed {
    /// For the record. Which file a name means depends on the server once the session has moved.
    fn told(self) -> Object {
        let resolved = self.object.resolved.filter(|_| !self.moved);
        Object { resolved, ..self.object }
    }
}

/// A command that may not go to the backend, and what it was about.
pub(super) struct Denied {
    verb: Verb,
    /// Where somebody keeps a record.
    object: Option<Box<Object>>,
    refusal: Refusal,
}

impl Denied {
    pub(super) fn verb(&self) -> Verb {
        self.verb
    }

    pub(super) fn step(self) -> Step {
        match self.object {
            Some(object) => Step::Deny(object, self.verb, self.refusal),
            None => Step::Refuse(self.verb, self.refusal),
        }
    }
}

/// What whoever keeps a record wants to know of: transfers and changes. RNFR is half of one.
fn is_recorded(command: &Command) -> bool {
    let transfer = matches!(disposition(command.verb()), Disposition::Transfer(_));
    transfer || command.verb() == Verb::Rnfr || ChangeKind::of(command).is_some()
}

/// The record of it has no path from the root, unless the server says where the session is. It is not asked between REST
/// and its transfer, nor between RNFR and RNTO, so REST and RNFR ask.
fn tells_less_alone(command: &Command) -> bool {
    let verb = command.verb();
    let has_path = !matches!(ChangeKind::of(command), Some(ChangeKind::Site | ChangeKind::Other));
    let alone = located(command, &WorkingDirectory::Unasked).is_some();
    matches!(verb, Verb::Rest | Verb::Rnfr) || (is_recorded(command) && has_path && !alone)
}

impl Dialogue {
    /// Whether what begins from now on can be recorded.
    pub fn set_recording(&mut self, possible: bool) {
        self.recording = possible;
    }

    /// The command asks for the working directory to be known: for a rule, or for the record.
    pub(super) fn asks_where(&self, command: &Command) -> bool {
        if self.here != WorkingDirectory::Unasked {
            return false;
        }
        let verb = command.verb();
        let asked = matches!(disposition(verb), Disposition::Forward | Disposition::Transfer(_))
            || (verb == Verb::Stat && command.has_argument());
        (self.premises.recorded && tells_less_alone(command)) || (asked && self.premises.rights.ask_for_paths())
    }

    /// Checks a command before it goes to the backend.
    pub(super) fn cleared(&self, command: Command) -> Result<Cleared, Denied> {
        let verb = command.verb();
        let recorded = is_recorded(&command);
        let kept = (self.premises.recorded && recorded).then(|| command.clone());
        let cleared = match self.recording || !recorded {
            true => clear(command, &self.premises.rights, &self.here, self.premises.command_length),
            false => Err(Refusal::AuditUnavailable),
        };
        // What vsftpd and Pure-FTPd were given as a name to RNFR they look up now, from where the session is now.
        let known = self.renamed.as_ref().is_some_and(|renamed| !renamed.moved);
        let cleared = match cleared {
            Ok(_) if verb == Verb::Rnto && !known && self.premises.rights.ask_for_paths() => Err(Refusal::PathUnknown),
            cleared => cleared,
        };
        cleared.map_err(|refusal| {
            let object = kept.map(|command| Box::new(Object::of(&command, &self.here)));
            Denied { verb, object, refusal }
        })
    }

    /// What is to be remembered of a command that goes to the backend.
    pub(super) fn note(&mut self, command: &Command) -> Noted {
        let argument = command.argument().trim_ascii();
        match command.verb() {
            Verb::Rest => {
                let offset = std::str::from_utf8(argument).ok().and_then(|text| text.parse().ok());
                Noted::Restart(offset.unwrap_or_default())
            }
            Verb::Type => Noted::Type { ascii: argument.first().is_some_and(|first| b"Aa".contains(first)) },
            Verb::Rnfr => Noted::From(Object::of(command, &self.here)),
            verb => {
                let from = if verb == Verb::Rnto { self.renamed.take().map(Renamed::told) } else { None };
                if let Some(renamed) = &mut self.renamed {
                    renamed.moved |= may_move(verb);
                }
                Change::of(command, &self.here, from).map_or(Noted::Nothing, Noted::Change)
            }
        }
    }

    /// The backend has answered.
    pub(super) fn noted(&mut self, noted: Noted, code: Code, steps: &mut Vec<Step>) {
        let good = !code.is_negative();
        match noted {
            Noted::Nothing => {}
            Noted::Restart(offset) => self.restart = (code.class() == CodeClass::Intermediate).then_some(offset),
            Noted::Type { ascii } if good => self.ascii = ascii,
            Noted::Type { .. } => {}
            // Behind a no some servers would still rename what they agreed to before (pyftpdlib).
            Noted::From(object) if good => self.renamed = Some(Renamed { object, moved: false }),
            Noted::From(_) => {}
            Noted::Change(change) => {
                let result = if good { ChangeResult::Completed } else { ChangeResult::BackendRefused };
                steps.push(Step::Changed { change, code: Some(code.number()), result });
            }
        }
    }

    /// The session ends while a change is with the backend: nobody will know what came of it.
    pub(super) fn lose_track(&mut self, steps: &mut Vec<Step>) {
        if let Phase::Waiting { noted, .. } = &mut self.phase
            && let Noted::Change(change) = std::mem::replace(noted, Noted::Nothing)
        {
            steps.push(Step::Changed { change, code: None, result: ChangeResult::Unknown });
        }
    }
}
