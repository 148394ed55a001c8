//! `state_dir`: whether what has to outlast a restart can be kept there. A start fails where it cannot; a reload says so and
//! goes on, because a folder may come back.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use super::kept::PATIENCE;
use super::{kept, kept_codes};
use crate::config::Settings;

/// Made and removed again.
const PROBE: &str = "can-be-written";

/// What is lost where nothing can be kept, as a sentence begins with it; `None`: there is nothing to keep.
pub(super) fn lost(settings: &Settings) -> Option<&'static str> {
    match (settings.limits.failed_logins.is_some(), settings.second_factor.is_some()) {
        (true, true) => Some("neither bans nor used one-time codes"),
        (true, false) => Some("no bans"),
        (false, true) => Some("no used one-time codes"),
        (false, false) => None,
    }
}

/// The files that a start reads, as far as these settings have something to keep in them.
pub(super) fn kept_files(settings: &Settings, folder: &Path) -> Vec<PathBuf> {
    let bans = settings.limits.failed_logins.is_some().then(|| folder.join(kept::FILE));
    let codes = settings.second_factor.is_some().then(|| folder.join(kept_codes::FILE));
    bans.into_iter().chain(codes).collect()
}

/// Makes the folder where it is not there, and a file in it, and reads what is kept. A disk that hangs is not waited for for
/// ever.
///
/// # Errors
/// The key, what is wrong, and what to do.
pub(super) fn try_out(settings: &Settings) -> Result<(), String> {
    let Some(folder) = settings.tls.state_dir.clone() else { return Ok(()) };
    let files = kept_files(settings, &folder);
    let (sender, tried) = mpsc::channel();
    let own = folder.clone();
    let tries = thread::Builder::new().name("state-dir".into()).spawn(move || {
        // Nobody may wait for it any more.
        let _ = sender.send(try_now(&own, &files));
    });
    let tried =
        tries.and_then(|_| tried.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())));
    let (shown, things) = (folder.display(), lost(settings).unwrap_or("nothing"));
    match tried {
        // What passes keeps no gateway from its start. What is kept is tried again until there is room.
        Err(error) if passes(error.kind()) => {
            tracing::error!("state_dir: {things} can be kept in {shown} just now: {error}");
            Ok(())
        }
        tried => tried.map_err(|error| {
            format!(
                "state_dir: {things} could be kept in {shown} over a restart: {error}. Make it a folder of the user that the \
                 gateway runs as: install -d -m 700 -o USER {shown}; chown -R USER {shown}. Or write another path."
            )
        }),
    }
}

/// No room, or a disk that hangs.
fn passes(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::TimedOut)
}

fn try_now(folder: &Path, files: &[PathBuf]) -> io::Result<()> {
    if folder.exists() && !folder.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let probe = folder.join(PROBE);
    removed(&probe)?;
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe)?);
    removed(&probe)?;
    files.iter().try_for_each(|path| readable(path))
}

fn removed(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether a kept file can be read, or is not there yet. Says which one cannot.
pub(super) fn readable(path: &Path) -> io::Result<()> {
    let opened = match path.metadata() {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a file")),
        // Opened only once it is known to be a file: opening a pipe would wait for a writer.
        Ok(_) => File::open(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    opened.map_err(|error| io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display())))
}
