//! What the process may still do once it serves, read from `/proc` and tried out. Becoming another user takes root: as
//! anybody else those tests are ignored, and counted so.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "privilege/made.rs"]
mod made;
mod process;

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};
use made::what_a_user_could_not_make_himself_is_missed_by_a_check_as_by_a_start;
use process::{Output, Process, gateway};
use tempfile::TempDir;

/// Debian's user without rights.
const NOBODY: &str = "65534";
/// CAP_NET_BIND_SERVICE, as `/proc` writes it.
const LOW_PORTS_ALONE: &str = "0000000000000400";
const CERTIFICATE: &str = "self-signed.pem";
const KEY: &str = "self-signed.key";
const NOTHING: &str = "0000000000000000";

/// A test's own folder, which every user may look into.
struct Site {
    folder: TempDir,
    address: String,
}

impl Site {
    /// `number`: which of this process's sites, so that no two share an address. The port is FTP's own, which only root
    /// may bind; the address belongs to this process alone.
    fn new(number: u8) -> Self {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let folder = tempfile::tempdir().unwrap();
        mode(folder.path(), 0o755);
        Self { folder, address: format!("127.{}.{b}.{c}:21", a | number << 5) }
    }

    /// One on a port that the system chooses.
    fn anywhere() -> Self {
        Self { address: "127.0.0.1:0".to_owned(), ..Self::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `gateway.yaml`.
    fn configure(&self, more: &str) {
        self.writes(&self.configuration(more));
    }

    fn configuration(&self, more: &str) -> String {
        format!(
            "listeners: [{{ address: \"{}\" }}]\npassive: {{ ports: 0 }}\nadmin: {{ address: none }}\n\
             backends: {{ legacy: {{ servers: [\"127.0.0.1:9\"] }} }}\nstate_dir: state\n{more}\n",
            self.address
        )
    }

    fn writes(&self, text: &str) {
        std::fs::write(self.path("gateway.yaml"), text).unwrap();
        mode(&self.path("gateway.yaml"), 0o644);
    }

    fn process(&self, command: &str) -> Process {
        Process::start(gateway(&[command, "--config", self.path("gateway.yaml").to_str().unwrap()]), Output::Error)
    }

    /// A gateway that serves, and what it said until then.
    fn serving(&self) -> (Process, Vec<String>) {
        let gateway = self.process("run");
        let said = gateway.lines_until("listening listener=");
        (gateway, said)
    }

    fn greeting(&self) -> String {
        let mut line = String::new();
        BufReader::new(TcpStream::connect(&self.address).unwrap()).read_line(&mut line).unwrap();
        line
    }
}

/// A certificate and its key, which everybody may read, in this folder.
fn certificate(folder: &Path) -> String {
    ftps_gateway::tls::keep_self_signed(folder, &["ftp.example".to_owned()]).unwrap();
    for (path, bits) in [(folder, 0o755), (&folder.join(CERTIFICATE), 0o644), (&folder.join(KEY), 0o644)] {
        mode(path, bits);
    }
    let shown = folder.display();
    let files = format!("certificate: {shown}/{CERTIFICATE}, private_key: {shown}/{KEY}");
    format!("tls: {{ certificates: [{{ {files} }}] }}")
}

fn mode(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

/// A field of every thread's status.
fn of_every_thread(gateway: &Process, field: &str) -> Vec<String> {
    let threads = PathBuf::from(format!("/proc/{}/task", gateway.id())).read_dir().unwrap();
    let value = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::to_owned));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    threads.map(|thread| value(std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap())).collect()
}

#[track_caller]
fn all_are(gateway: &Process, field: &str, wanted: &str) {
    let values = of_every_thread(gateway, field);
    assert!(values.len() > 1, "one thread alone shows nothing");
    assert!(values.iter().all(|value| value == wanted), "{field}: {values:?}, not {wanted}");
}

/// Whom it becomes, what it keeps, and that it serves all the same, on a port that its user could not bind.
fn root_becomes_its_user_in_every_thread_and_keeps_nothing() {
    let site = Site::new(1);
    site.configure(&format!("user: {NOBODY}"));
    // Whoever starts it is in more groups than one.
    let own = gateway(&["run", "--config", site.path("gateway.yaml").to_str().unwrap()]);
    let mut grouped = Command::new("setpriv");
    grouped.args(["--groups", "4,27", "--"]).arg(own.get_program()).args(own.get_args());
    let gateway = Process::start(grouped, Output::Error);
    gateway.lines_until("listening listener=");
    assert!(site.greeting().starts_with("220 "));
    let four = [NOBODY; 4].join(" ");
    for (field, wanted) in [("Uid", four.as_str()), ("Gid", &four), ("NoNewPrivs", "1")] {
        all_are(&gateway, field, wanted);
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        all_are(&gateway, set, NOTHING);
    }
    let groups = of_every_thread(&gateway, "Groups");
    assert!(groups.iter().all(|groups| groups.is_empty() || groups == NOBODY), "{groups:?}");
    // What it made is its own.
    assert_eq!(site.path("state/self-signed.key").metadata().unwrap().uid().to_string(), NOBODY);
}

fn port_20_keeps_the_one_capability_it_takes() {
    let site = Site::new(2);
    site.configure(&format!("user: {NOBODY}\nactive: {{ source_port: 20 }}"));
    let (gateway, _) = site.serving();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        all_are(&gateway, set, LOW_PORTS_ALONE);
    }
    all_are(&gateway, "Uid", &[NOBODY; 4].join(" "));
}

