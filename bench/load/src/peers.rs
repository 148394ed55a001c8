//! How each proxy is configured: as its documents say for this job, with buffers of 64 KiB where they can be set.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::measure::sessions::SMALL;
use crate::proxy::{Kind, Ports, Stage};

/// What starts a proxy of this kind, in the foreground. Its files go into `folder`.
/// `limit` is one more of the gateway's.
pub(crate) fn command(kind: Kind, stage: &Stage, folder: &Path, ports: Ports, limit: &str) -> Result<Command> {
    let configuration = match kind {
        Kind::Gateway => gateway(stage, folder, ports, limit)?,
        Kind::ModProxy => mod_proxy(stage, folder, ports)?,
        Kind::Nginx => nginx(stage, folder, ports),
        Kind::Haproxy => haproxy(stage, ports),
        Kind::Vsftpd => vsftpd(stage, folder, ports)?,
    };
    let file = folder.join("configuration");
    fs::write(&file, configuration)?;
    // `taskset` becomes the program, so the process is the same.
    let mut command = Command::new("taskset");
    command.args(["-c", &stage.places.proxy.to_string()]).arg(kind.program(stage));
    match kind {
        Kind::Gateway => command.args(["run", "--config"]).arg(&file),
        Kind::ModProxy => command.args(["--nodaemon", "--config"]).arg(&file),
        Kind::Nginx => command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log")).arg("-c").arg(&file),
        Kind::Haproxy => command.arg("-f").arg(&file),
        Kind::Vsftpd => command.arg(&file),
    };
    Ok(command)
}

/// So many free ports in a row, below those that the system hands out.
fn free_ports(count: u16) -> Result<(u16, u16)> {
    for first in (10_000..30_000).step_by(usize::from(count)) {
        let mut ports = first..first + count;
        if ports.all(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()) {
            return Ok((first, first + count - 1));
        }
    }
    bail!("there are no {count} free ports in a row")
}

/// Two listeners before two backends, PROT C allowed, limits out of the way; all else is as it comes, the log included.
fn gateway(stage: &Stage, folder: &Path, ports: Ports, limit: &str) -> Result<String> {
    let (first, last) = free_ports(100)?;
    let limit = if limit.is_empty() { String::new() } else { format!(", {limit}") };
    let (identity, backend) = (&stage.identity, &stage.backend);
    Ok(format!(
        r#"listeners:
  - {{ address: "{ftp}", tls: explicit, name: plain }}
  - {{ address: "{ftps}", tls: explicit, name: both }}
tls:
  certificates: [{{ certificate: {certificate}, private_key: {key} }}]
  data: optional
passive: {{ ports: {first}-{last} }}
backends:
  plain: {{ servers: ["{plain}"] }}
  both: {{ servers: ["{private}"], tls: explicit, verify: {{ authorities: {authority}, name: localhost }} }}
routes:
  - {{ listener: plain, backend: plain }}
  - {{ listener: both, backend: both }}
limits: {{ sessions: 50000, sessions_per_address: 50000, sessions_per_user: 50000{limit} }}
timeouts: {{ idle: 1h, data_stall: 10m }}
admin: {{ address: none }}
state_dir: {state}
"#,
        ftp = ports.ftp,
        ftps = ports.ftps,
        certificate = identity.certificate().display(),
        key = identity.key().display(),
        plain = backend.ftp,
        private = backend.ftps,
        authority = identity.authority().display(),
        state = folder.display(),
    ))
}

