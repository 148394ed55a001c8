//! `backends`: the servers behind.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use super::listeners::Bound;
use super::names::{host_name, label};
use super::read::{Flaw, Read, Reader, Section};
use super::scalars::{choice, number, readable_file, size, text, write};
use crate::backend::{DataPreference, Security, ServerAddress, Settings};
use crate::config::problems::quoted;
use crate::config::raw::{Node, Value};
use crate::net::ProxyVersion;
use crate::tls::Verification;

const VERSIONS: &[(&str, Option<ProxyVersion>)] =
    &[("none", None), ("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];

/// Of less a login would not pass; nothing longer comes from a client (`limits.command_length`).
const COMMAND_LENGTH: RangeInclusive<usize> = 128..=64 << 10;

/// The mode of a back leg without what a TLS leg needs beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Explicit,
    Implicit,
}

impl Mode {
    const CHOICES: &[(&str, Self)] =
        &[("none", Self::None), ("explicit", Self::Explicit), ("implicit", Self::Implicit)];

    /// The port of a server that names none.
    fn port(self) -> u16 {
        match self {
            Self::None | Self::Explicit => 21,
            Self::Implicit => 990,
        }
    }
}

/// All backends in the order of the file.
pub(super) fn backends(reader: &mut Reader<'_>, root: Section<'_>, bound: &[Bound<'_>]) -> Vec<Settings> {
    let remedy = "Write: backends: { legacy: { servers: [\"10.20.0.11:21\"] } }";
    let Some(node) = reader.required(root, "backends", remedy) else { return Vec::new() };
    let Some(entries) = reader.section(node).map(Section::entries) else { return Vec::new() };
    if entries.is_empty() {
        reader.report(node, Flaw::new("holds no backend", remedy));
    }
    entries.iter().filter_map(|entry| backend(reader, entry, bound)).collect()
}

fn backend(reader: &mut Reader<'_>, entry: &Node, bound: &[Bound<'_>]) -> Option<Settings> {
    let name = reader.keep(entry, label(&entry.key));
    let section = reader.section(entry)?;
    let mode = match section.get("tls") {
        Some(node) => reader.keep(node, choice(node, Mode::CHOICES)),
        None => Some(Mode::None),
    };
    let verification = verification(reader, section);
    if let (Some(node), Some(Mode::None)) = (section.get("verify"), mode)
        && !matches!(node.value, Value::Null)
    {
        let remedy = "Write: tls: explicit (or implicit) beside it, or take verify out.";
        reader.report(node, Flaw::new("there is no certificate to verify on a plain connection", remedy));
    }
    let server = servers(reader, section, mode.unwrap_or(Mode::None), bound);
    let data = reader.value(section, "data", DataPreference::Auto, |node| {
        choice(
            node,
            &[("auto", DataPreference::Auto), ("passive", DataPreference::Passive), ("active", DataPreference::Active)],
        )
    });
    let command_length = reader.value(section, "command_length", 500, |node| size(node, COMMAND_LENGTH));
    let proxy_protocol = reader.value(section, "proxy_protocol", None, |node| choice(node, VERSIONS));
    let security = match mode? {
        Mode::None => Security::None,
        Mode::Explicit => Security::Explicit(verification),
        Mode::Implicit => Security::Implicit(verification),
    };
    Some(Settings { name: Arc::from(name?), server: server?, security, command_length, data, proxy_protocol })
}

/// The one server. The key is a list already, so that a file need not change when there may be several.
fn servers(reader: &mut Reader<'_>, section: Section<'_>, mode: Mode, bound: &[Bound<'_>]) -> Option<ServerAddress> {
    let remedy = "Write: servers: [\"10.20.0.11:21\"]";
    let node = reader.required(section, "servers", remedy)?;
    let items = reader.one_or_more(node, remedy);
    if items.len() > 1 {
        let what = format!("names {} servers; this version takes one per backend, pools come later", items.len());
        reader.report(node, Flaw::new(what, "Keep one of them."));
    }
    let mut read = items.iter().map(|item| {
        let server = reader.keep(item, server(item, mode))?;
        if let Some(own) = bound.iter().find(|own| leads_to(&server, own)) {
            let what = format!("{server} is {} of this gateway, which would call itself", own.key);
            reader.report(item, Flaw::new(what, "Write the address of the server behind."));
        }
        Some(server)
    });
    let first = read.next()?;
    // The others are read too, for their problems.
    read.for_each(drop);
    first
}

/// `host`, `host:port`, `[address]:port`.
fn server(node: &Node, mode: Mode) -> Read<ServerAddress> {
    let written = text(node)?;
    if written.contains("://") {
        let what = format!("{} is a URL", quoted(written));
        return Err(Flaw::new(what, "Write host:port, and tls: none, explicit or implicit beside servers."));
    }
    if written.parse::<Ipv6Addr>().is_ok() {
        let what = format!("{} is IPv6 without brackets, so its port cannot be told", quoted(written));
        return Err(Flaw::new(what, write(node, &format!("\"[{written}]:{}\"", mode.port()))));
    }
    let (host, port) = match written.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).unwrap_or(rest)),
        None => written.rsplit_once(':').unwrap_or((written, "")),
    };
    let port = if port.is_empty() && !written.ends_with(':') { Some(mode.port()) } else { number::<u16>(port) };
    let Some(port) = port.filter(|port| *port != 0) else {
        let what = format!("{} does not end in a port", quoted(written));
        return Err(Flaw::new(what, "Write host:port with a port from 1 to 65535."));
    };
    let is_address = host.parse::<IpAddr>().is_ok();
    let bracketed = written.starts_with('[');
    if bracketed && host.parse::<Ipv6Addr>().is_err() {
        let what = format!("{} has no IPv6 address between its brackets", quoted(written));
        return Err(Flaw::new(what, "Brackets are for IPv6 only: \"[2001:db8::1]:21\""));
    }
    let host = if is_address { host } else { host_name(host)? };
    Ok(ServerAddress { host: host.to_owned(), port })
}

