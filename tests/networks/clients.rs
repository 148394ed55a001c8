//! Real clients in a network namespace: each uploads one file and downloads another, in one session or two.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::gateway::{CONTROL, Gateway};
use crate::server::Server;
use crate::space::Space;

/// No single program here takes so long, in seconds.
const LIMIT: &str = "85";

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Curl,
    Lftp,
    Ftplib,
}

/// How it arranges its data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// PASV, and the address that the reply names is the one that is dialled.
    Pasv,
    Epsv,
    Port,
    Eprt,
}

/// A client and where it goes.
pub(crate) struct Visit<'a> {
    pub(crate) who: Who,
    pub(crate) data: Data,
    pub(crate) from: &'a Space,
    pub(crate) to: IpAddr,
    pub(crate) authority: &'a Path,
    pub(crate) user: String,
    pub(crate) password: String,
    /// Its own files are here.
    pub(crate) folder: PathBuf,
}

impl<'a> Visit<'a> {
    pub(crate) fn new(
        (who, data): (Who, Data),
        (from, to): (&'a Space, &str),
        gateway: &'a Gateway<'_>,
        server: &Server,
        folder: &Path,
    ) -> Self {
        let (user, password) = (server.user.clone(), server.password.clone());
        let (to, authority) = (to.parse().unwrap(), &*gateway.authority);
        Self { who, data, from, to, authority, user, password, folder: folder.to_owned() }
    }

    fn local(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{:?}-{:?}-{name}", self.who, self.data))
    }

    /// Uploads `content` as `name`; how it went, and everything the client said.
    pub(crate) fn up(&self, name: &str, content: &[u8]) -> Result<String, String> {
        let local = self.local(name);
        std::fs::write(&local, content).unwrap();
        match self.who {
            Who::Curl => finish(self.curl(name).arg("--upload-file").arg(&local)),
            Who::Lftp => finish(&mut self.lftp(name, &format!("put {local:?} -o {name}"))),
            Who::Ftplib => self.ftplib(json!({ "do": "up", "local": local, "name": name })),
        }
    }

    /// Downloads `name`; its content.
    pub(crate) fn down(&self, name: &str) -> Result<Vec<u8>, String> {
        let local = self.local(&format!("{name}-again"));
        match self.who {
            Who::Curl => finish(self.curl(name).arg("--output").arg(&local)),
            Who::Lftp => finish(&mut self.lftp(name, &format!("get {name} -o {local:?}"))),
            Who::Ftplib => self.ftplib(json!({ "do": "down", "local": local, "name": name })),
        }?;
        Ok(std::fs::read(local).unwrap())
    }

    /// Both ways through a server, and everything arrives as it was.
    #[track_caller]
    pub(crate) fn mirrors(&self, server: &Server, content: &[u8]) {
        let name = format!("{:?}-{:?}", self.who, self.data).to_lowercase();
        if let Err(said) = self.up(&name, content) {
            panic!("{:?} {:?} cannot upload:\n{said}", self.who, self.data);
        }
        assert!(server.get(&name) == content, "another file has arrived");
        match self.down(&name) {
            Ok(again) => assert!(again == content, "another file has come back"),
            Err(said) => panic!("{:?} {:?} cannot download:\n{said}", self.who, self.data),
        }
    }

    fn program(&self, name: &str) -> Command {
        let mut command = self.from.command("setpriv");
        command.args(["--pdeathsig", "TERM", "timeout", "--kill-after=5", LIMIT, name]).stdin(Stdio::null());
        command
    }

    fn curl(&self, name: &str) -> Command {
        let host = if self.to.is_ipv6() { format!("[{}]", self.to) } else { self.to.to_string() };
        let mut command = self.program("curl");
        command.args(["--verbose", "--silent", "--show-error", "--disable", "--noproxy", "*", "--cacert"]);
        command.arg(self.authority).args(["--ssl-reqd", "--user", &format!("{}:{}", self.user, self.password)]);
        match self.data {
            // Of itself curl ignores the address.
            Data::Pasv => command.args(["--disable-epsv", "--no-ftp-skip-pasv-ip"]),
            Data::Epsv => &mut command,
            Data::Port | Data::Eprt => panic!("curl 7.88.1 has no active mode under TLS, see tests/peers/curl.rs"),
        };
        command.arg(format!("ftp://{host}:{CONTROL}/{name}"));
        command
    }

    fn lftp(&self, name: &str, order: &str) -> Command {
        let yes = |wanted: bool| if wanted { "yes" } else { "no" };
        let host = if self.to.is_ipv6() { format!("[{}]", self.to) } else { self.to.to_string() };
        let script = format!(
            "set cmd:fail-exit yes\nset ssl:ca-file {:?}\nset ftp:ssl-force yes\nset ftp:passive-mode {}\n\
             set ftp:prefer-epsv {}\nset ftp:fix-pasv-address no\nset net:max-retries 1\nset net:timeout 20\n\
             set xfer:clobber yes\ndebug 5\nopen -u {},{} -p {CONTROL} ftp://{host}\n{order}\n",
            self.authority,
            yes(matches!(self.data, Data::Pasv | Data::Epsv)),
            yes(matches!(self.data, Data::Epsv | Data::Eprt)),
            self.user,
            self.password,
        );
        let file = self.local(&format!("{name}.script"));
        std::fs::write(&file, script).unwrap();
        let mut command = self.program("lftp");
        command.arg("--norc").arg("-f").arg(file).env("HOME", &self.folder);
        command
    }

    /// `tests/peers/clients/ftplib_client.py`, which insists that the address in a 227 is the one it dialled.
    fn ftplib(&self, order: serde_json::Value) -> Result<String, String> {
        let connect = json!({
            "do": "connect", "host": self.to.to_string(), "port": CONTROL, "implicit": false, "version": "1.3",
            "authority": self.authority, "user": self.user, "password": self.password,
            "data": format!("{:?}", self.data).to_lowercase(), "resume": false,
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/clients/ftplib_client.py");
        let mut command = self.program("python3");
        let mut process =
            command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        write!(process.stdin.take().unwrap(), "{connect}\n{order}\n").unwrap();
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && !said.contains("\"error\"") { Ok(said) } else { Err(said) }
    }
}

fn finish(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = format!("{command:?}\n{}", String::from_utf8_lossy(&said));
    if output.status.success() { Ok(said) } else { Err(said) }
}
