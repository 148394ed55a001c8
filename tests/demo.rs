//! The first of the README's commands: `demo` starts, its lines work when they are pasted, and it leaves nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod process;

use std::io::Cursor;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use process::{Output, Process, gateway};
use suppaftp::rustls::pki_types::CertificateDer;
use suppaftp::rustls::pki_types::pem::PemObject;
use suppaftp::rustls::{ClientConfig, RootCertStore};
use suppaftp::types::FileType;
use suppaftp::{RustlsConnector, RustlsFtpStream};
use tempfile::TempDir;

/// The last line of the demo's opening words.
const READY: &str = "Ctrl-C ends everything";
/// On ports that the system chooses.
const FREE: [&str; 9] =
    ["demo", "--port", "0", "--implicit-port", "0", "--passive-ports", "0", "--admin", "127.0.0.1:0"];

/// A demo that runs in a folder of its own.
struct Demo {
    process: Process,
    opening: Vec<String>,
    temporary: TempDir,
}

impl Demo {
    fn start(options: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = gateway(&FREE);
        command.args(options).env("TMPDIR", temporary.path());
        let process = Process::start(command, Output::Standard);
        let opening = process.lines_until(READY);
        Self { process, opening, temporary }
    }

    /// What stands behind this word in the opening.
    fn fact(&self, name: &str) -> &str {
        let line = self.opening.iter().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim_start().strip_prefix(name).unwrap().trim()
    }

    fn address(&self, name: &str) -> String {
        self.fact(name).replace("localhost", "127.0.0.1")
    }

    fn tls(&self) -> RustlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.fact("certificate")).unwrap()).unwrap();
        let provider = Arc::new(suppaftp::rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        RustlsConnector::from(Arc::new(config))
    }

    fn served(&self, path: &str) -> PathBuf {
        Path::new(self.fact("certificate")).with_file_name("server").join(path)
    }

    /// Ends it and looks at what is left.
    fn end(mut self, signal: &str) {
        self.process.signal(signal);
        self.process.lines_until("is gone.");
        let status = self.process.wait();
        assert!(status.success(), "{status}");
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn is_there(tool: &str) -> bool {
    Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// List, down, up, with a client that has nothing to do with this crate.
fn list_down_up(mut client: RustlsFtpStream, demo: &Demo, name: &str) {
    client.login("demo", "demo").unwrap();
    let listing = client.list(None).unwrap().join("\n");
    assert!(listing.contains("hello.txt") && listing.contains("reports"), "{listing}");
    client.transfer_type(FileType::Binary).unwrap();
    let zeros = client.retr_as_buffer("reports/zeros.bin").unwrap().into_inner();
    assert_eq!(zeros, vec![0; 1024 * 1024]);
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    client.put_file(format!("inbox/{name}"), &mut Cursor::new(&content)).unwrap();
    assert!(std::fs::read(demo.served(&format!("inbox/{name}"))).unwrap() == content);
    let missing = client.retr_as_buffer("no-such-file");
    assert!(missing.is_err());
    client.quit().unwrap();
}

#[test]
fn a_client_lists_and_transfers_in_both_ways_of_tls() {
    let demo = Demo::start(&[]);
    let plain = RustlsFtpStream::connect(demo.address("explicit FTPS")).unwrap();
    list_down_up(plain.into_secure(demo.tls(), "localhost").unwrap(), &demo, "explicit");
    let address = demo.address("implicit FTPS");
    let implicit = RustlsFtpStream::connect_secure_implicit(address, demo.tls(), "localhost").unwrap();
    list_down_up(implicit, &demo, "implicit");
    assert!(!demo.process.has_said("gateway -> server"), "the wire is shown only when asked for");
    // What it keeps goes with it.
    let settings = ftps_gateway::config::load(Path::new(demo.fact("gateway.yaml"))).unwrap();
    assert!(settings.tls.state_dir.unwrap().starts_with(demo.temporary.path()));
    demo.end("TERM");
}

#[test]
fn the_lines_work_when_they_are_pasted() {
    let demo = Demo::start(&[]);
    for tool in ["curl", "lftp"] {
        if !is_there(tool) {
            eprintln!("{tool} is not installed: its lines are left out");
            continue;
        }
        let lines: Vec<_> = demo.opening.iter().filter(|line| line.contains(&format!("{tool} -"))).collect();
        assert_eq!(lines.len(), if tool == "curl" { 6 } else { 2 }, "{lines:?}");
        for line in lines {
            let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{line}\n{out}{err}");
            let expected = if line.ends_with("/") { "hello.txt" } else { "Hello from an old FTP server" };
            assert!(out.contains(expected) || line.contains("echo"), "{line}\n{out}{err}");
        }
        for mode in ["explicit", "implicit"] {
            let end = if tool == "curl" { "txt" } else { "yaml" };
            assert!(demo.served(&format!("inbox/{mode}-{tool}.{end}")).metadata().unwrap().len() > 0);
        }
    }
    demo.end("INT");
}

#[test]
fn the_wire_behind_is_shown_without_the_password() {
    let demo = Demo::start(&["--show-backend"]);
    let plain = RustlsFtpStream::connect(demo.address("explicit FTPS")).unwrap();
    let mut client = plain.into_secure(demo.tls(), "localhost").unwrap();
    client.login("demo", "demo").unwrap();
    client.transfer_type(FileType::Binary).unwrap();
    let hello = client.retr_as_buffer("hello.txt").unwrap().into_inner();
    assert!(hello.starts_with(b"Hello from"));
    client.put_file("inbox/note", &mut Cursor::new(b"a note")).unwrap();
    client.quit().unwrap();
    let wire = demo.process.lines_until("6 bytes in clear: \"a note\"").join("\n");
    for shown in [
        "gateway -> server   USER demo",
        "gateway -> server   PASS ****",
        "server  -> gateway  230",
        "gateway -> server   PASV",
        "gateway -> server   RETR hello.txt",
        "server  -> gateway  data connection, 58 bytes in clear: \"Hello from",
        "gateway -> server   STOR inbox/note",
    ] {
        assert!(wire.contains(shown), "no {shown:?} in\n{wire}");
    }
    for hidden in ["PASS demo", "AUTH", "PROT"] {
        assert!(!wire.contains(hidden), "{hidden:?} in\n{wire}");
    }
    demo.end("HUP");
}

#[test]
fn a_taken_port_names_the_option_and_exits_71() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (option, value) in [
        ("--port", port.to_string()),
        ("--implicit-port", port.to_string()),
        ("--passive-ports", port.to_string()),
        ("--admin", format!("127.0.0.1:{port}")),
    ] {
        let temporary = tempfile::tempdir().unwrap();
        let mut arguments = FREE;
        let at = arguments.iter().position(|own| *own == option).unwrap();
        arguments[at + 1] = &value;
        let mut command = gateway(&arguments);
        command.env("TMPDIR", temporary.path());
        let (status, said) = Process::start(command, Output::Error).ends();
        assert_eq!(status, Some(71), "{said}");
        assert!(said.contains(&port.to_string()) && said.contains(&format!("one: {option} ")), "{said}");
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