/// Whether this server is a socket of the gateway itself. Names are not looked up.
fn leads_to(server: &ServerAddress, own: &Bound<'_>) -> bool {
    let Ok(ip) = server.host.parse::<IpAddr>().map(|ip| ip.to_canonical()) else { return false };
    let listens = own.address.ip().to_canonical();
    server.port == own.address.port() && (ip == listens || (ip.is_loopback() && listens.is_unspecified()))
}

/// How the backend's certificate is checked.
fn verification(reader: &mut Reader<'_>, section: Section<'_>) -> Verification {
    let section = reader.subsection(section, "verify");
    let directory = reader.directory;
    let authorities: Option<PathBuf> = reader.optional(section, "authorities", |node| readable_file(node, directory));
    let name = reader.optional(section, "name", certificate_name);
    let fingerprint = reader.optional(section, "fingerprint", fingerprint);
    if section.get("fingerprint").is_some() {
        for node in ["authorities", "name"].into_iter().filter_map(|key| section.get(key)) {
            let what = "has no effect beside fingerprint, which pins the certificate instead of verifying it";
            reader.report(node, Flaw::new(what, "Keep one of the two."));
        }
    }
    Verification { authorities, name, fingerprint }
}

/// A DNS name or an address.
fn certificate_name(node: &Node) -> Read<String> {
    let written = text(node)?;
    if written.parse::<IpAddr>().is_err() {
        host_name(written)?;
    }
    Ok(written.to_owned())
}

/// `sha256:` and 64 hexadecimal digits; colons between them are as `openssl x509 -fingerprint` writes them.
fn fingerprint(node: &Node) -> Read<[u8; 32]> {
    let written = text(node)?;
    let remedy =
        "Write: fingerprint: \"sha256:…\" with what `openssl x509 -noout -fingerprint -sha256 -in cert.pem` prints.";
    let flaw = || Flaw::new(format!("{} is not sha256: and 64 hexadecimal digits", quoted(written)), remedy);
    let digits: Vec<u8> = written
        .strip_prefix("sha256:")
        .ok_or_else(flaw)?
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or_else(flaw))
        .collect::<Read<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect();
    if digits.len() != 64 {
        return Err(flaw());
    }
    bytes.try_into().map_err(|_| flaw())
}