/// Two servers before two backends. Nothing is looked up, nothing is slowed down on purpose, and what it would log of each
/// transfer goes nowhere.
fn mod_proxy(stage: &Stage, folder: &Path, ports: Ports) -> Result<String> {
    let (identity, backend) = (&stage.identity, &stage.backend);
    let tables = folder.join("tables");
    fs::create_dir_all(&tables)?;
    let server = |backend: String, tls: &str| {
        format!(
            r#"TLSEngine on
TLSRequired ctrl
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile {certificate}
TLSECCertificateKeyFile {key}
TLSVerifyClient off
TLSCACertificateFile {authority}
TLSOptions NoSessionReuseRequired
ProxyEngine on
ProxyRole reverse
ProxyReverseServers ftp://{backend}
{tls}
RequireValidShell off
TransferLog none
"#,
            certificate = identity.certificate().display(),
            key = identity.key().display(),
            // Else it reads the system's bundle of authorities anew in each session, and that is most of what one costs.
            authority = identity.authority().display(),
        )
    };
    let private = format!("ProxyTLSEngine on\nProxyTLSCACertificateFile {}", identity.authority().display());
    Ok(format!(
        r#"ModulePath {modules}
LoadModule mod_tls.c
LoadModule mod_proxy.c
ServerName measured
ServerType standalone
DefaultServer on
UseIPv6 off
DefaultAddress 127.0.0.1
Port {port}
SocketBindTight on
MaxInstances none
User nobody
Group nogroup
AuthOrder mod_auth_file.c
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
SystemLog {folder}/system.log
DelayEngine off
UseReverseDNS off
WtmpLog off
TimeoutIdle 3600
ProxyTables {tables}
{plain}
<VirtualHost 127.0.0.1>
Port {private_port}
{private}
</VirtualHost>
"#,
        modules = stage.peers.join("modproxy/usr/lib/proftpd").display(),
        port = ports.ftp.port(),
        folder = folder.display(),
        plain = server(backend.ftp.to_string(), "ProxyTLSEngine off"),
        private_port = ports.ftps.port(),
        private = server(backend.ftps.to_string(), &private),
        tables = tables.display(),
    ))
}

/// One worker; source and sink behind TLS.
fn nginx(stage: &Stage, folder: &Path, ports: Ports) -> String {
    format!(
        r"load_module {module};
daemon off;
user nobody nogroup;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 10000; }}
stream {{
    proxy_buffer_size 64k;
    tcp_nodelay on;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{ listen {source} ssl; proxy_pass {source_behind}; }}
    server {{ listen {sink} ssl; proxy_pass {sink_behind}; }}
}}
",
        module = stage.peers.join("nginx/usr/lib/nginx/modules/ngx_stream_module.so").display(),
        folder = folder.display(),
        certificate = stage.identity.certificate().display(),
        key = stage.identity.key().display(),
        source = ports.source,
        source_behind = stage.backend.source,
        sink = ports.sink,
        sink_behind = stage.backend.sink,
    )
}

/// One thread; the same.
fn haproxy(stage: &Stage, ports: Ports) -> String {
    let certificate = stage.identity.both();
    let pair = |name: &str, front, back| {
        format!(
            "frontend {name}\n    bind {front} ssl crt {} ssl-min-ver TLSv1.2\n    default_backend {name}\n\
             backend {name}\n    server {name} {back}\n",
            certificate.display()
        )
    };
    format!(
        "global\n    nbthread 1\n    maxconn 2000\n    tune.bufsize 65536\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 10m\n    timeout server 10m\n{}{}",
        pair("source", ports.source, stage.backend.source),
        pair("sink", ports.sink, stage.backend.sink),
    )
}

/// Anonymous, with one small file.
fn vsftpd(stage: &Stage, folder: &Path, ports: Ports) -> Result<String> {
    let (root, empty) = (folder.join("root"), folder.join("empty"));
    for folder in [&root, &empty] {
        fs::create_dir_all(folder)?;
    }
    // The backend names files by their sizes, so a client asks for the same name here.
    fs::write(root.join(SMALL.to_string()), vec![b'x'; usize::try_from(SMALL)?])?;
    Ok(format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nmax_clients=0\nmax_per_ip=0\n\
         anonymous_enable=YES\nlocal_enable=NO\nno_anon_password=NO\nanon_root={root}\nftp_username=daemon\n\
         nopriv_user=nobody\nsecure_chroot_dir={empty}\nseccomp_sandbox=NO\nxferlog_enable=NO\n\
         idle_session_timeout=3600\npasv_promiscuous=NO\n\
         ssl_enable=YES\nssl_tlsv1=YES\nssl_ciphers=HIGH\nallow_anon_ssl=YES\nrequire_ssl_reuse=NO\n\
         rsa_cert_file={certificate}\nrsa_private_key_file={key}\n",
        port = ports.ftp.port(),
        root = root.display(),
        empty = empty.display(),
        certificate = stage.identity.certificate().display(),
        key = stage.identity.key().display(),
    ))
}