fn no_core_file_holds_a_key() {
    let site = Site::new(3);
    site.configure(&format!("user: {NOBODY}"));
    let (gateway, _) = site.serving();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    // The kernel gives the memory of a process that may be dumped to the process's user, and any other to root.
    assert_eq!(Path::new(&format!("/proc/{}/mem", gateway.id())).metadata().unwrap().uid(), 0);
}

/// What was open at start is read again, also from a file that has taken the old one's place; nothing else is.
fn a_reload_reads_what_was_open_at_start_and_nothing_else() {
    let site = Site::new(4);
    // What lies below the configuration's folder is open.
    let elsewhere = Site::new(0);
    let (inside, outside) = (certificate(&site.path("tls")), certificate(&elsewhere.path("outside")));
    let user = format!("user: {NOBODY}\n");
    site.configure(&(user.clone() + &inside));
    let (gateway, said) = site.serving();
    certificate(&site.path("tls"));
    site.configure(&(user.clone() + &inside + "\nbanner: new words"));
    gateway.signal("HUP");
    gateway.lines_until("configuration reloaded");
    assert_eq!(site.greeting(), "220 new words\r\n");
    site.configure(&(user.clone() + &inside + "\nactive: { source_port: 20 }"));
    gateway.signal("HUP");
    gateway.lines_until("active.source_port: ports below 1024 have been given up");
    if said.iter().any(|line| line.contains("has no Landlock")) {
        return;
    }
    site.configure(&(user + &outside));
    gateway.signal("HUP");
    let refused = gateway.lines_until("configuration is refused, the old one stays: ");
    assert!(
        refused.last().unwrap().contains("outside") && refused.last().unwrap().contains("(Landlock)"),
        "{refused:?}"
    );
    assert_eq!(site.greeting(), "220 new words\r\n");
}

/// The gateway's own list is not asked here, the kernel is: the path stays, and another folder has taken the place
/// of the one that was open.
fn landlock_closes_what_everybody_may_read() {
    let (site, elsewhere) = (Site::new(5), Site::new(0));
    let keys = elsewhere.path("keys");
    let configured = certificate(&keys);
    site.configure(&format!("user: {NOBODY}\n{configured}"));
    let (gateway, said) = site.serving();
    if said.iter().any(|line| line.contains("has no Landlock")) {
        return;
    }
    std::fs::rename(&keys, elsewhere.path("old")).unwrap();
    std::fs::create_dir(&keys).unwrap();
    certificate(&keys);
    gateway.signal("HUP");
    let refused = gateway.lines_until("configuration is refused, the old one stays: ");
    assert!(refused.last().unwrap().contains("may not be read"), "{refused:?}");
    assert!(refused.last().unwrap().contains("(Landlock). Restart instead of reloading."), "{refused:?}");
}

