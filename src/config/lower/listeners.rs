//! `listeners`: where clients come in.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::names::{balancers, label};
use super::read::{Flaw, Read, Reader, Section};
use super::scalars::{choice, number, text, write};
use super::tls::ASK;
use crate::config::problems::quoted;
use crate::config::raw::Node;
use crate::policy::ClientCertificate;
use crate::server::{ListenerSettings, TlsMode};

/// The port of FTPS with TLS from the first byte (IANA: ftps).
const IMPLICIT_PORT: u16 = 990;

/// For remedies.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 21);

const MODES: &[(&str, TlsMode)] = &[("explicit", TlsMode::Explicit), ("implicit", TlsMode::Implicit)];

/// A socket that the gateway binds, and the key that asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'n> {
    pub(super) address: SocketAddr,
    pub(super) key: &'n str,
    /// Where the key stands; none for a default.
    pub(super) node: Option<&'n Node>,
}

/// What the section says.
#[derive(Debug)]
pub(super) struct Listeners<'n> {
    /// Those in order.
    pub(super) settings: Vec<ListenerSettings>,
    /// Whether they ask for a certificate, by name, where they say so.
    pub(super) certificates: BTreeMap<Arc<str>, ClientCertificate>,
    /// What they bind.
    pub(super) bound: Vec<Bound<'n>>,
    /// The names of all, also of those with problems: routes that speak of them are not wrong.
    pub(super) names: Vec<Arc<str>>,
}

/// One listener as far as it can be read.
struct Draft<'n> {
    address: Option<SocketAddr>,
    tls: TlsMode,
    name: Option<(&'n Node, &'n str)>,
    balancers: Vec<IpNet>,
    client_certificate: Option<ClientCertificate>,
}

/// All listeners. They may ask for certificates of clients when it is said whose are taken.
pub(super) fn listeners<'n>(reader: &mut Reader<'_>, root: Section<'n>, with_authorities: bool) -> Listeners<'n> {
    let remedy = "Write: listeners: [{ address: \"[::]:21\", tls: explicit }]";
    let items = reader.required(root, "listeners", remedy).map_or(&[][..], |node| reader.list(node, remedy));
    let mut bound = Vec::new();
    let drafts: Vec<Draft<'n>> =
        items.iter().filter_map(|item| draft(reader, item, &mut bound, with_authorities)).collect();
    let mut taken: HashSet<String> = HashSet::new();
    for (node, name) in drafts.iter().filter_map(|draft| draft.name) {
        if !taken.insert(name.to_owned()) {
            let what = format!("{} names another listener already", quoted(name));
            reader.report(node, Flaw::new(what, "Choose another name."));
        }
    }
    let (mut settings, mut names, mut certificates) = (Vec::new(), Vec::new(), BTreeMap::new());
    for Draft { address, tls, name, balancers, client_certificate } in drafts {
        let name: Arc<str> = match (name, address) {
            (Some((_, name)), _) => Arc::from(name),
            (None, Some(address)) => Arc::from(free_name(&mut taken, tls, address.port())),
            (None, None) => continue,
        };
        names.push(Arc::clone(&name));
        certificates.extend(client_certificate.map(|ask| (Arc::clone(&name), ask)));
        settings.extend(address.map(|address| ListenerSettings { address, tls, name, balancers }));
    }
    Listeners { settings, certificates, bound, names }
}

/// Whether this listener asks for a certificate. Only where it is known whose it would take.
fn asks(reader: &mut Reader<'_>, section: Section<'_>, with_authorities: bool) -> Option<ClientCertificate> {
    let ask = reader.optional(section, "client_certificates", |node| choice(node, ASK))?;
    if let (false, Some(node)) =
        (with_authorities || ask == ClientCertificate::None, section.get("client_certificates"))
    {
        let remedy = "Write tls.client_certificates with mode and authorities.";
        reader.report(node, Flaw::new("asks for certificates, and nothing says whose are taken", remedy));
    }
    Some(ask)
}

