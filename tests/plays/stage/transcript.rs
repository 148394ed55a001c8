//! What was said so far, and the deadline that every expectation has.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ftps_gateway::ftp::Printable;
use tokio::time::timeout;

/// How long anything may take that is expected. Long, because the machine may be busy; nothing waits for it in vain.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Everything that went over the stage's sockets, in order, shared by all actors.
#[derive(Clone, Default)]
pub(crate) struct Transcript(Arc<Mutex<Vec<String>>>);

impl Transcript {
    /// Who says or does what. Payload of data connections is not for here.
    pub(crate) fn note(&self, who: &str, what: impl fmt::Display) {
        self.0.lock().unwrap().push(format!("{who:>14} {what}"));
    }

    /// Bytes of a control connection.
    pub(crate) fn note_bytes(&self, who: &str, arrow: &str, bytes: &[u8]) {
        self.note(who, format_args!("{arrow} {}", Printable(bytes)));
    }

    /// Waits for what must come soon.
    pub(crate) async fn soon<T>(&self, awaited: impl fmt::Display, coming: impl Future<Output = T>) -> T {
        match timeout(DEADLINE, coming).await {
            Ok(come) => come,
            Err(_) => panic!("waited {DEADLINE:?} in vain: {awaited}\n\n{self}"),
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("so far:\n")?;
        for line in self.0.lock().unwrap().iter() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
