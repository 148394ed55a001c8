//! The process: what it ends with, what it does on a signal.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "daemon/kept.rs"]
mod kept;
mod process;

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use process::{Output, Process, SOON, gateway};
use tempfile::TempDir;

const LISTENING: &str = "listening listener=\"explicit-0\" address=";

/// A folder with a configuration whose ports the system chooses.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, configuration("info")).unwrap();
    (folder, path)
}

fn configuration(level: &str) -> String {
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\npassive: {{ ports: 0 }}\nadmin: {{ address: none }}\n\
         backends: {{ legacy: {{ servers: [\"127.0.0.1:9\"] }} }}\nstate_dir: state\nlog: {{ level: {level} }}\n"
    )
}

fn run(path: &Path) -> Process {
    Process::start(gateway(&["run", "--config", path.to_str().unwrap()]), Output::Error)
}

/// Waits until it listens; where, and what it said until then.
fn listens(gateway: &Process) -> (String, Vec<String>) {
    let said = gateway.lines_until(LISTENING);
    let address = said.last().unwrap().split("address=").nth(1).unwrap().trim().to_owned();
    (address, said)
}

/// A client that has been greeted.
fn greeted(address: &str) -> BufReader<TcpStream> {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let mut client = BufReader::new(client);
    assert!(line(&mut client).starts_with("220 "));
    client
}

fn line(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

fn ends(arguments: &[&str]) -> (Option<i32>, String) {
    Process::start(gateway(arguments), Output::Error).ends()
}

#[test]
fn wrong_arguments_are_64_and_help_is_none() {
    for wrong in [&["serve"][..], &[], &["run", "--port", "21"], &["check", "a.yaml"]] {
        assert_eq!(ends(wrong).0, Some(64), "{wrong:?}");
    }
    for right in ["--help", "--version"] {
        let (status, said) = Process::start(gateway(&[right]), Output::Standard).ends();
        assert_eq!(status, Some(0));
        assert!(said.contains("ftps-gateway"), "{said}");
    }
}

#[test]
fn a_wrong_configuration_is_78_with_every_problem() {
    let (folder, path) = folder();
    let bad = configuration("loud").replace("servers", "server");
    std::fs::write(&path, bad).unwrap();
    for command in ["check", "run"] {
        let (status, said) = ends(&[command, "--config", path.to_str().unwrap()]);
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("log.level") && said.contains("backends.legacy.server"), "{said}");
    }
    let missing = folder.path().join("missing.yaml");
    assert_eq!(ends(&["check", "--config", missing.to_str().unwrap()]).0, Some(78));
}

#[test]
fn a_good_configuration_is_0_and_check_writes_nothing() {
    let (folder, path) = folder();
    let (status, said) =
        Process::start(gateway(&["check", "--config", path.to_str().unwrap()]), Output::Standard).ends();
    assert_eq!((status, said.contains("good.")), (Some(0), true), "{said}");
    assert!(said.contains(" 1 listener, 1 backend, "), "{said}");
    assert!(!folder.path().join("state").exists());
    std::fs::write(folder.path().join("state"), "").unwrap();
    let (status, said) = ends(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(status, Some(78), "{said}");
    let line = configuration("info").lines().position(|line| line.starts_with("state_dir")).unwrap() + 1;
    assert!(said.contains(&format!("{}:{line}: state_dir: ", path.display())), "{said}");
}

#[test]
fn admin_pages_that_others_reach_are_said_by_check_as_by_a_start() {
    let (_folder, path) = folder();
    let text = configuration("info").replace("admin: { address: none }", "admin: { address: \"0.0.0.0:0\" }");
    std::fs::write(&path, text).unwrap();
    let words = "the admin pages are not on loopback: whoever reaches";
    let (status, said) = ends(&["check", "--config", path.to_str().unwrap()]);
    assert!(status == Some(0) && said.contains(&format!(":3: admin.address: {words}")), "{said}");
    run(&path).lines_until(words);
}

#[test]
fn a_key_that_is_no_key_is_78() {
    let (folder, path) = folder();
    for name in ["chain.pem", "key.pem"] {
        std::fs::write(folder.path().join(name), "not PEM\n").unwrap();
    }
    let tls = "tls: { certificates: [{ certificate: chain.pem, private_key: key.pem }] }\n";
    std::fs::write(&path, configuration("info") + tls).unwrap();
    for command in ["check", "run"] {
        let (status, said) = ends(&[command, "--config", path.to_str().unwrap()]);
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("chain.pem"), "{said}");
    }
}

/// Found when the files are loaded, and told as what is found in the text: with file, line, key and remedy, all at once.
#[test]
fn what_is_wrong_in_the_files_of_a_configuration_is_told_with_line_key_and_remedy() {
    let (folder, path) = folder();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let [one, two] = ["one", "two"].map(|name| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap());
    file("one.pem", &one.cert.pem());
    file("one.key", &one.signing_key.serialize_pem());
    file("two.key", &two.signing_key.serialize_pem());
    file("empty", "");
    file("secrets", "bob\n");
    std::fs::set_permissions(folder.path().join("secrets"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let head = configuration("info").replace("servers:", "tls: explicit, verify: { authorities: one.key }, servers:");
    let first = head.lines().count() + 1;
    let more = "tls:
  certificates:
    - { certificate: one.pem, private_key: one.key }
    - certificate: one.pem
      private_key: two.key
    - certificate: one.key
      private_key: one.key
    - certificate: one.pem
      private_key: empty
  client_certificates:
    mode: request
    authorities: one.pem
    revocation_lists: one.pem
access:
  totp:
    secrets: secrets
";
    std::fs::write(&path, head.clone() + more).unwrap();
    let backend = head.lines().position(|line| line.contains("authorities:")).unwrap() + 1;
    let expected = [
        (first + 4, "tls.certificates[1].private_key", "is not the key of ", "Write the files of one pair"),
        (first + 5, "tls.certificates[2].certificate", "holds a private key and no cert", "Write the path of the cert"),
        (first + 8, "tls.certificates[3].private_key", "holds no private key", "Write the path of a file"),
        (backend, ".verify.authorities", "holds a private key and no cert", "Write the path of the cert"),
        (
            first + 12,
            "tls.client_certificates.revocation_lists",
            "holds no revocation list",
            "Write the path of the list",
        ),
        (first + 15, "access.totp.secrets", "line 1: has no colon", "Write user:SECRET"),
    ];
    for command in ["check", "run"] {
        let (status, said) = ends(&[command, "--config", path.to_str().unwrap()]);
        assert_eq!(status, Some(78), "{said}");
        for (line, key, what, remedy) in expected {
            let place = format!("{}:{line}: ", path.display());
            let told = |text: &&str| [&*place, key, what, remedy].iter().all(|part| text.contains(part));
            assert_eq!(said.lines().filter(told).count(), 1, "{place}{key}: {what}. {remedy}\n{said}");
        }
    }
}

#[test]
fn an_audit_file_that_cannot_be_is_78() {
    let (folder, path) = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for (wrong, why) in [("file/audit.jsonl", "lies below a file"), (".", "is a folder")] {
        std::fs::write(&path, format!("{}audit_log: {{ path: {wrong} }}\n", configuration("info"))).unwrap();
        for command in ["check", "run"] {
            let (status, said) = ends(&[command, "--config", path.to_str().unwrap()]);
            assert_eq!(status, Some(78), "{said}");
            assert!(said.contains("audit_log.path: ") && said.contains(why), "{said}");
        }
    }
    let audit = folder.path().join("audit.jsonl");
    std::fs::write(&path, configuration("info") + "audit_log: { path: audit.jsonl }\n").unwrap();
    assert_eq!(ends(&["check", "--config", path.to_str().unwrap()]).0, Some(0));
    assert!(!audit.exists(), "a check writes nothing");
}

#[test]
fn a_taken_port_is_71() {
    let (_folder, path) = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::fs::write(&path, configuration("info").replace("127.0.0.1:0", &address)).unwrap();
    let (status, said) = ends(&["run", "--config", path.to_str().unwrap()]);
    assert_eq!(status, Some(71), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn a_self_signed_certificate_is_made_once_and_its_fingerprint_told() {
    let (folder, path) = folder();
    let fingerprint = |gateway: &Process| {
        let (_, said) = listens(gateway);
        let line = said.into_iter().find(|line| line.contains("fingerprint=")).unwrap();
        line.split("fingerprint=").nth(1).unwrap().to_owned()
    };
    let first = fingerprint(&run(&path));
    let key = folder.path().join("state/self-signed.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fingerprint(&run(&path)), first);
}

/// Whoever pins it must get it, whatever the log is set to.
#[test]
fn the_fingerprint_is_printed_however_quiet_the_log_is() {
    let (_folder, path) = folder();
    std::fs::write(&path, configuration("error")).unwrap();
    let command = || gateway(&["run", "--config", path.to_str().unwrap()]);
    let printed = Process::start(command(), Output::Standard).lines_until("fingerprint sha256:");
    let fingerprint = printed.last().unwrap().split("sha256:").nth(1).unwrap().to_owned();
    assert_eq!(fingerprint.len(), 64, "{fingerprint}");
    std::fs::write(&path, configuration("info")).unwrap();
    assert!(listens(&run(&path)).1.iter().any(|line| line.contains(&fingerprint)));
}

#[test]
fn sighup_reloads_and_a_bad_file_is_refused_whole() {
    let (_folder, path) = folder();
    let gateway = run(&path);
    let (address, _) = listens(&gateway);
    let mut client = greeted(&address);
    std::fs::write(&path, configuration("loud")).unwrap();
    gateway.signal("HUP");
    assert!(gateway.lines_until("the old one stays: ").last().unwrap().contains("log.level"));
    std::fs::write(&path, configuration("debug") + "banner: new words\n").unwrap();
    gateway.signal("HUP");
    gateway.lines_until("configuration reloaded");
    // The session that was there goes on, and the log's level changes a moment after the rest.
    let start = Instant::now();
    while !gateway.has_said("verb=\"NOOP\"") {
        client.get_mut().write_all(b"NOOP\r\n").unwrap();
        assert!(line(&mut client).starts_with("200 "));
        assert!(start.elapsed() < SOON, "the level stays");
    }
    let mut client = BufReader::new(TcpStream::connect(&address).unwrap());
    assert_eq!(line(&mut client), "220 new words\r\n");
}

/// Under the limits that `ulimit` sets.
fn limited(limits: &str, path: &Path) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits}; exec \"$0\" run --config \"$1\""), env!("CARGO_BIN_EXE_ftps-gateway")]);
    command.arg(path).stdin(Stdio::null());
    Process::start(command, Output::Error)
}

#[test]
fn file_descriptors_are_taken_as_far_as_they_go_and_too_few_are_told() {
    let (_folder, path) = folder();
    let short = "limits.sessions: so many can need";
    let sessions = |number: u32| format!("{}limits: {{ sessions: {number} }}\n", configuration("info"));
    std::fs::write(&path, sessions(100)).unwrap();
    // 400 for the sessions, 66 for the rest: above the soft limit, below the hard one.
    let gateway = limited("ulimit -Sn 100; ulimit -Hn 500", &path);
    let (_, said) = listens(&gateway);
    assert!(!said.iter().any(|line| line.contains(short)), "{said:?}");
    std::fs::write(&path, sessions(200)).unwrap();
    gateway.signal("HUP");
    let said = gateway.lines_until(short);
    assert!(said.last().unwrap().contains("866 file descriptors, and the system allows 500, good for 108 sessions"));
    let gateway = limited("ulimit -n 500", &path);
    assert!(listens(&gateway).1.iter().any(|line| line.contains(short) && line.contains("LimitNOFILE=")));
}

/// A drain can take as long as the longest transfer, and logrotate comes at midnight.
#[test]
fn sighup_opens_the_audit_file_again_while_the_gateway_drains() {
    let (folder, path) = folder();
    let [audit, old] = ["audit.jsonl", "audit.jsonl.1"].map(|name| folder.path().join(name));
    std::fs::write(&path, configuration("info") + "audit_log: { path: audit.jsonl }\n").unwrap();
    let mut gateway = run(&path);
    let (address, _) = listens(&gateway);
    let mut client = greeted(&address);
    client.get_mut().write_all(b"AUTH TLS\r\n").unwrap();
    assert!(line(&mut client).starts_with("234 "));
    gateway.signal("TERM");
    gateway.lines_until("draining");
    std::fs::rename(&audit, &old).unwrap();
    gateway.signal("HUP");
    gateway.lines_until("the configuration is not read any more");
    drop(client);
    assert_eq!(gateway.wait().code(), Some(0));
    let events = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(events(&old).contains("session_started") && !events(&old).contains("session_ended"), "{}", events(&old));
    assert!(events(&audit).contains("session_ended") && events(&audit).contains("audit_stopped"), "{}", events(&audit));
}

#[test]
fn sigterm_drains_and_sigint_stops() {
    let (_folder, path) = folder();
    for (signal, reply, said) in [("TERM", "421 ", "drained"), ("INT", "421 ", "stopping")] {
        let mut gateway = run(&path);
        let (address, _) = listens(&gateway);
        let mut client = greeted(&address);
        gateway.signal(signal);
        assert!(line(&mut client).starts_with(reply));
        assert_eq!(line(&mut client), "");
        gateway.lines_until(said);
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

/// A server that lets everybody in.
fn welcoming() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut control in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut lines = BufReader::new(control.try_clone().unwrap()).lines().map_while(Result::ok);
                let mut reply = "220 Here";
                while writeln!(control, "{reply}\r").is_ok() {
                    let Some(command) = lines.next() else { return };
                    reply = match command.split(' ').next() {
                        Some("USER") => "331 Password",
                        Some("PASS") => "230 In",
                        Some("NOOP") => "200 Yes",
                        _ => "500 No",
                    };
                }
            });
        }
    });
    address
}