fn a_key_that_the_user_may_not_read_is_missed_at_start() {
    let site = Site::new(6);
    let certificate = certificate(&site.path("tls"));
    mode(&site.path("tls/self-signed.key"), 0o600);
    site.configure(&format!("user: {NOBODY}\n{certificate}"));
    let (status, said) = site.process("run").ends();
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("self-signed.key"), "{said}");
}

/// The user could make neither folder nor file, and opens it again all the same, whatever is wrong with the configuration.
fn the_audit_file_is_made_for_its_user_and_opened_again_when_it_has_been_moved() {
    let site = Site::anywhere();
    let audit = "audit_log: { path: logs/audit.jsonl }";
    let (path, folder) = (site.path("logs/audit.jsonl"), site.path("logs"));
    site.configure(&format!("user: {NOBODY}\n{audit}"));
    let (mut gateway, _) = site.serving();
    let owned = |path: &Path| {
        let metadata = path.metadata().unwrap();
        (metadata.uid().to_string(), metadata.permissions().mode() & 0o777)
    };
    assert_eq!((owned(&path), owned(&folder)), ((NOBODY.to_owned(), 0o640), (NOBODY.to_owned(), 0o750)));
    let moved = |number: u8| {
        let old = site.path(&format!("logs/audit.jsonl.{number}"));
        std::fs::rename(&path, &old).unwrap();
        old
    };
    let first = moved(1);
    gateway.signal("HUP");
    gateway.lines_until("configuration reloaded");
    assert_eq!(owned(&path), (NOBODY.to_owned(), 0o640));
    let second = moved(2);
    site.configure("nonsense: 1");
    gateway.signal("HUP");
    gateway.lines_until("the old one stays: ");
    gateway.signal("TERM");
    assert_eq!(gateway.ends().0, Some(0));
    let events = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|text| line(text)["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(events(&first), ["audit_started"]);
    assert_eq!(events(&second), ["reloaded"]);
    assert_eq!(events(&path), ["reloaded", "audit_stopped"]);
}

/// As at night, when the disk of the first one is full: what `docs/audit.md` names works, and what does not says so.
fn another_audit_file_can_be_where_one_could_be_at_start_and_the_refusal_says_where() {
    let (site, elsewhere) = (Site::anywhere(), Site::new(0));
    let (far, outside) = (elsewhere.path("far"), elsewhere.path("outside"));
    for folder in [&site.path("logs"), &site.path("logs/spare"), &far, &outside] {
        std::fs::create_dir(folder).unwrap();
        std::os::unix::fs::chown(folder, Some(NOBODY.parse().unwrap()), None).unwrap();
    }
    // The configured path is a link, whose target's folder is open as well.
    std::fs::write(far.join("audit.jsonl"), "").unwrap();
    std::os::unix::fs::chown(far.join("audit.jsonl"), Some(NOBODY.parse().unwrap()), None).unwrap();
    std::os::unix::fs::symlink(far.join("audit.jsonl"), site.path("logs/audit.jsonl")).unwrap();
    let names = |path: &Path| {
        site.configure(&format!("user: {NOBODY}\naudit_log: {{ path: {} }}", path.display()));
    };
    names(&site.path("logs/audit.jsonl"));
    let (gateway, said) = site.serving();
    for path in ["state/a.jsonl", "logs/spare/a.jsonl", "logs/a.jsonl"].map(|name| site.path(name)) {
        names(&path);
        gateway.signal("HUP");
        gateway.lines_until("configuration reloaded");
        assert!(path.exists());
    }
    names(&far.join("a.jsonl"));
    gateway.signal("HUP");
    gateway.lines_until("configuration reloaded");
    if said.iter().any(|line| line.contains("has no Landlock")) {
        return;
    }
    names(&outside.join("a.jsonl"));
    gateway.signal("HUP");
    let refused = gateway.lines_until("configuration is refused, the old one stays: ").pop().unwrap();
    let [outside, far] = [&outside, &far].map(|folder| folder.display().to_string());
    let told = format!("audit_log.path: {outside} lies where nothing may be written since the start (Landlock). ");
    assert!(refused.contains(&told), "{refused}");
    for open in [far, site.path("logs").display().to_string(), site.path("state").display().to_string()] {
        assert!(refused.split_once("Write a path in ").unwrap().1.contains(&open), "{open} in {refused}");
    }
}

fn an_audit_file_that_the_user_may_not_write_is_missed_at_start() {
    let site = Site::anywhere();
    std::fs::write(site.path("audit.jsonl"), "").unwrap();
    mode(&site.path("audit.jsonl"), 0o600);
    site.configure(&format!("user: {NOBODY}\naudit_log: {{ path: audit.jsonl }}"));
    for command in ["run", "check"] {
        let (status, said) = site.process(command).ends();
        assert_eq!(status, Some(78), "{said}");
        let told = "Let the user that the gateway runs as write";
        assert!(said.contains("audit_log.path: ") && said.contains(told), "{said}");
    }
}

/// The user owns a folder, and has put a link there to one that is not his. Root gives him nothing in it, and no folder.
fn root_makes_nothing_where_its_user_could_lead_it() {
    let site = Site::anywhere();
    let (mine, roots) = (site.path("mine"), site.path("roots"));
    for folder in [&mine, &roots] {
        std::fs::create_dir(folder).unwrap();
        mode(folder, 0o755);
    }
    std::os::unix::fs::symlink(&roots, mine.join("link")).unwrap();
    std::os::unix::fs::chown(&mine, Some(NOBODY.parse().unwrap()), None).unwrap();
    for below in ["audit.jsonl", "logs/audit.jsonl"] {
        site.configure(&format!("user: {NOBODY}\naudit_log: {{ path: mine/link/{below} }}"));
        for command in ["check", "run"] {
            let (status, said) = site.process(command).ends();
            assert_eq!(roots.read_dir().unwrap().count(), 0, "{below}");
            assert_eq!(status, Some(78), "{said}");
            assert!(said.contains("audit_log.path: "), "{said}");
        }
    }
}

fn in_its_users_own_folder_it_makes_everything_as_that_user() {
    let site = Site::anywhere();
    let mine = site.path("mine");
    std::fs::create_dir(&mine).unwrap();
    std::os::unix::fs::chown(&mine, Some(NOBODY.parse().unwrap()), None).unwrap();
    site.configure(&format!("user: {NOBODY}\naudit_log: {{ path: mine/a/b/audit.jsonl }}"));
    assert_eq!(site.process("check").ends().0, Some(0));
    assert!(!mine.join("a").exists());
    let (_gateway, _) = site.serving();
    for (path, bits) in [("mine/a", 0o755), ("mine/a/b", 0o750), ("mine/a/b/audit.jsonl", 0o640)] {
        let metadata = site.path(path).metadata().unwrap();
        assert_eq!((metadata.uid().to_string(), metadata.mode() & 0o777), (NOBODY.to_owned(), bits), "{path}");
    }
}

/// As systemd makes them for a unit without `User=`: the group that may do what others may not is not the user's.
fn a_check_as_root_sees_what_the_user_may_do() {
    let site = Site::anywhere();
    for (folder, bits) in [("state", 0o700), ("logs", 0o750)] {
        std::fs::create_dir(site.path(folder)).unwrap();
        mode(&site.path(folder), bits);
    }
    let audit = "audit_log: { path: logs/audit.jsonl }";
    site.configure(&format!("user: {NOBODY}\n{audit}"));
    for command in ["check", "run"] {
        let (status, said) = site.process(command).ends();
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("state_dir: ") && said.contains("audit_log.path: "), "{said}");
    }
    // Its own group counts, and no other.
    for folder in ["state", "logs"] {
        std::os::unix::fs::chown(site.path(folder), None, Some(4)).unwrap();
        mode(&site.path(folder), 0o770);
    }
    assert_eq!(site.process("check").ends().0, Some(78));
    site.configure(&format!("user: {NOBODY}\ngroup: 4\n{audit}"));
    let (status, said) = site.process("check").ends();
    assert_eq!(status, Some(0), "{said}");
    site.serving();
}

