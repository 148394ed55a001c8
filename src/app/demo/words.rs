//! What the demo writes: its `gateway.yaml`, and the lines to paste.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::DemoOptions;
use super::server::{PASSWORD, USER};
use crate::tls::CertificateFiles;

/// Names of the two listeners.
pub(super) const EXPLICIT: &str = "explicit";
pub(super) const IMPLICIT: &str = "implicit";

/// What is on stage.
pub(super) struct Scene {
    /// The server behind.
    pub(super) server: SocketAddr,
    /// The port for explicit FTPS.
    pub(super) explicit: u16,
    /// The port for implicit FTPS.
    pub(super) implicit: u16,
    /// The passive ports.
    pub(super) passive: Vec<u16>,
    /// The admin pages.
    pub(super) admin: Option<SocketAddr>,
    /// The folder with all of it.
    pub(super) folder: PathBuf,
    /// The wire on the backend's side is shown.
    pub(super) show_backend: bool,
}

/// The configuration of the demo's gateway.
pub(super) fn gateway_yaml(
    options: &DemoOptions,
    folder: &Path,
    certificate: &CertificateFiles,
    backend: SocketAddr,
) -> String {
    let DemoOptions { port, implicit_port, passive_ports, admin, .. } = options;
    let (first, last) = (passive_ports.start(), passive_ports.end());
    let state = yaml(folder);
    let (chain, key) = (yaml(&certificate.certificate), yaml(&certificate.private_key));
    format!(
        "listeners:\n\
         \x20 - {{ address: \"127.0.0.1:{port}\", tls: explicit, name: {EXPLICIT} }}\n\
         \x20 - {{ address: \"127.0.0.1:{implicit_port}\", tls: implicit, name: {IMPLICIT} }}\n\
         tls:\n\
         \x20 certificates:\n\
         \x20   - {{ certificate: {chain}, private_key: {key} }}\n\
         passive:\n\
         \x20 ports: {first}-{last}\n\
         backends:\n\
         \x20 old-server: {{ servers: [\"{backend}\"] }}\n\
         admin:\n\
         \x20 address: \"{admin}\"\n\
         state_dir: {state}\n"
    )
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, explicit, implicit, folder, .. } = self;
        let passive = match (self.passive.first(), self.passive.last()) {
            (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
            (Some(only), _) => only.to_string(),
            (None, _) => "none".into(),
        };
        writeln!(f, "A plain FTP server that knows no TLS, and the gateway in front of it.\n")?;
        writeln!(f, "  server behind    {server}, plain FTP, user {USER}, password {PASSWORD}")?;
        writeln!(f, "  explicit FTPS    localhost:{explicit}")?;
        writeln!(f, "  implicit FTPS    localhost:{implicit}")?;
        writeln!(f, "  passive ports    {passive}")?;
        if let Some(admin) = self.admin {
            writeln!(f, "  metrics          http://{admin}/metrics")?;
        }
        writeln!(f, "  gateway.yaml     {}", folder.join("gateway.yaml").display())?;
        writeln!(f, "  certificate      {}", folder.join("self-signed.pem").display())?;
        writeln!(f, "\nPaste these into another terminal. They verify the certificate.\n")?;
        self.curl(f, "explicit", &format!("ftp://localhost:{explicit}"), "--ssl-reqd ")?;
        self.curl(f, "implicit", &format!("ftps://localhost:{implicit}"), "")?;
        self.lftp(f, "explicit", &format!("ftp://localhost:{explicit}"), "set ftp:ssl-force true; ")?;
        self.lftp(f, "implicit", &format!("ftps://localhost:{implicit}"), "")?;
        if self.show_backend {
            writeln!(
                f,
                "Below: what goes over the wire behind the gateway, where there is no TLS. [n] is the connection."
            )?;
        } else {
            writeln!(f, "To see the wire behind the gateway, start it with --show-backend.")?;
        }
        writeln!(f, "Below on standard error: the gateway's log. Ctrl-C ends everything and removes the files.")
    }
}

impl Scene {
    fn curl(&self, f: &mut fmt::Formatter<'_>, mode: &str, url: &str, options: &str) -> fmt::Result {
        let certificate = shell(&self.folder.join("self-signed.pem"));
        let curl = format!("curl -sS {options}--cacert {certificate} --user {USER}:{PASSWORD}");
        writeln!(f, "  # curl, {mode}: list, down, up")?;
        writeln!(f, "  {curl} {url}/")?;
        writeln!(f, "  {curl} {url}/hello.txt")?;
        writeln!(f, "  echo \"It is $(date)\" | {curl} -T - {url}/inbox/{mode}-curl.txt\n")
    }

    fn lftp(&self, f: &mut fmt::Formatter<'_>, mode: &str, url: &str, options: &str) -> fmt::Result {
        let certificate = lftp(&self.folder.join("self-signed.pem"));
        let yaml = lftp(&self.folder.join("gateway.yaml"));
        let steps = format!(
            "set ssl:ca-file {certificate}; {options}open -u {USER},{PASSWORD} {url}; \
             cls -l; cat hello.txt; put {yaml} -o inbox/{mode}-lftp.yaml"
        );
        writeln!(f, "  # lftp, {mode}: list, down, up")?;
        writeln!(f, "  lftp -c '{steps}'\n")
    }
}

/// A path for YAML: between single quotes only they need care.
fn yaml(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

/// A path for a shell. Bare where that is safe, because it is easier to read.
fn shell(path: &Path) -> String {
    let path = path.display().to_string();
    let bare = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if bare { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// A path for lftp, inside single quotes of a shell.
fn lftp(path: &Path) -> String {
    let path = path.display().to_string();
    let bare = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if bare { path } else { format!("\"{}\"", path.replace('\'', "'\\''").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_blanks_and_quotes_are_quoted() {
        let plain = Path::new("/tmp/demo-1/a.pem");
        assert_eq!((shell(plain), lftp(plain)), ("/tmp/demo-1/a.pem".into(), "/tmp/demo-1/a.pem".into()));
        let odd = Path::new("/tmp/it's here/a.pem");
        assert_eq!(shell(odd), "'/tmp/it'\\''s here/a.pem'");
        assert_eq!(yaml(odd), "'/tmp/it''s here/a.pem'");
        assert_eq!(lftp(odd), "\"/tmp/it'\\''s here/a.pem\"");
    }
}
