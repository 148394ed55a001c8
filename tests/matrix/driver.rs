//! Drivers of clients: what is in the folder, what they can, and one at work. See `drivers/README.md`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::failure::{Failure, Kind};
use crate::way::{Can, Way};
use crate::words::{line, words};

/// For leaving with everything said.
const FAREWELL: Duration = Duration::from_secs(20);

/// A program in the folder.
#[derive(Debug, Clone)]
pub(crate) struct Driver {
    pub(crate) name: String,
    path: PathBuf,
}

/// Where a driver's client goes and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) way: Way,
    /// What the client is told to connect to: an address, or a name.
    host: &'static str,
    pub(crate) port: u16,
    pub(crate) authority: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// A driver at work. It is ended with the value, and every process it started.
pub(crate) struct Client {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<Vec<u8>>,
    /// What the driver logged, and what it wrote on standard error.
    pub(crate) logs: [PathBuf; 2],
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix").join(name)
}

/// All drivers, by name.
pub(crate) fn drivers() -> Vec<Driver> {
    let mut drivers = Vec::new();
    for entry in fs::read_dir(folder("drivers")).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.metadata().unwrap();
        if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
            drivers.push(Driver { name: path.file_name().unwrap().to_str().unwrap().to_owned(), path });
        }
    }
    drivers.sort_by(|a, b| a.name.cmp(&b.name));
    drivers
}

impl Driver {
    /// The one of this name, be it there or not.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.into(), path: folder("drivers").join(name) }
    }

    /// What its client can do, or why that cannot be had.
    pub(crate) fn can(&self) -> Result<Can, String> {
        self.tell("can").map(|line| Can::read(&line))
    }

    /// Name and version of the client.
    pub(crate) fn version(&self) -> String {
        self.tell("version").unwrap_or_else(|trouble| trouble)
    }

    fn tell(&self, what: &str) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60"]).arg(folder("keeper")).arg(&self.path).arg(what);
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(shown(&output.stdout)),
            Some(3) => Err(format!(
                "{}. Run tests/matrix/install as root, or leave the matrix out with FTPS_GATEWAY_WITHOUT_PEERS=1",
                shown(&output.stderr)
            )),
            _ => Err(format!("{} {what} ended with {}\n{}", self.name, output.status, shown(&output.stderr))),
        }
    }

    /// Starts it. `scratch` is made and becomes its own. To be called on the thread that will end it.
    pub(crate) fn start(&self, target: &Target, scratch: &Path) -> Client {
        fs::create_dir(scratch).unwrap();
        let errors = scratch.with_extension("stderr");
        let Target { way, host, port, authority, user, password } = target;
        let mut command = Command::new(folder("keeper"));
        command.arg(&self.path).arg("run");
        command.envs([("HOST", *host), ("TLS", way.tls), ("VERSION", way.version), ("DATA", way.data.label())]);
        command.envs([("PROT", way.protection()), ("USERNAME", user), ("PASSWORD", password)]);
        command.env("PORT", port.to_string()).env("AUTHORITY", authority).env("SCRATCH", scratch);
        for name in ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&errors).unwrap());
        let mut process = command.spawn().unwrap();
        let orders = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let (sender, answers) = channel();
        // It ends with the driver's standard output, which ends with the last of its processes.
        thread::spawn(move || {
            let mut read = Vec::new();
            while output.read_until(b'\n', &mut read).is_ok_and(|count| count > 0) {
                let line = read.trim_ascii_end().to_vec();
                read.clear();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Client { process, orders, answers, logs: [scratch.join("log"), errors] }
    }
}

impl Target {
    pub(crate) fn new(
        way: Way,
        host: &'static str,
        address: SocketAddr,
        authority: &Path,
        login: (&str, &str),
    ) -> Self {
        let (user, password) = (login.0.to_owned(), login.1.to_owned());
        Self { way, host, port: address.port(), authority: authority.into(), user, password }
    }

    pub(crate) fn wrong(&self) -> Self {
        Self { password: format!("{}x", self.password), ..self.clone() }
    }
}

impl Client {
    /// Gives an order and waits so long for the answer; what stands behind `ok` comes back.
    pub(crate) fn ask(&mut self, order: &[&[u8]], limit: Duration) -> Result<Vec<Vec<u8>>, Failure> {
        self.order(order)?;
        self.answer(order, limit)
    }

    /// Gives an order and does not wait.
    pub(crate) fn order(&mut self, order: &[&[u8]]) -> Result<(), Failure> {
        let orders = self.orders.as_mut().unwrap();
        let sent = orders.write_all(line(order).as_bytes()).and_then(|()| orders.flush());
        sent.map_err(|error| Failure::new(order, Kind::Gone, format!("the driver takes no orders: {error}")))
    }

    /// Waits for the answer to an order given before.
    pub(crate) fn answer(&mut self, order: &[&[u8]], limit: Duration) -> Result<Vec<Vec<u8>>, Failure> {
        let line = self.answers.recv_timeout(limit).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                Failure::new(order, Kind::Silent, format!("no answer within {} s", limit.as_secs()))
            }
            RecvTimeoutError::Disconnected => Failure::new(order, Kind::Gone, "the driver ended".into()),
        })?;
        let mut words = words(&line).into_iter();
        match words.next().as_deref() {
            Some(b"ok") => Ok(words.collect()),
            Some(b"failed") => {
                let text = words.map(|word| String::from_utf8_lossy(&word).into_owned()).collect::<Vec<_>>().join(" ");
                Err(Failure::new(order, Kind::Said, text))
            }
            _ => {
                let text = format!("the driver answered {:?}", String::from_utf8_lossy(&line));
                Err(Failure::new(order, Kind::Gone, text))
            }
        }
    }

    /// Lets it leave as it likes.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        drop(self.orders.take());
        match self.answers.recv_timeout(FAREWELL) {
            Ok(line) => {
                let text = format!("the driver said {:?}, unasked", String::from_utf8_lossy(&line));
                Err(Failure::new(&[b"end"], Kind::Gone, text))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                let text = format!("it did not end within {} s", FAREWELL.as_secs());
                Err(Failure::new(&[b"end"], Kind::Silent, text))
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.orders.take());
        // Not reaped yet, so the id is still its own. The keeper then ends everything that the driver started.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.process.id().to_string()).stderr(Stdio::null()).status();
        }
        let _ = self.process.wait();
    }
}
