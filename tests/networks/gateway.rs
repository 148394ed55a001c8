//! The gateway as a process in a network namespace.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use crate::space::Space;

/// What it needs at most to come to rest, the deadlines of its configuration included.
const SOON: Duration = Duration::from_secs(45);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Its port is the control port, the namespace is its own.
pub(crate) const CONTROL: u16 = 21;
/// Its passive ports.
pub(crate) const PASSIVE: &str = "50000-50009";

/// A running gateway.
pub(crate) struct Gateway<'a> {
    space: &'a Space,
    process: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// The authority that signed its certificate, in PEM.
    pub(crate) authority: PathBuf,
    /// Open files when it had just begun.
    files: usize,
}

impl<'a> Gateway<'a> {
    /// Starts one. `backend` are the entries of its backend, `more` further top-level entries of its configuration.
    pub(crate) fn start(space: &'a Space, folder: &Path, backend: &str, more: &str) -> Self {
        certificate(folder);
        let mut text =
            format!("backends: {{ inside: {{ {backend} }} }}\nstate_dir: state\nlog: {{ level: debug }}\n{more}\n");
        let usual = [
            ("listeners", format!("[{{ address: \"[::]:{CONTROL}\", tls: explicit }}]")),
            ("passive", format!("{{ ports: {PASSIVE} }}")),
            ("admin", "{ address: \"127.0.0.1:9921\" }".to_owned()),
            ("tls", "{ certificates: [{ certificate: front.pem, private_key: front.key }] }".to_owned()),
        ];
        for (section, entries) in usual {
            if !more.lines().any(|line| line.starts_with(&format!("{section}:"))) {
                text += &format!("{section}: {entries}\n");
            }
        }
        let file = folder.join("gateway.yaml");
        fs::write(&file, text).unwrap();
        // It ends with the test even if that is killed outright.
        let mut command = space.command("setpriv");
        command
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_ftps-gateway"), "run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(process.stderr.take().unwrap()).lines(), Arc::clone(&log));
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        let mut gateway = Self { space, process, log, authority: folder.join("front-ca.pem"), files: 0 };
        gateway.until("it is ready", || gateway.page("/readyz").is_some_and(|page| page.contains("ready")));
        gateway.files = gateway.open_files();
        gateway
    }

    /// Waits until something holds.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < SOON,
                "waited in vain until {what}\n{}",
                self.page("/metrics").unwrap_or_default()
            );
            thread::sleep(PAUSE);
        }
    }

    /// A page of its admin address.
    fn page(&self, path: &str) -> Option<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.space.inside(move || {
            let mut connection = TcpStream::connect("127.0.0.1:9921").ok()?;
            connection.write_all(request.as_bytes()).ok()?;
            let mut page = String::new();
            connection.read_to_string(&mut page).ok()?;
            page.starts_with("HTTP/1.1 200").then_some(page)
        })
    }

    /// The sum of all series of `metric` whose labels contain each of `labels`.
    pub(crate) fn count(&self, metric: &str, labels: &[&str]) -> u64 {
        let wanted = self.series(metric).into_iter().filter(|rest| labels.iter().all(|label| rest.contains(label)));
        wanted.map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// All series of `metric`, each with its labels and its value.
    pub(crate) fn series(&self, metric: &str) -> Vec<String> {
        let page = self.page("/metrics").unwrap();
        let lines = page.lines().filter_map(|line| line.strip_prefix("ftps_gateway_")?.strip_prefix(metric));
        lines.filter(|rest| rest.starts_with(['{', ' '])).map(str::to_owned).collect()
    }

    /// Whether a line of its log holds all of these.
    pub(crate) fn has_said(&self, words: &[&str]) -> bool {
        self.log.lock().unwrap().iter().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// Its memory now, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Waits until nothing is left of what its clients did: no session, no transfer, no port, no file.
    #[track_caller]
    pub(crate) fn is_empty(&self) {
        self.until("no session is left", || self.count("sessions_active", &[]) == 0);
        self.until("no transfer is left", || self.count("transfers_active", &[]) == 0);
        self.until("no port is left", || self.count("passive_ports", &["state=\"reserved\""]) == 0);
        self.until("no file is left", || self.open_files() <= self.files);
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log.lock().unwrap();
            eprintln!("--- the end of the gateway's log\n{}", log[log.len().saturating_sub(60)..].join("\n"));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A certificate for all addresses that gateways have in these tests, and its authority.
fn certificate(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names = ["localhost", "203.0.113.7", "10.9.0.2", "2001:db8:9::2"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "gateway");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("front-ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("front.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("front.key"), key.serialize_pem()).unwrap();
}
