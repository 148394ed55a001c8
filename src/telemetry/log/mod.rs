//! The log on standard error: how it is set up and who may write to it.
//!
//! Invariants: a line is one line, text or JSON, with the time in UTC (RFC 3339); libraries below the gateway write
//! warnings and errors only; a standard error that is gone, or that nobody reads, stops the log and not the gateway.

pub(super) mod lines;
mod queue;
mod severity;

pub(super) use severity::Severity;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use self::queue::{CAPACITY, Queue};
use super::settings::{LogFormat, LogLevel, LogSettings};

/// The target of every line about sessions, and the prefix of the crate's other ones.
const TARGET: &str = "ftps_gateway";

/// At the end of the process, for a standard error that is read slowly.
const PATIENCE: Duration = Duration::from_secs(2);

/// The log, for as long as it is written. Dropping it waits until all is written, for two seconds at most.
#[derive(Debug)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    /// `None`: another log is in force.
    queue: Option<Arc<Queue>>,
    begun: AtomicBool,
}

impl LogHandle {
    /// Begins to write, in a thread of its own: what has been logged so far, and what will be. The thread keeps the rights
    /// that this one has now.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn begin(&self) -> io::Result<()> {
        let Some(queue) = self.queue.clone() else { return Ok(()) };
        if !self.begun.swap(true, Ordering::Relaxed) {
            thread::Builder::new().name("log".into()).spawn(move || queue.write_to(io::stderr(), tell))?;
        }
        Ok(())
    }

    /// Counts the lines that found no room or were refused by the system, so far.
    pub fn losses(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let queue = self.queue.clone();
        move || queue.as_ref().map_or(0, |queue| queue.lost())
    }

    /// Lines from this level on are shown from now on.
    pub fn set(&self, level: LogLevel) {
        // It fails when the log is not the one in force any more. Then there is nothing to change.
        let _ = self.filter.reload(filter(level));
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        let begun = self.begin();
        let Some(queue) = &self.queue else { return };
        match begun {
            Ok(()) => queue.end(PATIENCE),
            // Why there is no thread is among the lines.
            Err(_) => {
                queue.end(Duration::ZERO);
                queue.write_to(io::stderr(), tell);
            }
        }
    }
}

fn tell(lines: u64) {
    tracing::error!(lines, "lines of the log are missing here: standard error took no more");
}

/// Sends `tracing`'s events to standard error, from [`LogHandle::begin`] on; until then they wait in memory. When something
/// receives them already, that stays and the handle changes nothing. Colours are for terminals and are off where `NO_COLOR`
/// is set.
pub fn init(settings: &LogSettings) -> LogHandle {
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let queue = Arc::new(Queue::new(CAPACITY));
    let (subscriber, filter) = subscriber(settings, Arc::clone(&queue), colours);
    let in_force = tracing::subscriber::set_global_default(subscriber).is_ok();
    LogHandle { filter, queue: in_force.then_some(queue), begun: AtomicBool::default() }
}

fn subscriber<W>(
    settings: &LogSettings,
    writer: W,
    colours: bool,
) -> (impl Subscriber + Send + Sync, reload::Handle<Targets, Registry>)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    // An error of the writer would be reported on standard error, by a macro that panics when that is gone.
    let lines = fmt::layer().with_writer(writer).with_ansi(colours).log_internal_errors(false);
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    (tracing_subscriber::registry().with(filter).with(lines), handle)
}

fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(TARGET, level)
}

/// What `write` puts into a log of these settings.
#[cfg(test)]
pub(super) fn captured(format: LogFormat, level: LogLevel, write: impl FnOnce(&LogHandle)) -> String {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let buffer = Buffer::default();
    let writer = buffer.clone();
    let (subscriber, filter) = subscriber(&LogSettings { level, format }, move || writer.clone(), false);
    let handle = LogHandle { filter, queue: None, begun: AtomicBool::default() };
    tracing::subscriber::with_default(subscriber, || write(&handle));
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chatter() {
        tracing::info!(target: "rustls::conn", "library info");
        tracing::warn!(target: "hickory_resolver", "library warning");
        tracing::debug!("own debug");
        tracing::info!("own info");
    }

    #[test]
    fn libraries_are_limited_to_warnings() {
        let log = captured(LogFormat::Text, LogLevel::Trace, |_| chatter());
        assert!(!log.contains("library info"), "{log}");
        assert!(log.contains("library warning") && log.contains("own debug") && log.contains("own info"), "{log}");
        assert!(!log.contains('\x1b'), "{log}");
    }

    #[test]
    fn the_level_changes_while_running() {
        let log = captured(LogFormat::Text, LogLevel::Error, |handle| {
            chatter();
            handle.set(LogLevel::Info);
            chatter();
        });
        assert_eq!(log.matches("library warning").count(), 1, "{log}");
        assert_eq!(log.matches("own info").count(), 1, "{log}");
        assert!(!log.contains("own debug"), "{log}");
    }

    #[test]
    fn times_are_utc() {
        let log = captured(LogFormat::Json, LogLevel::Info, |_| chatter());
        let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert!(humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).is_ok(), "{line}");
    }

    #[test]
    fn a_second_log_does_no_harm() {
        let settings = LogSettings { level: LogLevel::Error, format: LogFormat::Text };
        let (first, second) = (init(&settings), init(&settings));
        first.set(LogLevel::Warn);
        second.set(LogLevel::Error);
    }
}
