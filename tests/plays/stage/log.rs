//! The gateway's log of this process: shown with a test that fails, and kept for plays that look into it.

use std::io;
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;

static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Everything that was logged in this process, at every level.
pub(crate) struct Log;

impl Log {
    /// The lines so far.
    pub(crate) fn text() -> String {
        String::from_utf8_lossy(&KEPT.lock().unwrap()).into_owned()
    }
}

struct Tee;

impl io::Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.lock().unwrap().extend_from_slice(bytes);
        print!("{}", String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on; only the first call in a process counts.
pub(super) fn show() {
    let _ =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_writer(|| Tee).try_init();
}
