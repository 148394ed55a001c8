//! A real FTP server in a network namespace, started by `tests/peers/server`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::space::Space;

/// A running server without TLS, ended with the value.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    root: PathBuf,
    owner: (u32, u32),
    log: PathBuf,
    process: Child,
}

impl Server {
    /// Starts one on an address of the namespace, with a folder of its own in `folder`.
    pub(crate) fn start(space: &Space, kind: &str, address: &str, folder: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/server");
        let mut command = space.command(script.to_str().unwrap());
        command.args(["--kind", kind, "--address", address, "--dir"]).arg(tempfile::tempdir_in(folder).unwrap().keep());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{kind} did not start: {}", process.wait().unwrap());
        let described: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| described[key].as_str().unwrap().to_owned();
        let number = |key: &str| u32::try_from(described[key].as_u64().unwrap()).unwrap();
        Self {
            port: text("address").rsplit(':').next().unwrap().parse().unwrap(),
            user: text("user"),
            password: text("password"),
            root: text("root").into(),
            owner: (number("uid"), number("gid")),
            log: text("log").into(),
            process,
        }
    }

    /// Puts a file into the user's home.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.root.join(name), content).unwrap();
    }

    /// Makes a folder in the user's home that the user may write into.
    pub(crate) fn folder(&self, name: &str) {
        let path = self.root.join(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(self.owner.0), Some(self.owner.1)).unwrap();
    }

    /// A file of the user's home.
    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.root.join(name)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(&self.log).unwrap_or_default();
            let tail = log.len().saturating_sub(4000);
            eprintln!("--- the end of the server's log\n{}", String::from_utf8_lossy(&log[tail..]));
        }
        // It ends when its standard input does, and leaves no process.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