fn draft<'n>(
    reader: &mut Reader<'_>,
    item: &'n Node,
    bound: &mut Vec<Bound<'n>>,
    with_authorities: bool,
) -> Option<Draft<'n>> {
    let section = reader.section(item)?;
    let node = reader.required(section, "address", "Write: address: \"[::]:21\"");
    let address = node.and_then(|node| {
        let address = reader.keep(node, address(node, USUAL))?;
        take(reader, bound, Bound { address, key: &node.path, node: Some(node) });
        Some(address)
    });
    if let (Some(IMPLICIT_PORT), None) = (address.map(|address| address.port()), section.get("tls")) {
        let what = format!("listens on {IMPLICIT_PORT}, where clients begin with TLS, and does not say so");
        reader.report(item, Flaw::new(what, "Write: tls: implicit (or explicit, if that is meant)"));
    }
    let tls = reader.value(section, "tls", TlsMode::Explicit, |node| choice(node, MODES));
    let name = section.get("name").and_then(|node| Some((node, reader.keep(node, text(node).and_then(label))?)));
    let balancers = balancers(reader, section);
    let client_certificate = asks(reader, section, with_authorities);
    Some(Draft { address, tls, name, balancers, client_certificate })
}

/// The address of a socket to bind; the usual one is for remedies.
pub(super) fn address(node: &Node, usual: SocketAddr) -> Read<SocketAddr> {
    let written = text(node)?;
    if let Ok(address) = written.parse() {
        return Ok(address);
    }
    let port = number::<u16>(written.trim_start_matches('*').trim_start_matches(':'));
    let meant = match (written.parse::<IpAddr>(), port) {
        (Ok(ip), _) => Some(SocketAddr::new(ip, usual.port())),
        (Err(_), Some(port)) => Some(SocketAddr::new(usual.ip(), port)),
        (Err(_), None) => None,
    };
    let remedy = match meant {
        Some(meant) => write(node, &format!("\"{meant}\"")),
        None => format!("Write an IP address and a port, like \"192.0.2.1:{}\" or \"{usual}\".", usual.port()),
    };
    Err(Flaw::new(format!("{} is not an address with a port", quoted(written)), remedy))
}

/// Binds one more socket; a problem when one before it has taken the place.
pub(super) fn take<'n>(reader: &mut Reader<'_>, bound: &mut Vec<Bound<'n>>, new: Bound<'n>) {
    if let Some(other) = bound.iter().find(|other| collide(other.address, new.address)) {
        // At least one of the two stands in the file: there is only one default.
        if let Some(node) = new.node.or(other.node) {
            let (one, other) = if new.node.is_some() { (new, *other) } else { (*other, new) };
            let what = format!("{} collides with {} of {}", one.address, other.address, other.key);
            reader.report(node, Flaw::new(what, "Choose another port, or keep one of the two."));
        }
    }
    bound.push(new);
}

/// `[::]` is dual-stack: it takes the port on every IPv4 address too. Port 0 stands for one that is free.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.to_canonical().is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    let (a, b) = (one.ip(), other.ip());
    let same = a.to_canonical() == b.to_canonical() && scope(one) == scope(other);
    one.port() == other.port() && one.port() != 0 && (same || covers(a, b) || covers(b, a))
}

/// The same link-local address exists on every interface.
fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(six) => six.scope_id(),
    }
}

/// Mode and port, and a number where that is taken.
fn free_name(taken: &mut HashSet<String>, tls: TlsMode, port: u16) -> String {
    let mode = match tls {
        TlsMode::Explicit => "explicit",
        TlsMode::Implicit => "implicit",
    };
    let mut name = format!("{mode}-{port}");
    let mut next = 2;
    while !taken.insert(name.clone()) {
        name = format!("{mode}-{port}-{next}");
        next += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_collide_also_through_dual_stack() {
        let collides = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(collides("[::]:21", "0.0.0.0:21"));
        assert!(collides("[::]:21", "192.0.2.1:21"));
        assert!(collides("192.0.2.1:21", "0.0.0.0:21"));
        assert!(collides("[::ffff:192.0.2.1]:21", "192.0.2.1:21"));
        assert!(!collides("[::1]:21", "0.0.0.0:21"));
        assert!(!collides("[::]:21", "[::]:990"));
        assert!(!collides("[::]:0", "[::]:0"));
        assert!(!collides("[fe80::1%1]:21", "[fe80::1%2]:21"));
    }

    #[test]
    fn names_are_made_from_mode_and_port() {
        let mut taken = HashSet::from(["explicit-21".to_owned()]);
        assert_eq!(free_name(&mut taken, TlsMode::Explicit, 21), "explicit-21-2");
        assert_eq!(free_name(&mut taken, TlsMode::Explicit, 21), "explicit-21-3");
        assert_eq!(free_name(&mut taken, TlsMode::Implicit, 990), "implicit-990");
    }
}
