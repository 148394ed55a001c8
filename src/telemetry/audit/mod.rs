//! The audit file: who moved which file when, for whoever asks later.
//!
//! Invariants: no session waits for a disk; a line is whole; a line that is lost is counted and told; while nothing can be
//! written, or too much waits, [`Audit::can_record`] says so and nothing new begins. Without `audit_log` an event costs one
//! look at an atomic here.
//!
//! Not in this room: a decision about what a session may do.

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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

pub use file::{AuditFile, AuditFileError};
pub use kinds::{AuditEvent, AuditField, FieldType};

use self::json::Line;
use self::queue::{Queue, Weight};
use self::writer::Writer;
use super::metrics::Metrics;
use super::settings::{AuditFormat, AuditSettings};
use crate::event::{
    Change, ChangeResult, Channel, Ended, Handshake, HandshakeResult, Leg, LoginResult, Object, Transfer, Via, Who,
};
use crate::ftp::Verb;
use crate::policy::{Ban, Refusal};
use crate::telemetry::log::Severity;

/// At the end of the process a disk that hangs is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The audit file, or none.
pub struct Audit {
    journal: ArcSwapOption<Journal>,
    /// Changes of the file come one after the other.
    writer: Mutex<Option<Thread>>,
    metrics: Arc<Metrics>,
}

/// The writer's thread: nothing is ever sent, and the channel is closed when the thread has ended.
type Thread = mpsc::Receiver<()>;

/// The way to the writer.
struct Journal {
    settings: AuditSettings,
    queue: Arc<Queue>,
    failing: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// None, until [`Self::set`].
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { journal: ArcSwapOption::empty(), writer: Mutex::new(None), metrics }
    }

    /// This file is the one from now on; `None`: there is none. The lines so far are written to the end of the one before,
    /// or, where its disk is full, to this one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn set(&self, new: Option<(AuditSettings, AuditFile)>) -> std::io::Result<()> {
        let mut writer = self.writer();
        let old = self.journal.load_full();
        match (new, old) {
            (None, None) => {}
            (None, Some(_)) => self.close(writer.take()),
            (Some((settings, file)), Some(old)) if old.settings.format == settings.format => {
                self.note(Weight::Full, lines::stopped);
                old.queue.switch(file.0);
                let (queue, failing) = (Arc::clone(&old.queue), Arc::clone(&old.failing));
                let metrics = Arc::clone(&self.metrics);
                self.journal.store(Some(Arc::new(Journal { settings, queue, failing, metrics })));
                self.note(Weight::Full, lines::started);
            }
            (Some((settings, file)), old) => {
                if old.is_some() {
                    self.close(writer.take());
                }
                *writer = Some(self.open(settings, file)?);
            }
        }
        Ok(())
    }

    /// Opens the same path again: the file that was there may have been moved.
    ///
    /// # Errors
    /// When it cannot be opened; the old one stays.
    pub fn reopen(&self) -> Result<(), AuditFileError> {
        let _one_at_a_time = self.writer();
        if let Some(journal) = self.journal.load_full() {
            let file = AuditFile::open(&journal.settings.path)?;
            journal.queue.switch(file.0);
        }
        Ok(())
    }

    /// Writes what waits, and ends. Waits for the disk, but not for ever.
    pub fn stop(&self) {
        let writer = self.writer().take();
        self.close(writer);
    }

    /// Whether what begins now can be recorded.
    pub fn can_record(&self) -> bool {
        match &*self.journal.load() {
            Some(journal) => !journal.failing.load(Ordering::Relaxed) && !journal.queue.is_behind(),
            None => true,
        }
    }

    fn open(&self, settings: AuditSettings, file: AuditFile) -> std::io::Result<Thread> {
        let (queue, failing) = (Arc::<Queue>::default(), Arc::<AtomicBool>::default());
        let (own, metrics) = (Arc::clone(&queue), Arc::clone(&self.metrics));
        let writer = Writer::new(own, file.0, settings.format, Arc::clone(&failing), Arc::clone(&metrics));
        let (running, thread) = mpsc::channel();
        std::thread::Builder::new().name("audit".into()).spawn(move || {
            writer.run();
            drop(running);
        })?;
        self.journal.store(Some(Arc::new(Journal { settings, queue, failing, metrics })));
        self.note(Weight::Full, lines::started);
        Ok(thread)
    }

    fn close(&self, writer: Option<Thread>) {
        self.note(Weight::Full, lines::stopped);
        if let Some(journal) = self.journal.swap(None) {
            journal.queue.close();
        }
        let Some(writer) = writer else { return };
        match writer.recv_timeout(PATIENCE) {
            Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => self.metrics.set_audit_writable(true),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::error!("the audit file's disk does not answer: its last lines may be lost");
            }
        }
    }

    /// A line in JSON, where that is the format.
    fn note(&self, weight: Weight, line: impl FnOnce(SystemTime) -> Line) {
        if let Some(journal) = &*self.journal.load()
            && journal.settings.format == AuditFormat::Json
        {
            journal.push(&line(SystemTime::now()).finish(), weight);
        }
    }

    /// The same, with its like in the other format.
    fn note_either(&self, json: impl FnOnce(SystemTime) -> Line, xferlog: impl FnOnce(SystemTime) -> Option<Vec<u8>>) {
        let journal = self.journal.load();
        let Some(journal) = &*journal else { return };
        let line = match journal.settings.format {
            AuditFormat::Json => Some(json(SystemTime::now()).finish()),
            AuditFormat::Xferlog => xferlog(SystemTime::now()),
        };
        if let Some(line) = line {
            journal.push(&line, Weight::Full);
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Thread>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Journal {
    fn push(&self, line: &[u8], weight: Weight) {
        let path = self.settings.path.display();
        match self.queue.push(line, weight) {
            Ok(false) => {}
            Ok(true) => {
                self.metrics.set_audit_writable(false);
                tracing::error!(%path, "too many lines wait for the audit file: until its disk takes them, no login, transfer or change begins");
            }
            Err(lost) => {
                self.metrics.audit_lost(1);
                if lost == 1 {
                    tracing::error!(%path, "lines of the audit file are lost: too many wait to be written");
                }
            }
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Some(journal) = self.journal.swap(None) {
            journal.queue.close();
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}
