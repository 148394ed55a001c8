//! Every file the process reads or writes while it serves. `tests/house.rs` fails when a key that takes a path is not
//! named here.
//!
//! Folders rather than files: whoever renews a certificate puts a new file in the old one's place, and Landlock holds on
//! to the file it was shown. A link's target counts too.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::backend::Security;
use crate::config::Settings;
use crate::data::Advertised;

/// The metrics of the process, how many processors there are, randomness.
const ALWAYS: [&str; 6] =
    ["/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/dev/null", "/dev/urandom", "/usr/share/zoneinfo"];
/// Looking names up: the system's library reads configuration anew when it changes, and loads parts of itself.
const NAMES: [&str; 7] = ["/etc", "/run/systemd/resolve", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
/// The system's certificate authorities.
const AUTHORITIES: [&str; 6] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/lib/ssl",
];
/// Where others keep them.
const AUTHORITIES_BY_ENVIRONMENT: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What stays open, with all that lies below it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) read: BTreeSet<PathBuf>,
    pub(super) written: BTreeSet<PathBuf>,
    /// Where files are made and written on, and none is removed.
    pub(super) appended: BTreeSet<PathBuf>,
}

impl Files {
    /// What these settings, read from this file, need.
    pub(super) fn of(settings: &Settings, configuration: &Path) -> Self {
        let mut files = Self::default();
        files.read.extend(ALWAYS.map(PathBuf::from));
        files.reads(configuration);
        // `tls.certificates[].certificate`, `tls.certificates[].private_key`
        for pair in &settings.tls.certificates {
            files.reads(&pair.certificate);
            files.reads(&pair.private_key);
        }
        // `tls.client_certificates.authorities`, `tls.client_certificates.revocation_lists`
        if let Some(clients) = &settings.tls.client_certificates {
            files.reads(&clients.authorities);
            clients.revocation_lists.iter().for_each(|list| files.reads(list));
        }
        // `backends.<name>.verify.authorities`
        for backend in &settings.backends {
            match &backend.security {
                Security::None => {}
                Security::Explicit(verification) | Security::Implicit(verification) => {
                    match &verification.authorities {
                        Some(path) => files.reads(path),
                        None => files.reads_authorities(),
                    }
                }
            }
        }
        // `access.totp.secrets`
        if let Some(second) = &settings.second_factor {
            files.reads(&second.secrets);
        }
        // `audit_log.path`
        if let Some(audit) = &settings.audit {
            files.appended.extend(folders(&audit.path));
        }
        // `state_dir`
        if let Some(folder) = &settings.tls.state_dir {
            files.written.insert(folder.clone());
        }
        let named_server = settings.backends.iter().any(|backend| backend.server.host.parse::<IpAddr>().is_err());
        let named_self = settings.data.advertise.iter().any(|rule| matches!(rule.address, Advertised::Name(_)));
        if named_server || named_self {
            files.read.extend(NAMES.map(PathBuf::from));
        }
        files
    }

    /// What of these is not open in `others`.
    pub(super) fn not_in<'f>(&'f self, others: &'f Self) -> impl Iterator<Item = &'f Path> {
        let within = |path: &Path, folders: &BTreeSet<PathBuf>| folders.iter().any(|folder| path.starts_with(folder));
        let read = self.read.iter().filter(move |path| !within(path, &others.read) && !within(path, &others.written));
        let written = self.written.iter().filter(move |path| !within(path, &others.written));
        let appended =
            self.appended.iter().filter(move |path| !within(path, &others.appended) && !within(path, &others.written));
        read.chain(written).chain(appended).map(PathBuf::as_path)
    }

    /// Where the audit file can be.
    pub(super) fn for_lines(&self) -> impl Iterator<Item = &Path> {
        self.appended.iter().chain(&self.written).map(PathBuf::as_path)
    }

    /// The folder of a file, and that of what it links to.
    fn reads(&mut self, file: &Path) {
        self.read.extend(folders(file));
    }

    fn reads_authorities(&mut self) {
        self.read.extend(AUTHORITIES.map(PathBuf::from));
        for path in AUTHORITIES_BY_ENVIRONMENT.iter().filter_map(std::env::var_os) {
            self.reads(Path::new(&path));
            self.read.insert(path.into());
        }
    }
}

/// The folder of a file, and that of what it links to.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = |file: &Path| match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    folder(file).into_iter().chain(file.canonicalize().ok().as_deref().and_then(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn files(more: &str) -> Files {
        let text = format!("listeners: [{{ address: \"192.0.2.1:21\" }}]\n{more}\n");
        Files::of(&parse(&text, "/srv/gateway/gateway.yaml").unwrap(), Path::new("/srv/gateway/gateway.yaml"))
    }

    #[test]
    fn nothing_of_the_system_is_open_where_there_are_no_names_and_no_tls() {
        let files = files("backends: { old: { servers: [192.0.2.2] } }");
        assert!(files.read.contains(Path::new("/srv/gateway")));
        assert!(!files.read.contains(Path::new("/etc")) && !files.read.contains(Path::new("/etc/ssl")));
        assert_eq!(files.written, BTreeSet::from(["/var/lib/ftps-gateway".into()]));
    }

    #[test]
    fn names_and_authorities_are_open_where_they_are_needed() {
        let named = files("backends: { old: { servers: [ftp.example] } }");
        assert!(named.read.contains(Path::new("/etc")));
        let secure = files("backends: { old: { servers: [192.0.2.2], tls: explicit } }");
        assert!(secure.read.contains(Path::new("/etc/ssl")) && !secure.read.contains(Path::new("/etc")));
        // Where names are looked up, all of /etc and of the libraries' folders is open already.
        let more: Vec<_> = secure.not_in(&named).collect();
        assert_eq!(more, ["/usr/local/share/ca-certificates", "/usr/share/ca-certificates"].map(Path::new));
        assert_eq!(named.not_in(&named).count(), 0);
    }
}
