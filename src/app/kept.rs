//! Bans, and who is known from where, kept in `state_dir` over a restart.
//!
//! One JSON object a line. The file is written whole beside the old one and put in its place, so a crash leaves the old or
//! the new one. A line that cannot be read does not take the others with it: as many bans as can be are in force again.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::daemon::{hex, unhex};
use crate::policy::{Admission, Kept, Origin, Subject, UserKey};

/// The file in `state_dir`.
pub(super) const FILE: &str = "bans.jsonl";
/// Where one is put that could not be read.
const BROKEN: &str = "bans.jsonl.broken";
/// Between two looks whether something is new.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a disk may take at the end of the process.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// What is read of a file. The tables are far below.
const LONGEST: u64 = 64 * 1024 * 1024;

/// One line of the file. Times are in seconds since 1970; users in hexadecimal digits, because they are bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Login { address: IpAddr, user: String, until: u64 },
    Address { address: IpAddr, until: u64 },
    User { user: String, until: u64 },
    Known { address: IpAddr, user: String, last: u64 },
}

/// Something that outlives the process, in a file of its own.
pub(super) trait Keepsake: Send + Sync + 'static {
    /// What it is, and what a restart does when it cannot be kept.
    const WORDS: &'static str;

    /// Another number whenever there is something new.
    fn version(&self) -> u64;

    /// Writes all of it.
    fn save(&self, folder: &Path) -> io::Result<()>;
}

impl Keepsake for Admission {
    const WORDS: &'static str = "bans cannot be kept in state_dir: a restart lifts them";

    fn version(&self) -> u64 {
        self.throttle().version()
    }

    fn save(&self, folder: &Path) -> io::Result<()> {
        put(folder, FILE, &print(&self.throttle().kept(Instant::now()), SystemTime::now())?)
    }
}

/// Puts in force what an earlier process has kept.
pub(super) fn restore(folder: &Path, admission: &Admission) {
    let path = folder.join(FILE);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the kept bans cannot be read: they are not in force");
            set_aside(&path, folder);
            return;
        }
    };
    let (kept, unread) = parse(&text, SystemTime::now());
    admission.throttle().restore(kept, Instant::now());
    if unread > 0 {
        tracing::error!(path = %path.display(), unread, "lines of the kept bans cannot be read: these are not in force");
        set_aside(&path, folder);
    }
}

/// Keeps what is new, from time to time; all of it when the folder is another one, and at the end, which has come when nobody
/// says any more which folder it is. `kept` is the version that is there already.
pub(super) async fn keep<K: Keepsake>(mut folder: watch::Receiver<PathBuf>, keepsake: Arc<K>, mut kept: u64) {
    let (mut failed, mut moved) = (false, false);
    loop {
        let ended = tokio::select! {
            () = tokio::time::sleep(PAUSE) => false,
            changed = folder.changed() => {
                (failed, moved) = (false, true);
                changed.is_err()
            }
        };
        let version = keepsake.version();
        if version == kept && !moved {
            continue;
        }
        let into = folder.borrow_and_update().clone();
        if ended {
            save_at_the_end(into, keepsake, PATIENCE).await;
            return;
        }
        match save(into, Arc::clone(&keepsake)).await {
            Ok(()) => (kept, failed, moved) = (version, false, false),
            // It is tried again, and said once.
            Err(error) if !failed => {
                failed = true;
                tracing::error!(%error, "{}", K::WORDS);
            }
            Err(_) => {}
        }
    }
}

/// Writes what is to be kept, where waiting for a disk holds up nobody.
async fn save<K: Keepsake>(folder: PathBuf, keepsake: Arc<K>) -> io::Result<()> {
    let saved = tokio::task::spawn_blocking(move || keepsake.save(&folder)).await;
    saved.map_err(io::Error::other).and_then(|saved| saved)
}

/// The same when the process ends. A disk that hangs keeps no process from its end.
async fn save_at_the_end<K: Keepsake>(folder: PathBuf, keepsake: Arc<K>, patience: Duration) {
    let saved = tokio::time::timeout(patience, save(folder, keepsake)).await;
    if let Err(error) = saved.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        tracing::error!(%error, "{}", K::WORDS);
    }
}