/// Certificates are found wrong by a check as they are by a start.
fn a_check_as_root_reads_keys_as_the_user() {
    let site = Site::anywhere();
    let certificate = certificate(&site.path("tls"));
    mode(&site.path("tls/self-signed.key"), 0o600);
    std::fs::create_dir(site.path("state")).unwrap();
    site.configure(&format!("user: {NOBODY}\n{certificate}"));
    let (status, said) = site.process("check").ends();
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("self-signed.key cannot be read"), "{said}");
    // It serves without `state_dir` where nothing has to be kept, and not otherwise.
    mode(&site.path("tls/self-signed.key"), 0o644);
    for command in ["check", "run"] {
        let (status, said) = site.process(command).ends();
        assert_eq!(status, Some(78), "{command}: {said}");
        assert!(said.contains("gateway.yaml:5: state_dir: ") && said.contains("chown -R"), "{command}: {said}");
    }
    site.configure(&format!("user: {NOBODY}\nlimits: {{ failed_logins: off }}\n{certificate}"));
    let (status, said) = site.process("check").ends();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("state_dir: nothing is kept over a restart: "), "{said}");
    assert!(site.serving().1.iter().any(|line| line.contains("state_dir: nothing could be kept")));
    // A file that only root reads is missed by the first reload.
    mode(&site.path("gateway.yaml"), 0o600);
    assert!(site.process("check").ends().1.contains("a reload will fail"));
}

