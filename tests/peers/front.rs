//! The gateway in this process, with certificates that clients can verify.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ftps_gateway::app::{Gateway, StartError};
use ftps_gateway::config;
use ftps_gateway::server::Drain;
use ftps_gateway::telemetry::{LogFormat, LogHandle, LogLevel, LogSettings, Metrics, init};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tokio::runtime::Runtime;

use crate::backend::{Backend, Security};

/// Passive ports of each gateway: four for `mirror`'s connections and as many that are on their way out.
const PORTS: u16 = 8;

/// A certificate, its key and the authority that signed it, as files.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one for the names of this machine on loopback, with an authority of its own.
    pub(crate) fn make(folder: &Path, name: &str) -> Self {
        let file = |end: &str| folder.join(format!("{name}{end}"));
        let made = Self { authority: file("-ca.pem"), certificate: file(".pem"), key: file(".key") };
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} authority"));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        fs::write(&made.authority, authority.pem()).unwrap();
        fs::write(&made.certificate, certificate.pem()).unwrap();
        fs::write(&made.key, key.serialize_pem()).unwrap();
        made
    }
}

/// What differs between the gateways of these tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// `tls.data`.
    pub(crate) data: &'static str,
    /// `tls.data_resumption`.
    pub(crate) resumption: &'static str,
    /// `tls.truncated_uploads`.
    pub(crate) truncated: &'static str,
    /// `data` of the backend.
    pub(crate) back: &'static str,
    /// How many passive ports.
    pub(crate) ports: u16,
    /// Clients on IPv4 come with a PROXY header, on control and data connections.
    pub(crate) proxied: bool,
    /// Clients must show a certificate of `clients-ca.pem` in the gateway's folder.
    pub(crate) certified: bool,
    /// There is an audit file: `audit.jsonl` in the gateway's folder.
    pub(crate) audited: bool,
    /// `access.commands`.
    pub(crate) commands: &'static str,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            data: "required",
            resumption: "prefer",
            truncated: "tolerate",
            back: "auto",
            ports: PORTS,
            proxied: false,
            certified: false,
            audited: false,
            commands: "[]",
        }
    }
}

/// One for the process.
static LOG: OnceLock<LogHandle> = OnceLock::new();

/// A running gateway in front of one backend.
pub(crate) struct Front {
    pub(crate) authority: PathBuf,
    runtime: Runtime,
    gateway: Gateway,
    metrics: Arc<Metrics>,
}

impl Front {
    /// Starts one on ports that the system chooses.
    pub(crate) fn start(backend: &Backend, wishes: Wishes, folder: &Path) -> Self {
        LOG.get_or_init(|| {
            let log = init(&LogSettings { level: LogLevel::Debug, format: LogFormat::Text });
            log.begin().unwrap();
            log
        });
        let certificate = Certificate::make(folder, "front");
        let text = configuration(backend, wishes, &certificate, folder);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        loop {
            let mut settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}"));
            settings.data.ports = free_ports(wishes.ports);
            let metrics = Arc::new(Metrics::new().unwrap());
            match runtime.block_on(Gateway::start(settings, Arc::clone(&metrics))) {
                Ok(gateway) => return Self { authority: certificate.authority, runtime, gateway, metrics },
                // Another program was faster.
                Err(StartError::Bind { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Where a listener is.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let found = self.gateway.listeners().iter().find(|(listener, _)| &**listener == name);
        found.unwrap_or_else(|| panic!("no listener {name}")).1
    }

    /// The sum of all series of `metric` whose labels contain each of `labels`, like `leg="back"`.
    pub(crate) fn count(&self, metric: &str, labels: &[&str]) -> u64 {
        let page = self.metrics.render().unwrap();
        let lines = page.lines().filter_map(|line| line.strip_prefix("ftps_gateway_")?.strip_prefix(metric));
        let series = lines.filter(|rest| rest.starts_with(['{', ' ']));
        let wanted = series.filter(|rest| labels.iter().all(|label| rest.contains(label)));
        wanted.map(|rest| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Drains, and holds the gateway to having nothing left of what its clients did.
    pub(crate) fn end(self) {
        let ports = self.gateway.passive_ports();
        let drained = self.runtime.block_on(self.gateway.drain());
        assert_eq!(drained, Drain::Finished, "sessions were left over");
        assert_eq!(ports.usage().1, 0, "passive ports were left reserved");
        assert_eq!(self.count("sessions_active", &[]), 0);
        assert_eq!(self.count("transfers_active", &[]), 0);
        assert_eq!(self.count("tls_handshakes_total", &["result=\"timeout\""]), 0);
        self.runtime.block_on(self.gateway.stop());
    }
}

fn configuration(backend: &Backend, wishes: Wishes, certificate: &Certificate, folder: &Path) -> String {
    let Wishes { data, resumption, truncated, back, ports: _, proxied, certified, audited, commands } = wishes;
    let audit =
        if audited { format!("audit_log: {{ path: {:?} }}", folder.join("audit.jsonl")) } else { String::new() };
    let clients = folder.join("clients-ca.pem");
    let clients = if certified {
        format!("client_certificates: {{ mode: require, authorities: {clients:?} }}")
    } else {
        String::new()
    };
    let balancer = if proxied { "proxy_protocol: 127.0.0.1" } else { "" };
    let Backend { address, setup, .. } = backend;
    let security = match setup.security {
        Security::None => String::new(),
        Security::Explicit | Security::Implicit => {
            let mode = if setup.security == Security::Explicit { "explicit" } else { "implicit" };
            format!("tls: {mode}, verify: {{ authorities: {:?} }},", backend.authority.as_ref().unwrap())
        }
    };
    format!(
        r#"
listeners:
  - {{ address: "127.0.0.1:0", tls: explicit, name: explicit4, {balancer} }}
  - {{ address: "127.0.0.1:0", tls: implicit, name: implicit4, {balancer} }}
  - {{ address: "[::1]:0", tls: explicit, name: explicit6 }}
  - {{ address: "[::1]:0", tls: implicit, name: implicit6 }}
tls:
  certificates: [{{ certificate: {:?}, private_key: {:?} }}]
  data: {data}
  data_resumption: {resumption}
  truncated_uploads: {truncated}
  {clients}
passive: {{ {balancer} }}
backends:
  real: {{ servers: ["{address}"], {security} data: {back} }}
timeouts: {{ drain: 10s }}
access: {{ commands: {commands} }}
admin: {{ address: none }}
{audit}
"#,
        certificate.certificate, certificate.key
    )
}

/// Ports in a row that nobody uses now, outside the range that the system chooses from.
fn free_ports(ports: u16) -> std::ops::RangeInclusive<u16> {
    let free = |port: &u16| {
        let bind = |address: &str| std::net::TcpListener::bind((address, *port)).is_ok();
        bind("127.0.0.1") && bind("::1")
    };
    loop {
        let mut random = [0; 2];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let first = 10_000 + u16::from_ne_bytes(random) % 20_000;
        let range = first..=first + ports - 1;
        if range.clone().all(|port| free(&port)) {
            return range;
        }
    }
}
