//! One-time codes that have counted, kept in `state_dir` over a restart: none counts a second time.
//!
//! One JSON object a line, by user. A line that cannot be read costs itself alone.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::daemon::{hex, unhex};
use super::kept::{Keepsake, put, read, seconds};
use crate::policy::UsedCodes;

/// The file in `state_dir`.
pub(super) const FILE: &str = "used-codes.jsonl";

/// One line of the file. The user in hexadecimal digits, because it is bytes; the time in seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    user: String,
    began: u64,
}

impl Keepsake for UsedCodes {
    const WORDS: &'static str = "used one-time codes cannot be kept in state_dir: after a restart they count again";

    fn version(&self) -> u64 {
        self.version()
    }

    fn save(&self, folder: &Path) -> io::Result<()> {
        put(folder, FILE, &print(self.kept())?)
    }
}

/// What an earlier process has kept counts no more.
pub(super) fn restore(folder: &Path, used: &UsedCodes) {
    let path = folder.join(FILE);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the used one-time codes cannot be read: they count again");
            return;
        }
    };
    let (kept, unread) = parse(&text);
    used.restore(kept, Duration::from_secs(seconds(SystemTime::now())));
    if unread > 0 {
        tracing::error!(path = %path.display(), unread, "lines of the used one-time codes cannot be read: these count again");
    }
}

fn parse(text: &[u8]) -> (Vec<(Vec<u8>, u64)>, usize) {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |line| {
        let Line { user, began } = serde_json::from_slice(line).ok()?;
        Some((unhex(&user)?, began))
    };
    let (mut kept, mut unread) = (Vec::new(), 0);
    for line in lines {
        match read(line) {
            Some(code) => kept.push(code),
            None => unread += 1,
        }
    }
    (kept, unread)
}

fn print(kept: Vec<(Vec<u8>, u64)>) -> io::Result<String> {
    let mut text = String::new();
    for (user, began) in kept {
        text.push_str(&serde_json::to_string(&Line { user: hex(&user), began })?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_a_broken_line_costs_itself_alone() {
        let kept = vec![(b"m\xfcller".to_vec(), 1_800_000_000), (b"bob".to_vec(), 30)];
        let text = print(kept.clone()).unwrap();
        assert_eq!(parse(text.as_bytes()), (kept.clone(), 0));
        let broken = format!("{{\"user\":\"6\",\"began\":1}}\n\0\n{{\"user\":\"\"}}\n{text}");
        assert_eq!(parse(broken.as_bytes()), (kept, 3));
    }
}
