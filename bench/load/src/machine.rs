//! What a run ran on.

use std::fs;
use std::process::Command;

use crate::system::Places;

/// The machine, and what was built on it.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    rows: Vec<(&'static str, String)>,
}

impl Machine {
    /// Reads it. What cannot be read is said to be unknown: it does not spoil a run.
    pub(crate) fn look(places: Places, files: u64) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = value(&cpuinfo, "model name");
        let aes = value(&cpuinfo, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "aes"));
        let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = value(&meminfo, "MemTotal").and_then(|total| total.trim_end_matches(" kB").parse::<u64>().ok());
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system =
            release.lines().find_map(|line| Some(line.strip_prefix("PRETTY_NAME=")?.trim_matches('"').to_owned()));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
        let unknown =
            |value: Option<String>| value.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned());
        let shared = if places.load == places.proxy {
            "; **one for all: the figures are not what this page means**"
        } else {
            ""
        };
        let rows = vec![
            ("date", unknown(output("date", &["-u", "+%Y-%m-%d"]))),
            ("processor", format!("{}{}", unknown(model), if aes { ", AES instructions" } else { "" })),
            ("processors", format!("{processors}{shared}")),
            ("memory", unknown(memory.map(|kilobytes| format!("{} MiB", kilobytes / 1024)))),
            ("system", format!("{}, Linux {}", unknown(system), unknown(kernel))),
            ("open files of a process, at most", files.to_string()),
            ("rustc", unknown(output("rustc", &["--version"]))),
            ("OpenSSL of the others", unknown(output("dpkg-query", &["-W", "-f", "${Version}", "libssl3"]))),
        ];
        Self { rows }
    }

    /// Name and value, for a table.
    pub(crate) fn rows(&self) -> &[(&'static str, String)] {
        &self.rows
    }
}

/// What a program says, if it can be run and succeeds.
pub(crate) fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn value(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
}
