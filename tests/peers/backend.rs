//! A real FTP server, started by `tests/peers/server` and ended with the value.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Vsftpd,
    Proftpd,
    Pureftpd,
    Pyftpdlib,
    Inetutils,
}

/// How the gateway talks to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    None,
    Explicit,
    Implicit,
}

/// A server and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) security: Security,
    /// `"1.2"` or `"1.3"`: the newest TLS it speaks.
    pub(crate) newest: &'static str,
    pub ipv6: bool,
    /// Data connections must resume the control connection's session, where the server can demand it.
    pub(crate) reuse: bool,
    /// PROT C is fine.
    pub(crate) clear: bool,
}

/// A running server.
pub(crate) struct Backend {
    pub(crate) setup: Setup,
    /// `127.0.0.1:PORT` or `[::1]:PORT`.
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// The user's home on disk.
    pub(crate) root: PathBuf,
    /// The authority that signed its certificate.
    pub(crate) authority: Option<PathBuf>,
    pub(crate) owner: (u32, u32),
    pub(crate) log: PathBuf,
    process: Child,
}

impl Kind {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Vsftpd => "vsftpd",
            Self::Proftpd => "proftpd",
            Self::Pureftpd => "pureftpd",
            Self::Pyftpdlib => "pyftpdlib",
            Self::Inetutils => "inetutils",
        }
    }

    /// RFC 3659 §7.
    pub(crate) fn has_mlsd(self) -> bool {
        !matches!(self, Self::Vsftpd | Self::Inetutils)
    }

    /// Servers that can demand that a data connection resume the control connection's TLS session.
    pub(crate) const fn can_require_reuse(self) -> bool {
        matches!(self, Self::Vsftpd | Self::Proftpd)
    }
}

impl Setup {
    pub(crate) const fn plain(kind: Kind) -> Self {
        Self { kind, security: Security::None, newest: "1.3", ipv6: false, reuse: false, clear: false }
    }

    pub(crate) const fn tls(kind: Kind, security: Security, newest: &'static str) -> Self {
        Self { kind, security, newest, ipv6: false, reuse: kind.can_require_reuse(), clear: false }
    }

    #[must_use]
    pub(crate) const fn on_ipv6(self) -> Self {
        Self { ipv6: true, ..self }
    }

    /// Whether its data connections resume the control connection's TLS session when they are asked to. Pure-FTPd 1.0.50
    /// hands out no tickets under TLS 1.3, so nobody can.
    pub(crate) fn resumes(self) -> bool {
        self.kind != Kind::Pureftpd || self.newest == "1.2"
    }

    /// Starts it. `folder` becomes its own; others must be able to pass through it.
    ///
    /// # Panics
    /// When it does not start; when it is not installed, with what to do.
    pub(crate) fn start(self, folder: &Path) -> Backend {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/server");
        let mut command = Command::new(script);
        command.args(["--kind", self.kind.label(), "--tls-max", self.newest]).arg("--dir").arg(folder);
        command.args(["--address", if self.ipv6 { "::1" } else { "127.0.0.1" }]);
        if self.security != Security::None {
            command.args(["--tls", if self.security == Security::Explicit { "explicit" } else { "implicit" }]);
            for (wished, option) in [(self.reuse, "--require-reuse"), (self.clear, "--clear-data")] {
                command.args(wished.then_some(option));
            }
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let status = process.wait().unwrap();
            assert_ne!(
                status.code(),
                Some(3),
                "the FTP servers and clients of these tests are missing: run tests/peers/install as root, or leave \
                 these tests out with FTPS_GATEWAY_WITHOUT_PEERS=1"
            );
            panic!("{self:?} did not start: {status}");
        }
        let described: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| described[key].as_str().map(str::to_owned);
        let number = |key: &str| u32::try_from(described[key].as_u64().unwrap()).unwrap();
        Backend {
            setup: self,
            address: text("address").unwrap(),
            user: text("user").unwrap(),
            password: text("password").unwrap(),
            root: text("root").unwrap().into(),
            authority: text("certificate").map(Into::into),
            owner: (number("uid"), number("gid")),
            log: text("log").unwrap().into(),
            process,
        }
    }
}

impl Backend {
    /// Puts a file into the user's home that the user may also change.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let path = self.root.join(name);
        fs::write(&path, content).unwrap();
        chown(&path, Some(self.owner.0), Some(self.owner.1)).unwrap();
    }

    /// Puts a file of so many zeros there, which takes no time and no space.
    pub(crate) fn put_zeros(&self, name: &str, length: u64) {
        self.put(name, b"");
        fs::OpenOptions::new().write(true).open(self.root.join(name)).unwrap().set_len(length).unwrap();
    }

    /// Ends it, and says whether it ended well.
    pub(crate) fn end(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{:?} ended with {status}", self.setup);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(&self.log).unwrap_or_default();
            let tail = log.len().saturating_sub(8000);
            eprintln!("--- the end of {}'s log\n{}", self.setup.kind.label(), String::from_utf8_lossy(&log[tail..]));
        }
        // It ends when its standard input does, and leaves no process.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
