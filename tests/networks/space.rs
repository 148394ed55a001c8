//! A network namespace of a test, and cables between two of them.
//!
//! Namespaces have no names and are held by a process that ends with the test, however that ends; cables, rules and
//! emulated links go with them. Nothing is ever seen or changed outside.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;

/// A network namespace, gone with the value.
pub(crate) struct Space {
    holder: Child,
}

impl Space {
    /// A new one, with nothing in it but loopback.
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-euc", "ip link set lo up; echo there; exec cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "there\n", "no network namespace can be made: tests/networks/check says why");
        Self { holder }
    }

    /// A router: what comes in on one side goes out on the other.
    pub(crate) fn router() -> Self {
        let space = Self::new();
        space.sh("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
        space
    }

    /// Where the kernel shows it.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// A program that runs in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program).env("LC_ALL", "C.UTF-8");
        command
    }

    /// A shell script that runs in it and must succeed; what it printed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let output = self.command("sh").args(["-euc", script]).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\nended with {}: {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Rules of nftables.
    pub(crate) fn nft(&self, rules: &str) {
        self.sh(&format!("nft -f - <<'end'\n{rules}\nend"));
    }

    /// Work in a thread that is in it: every socket made there belongs to it, wherever it is used afterwards.
    pub(crate) fn thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let space = File::open(self.path()).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            drop(space);
            work()
        })
    }

    /// The same, waited for.
    pub(crate) fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.thread(work).join().unwrap()
    }

    /// Gives an interface its addresses and brings it up.
    pub(crate) fn addresses(&self, interface: &str, addresses: &[&str]) {
        // Nobody else can have an address of IPv6: it need not be asked for before it is used.
        let nodad = |address: &str| if address.contains(':') { "nodad" } else { "" };
        let add = |address: &&str| format!("ip address add {address} dev {interface} {}\n", nodad(address));
        let script: String = addresses.iter().map(add).collect();
        self.sh(&format!("{script}ip link set dev {interface} up"));
    }

    /// The ways out, like `default via 10.0.0.1`.
    pub(crate) fn routes(&self, routes: &[&str]) {
        self.sh(&routes.iter().map(|route| format!("ip route add {route}\n")).collect::<String>());
    }

    /// A cable to another one: each end's name and addresses.
    pub(crate) fn cable(&self, (name, own): (&str, &[&str]), other: &Self, (its_name, its): (&str, &[&str])) {
        self.sh(&format!("ip link add {name} type veth peer name {its_name} netns {}", other.holder.id()));
        self.addresses(name, own);
        other.addresses(its_name, its);
    }

    /// From now on no packet comes in or goes out, and nobody is told: the machine's power is cut.
    pub(crate) fn vanishes(&self) {
        self.nft(
            "table inet dark {
                chain in { type filter hook prerouting priority -400; policy drop; }
                chain out { type filter hook output priority -400; policy drop; }
            }",
        );
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // It ends when its standard input does.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
