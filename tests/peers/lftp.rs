//! lftp (GnuTLS): one process and one session for each thing it does, more for `mirror`.
//!
//! lftp 4.9.2 has no active mode over IPv6: it sends `EPRT |2|::|PORT|`, which ProFTPD, Pure-FTPd, pyftpdlib and
//! inetutils-ftpd refuse just as the gateway does (of the five only vsftpd takes the client's address instead).

use std::path::Path;
use std::process::Output;

use crate::client::{Change, Client, Data, Listing, Target, bounded, output, told};

pub(crate) struct Lftp(pub(crate) Target);

impl Lftp {
    /// Runs lftp commands. lftp turns names from UTF-8 into `charset`.
    fn script(&self, target: &Target, charset: &str, commands: &str) -> (String, Output) {
        let script = self.opening(target, charset) + commands;
        let file = target.scratch.join("lftp.script");
        std::fs::write(&file, &script).unwrap();
        let mut command = bounded("lftp");
        let output = output(command.arg("--norc").arg("-f").arg(&file).env("HOME", &target.scratch));
        (format!("{script}\n{}", told(&command, &output)), output)
    }

    fn run(&self, commands: &str) -> Output {
        self.run_in("UTF-8", commands)
    }

    fn run_in(&self, charset: &str, commands: &str) -> Output {
        let (told, output) = self.script(&self.0, charset, commands);
        // It ends with success when it has repeated what failed, and says so.
        assert!(output.status.success(), "{told}");
        output
    }

    fn opening(&self, target: &Target, charset: &str) -> String {
        let yes = |wanted: bool| if wanted { "yes" } else { "no" };
        let way = target.way;
        let scheme = if way.implicit { "ftps" } else { "ftp" };
        let host = if way.ipv6 { "[::1]" } else { "127.0.0.1" };
        let settings = [
            ("cmd:fail-exit", "yes".into()),
            ("cmd:default-protocol", "ftp".into()),
            ("ssl:ca-file", quoted(&target.authority.display().to_string())),
            ("ssl:verify-certificate", "yes".into()),
            ("ssl:check-hostname", "yes".into()),
            ("ssl:priority", format!("NORMAL:-VERS-ALL:+VERS-TLS{}", way.version)),
            ("ftp:ssl-force", "yes".into()),
            ("ftp:ssl-protect-data", "yes".into()),
            ("ftp:ssl-protect-list", "yes".into()),
            ("ftp:passive-mode", yes(!way.data.is_active()).into()),
            ("ftp:prefer-epsv", yes(matches!(way.data, Data::Epsv | Data::Eprt)).into()),
            ("ftp:use-utf8", yes(charset == "UTF-8").into()),
            ("ftp:charset", charset.into()),
            ("net:max-retries", "1".into()),
            ("net:timeout", "20".into()),
            ("xfer:clobber", "yes".into()),
            ("cache:enable", "no".into()),
        ];
        let mut text: String = settings.map(|(key, value)| format!("set {key} {value}\n")).concat();
        let (user, password, port) = (&target.user, &target.password, target.address.port());
        text += &format!("open -u {user},{password} -p {port} {scheme}://{host}\n");
        text
    }

    /// Brings whole folders both ways, four files at a time.
    pub(crate) fn mirror(&self, reverse: bool, from: &Path, to: &Path) {
        let reverse = if reverse { "--reverse" } else { "" };
        let (from, to) = (quoted(&from.display().to_string()), quoted(&to.display().to_string()));
        self.run(&format!("mirror {reverse} --parallel=4 --no-perms {from} {to}\n"));
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The character set that these bytes are in, and they as lftp is told of them.
fn name(bytes: &[u8]) -> (&'static str, String) {
    match str::from_utf8(bytes) {
        Ok(text) => ("UTF-8", quoted(text)),
        Err(_) => ("ISO-8859-1", quoted(&bytes.iter().copied().map(char::from).collect::<String>())),
    }
}

impl Client for Lftp {
    fn up(&mut self, files: &[(&Path, &[u8])]) {
        let names = files.iter().map(|(local, remote)| (local, name(remote)));
        let commands: String = names.clone().map(|(local, (_, name))| format!("put {local:?} -o {name}\n")).collect();
        let charset = names.map(|(_, (charset, _))| charset).find(|charset| *charset != "UTF-8");
        self.run_in(charset.unwrap_or("UTF-8"), &commands);
    }

    fn down(&mut self, files: &[(&[u8], &Path)]) {
        let names = files.iter().map(|(remote, local)| (local, name(remote)));
        let commands: String = names.clone().map(|(local, (_, name))| format!("get {name} -o {local:?}\n")).collect();
        let charset = names.map(|(_, (charset, _))| charset).find(|charset| *charset != "UTF-8");
        self.run_in(charset.unwrap_or("UTF-8"), &commands);
    }

    fn list(&mut self, listing: Listing) -> Vec<u8> {
        let commands = match listing {
            Listing::List => "ls\n",
            Listing::Nlst => "nlist\n",
            Listing::Mlsd => "set ftp:use-mlsd yes\ncls -1 --size --block-size=1\n",
        };
        self.run(commands).stdout
    }

    fn resume_down(&mut self, name: &str, local: &Path) {
        self.run(&format!("get -c {name} -o {local:?}\n"));
    }

    fn resume_up(&mut self, local: &Path, name: &str) {
        self.run(&format!("put -c {local:?} -o {name}\n"));
    }

    fn change(&mut self, changes: &[Change<'_>]) {
        let command = |change: &Change<'_>| match change {
            Change::Make(name) => format!("mkdir {name}\n"),
            Change::Remove(name) => format!("rmdir {name}\n"),
            Change::Rename(from, to) => format!("mv {from} {to}\n"),
            Change::Delete(name) => format!("rm {name}\n"),
        };
        self.run(&changes.iter().map(command).collect::<String>());
    }

    fn wrong_password(&mut self) -> bool {
        let (told, output) = self.script(&self.0.wrong(), "UTF-8", "ls\n");
        assert!(!output.status.success(), "{told}");
        told.contains("Login failed") || panic!("{told}")
    }

    fn abort(&mut self, name: &str, then: &str, local: &Path) -> bool {
        // The reader goes away in the middle, and lftp sends ABOR.
        let cut = format!("cat {name} | head -c 1000 > /dev/null");
        self.run(&format!("set cmd:fail-exit no\n{cut}\nget {then} -o {local:?}\n"));
        true
    }
}
