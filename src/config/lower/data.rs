//! `passive` and `active`: data connections with clients.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::listeners::Bound;
use super::names::{balancers, hold_everyone, host_name, networks};
use super::read::{EMPTY, Flaw, Read, Reader, Section};
use super::scalars::{choice, number, switch, text, write};
use crate::config::problems::quoted;
use crate::config::raw::{Node, Value};
use crate::data::{AdvertiseRule, Advertised, Settings, SourcePort};

/// Without the key. A hundred ports serve thousands of clients, because a port is shared by client addresses.
const PORTS: RangeInclusive<u16> = 50000..=50099;

/// All passive ports are bound at start, each with a file descriptor.
const MOST_PORTS: usize = 10_000;

/// Data connections with clients. Passive ports must not be those of `bound`.
pub(super) fn data(reader: &mut Reader<'_>, root: Section<'_>, bound: &[Bound<'_>]) -> Settings {
    let passive = reader.subsection(root, "passive");
    let active = reader.subsection(root, "active");
    let ports = reader.value(passive, "ports", PORTS, ports);
    let clash = bound.iter().find(|taken| taken.address.port() != 0 && ports.contains(&taken.address.port()));
    if let Some(taken) = clash {
        let (port, key) = (taken.address.port(), taken.key);
        let what = format!("port {port} of {key} is among the passive ports {}-{}", ports.start(), ports.end());
        let remedy = "Choose another port there, or another range for passive.ports.";
        // The default range and the default of admin.address do not meet.
        if let Some(node) = passive.get("ports").or(taken.node) {
            reader.report(node, Flaw::new(what, remedy));
        }
    }
    let enabled = reader.value(active, "enabled", true, switch);
    let source = reader.value(active, "source_port", SourcePort::Any, |node| {
        choice(node, &[("any", SourcePort::Any), ("20", SourcePort::FtpData)])
    });
    Settings {
        ports,
        advertise: advertise(reader, passive),
        balancers: balancers(reader, passive),
        active: enabled.then_some(source),
    }
}

/// `50000-50099`, or one port; 0 is one that the system chooses.
fn ports(node: &Node) -> Read<RangeInclusive<u16>> {
    let written = match &node.value {
        Value::List(items) if items.len() > 1 => return Err(listed(node, items)),
        _ => text(node)?,
    };
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let (Some(first), Some(last)) = (number::<u16>(first.trim()), number::<u16>(last.trim())) else {
        let what = format!("{} is not a range of ports", quoted(written));
        return Err(Flaw::new(what, write(node, "50000-50099")));
    };
    let count = usize::from(last.saturating_sub(first)) + 1;
    if first > last {
        return Err(Flaw::new(format!("{} runs backwards", quoted(written)), write(node, &format!("{last}-{first}"))));
    }
    if first == 0 && last != 0 {
        let what = format!("{} begins with port 0", quoted(written));
        return Err(Flaw::new(what, "Begin with 1 or more; 0 alone lets the system choose one port."));
    }
    if count > MOST_PORTS {
        let remedy = format!("{MOST_PORTS} at most. A hundred are plenty: clients share a port by their addresses.");
        return Err(Flaw::new(format!("{} are {count} ports", quoted(written)), remedy));
    }
    Ok(first..=last)
}

/// What a list of ports is meant to say.
fn listed(node: &Node, items: &[Node]) -> Flaw {
    let ports: Option<Vec<u16>> = items.iter().flat_map(|item| item.text.split('-')).map(number).collect();
    let ends = ports.as_ref().and_then(|ports| ports.iter().min().zip(ports.iter().max()));
    let remedy = match ends {
        Some((first, last)) if usize::from(last - first) < MOST_PORTS => write(node, &format!("{first}-{last}")),
        Some(_) | None => "Write one range, like 50000-50099.".to_owned(),
    };
    Flaw::new("is a list where one range is expected", remedy)
}

/// The rules in their order. An empty list is as good as none: everyone hears the address that he dialled.
fn advertise(reader: &mut Reader<'_>, passive: Section<'_>) -> Vec<AdvertiseRule> {
    let Some(node) = passive.get("advertise") else { return Vec::new() };
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        return Vec::new();
    }
    let mut rules = Vec::new();
    let mut catch_all: Option<&Node> = None;
    for item in reader.one_or_more(node, EMPTY) {
        if let Some(before) = catch_all {
            let what = format!("is never reached: {} stands for all clients", before.path);
            reader.report(item, Flaw::new(what, "Move it up, or take it out."));
        }
        let Some(rule) = rule(reader, item) else { continue };
        if rule.clients.is_empty() || hold_everyone(&rule.clients) {
            catch_all = catch_all.or(Some(item));
        }
        rules.push(rule);
    }
    rules
}

/// One rule; a bare address or name stands for all clients.
fn rule(reader: &mut Reader<'_>, item: &Node) -> Option<AdvertiseRule> {
    if !matches!(item.value, Value::Map(_)) {
        let address = reader.keep(item, advertised(item))?;
        return Some(AdvertiseRule { clients: Vec::new(), address });
    }
    let section = reader.section(item)?;
    // A rule whose networks are all wrong must not look like one for all clients, so it is dropped.
    let clients = networks(reader, section, "clients");
    let node = reader.required(section, "address", "Write: address: local")?;
    let address = reader.keep(node, advertised(node))?;
    match clients {
        Some(clients) if clients.is_empty() => None,
        clients => Some(AdvertiseRule { clients: clients.unwrap_or_default(), address }),
    }
}

/// `local`, an IPv4 address or a name.
fn advertised(node: &Node) -> Read<Advertised> {
    let written = text(node)?;
    if written == "local" {
        return Ok(Advertised::Local);
    }
    if written.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok() {
        let what = format!("{} is an IPv6 address, and PASV carries IPv4 only", quoted(written));
        return Err(Flaw::new(what, "Write an IPv4 address. EPSV serves IPv6 and needs none."));
    }
    match written.parse::<Ipv4Addr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() => {
            let what = format!("{ip} is no address that a client can connect to");
            Err(Flaw::new(what, write(node, "local")))
        }
        Ok(ip) => Ok(Advertised::Address(ip)),
        Err(_) => host_name(written).map(|name| Advertised::Name(name.to_owned())),
    }
}
