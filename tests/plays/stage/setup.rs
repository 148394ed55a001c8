//! What a play asks of the stage, as the text of a `gateway.yaml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::backend::{Backend, Security};
use super::tls::{ClientTls, Identity};

/// What a play asks of the stage.
pub(crate) struct Setup {
    /// Where the listeners are; [`IpAddr`] text without brackets.
    pub(crate) listen_on: Vec<&'static str>,
    /// The backend's address.
    pub(crate) backend_on: IpAddr,
    pub(crate) security: Security,
    /// Names of all backends; they differ in nothing else.
    pub(crate) backends: Vec<&'static str>,
    /// The backend answers what the gateway asks at its start with this; `None`: it is left to the play.
    pub(crate) probe: Option<&'static str>,
    /// Passive ports; the system chooses them.
    pub(crate) ports: u16,
    /// TLS of the clients that the stage makes.
    pub(crate) client_tls: ClientTls,
    /// The gateway's certificates, by their names; none: self-signed.
    pub(crate) certificates: Vec<&'static str>,
    /// `verify` is written, so that the backends' certificates are accepted.
    pub(crate) verify: bool,
    /// Where state is kept, when it is to outlive the stage.
    pub(crate) state_dir: Option<std::path::PathBuf>,
    sections: BTreeMap<&'static str, Vec<String>>,
    listener: Vec<String>,
    backend: Vec<String>,
    top: Vec<String>,
}

/// FEAT of a backend when nothing else is said.
pub(crate) const FEATURES: &str = "211-Features:\r\n MDTM\r\n REST STREAM\r\n SIZE\r\n UTF8\r\n211 End";

impl Setup {
    /// One listener of each sort on IPv4, one plain backend on IPv4, one passive port.
    pub(crate) fn new() -> Self {
        Self {
            listen_on: vec!["127.0.0.1"],
            backend_on: IpAddr::V4(Ipv4Addr::LOCALHOST),
            security: Security::Plain,
            backends: vec!["legacy"],
            probe: Some(FEATURES),
            ports: 1,
            client_tls: ClientTls::new(),
            certificates: Vec::new(),
            verify: true,
            state_dir: None,
            sections: BTreeMap::new(),
            listener: Vec::new(),
            backend: Vec::new(),
            top: Vec::new(),
        }
    }

    /// An entry of a section, like `("timeouts", "idle: 200ms")`.
    #[must_use]
    pub(crate) fn with(mut self, section: &'static str, entry: impl Into<String>) -> Self {
        self.sections.entry(section).or_default().push(entry.into());
        self
    }

    /// A key of all listeners, like `proxy_protocol: 127.0.0.1`.
    #[must_use]
    pub(crate) fn listener(mut self, entry: impl Into<String>) -> Self {
        self.listener.push(entry.into());
        self
    }

    /// A key of the backends, like `data: active`. `AUTHORITY` and `FINGERPRINT` stand for the backends' own.
    #[must_use]
    pub(crate) fn backend(mut self, entry: impl Into<String>) -> Self {
        self.backend.push(entry.into());
        self
    }

    /// A line at the top level, like `banner: "Hello"`. `STATE` stands for the stage's folder.
    #[must_use]
    pub(crate) fn line(mut self, line: impl Into<String>) -> Self {
        self.top.push(line.into());
        self
    }

    #[must_use]
    pub(crate) fn listening_on(mut self, addresses: &[&'static str]) -> Self {
        self.listen_on = addresses.to_vec();
        self
    }

    #[must_use]
    pub(crate) fn backend_on(mut self, address: &str) -> Self {
        self.backend_on = address.parse().unwrap();
        self
    }

    #[must_use]
    pub(crate) fn secured(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    #[must_use]
    pub(crate) fn backends(mut self, names: &[&'static str]) -> Self {
        self.backends = names.to_vec();
        self
    }

    /// The backend offers this.
    #[must_use]
    pub(crate) fn offering(mut self, features: &'static str) -> Self {
        self.probe = Some(features);
        self
    }

    /// The play deals with the gateway's first dial itself.
    #[must_use]
    pub(crate) fn unprobed(mut self) -> Self {
        self.probe = None;
        self
    }

    #[must_use]
    pub(crate) fn ports(mut self, ports: u16) -> Self {
        self.ports = ports;
        self
    }

    #[must_use]
    pub(crate) fn client_tls(mut self, tls: ClientTls) -> Self {
        self.client_tls = tls;
        self
    }

    #[must_use]
    pub(crate) fn certificates(mut self, names: &[&'static str]) -> Self {
        self.certificates = names.to_vec();
        self
    }

    /// The play writes `verify` itself, or leaves it out.
    #[must_use]
    pub(crate) fn unverified(mut self) -> Self {
        self.verify = false;
        self
    }

    /// State is kept here.
    #[must_use]
    pub(crate) fn state_dir(mut self, folder: &Path) -> Self {
        self.state_dir = Some(folder.to_owned());
        self
    }

    /// The text of the file.
    pub(crate) fn yaml(&self, folder: &Path, backends: &[Backend], authority: &Identity, own: &[&Identity]) -> String {
        let mut text = "listeners:\n".to_owned();
        for (at, address) in self.listen_on.iter().enumerate() {
            let host = if address.contains(':') { format!("[{address}]") } else { (*address).to_owned() };
            for mode in ["explicit", "implicit"] {
                let name = if at == 0 { mode.to_owned() } else { format!("{mode}-{at}") };
                let more: String = self.listener.iter().map(|entry| format!(", {entry}")).collect();
                writeln!(text, "  - {{ address: \"{host}:0\", tls: {mode}, name: {name}{more} }}").unwrap();
            }
        }
        let mut sections = self.sections.clone();
        if !own.is_empty() {
            let file = |identity: &&Identity| {
                let (certificate, key) = (identity.certificate.display(), identity.private_key.display());
                format!("{{ certificate: \"{certificate}\", private_key: \"{key}\" }}")
            };
            let files: Vec<String> = own.iter().map(file).collect();
            sections.entry("tls").or_default().push(format!("certificates: [{}]", files.join(", ")));
        }
        sections.entry("admin").or_insert_with(|| vec!["address: none".to_owned()]);
        sections.entry("passive").or_default().push("ports: 0".to_owned());
        for (section, entries) in &sections {
            writeln!(text, "{section}: {{ {} }}", entries.join(", ")).unwrap();
        }
        text.push_str("backends:\n");
        for (name, backend) in self.backends.iter().zip(backends) {
            let mut entries = vec![format!("servers: [\"{}\"]", backend.address)];
            match self.security {
                Security::Plain => {}
                Security::Explicit => entries.push("tls: explicit".to_owned()),
                Security::Implicit => entries.push("tls: implicit".to_owned()),
            }
            if self.security != Security::Plain && self.verify {
                entries.push(format!("verify: {{ authorities: \"{}\" }}", authority.authority.display()));
            }
            let authority_path = authority.authority.display().to_string();
            let filled = |entry: &String| {
                entry.replace("AUTHORITY", &authority_path).replace("FINGERPRINT", &authority.fingerprint())
            };
            entries.extend(self.backend.iter().map(filled));
            writeln!(text, "  {name}: {{ {} }}", entries.join(", ")).unwrap();
        }
        writeln!(text, "state_dir: \"{}\"", self.state_dir.as_deref().unwrap_or(folder).display()).unwrap();
        for line in &self.top {
            writeln!(text, "{}", line.replace("STATE", &folder.display().to_string())).unwrap();
        }
        text
    }
}
