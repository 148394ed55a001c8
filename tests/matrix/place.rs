//! Where a client works: a server, a gateway in front of it or none, a folder of its own, and the client itself.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::driver::{Client, Driver, Target};
use crate::failure::Failure;
use crate::front::Front;

/// For one order that moves little.
pub(crate) const LITTLE: Duration = Duration::from_secs(60);
/// For one order that moves much.
pub(crate) const MUCH: Duration = Duration::from_secs(150);
/// For the gateway to see that a client has gone.
const NOTICE: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Everything that an item of work needs.
pub(crate) struct Place<'a> {
    pub(crate) driver: &'a Driver,
    pub(crate) target: Target,
    pub(crate) backend: &'a Backend,
    /// None: the server is bare.
    pub(crate) front: Option<&'a Front>,
    /// Local files, and the scratch folders of clients.
    folder: PathBuf,
    client: Option<Client>,
    /// Where the newest client logs.
    logs: [PathBuf; 2],
    numbers: usize,
}

/// Waits until something is so; false when it does not become so in time.
fn until(limit: Duration, so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

impl<'a> Place<'a> {
    /// `folder` is made and becomes its own.
    pub(crate) fn new(
        driver: &'a Driver,
        target: Target,
        backend: &'a Backend,
        front: Option<&'a Front>,
        folder: PathBuf,
    ) -> Self {
        fs::create_dir(&folder).unwrap();
        let logs = [folder.join("client-1/log"), folder.join("client-1.stderr")];
        Self { driver, target, backend, front, folder, client: None, logs, numbers: 0 }
    }

    /// Tells the client, which is started and logged in where there is none. After silence there is none any more.
    pub(crate) fn ask(&mut self, order: &[&[u8]]) -> Result<Vec<Vec<u8>>, Failure> {
        self.ask_within(order, LITTLE)
    }

    pub(crate) fn ask_within(&mut self, order: &[&[u8]], limit: Duration) -> Result<Vec<Vec<u8>>, Failure> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                let mut client = self.another(&self.target.clone());
                client.ask(&[b"open"], LITTLE)?;
                client
            }
        };
        let answer = client.ask(order, limit);
        if !answer.as_ref().is_err_and(Failure::ends_the_driver) {
            self.client = Some(client);
        }
        answer
    }

    /// One more client, not logged in yet.
    pub(crate) fn another(&mut self, target: &Target) -> Client {
        self.numbers += 1;
        let client = self.driver.start(target, &self.folder.join(format!("client-{}", self.numbers)));
        self.logs.clone_from(&client.logs);
        client
    }

    /// The next order begins a new client.
    pub(crate) fn forget(&mut self) {
        self.client = None;
    }

    /// Whether the next order goes to the client that had the last one.
    pub(crate) fn has_client(&self) -> bool {
        self.client.is_some()
    }

    /// The client ends as its driver does when nothing more is to be done.
    pub(crate) fn leave(&mut self) -> Result<(), Failure> {
        self.client.take().map_or(Ok(()), Client::end)
    }

    /// A path for a local file.
    pub(crate) fn local(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a local file.
    pub(crate) fn local_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.local(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Makes a local folder that is empty.
    pub(crate) fn local_folder(&self, name: &str) -> PathBuf {
        let path = self.local(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Makes an empty folder on the server.
    pub(crate) fn remote_folder(&self, name: &str) -> PathBuf {
        let path = self.backend.root.join(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(self.backend.owner.0), Some(self.backend.owner.1)).unwrap();
        path
    }

    /// Logins that the gateway has seen accepted.
    pub(crate) fn logins(&self) -> u64 {
        self.front.map_or(0, |front| front.count("logins_total", &["accepted"]))
    }

    /// The gateway comes back to no session, no transfer and no reservation by itself.
    pub(crate) fn comes_to_rest(&self) -> Result<(), Failure> {
        let Some(front) = self.front else { return Ok(()) };
        let left = || {
            let sessions = front.count("sessions_active", &[]);
            let transfers = front.count("transfers_active", &[]);
            (sessions, transfers, front.count("passive_ports", &["state=\"reserved\""]))
        };
        if until(NOTICE, || left() == (0, 0, 0)) {
            return Ok(());
        }
        let (sessions, transfers, ports) = left();
        let text = format!("left behind: {sessions} sessions, {transfers} transfers, {ports} passive ports reserved");
        Err(Failure::wrong("rest", text))
    }

    /// The end of what the newest client logged.
    pub(crate) fn log(&self) -> String {
        self.logs.iter().map(|path| tail(path, 6000)).collect::<Vec<_>>().join("\n")
    }
}

/// The end of a file.
pub(crate) fn tail(path: &Path, length: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(length)..]).into_owned()
}