/// Puts a file with this text in the place of the old one.
pub(super) fn put(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    let path = folder.join(file);
    if text.is_empty() && !path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let new = folder.join(format!("{file}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(new, path)
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn set_aside(path: &Path, folder: &Path) {
    if let Err(error) = std::fs::rename(path, folder.join(BROKEN)) {
        tracing::error!(path = %path.display(), %error, "it cannot be set aside either");
    }
}

fn parse(text: &[u8], now: SystemTime) -> (Kept, usize) {
    let now = seconds(now);
    let (mut kept, mut unread) = (Kept::default(), 0);
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let read = serde_json::from_slice(line).ok().and_then(|line| take(line, now, &mut kept));
        unread += usize::from(read.is_none());
    }
    (kept, unread)
}

fn take(line: Line, now: u64, kept: &mut Kept) -> Option<()> {
    let (subject, until) = match line {
        Line::Login { address, user, until } => (Subject::Login(Origin::of(address), name(&user)?), until),
        Line::Address { address, until } => (Subject::Address(Origin::of(address)), until),
        Line::User { user, until } => (Subject::User(name(&user)?), until),
        Line::Known { address, user, last } => {
            let age = Duration::from_secs(now.saturating_sub(last));
            kept.known.push((Origin::of(address), name(&user)?, age));
            return Some(());
        }
    };
    if until > now {
        kept.bans.push((subject, Duration::from_secs(until - now)));
    }
    Some(())
}

fn print(kept: &Kept, now: SystemTime) -> io::Result<String> {
    let now = seconds(now);
    let mut text = String::new();
    let known = kept.known.iter().map(|(origin, user, age)| Line::Known {
        address: origin.address(),
        user: hex(user.name()),
        last: now.saturating_sub(age.as_secs()),
    });
    let bans = kept.bans.iter().map(|(subject, left)| {
        // Rounded up: a ban does not become shorter by being kept.
        let until = now + left.as_secs() + 1;
        match subject {
            Subject::Login(origin, user) => Line::Login { address: origin.address(), user: hex(user.name()), until },
            Subject::Address(origin) => Line::Address { address: origin.address(), until },
            Subject::User(user) => Line::User { user: hex(user.name()), until },
        }
    });
    // Known ones first: a ban of an address asks whether somebody is known there.
    for line in known.chain(bans) {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}

fn name(hex: &str) -> Option<UserKey> {
    unhex(hex).map(|bytes| UserKey::of(&bytes))
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, mpsc};

    /// What a disk that hangs keeps waiting.
    struct Waits(Mutex<mpsc::Receiver<()>>);

    impl Keepsake for Waits {
        const WORDS: &'static str = "it waits";

        fn version(&self) -> u64 {
            0
        }

        fn save(&self, _: &Path) -> io::Result<()> {
            self.0.lock().unwrap().recv().map_err(io::Error::other)
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_no_process_from_its_end() {
        let (disk, answer) = mpsc::channel();
        save_at_the_end(PathBuf::new(), Arc::new(Waits(Mutex::new(answer))), Duration::from_millis(1)).await;
        disk.send(()).unwrap();
    }

    #[test]
    fn what_is_kept_reads_back_and_a_broken_line_costs_itself_alone() {
        let (here, user) = (Origin::of("2001:db8::1".parse().unwrap()), UserKey::of(b"m\xfcller"));
        let left = Duration::from_secs(600);
        let subjects = [Subject::Login(here, user.clone()), Subject::Address(here), Subject::User(UserKey::of(b"bob"))];
        let kept = Kept {
            bans: subjects.into_iter().map(|subject| (subject, left)).collect(),
            known: vec![(here, user, Duration::from_secs(30))],
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let text = print(&kept, now).unwrap();
        let (mut read, unread) = parse(text.as_bytes(), now);
        assert!(read.bans.iter().all(|(_, own)| *own == left + Duration::from_secs(1)));
        read.bans.iter_mut().for_each(|(_, own)| *own = left);
        assert_eq!((read, unread), (kept, 0));

        let broken = format!("{{\"kind\":\"addr\n\0\u{e9}\n{{\"kind\":\"user\",\"user\":\"6\",\"until\":1}}\n{text}");
        let (read, unread) = parse(broken.as_bytes(), now);
        assert_eq!((read.bans.len(), read.known.len(), unread), (3, 1, 3));
        let later = now + Duration::from_secs(601);
        assert!(parse(text.as_bytes(), later).0.bans.is_empty());
    }
}
