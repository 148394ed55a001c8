//! What every client can do, whichever it is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::front::Front;

/// No single thing that a client does here takes so long, in seconds.
const LIMIT: &str = "60";

/// How a client comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) implicit: bool,
    /// `"1.2"` or `"1.3"`.
    pub(crate) version: &'static str,
    pub ipv6: bool,
    pub(crate) data: Data,
}

/// How a client arranges its data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

/// Which of the three listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    List,
    Nlst,
    Mlsd,
}

/// A command without data.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    Make(&'a str),
    Remove(&'a str),
    Rename(&'a str, &'a str),
    Delete(&'a str),
}

/// Where a client goes and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) way: Way,
    pub(crate) address: SocketAddr,
    pub(crate) authority: PathBuf,
    pub(crate) user: String,
    pub(crate) password: String,
    /// Where a client may put files of its own.
    pub(crate) scratch: PathBuf,
}

/// A real client. Each method ends with everything done, or panics with what the client said. Local files are given as
/// paths, names on the server as bytes, relative to the user's home.
pub(crate) trait Client {
    /// Uploads all of these in one session.
    fn up(&mut self, files: &[(&Path, &[u8])]);
    /// Downloads all of these in one session.
    fn down(&mut self, files: &[(&[u8], &Path)]);
    /// What the server says is in the user's home.
    fn list(&mut self, listing: Listing) -> Vec<u8>;
    /// Fetches the rest of a file whose beginning is there.
    fn resume_down(&mut self, name: &str, local: &Path);
    /// Sends the rest of a file whose beginning is there.
    fn resume_up(&mut self, local: &Path, name: &str);
    /// Does all of these in one session.
    fn change(&mut self, changes: &[Change<'_>]);
    /// Tries to log in with another password, and says whether it was told that the password is wrong.
    fn wrong_password(&mut self) -> bool;
    /// Begins a download, breaks it off with ABOR, and downloads `then` in the same session. `false`: it cannot.
    fn abort(&mut self, _name: &str, _then: &str, _local: &Path) -> bool {
        false
    }
}

impl Target {
    pub(crate) fn new(front: &Front, way: Way, user: &str, password: &str, scratch: &Path) -> Self {
        let mode = if way.implicit { "implicit" } else { "explicit" };
        let address = front.address(&format!("{mode}{}", if way.ipv6 { 6 } else { 4 }));
        let authority = front.authority.clone();
        Self { way, address, authority, user: user.into(), password: password.into(), scratch: scratch.into() }
    }

    pub(crate) fn wrong(&self) -> Self {
        Self { password: format!("{}x", self.password), ..self.clone() }
    }
}

impl Data {
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::Port | Self::Eprt)
    }
}

/// A command that is ended when it takes too long.
pub(crate) fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT, program]).env("LC_ALL", "C.UTF-8").env_remove("http_proxy");
    command
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = output(command);
    assert!(output.status.success(), "{}", told(command, &output));
    output
}

/// Runs a command that may fail.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

pub(crate) fn told(command: &Command, output: &Output) -> String {
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
    format!("{command:?} ended with {status}\n{stdout}\n{stderr}")
}
