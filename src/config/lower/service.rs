//! `admin`, `log`, `user`, `group` and `banner`: the gateway as a service.

use std::net::{Ipv4Addr, SocketAddr};

use super::listeners::{Bound, address, take};
use super::read::{Flaw, Reader, Section};
use super::scalars::{choice, line, path, text};
use crate::config::settings::RunAs;
use crate::telemetry::{AdminSettings, AuditFormat, AuditSettings, LogFormat, LogLevel, LogSettings};

/// Only this machine may ask, unless the file says otherwise.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9921);

/// A reply's line should fit 512 bytes, code and line end included.
const LONGEST_BANNER: usize = 500;

const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
const AUDIT_FORMATS: &[(&str, AuditFormat)] = &[("json", AuditFormat::Json), ("xferlog", AuditFormat::Xferlog)];

/// Where the admin pages are; `none` switches them off.
pub(super) fn admin<'n>(
    reader: &mut Reader<'_>,
    section: Section<'n>,
    bound: &mut Vec<Bound<'n>>,
) -> Option<AdminSettings> {
    let node = section.get("address");
    if node.is_some_and(|node| text(node) == Ok("none")) {
        return None;
    }
    let address = match node {
        Some(node) => reader.keep(node, address(node, ADMIN))?,
        None => ADMIN,
    };
    take(reader, bound, Bound { address, key: "admin.address", node });
    Some(AdminSettings { address })
}

/// What the log shows and how.
pub(super) fn log(reader: &mut Reader<'_>, section: Section<'_>) -> LogSettings {
    LogSettings {
        level: reader.value(section, "level", LogLevel::Info, |node| choice(node, LEVELS)),
        format: reader.value(section, "format", LogFormat::Text, |node| choice(node, FORMATS)),
    }
}

/// The audit file. Whether it can be written is seen when it is opened, by whom the process has become.
pub(super) fn audit(reader: &mut Reader<'_>, root: Section<'_>) -> Option<AuditSettings> {
    let node = root.get("audit_log")?;
    let section = reader.section(node)?;
    let format = reader.value(section, "format", AuditFormat::Json, |node| choice(node, AUDIT_FORMATS));
    let file = reader.required(section, "path", "Write the path of a file, like /var/log/ftps-gateway/audit.jsonl.")?;
    let directory = reader.directory;
    let path = reader.keep(file, path(file, directory))?;
    Some(AuditSettings { path, format })
}

/// The text of the 220.
pub(super) fn banner(reader: &mut Reader<'_>, root: Section<'_>) -> String {
    reader.value(root, "banner", "FTPS gateway ready".to_owned(), |node| line(node, LONGEST_BANNER))
}

/// Whom the process becomes.
pub(super) fn run_as(reader: &mut Reader<'_>, root: Section<'_>) -> RunAs {
    let mut name = |key| reader.optional(root, key, |node| text(node).map(str::to_owned));
    let run_as = RunAs { user: name("user"), group: name("group") };
    if let Some(node) = root.get("group").filter(|_| root.get("user").is_none()) {
        reader.report(node, Flaw::new("stands without user", "Write user: too, or take group: out."));
    }
    run_as
}
