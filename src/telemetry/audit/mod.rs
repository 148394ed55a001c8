//! The audit file: who moved which file when, for whoever asks later.
//!
//! Invariants: no session waits for a disk; a line is whole; a line that is lost is counted and told; while nothing can be
//! written, or too much waits, [`Audit::can_record`] says so and nothing new begins. Without `audit_log` an event costs one
//! look at an atomic here.
//!
//! Not in this room: a decision about what a session may do.

mod backlog;
mod file;
mod json;
mod kinds;
mod lines;
mod queue;
mod writer;
mod xferlog;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use file::{AuditFile, AuditFileError};
pub use kinds::{AuditEvent, AuditField, FieldType};

use self::file::FileIdentity;
use self::json::Line;
use self::queue::{Put, Queue, Weight};
use self::writer::Writer;
use super::metrics::Metrics;
use super::settings::{AuditFormat, AuditSettings};
use crate::event::{
    Change, ChangeResult, Channel, Ended, Handshake, HandshakeResult, Leg, LoginResult, Object, Transfer, Via, Who,
};
use crate::ftp::Verb;
use crate::policy::{Ban, Refusal};
use crate::telemetry::log::Severity;

/// A disk that hangs is not waited for any longer, at the end of the process or when another file is named.
const PATIENCE: Duration = Duration::from_secs(5);

/// The audit file, or none.
pub struct Audit {
    queue: Arc<Queue>,
    /// The file in force. Changes of it come one after the other.
    place: Mutex<Option<Place>>,
    patience: Duration,
    metrics: Arc<Metrics>,
}

/// Where the file is, and which one it is.
struct Place {
    path: PathBuf,
    identity: FileIdentity,
}

