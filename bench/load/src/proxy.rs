//! The proxies that are measured: who they are, and how one is started, awaited and ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::backend::Backend;
use crate::peers;
use crate::system::Places;
use crate::tls::Identity;

/// How long a proxy may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Gateway,
    /// ProFTPD as a reverse proxy: the one that does the same.
    ModProxy,
    /// Ends TLS for the bytes of one connection, and knows no FTP.
    Nginx,
    /// The same.
    Haproxy,
    /// A server that stands alone: what no proxy at all costs.
    Vsftpd,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Gateway, Self::ModProxy, Self::Nginx, Self::Haproxy, Self::Vsftpd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "ftps-gateway",
            Self::ModProxy => "mod_proxy",
            Self::Nginx => "nginx stream",
            Self::Haproxy => "HAProxy",
            Self::Vsftpd => "vsftpd alone",
        }
    }

    /// Its program below the folder of the peers.
    pub(crate) fn program(self, stage: &Stage) -> PathBuf {
        match self {
            Self::Gateway => stage.gateway.clone(),
            Self::ModProxy => stage.peers.join("modproxy/usr/sbin/proftpd"),
            Self::Nginx => stage.peers.join("nginx/usr/sbin/nginx"),
            Self::Haproxy => stage.peers.join("haproxy/usr/sbin/haproxy"),
            Self::Vsftpd => stage.peers.join("vsftpd/usr/sbin/vsftpd"),
        }
    }

    /// Whether it stands between a client and the backend, and speaks FTP.
    pub(crate) fn is_ftp_proxy(self) -> bool {
        matches!(self, Self::Gateway | Self::ModProxy)
    }

    /// Whether it takes FTPS sessions.
    pub(crate) fn speaks_ftp(self) -> bool {
        self.is_ftp_proxy() || self == Self::Vsftpd
    }

    /// Whether it ends TLS for bytes that are nobody's protocol.
    pub(crate) fn is_terminator(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }
}

/// What all proxies of a run have in common.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) backend: Arc<Backend>,
    pub(crate) places: Places,
    pub(crate) gateway: PathBuf,
    pub(crate) peers: PathBuf,
}

/// Where a proxy listens; which of these it does, its kind says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// FTPS in front of the plain backend.
    pub(crate) ftp: SocketAddr,
    /// FTPS in front of the backend under TLS.
    pub(crate) ftps: SocketAddr,
    /// TLS in front of the source.
    pub(crate) source: SocketAddr,
    /// TLS in front of the sink.
    pub(crate) sink: SocketAddr,
}

impl Ports {
    fn free() -> Result<Self> {
        // All are held until all are known: none is given twice.
        let held = [listener()?, listener()?, listener()?, listener()?];
        let [ftp, ftps, source, sink] = &held;
        Ok(Self {
            ftp: ftp.local_addr()?,
            ftps: ftps.local_addr()?,
            source: source.local_addr()?,
            sink: sink.local_addr()?,
        })
    }

    fn of(self, kind: Kind) -> Vec<SocketAddr> {
        match kind {
            Kind::Gateway | Kind::ModProxy => vec![self.ftp, self.ftps],
            Kind::Nginx | Kind::Haproxy => vec![self.source, self.sink],
            Kind::Vsftpd => vec![self.ftp],
        }
    }
}

/// A proxy that runs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) ports: Ports,
    child: Child,
}

impl Proxy {
    /// Starts one and waits until it listens. `label` names its files.
    pub(crate) fn start(kind: Kind, stage: &Stage, label: &str) -> Result<Self> {
        Self::start_with(kind, stage, label, "")
    }

    /// A gateway that has this, too, under `limits`.
    pub(crate) fn start_limited(stage: &Stage, label: &str, limit: &str) -> Result<Self> {
        Self::start_with(Kind::Gateway, stage, label, limit)
    }

    fn start_with(kind: Kind, stage: &Stage, label: &str, limit: &str) -> Result<Self> {
        let folder = stage.folder.join(label.replace(char::is_whitespace, "-"));
        fs::create_dir_all(&folder)?;
        let ports = Ports::free()?;
        let mut command = peers::command(kind, stage, &folder, ports, limit)?;
        let log = folder.join("log");
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{} cannot be started", kind.name()))?;
        let mut proxy = Self { kind, ports, child };
        proxy.wait_for(&log)?;
        Ok(proxy)
    }

    /// The process that all others of it come from.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_for(&mut self, log: &Path) -> Result<()> {
        let name = self.kind.name();
        // Where its files lie says nothing to a reader of what went wrong.
        let said = || -> Result<String> {
            let folder = log.parent().unwrap_or(log).display().to_string() + "/";
            Ok(fs::read_to_string(log)?.replace(&folder, ""))
        };
        let began = Instant::now();
        for address in self.ports.of(self.kind) {
            while TcpStream::connect(address).is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("{name} has ended at once, {status}:\n{}", said()?);
                }
                if began.elapsed() > PATIENCE {
                    bail!("{name} does not listen on {address}:\n{}", said()?);
                }
                sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Ends it, waits for it.
    fn stop(&mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        // Twice: the gateway drains on the first.
        for signal in [Signal::TERM, Signal::TERM, Signal::KILL] {
            kill_process(pid, signal)?;
            let began = Instant::now();
            while began.elapsed() < PATIENCE / 10 {
                if self.child.try_wait()?.is_some() {
                    return Ok(());
                }
                sleep(Duration::from_millis(20));
            }
        }
        bail!("{} does not end", self.kind.name())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_)))
            && let Err(error) = self.stop()
        {
            eprintln!("{error:#}");
        }
    }
}

fn listener() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
}
