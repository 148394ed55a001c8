//! curl: one process and one session for each thing it does.
//!
//! curl 7.88.1 sends `PROT P` and then never starts TLS on a data connection that it accepted itself: in active mode it
//! fails against any server that keeps to RFC 4217 §7 (`active_in_clear_is_refused` shows it, the bare servers do the
//! same). So in active mode it is told to ask for `PROT C`, and the gateway to allow it.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::client::{Change, Client, Data, Listing, Target, bounded, output, run, told};

/// curl's exit status for a refused login.
const LOGIN_DENIED: i32 = 67;

pub(crate) struct Curl(pub(crate) Target);

impl Curl {
    fn command(&self, target: &Target) -> Command {
        let mut command = bounded("curl");
        command.args(["--silent", "--show-error", "--disable", "--noproxy", "*", "--cacert"]).arg(&target.authority);
        command.arg("--user").arg(format!("{}:{}", target.user, target.password));
        command.args(match target.way.version {
            "1.2" => ["--tlsv1.2", "--tls-max", "1.2"],
            _ => ["--tlsv1.3", "--tls-max", "1.3"],
        });
        command.arg(if target.way.ipv6 { "--ipv6" } else { "--ipv4" });
        // In active mode data is in clear, see above.
        command.arg(if target.way.data.is_active() { "--ftp-ssl-control" } else { "--ssl-reqd" });
        match target.way.data {
            Data::Pasv => command.arg("--disable-epsv"),
            Data::Epsv => &mut command,
            Data::Port => command.args(["--ftp-port", "-", "--disable-eprt"]),
            Data::Eprt => command.args(["--ftp-port", "-"]),
        };
        command
    }

    /// curl as whom and how the target says; what it does comes behind.
    pub(crate) fn here(&self) -> Command {
        self.command(&self.0)
    }

    pub(crate) fn url(&self, name: &[u8]) -> String {
        let scheme = if self.0.way.implicit { "ftps" } else { "ftp" };
        let mut url = format!("{scheme}://localhost:{}/", self.0.address.port());
        for byte in name {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'/' => url.push(char::from(*byte)),
                _ => write!(url, "%{byte:02X}").unwrap(),
            }
        }
        url
    }
}

impl Client for Curl {
    fn up(&mut self, files: &[(&Path, &[u8])]) {
        let mut command = self.here();
        for (local, name) in files {
            command.args([OsStr::new("--upload-file"), local.as_os_str(), OsStr::new(&self.url(name))]);
        }
        run(&mut command);
    }

    fn down(&mut self, files: &[(&[u8], &Path)]) {
        let mut command = self.here();
        for (name, local) in files {
            command.args([OsStr::new("--output"), local.as_os_str(), OsStr::new(&self.url(name))]);
        }
        run(&mut command);
    }

    fn list(&mut self, listing: Listing) -> Vec<u8> {
        let mut command = self.here();
        match listing {
            Listing::List => &mut command,
            Listing::Nlst => command.arg("--list-only"),
            Listing::Mlsd => command.args(["--request", "MLSD"]),
        };
        run(command.arg(self.url(b""))).stdout
    }

    fn resume_down(&mut self, name: &str, local: &Path) {
        run(self.here().args(["--continue-at", "-", "--output"]).arg(local).arg(self.url(name.as_bytes())));
    }

    fn resume_up(&mut self, local: &Path, name: &str) {
        run(self.here().args(["--continue-at", "-", "--upload-file"]).arg(local).arg(self.url(name.as_bytes())));
    }

    fn change(&mut self, changes: &[Change<'_>]) {
        let mut command = self.here();
        for change in changes {
            match change {
                Change::Make(name) => command.args(["--quote", &format!("MKD {name}")]),
                Change::Remove(name) => command.args(["--quote", &format!("RMD {name}")]),
                Change::Rename(from, to) => {
                    command.args(["--quote", &format!("RNFR {from}"), "--quote", &format!("RNTO {to}")])
                }
                Change::Delete(name) => command.args(["--quote", &format!("DELE {name}")]),
            };
        }
        run(command.args(["--head", "--output", "/dev/null"]).arg(self.url(b"")));
    }

    fn wrong_password(&mut self) -> bool {
        let mut command = self.command(&self.0.wrong());
        let output = output(command.arg(self.url(b"")));
        assert_eq!(output.status.code(), Some(LOGIN_DENIED), "{}", told(&command, &output));
        true
    }
}