impl Audit {
    /// None, until [`Self::set`].
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let queue = Arc::<Queue>::default();
        let watched = Arc::clone(&queue);
        metrics.watch_audit(move || watched.takes_more());
        Self { queue, place: Mutex::default(), patience: PATIENCE, metrics }
    }

    /// This file is the one from now on; `None`: there is none. The lines so far are written to the end of the one before,
    /// or, where its disk is full or hangs, to this one. A disk that hangs is waited for a moment.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn set(&self, new: Option<(AuditSettings, AuditFile)>) -> std::io::Result<()> {
        let mut place = self.place();
        let Some((AuditSettings { path, format }, AuditFile { file, identity })) = new else {
            if place.take().is_some() {
                self.queue.change(None);
            }
            return Ok(());
        };
        let known = place.replace(Place { path, identity });
        let is_first = known.is_none();
        if known.is_some_and(|known| known.identity == identity) && self.queue.format() == Some(format) {
            return Ok(());
        }
        self.queue.change(Some((file, format)));
        if self.queue.is_reached(self.patience) {
            return Ok(());
        }
        if !is_first {
            tracing::error!("the audit file so far does not answer: what waits for it is written to the new one");
        }
        let started = self.employ();
        if started.is_err() && is_first {
            *place = None;
            self.queue.change(None);
        }
        started
    }

    /// Opens the same path again: the file that was there may have been moved.
    ///
    /// # Errors
    /// When it cannot be opened; the old one stays.
    pub fn reopen(&self) -> Result<(), AuditFileError> {
        if let Some(place) = &mut *self.place() {
            let AuditFile { file, identity } = AuditFile::open(&place.path)?;
            if place.identity != identity {
                self.queue.rotate(file);
                place.identity = identity;
            }
        }
        Ok(())
    }

    /// Writes what waits, and ends. Waits for the disk, but not for ever.
    pub fn stop(&self) {
        let _last_change = self.place().take();
        self.queue.close();
        let lines = self.queue.is_over(self.patience);
        if lines > 0 {
            self.metrics.audit_lost(lines);
            tracing::error!(lines, "lines of the audit file are lost: it could not be written to the end");
        }
    }

    /// Whether what begins now can be recorded.
    pub fn can_record(&self) -> bool {
        self.queue.takes_more()
    }

    /// Puts a new writer in charge: there is none, or the one that there is hangs.
    fn employ(&self) -> std::io::Result<()> {
        let writer = Writer::<std::fs::File>::new(Arc::clone(&self.queue), Arc::clone(&self.metrics));
        std::thread::Builder::new().name("audit".into()).spawn(move || writer.run()).map(drop)
    }

    /// A line in JSON, where that is the format.
    fn note(&self, weight: Weight, line: impl Fn(SystemTime) -> Line) {
        self.push(weight, |now, format| match format {
            AuditFormat::Json => Some(line(now).finish()),
            AuditFormat::Xferlog => None,
        });
    }

    /// The same, with its like in the other format.
    fn note_either(&self, json: impl Fn(SystemTime) -> Line, xferlog: impl Fn(SystemTime) -> Option<Vec<u8>>) {
        self.push(Weight::Full, |now, format| match format {
            AuditFormat::Json => Some(json(now).finish()),
            AuditFormat::Xferlog => xferlog(now),
        });
    }

    fn push(&self, weight: Weight, line: impl Fn(SystemTime, AuditFormat) -> Option<Vec<u8>>) {
        // Once, but where the format changes in between.
        while let Some(format) = self.queue.format() {
            let Some(line) = line(SystemTime::now(), format) else { return };
            match self.queue.push(&line, format, weight) {
                Put::In => {}
                Put::Behind => {
                    tracing::error!(
                        "too many lines wait for the audit file: until its disk takes them, no login, transfer or change begins"
                    );
                }
                Put::Lost(lines) => {
                    self.metrics.audit_lost(1);
                    if lines == 1 {
                        tracing::error!("lines of the audit file are lost: too many wait to be written");
                    }
                }
                Put::OtherFormat => continue,
            }
            return;
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One for each event that is worth a line.
impl Audit {
    pub(super) fn turned(&self, listener: &str, client: SocketAddr, refusal: Refusal) {
        self.note(Weight::Slight, |now| lines::turned(now, listener, client, refusal));
    }

    pub(super) fn started(&self, who: &Who) {
        // A balancer that looks whether the gateway is there is nobody.
        if who.via != Via::Check {
            self.note(Weight::Slight, |now| lines::session_started(now, who));
        }
    }

    pub(super) fn handshake(&self, who: &Who, handshake: &Handshake, detail: &str) {
        match (handshake.leg, handshake.channel, handshake.result) {
            // A transfer's line has that of its data connection.
            (Leg::Back, ..) | (Leg::Front, Channel::Data, _) => {}
            (Leg::Front, Channel::Control, _) if who.via == Via::Check => {}
            (Leg::Front, Channel::Control, HandshakeResult::Ok) => {
                self.note(Weight::Slight, |now| lines::secured(now, who, handshake));
            }
            (Leg::Front, Channel::Control, _) => {
                self.note(Weight::Slight, |now| lines::not_secured(now, who, handshake, detail));
            }
        }
    }

    pub(super) fn client_certificate(&self, who: &Who, subject: &str, issuer: &str, serial: &str) {
        self.note(Weight::Slight, |now| lines::client_certificate(now, who, subject, issuer, serial));
    }

    pub(super) fn login(
        &self,
        who: &Who,
        user: &[u8],
        backend: Option<&str>,
        result: LoginResult,
        second_factor: bool,
    ) {
        let weight = if result == LoginResult::Accepted { Weight::Full } else { Weight::Slight };
        self.note(weight, |now| lines::login(now, who, user, backend, result, second_factor));
    }

    pub(super) fn banned(&self, who: &Who, ban: &Ban, lasts: Duration) {
        self.note(Weight::Slight, |now| lines::banned(now, who, ban, lasts));
    }

    pub(super) fn ban_lifted(&self, ban: &Ban) {
        self.note(Weight::Full, |now| lines::ban_lifted(now, ban));
    }

    pub(super) fn refused(
        &self,
        who: &Who,
        user: Option<&[u8]>,
        object: Option<&Object>,
        verb: Verb,
        refusal: Refusal,
    ) {
        // Before login as much as the log shows by itself: see `lines`.
        if user.is_some() || Severity::of(refusal) != Severity::Debug {
            let weight = if user.is_some() { Weight::Full } else { Weight::Slight };
            self.note(weight, |now| lines::refused(now, who, user, object, verb, refusal));
        }
    }

    pub(super) fn transferred(&self, who: &Who, transfer: &Transfer<'_>, ran: bool) {
        self.note_either(
            |now| lines::transferred(now, who, transfer),
            |now| xferlog::transferred(now, who, transfer, ran),
        );
    }

    pub(super) fn changed(
        &self,
        who: &Who,
        (user, backend): (&[u8], &str),
        change: &Change,
        (code, result): (Option<u16>, ChangeResult),
    ) {
        self.note_either(
            |now| lines::changed(now, who, (user, backend), change, (code, result)),
            |now| xferlog::changed(now, who, user, change, result),
        );
    }

    pub(super) fn ended(&self, who: &Who, user: Option<&[u8]>, ended: Ended, lasted: Duration) {
        if who.via == Via::Check && user.is_none() {
            return;
        }
        let weight = if user.is_some() { Weight::Full } else { Weight::Slight };
        self.note(weight, |now| lines::session_ended(now, who, user, ended, lasted));
    }

    pub(super) fn reloaded(&self, accepted: bool) {
        self.note(Weight::Full, |now| lines::reloaded(now, accepted));
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}