fn root_without_a_user_is_told_so() {
    let site = Site::new(7);
    site.configure("");
    let (_gateway, said) = site.serving();
    assert!(said.iter().any(|line| line.contains("runs as root")), "{said:?}");
    let (status, said) = site.process("check").ends();
    assert_eq!((status, said.contains("runs as root")), (Some(0), true), "{said}");
}

fn an_unknown_user_is_78() {
    let site = Site::new(0);
    site.configure("user: nobody-of-this-name");
    for command in ["run", "check"] {
        let (status, said) = site.process(command).ends();
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("there is no user nobody-of-this-name"), "{said}");
    }
}

fn a_key_that_everybody_may_read_is_said() {
    let site = Site::new(0);
    let certificate = certificate(&site.path("tls"));
    site.configure(&certificate);
    let (status, said) = site.process("check").ends();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("everybody on this machine may use the key") && said.contains("mode 644"), "{said}");
    mode(&site.path("tls/self-signed.key"), 0o640);
    assert!(!site.process("check").ends().1.contains("everybody"));
}

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new("/proc/self").metadata().unwrap().uid() == 0;
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    };
    macro_rules! trials {
        ($($test:ident)+) => { vec![$(trial(stringify!($test), $test)),+] };
    }
    let mut trials = trials!(an_unknown_user_is_78 a_key_that_everybody_may_read_is_said);
    let as_root = trials!(
        root_becomes_its_user_in_every_thread_and_keeps_nothing
        port_20_keeps_the_one_capability_it_takes
        no_core_file_holds_a_key
        a_reload_reads_what_was_open_at_start_and_nothing_else
        landlock_closes_what_everybody_may_read
        a_key_that_the_user_may_not_read_is_missed_at_start
        what_a_user_could_not_make_himself_is_missed_by_a_check_as_by_a_start
        root_without_a_user_is_told_so
        the_audit_file_is_made_for_its_user_and_opened_again_when_it_has_been_moved
        another_audit_file_can_be_where_one_could_be_at_start_and_the_refusal_says_where
        an_audit_file_that_the_user_may_not_write_is_missed_at_start
        root_makes_nothing_where_its_user_could_lead_it
        in_its_users_own_folder_it_makes_everything_as_that_user
        a_check_as_root_sees_what_the_user_may_do
        a_check_as_root_reads_keys_as_the_user
    );
    trials.extend(as_root.into_iter().map(|trial| trial.with_ignored_flag(!root)));
    libtest_mimic::run(&arguments, trials).exit();
}