/// Writes into a pipe until nothing more fits, however short. Through a description of its own: whoever else writes to the
/// pipe waits.
fn fill(pipe: &PipeWriter) {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut own = std::fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(path).unwrap();
    for size in [4096, 1] {
        let error = loop {
            if let Err(error) = own.write_all(&vec![b'\n'; size]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

/// A gateway whose standard error is a pipe that nobody reads any more, what it has said, and the admin address.
fn unheard(path: &Path) -> (Process, BufReader<PipeReader>, Vec<String>) {
    let (reader, writer) = io::pipe().unwrap();
    let mut command = gateway(&["run", "--config", path.to_str().unwrap()]);
    command.stderr(writer.try_clone().unwrap());
    let gateway = Process::heard_elsewhere(command);
    let mut reader = BufReader::new(reader);
    let mut said = Vec::new();
    while !said.last().is_some_and(|line: &String| line.contains("admin pages")) {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        said.push(line);
    }
    fill(&writer);
    (gateway, reader, said)
}

fn address_in(said: &[String], line: &str) -> String {
    let line = said.iter().find(|said| said.contains(line)).unwrap();
    line.split("address=").nth(1).unwrap().trim().to_owned()
}

/// `run 2>&1 | tee log` and Ctrl-S; a log shipper that hangs; a journal that waits for its disk.
#[test]
fn a_standard_error_that_nobody_reads_holds_nobody_up() {
    let (_folder, path) = folder();
    let backend = welcoming();
    let text = configuration("trace").replace("127.0.0.1:9\"", &format!("{backend}\""));
    let text = text.replace("admin: { address: none }", "admin: { address: \"127.0.0.1:0\" }");
    std::fs::write(&path, text + "tls: { control: optional }\n").unwrap();
    let (mut gateway, _reader, said) = unheard(&path);
    // More lines than the gateway has threads: each of them would stand at one.
    for _ in 0..50 {
        let mut client = greeted(&address_in(&said, LISTENING));
        for (command, reply) in [("USER bob", "331 "), ("PASS sesame", "230 "), ("NOOP", "200 ")] {
            writeln!(client.get_mut(), "{command}\r").unwrap();
            assert!(line(&mut client).starts_with(reply), "{command}");
        }
    }
    for (page, answer) in [("healthz", "200 OK"), ("metrics", "ftps_gateway_log_lines_lost_total 0")] {
        let mut admin = TcpStream::connect(address_in(&said, "admin pages")).unwrap();
        admin.set_read_timeout(Some(SOON)).unwrap();
        write!(admin, "GET /{page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        admin.read_to_string(&mut text).unwrap();
        assert!(text.contains(answer), "{text}");
    }
    gateway.signal("TERM");
    // Its last lines wait for a reader, for a moment.
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_standard_error_that_is_read_late_has_every_line() {
    let (_folder, path) = folder();
    let text = configuration("info").replace("admin: { address: none }", "admin: { address: \"127.0.0.1:0\" }");
    std::fs::write(&path, text).unwrap();
    let (mut gateway, mut reader, said) = unheard(&path);
    for _ in 0..50 {
        greeted(&address_in(&said, LISTENING));
    }
    gateway.signal("TERM");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(rest.matches(" session started ").count(), 50, "{rest}");
    assert_eq!(rest.matches(" session ended ").count(), 50, "{rest}");
    assert!(rest.trim_end().ends_with(" stopped"), "{rest}");
}
