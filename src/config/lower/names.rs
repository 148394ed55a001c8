//! Names and networks: of listeners and backends, of hosts, of clients.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::read::{Flaw, Read, Reader, Section};
use super::scalars::{text, write};
use crate::config::problems::{printable, quoted};
use crate::config::raw::Node;
use crate::policy::Glob;

/// The longest name of a listener or backend.
const LONGEST_LABEL: usize = 64;

/// A name that becomes a metric's label.
pub(super) fn label(name: &str) -> Read<&str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=LONGEST_LABEL).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(name);
    }
    let what = format!("the name {} does not fit metrics and logs", quoted(name));
    Err(Flaw::new(what, format!("Use 1 to {LONGEST_LABEL} letters, digits, dots, dashes or underscores.")))
}

/// A DNS name.
pub(super) fn host_name(name: &str) -> Read<&str> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let dotted = name.strip_suffix('.').unwrap_or(name);
    if dotted.len() > 253 || !dotted.split('.').all(is_label) {
        let what = format!("{} is neither an address nor a DNS name", quoted(name));
        return Err(Flaw::new(what, "Write an address, or a name like ftp.example.com."));
    }
    // No top-level domain is a number, so this can only be a slip.
    if dotted.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(Flaw::new(format!("{} is not an IPv4 address", quoted(name)), "Write four numbers from 0 to 255."));
    }
    Ok(name)
}

/// The networks of a key; absent: none given.
pub(super) fn networks(reader: &mut Reader<'_>, section: Section<'_>, key: &str) -> Option<Vec<IpNet>> {
    reader.each(section, key, network)
}

/// The balancers of a section: who sends a PROXY header is believed whatever it says, so not everyone may.
pub(super) fn balancers(reader: &mut Reader<'_>, section: Section<'_>) -> Vec<IpNet> {
    let balancers = networks(reader, section, "proxy_protocol").unwrap_or_default();
    if let (Some(node), Some(wide)) =
        (section.get("proxy_protocol"), balancers.iter().find(|network| network.prefix_len() == 0))
    {
        let what = format!("{wide} holds everyone, and whoever sends a PROXY header chooses his own address");
        reader.report(node, Flaw::new(what, "List the balancers' own addresses."));
    }
    balancers
}

/// Whether these networks hold every address there is.
pub(super) fn hold_everyone(networks: &[IpNet]) -> bool {
    let everyone = |ipv4: bool| networks.iter().any(|net| net.prefix_len() == 0 && net.addr().is_ipv4() == ipv4);
    everyone(true) && everyone(false)
}

/// A pattern for user names.
pub(super) fn user_glob(node: &Node) -> Read<Glob> {
    glob(node, Glob::new)
}

/// Words for everybody. As a pattern each would be for a user of that name, and what is meant for all would hold for none.
pub(super) const EVERYBODY: &[&str] = &["all", "any", "anyone", "anybody", "everyone", "everybody"];

/// What is wrong with such a word. A user of that name has a pattern that says so.
pub(super) fn named(word: &str, remedy: &str) -> Flaw {
    let mut letters = word.chars();
    let (first, rest) = (letters.next().unwrap_or_default(), letters.as_str());
    let remedy = format!("{remedy}. Is there such a user: write \"[{first}]{}\".", printable(rest));
    Flaw::new(format!("{} would be a user of that name", quoted(word)), remedy)
}

/// A pattern for the users that a rule is for.
pub(super) fn user_of_a_rule(node: &Node) -> Read<Glob> {
    let word = text(node)?;
    if EVERYBODY.contains(&word.trim().to_lowercase().as_str()) {
        return Err(named(word, "Take the key `user` out: a rule without it is for everybody"));
    }
    user_glob(node)
}

/// A pattern for host names.
pub(super) fn host_glob(node: &Node) -> Read<Glob> {
    let pattern = text(node)?;
    if !pattern.is_ascii() {
        let what = format!("{} has letters beyond ASCII, and no name in TLS has", quoted(pattern));
        return Err(Flaw::new(what, "Write it as DNS has it, like xn--bcher-kva.example."));
    }
    glob(node, Glob::host)
}

fn network(node: &Node) -> Read<IpNet> {
    let written = text(node)?;
    let parsed = written.parse::<IpNet>().or_else(|_| written.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        let remedy = "Write an address and its prefix length, like 10.0.0.0/8 or 2001:db8::/32.";
        return Err(Flaw::new(format!("{} is not a network", quoted(written)), remedy));
    };
    if let Some(inner) = ipv4_inside(&network) {
        let what = format!("{} is IPv4 written as IPv6 and would match nobody", quoted(written));
        return Err(Flaw::new(what, write(node, &inner.trunc().to_string())));
    }
    if network.trunc() != network {
        let what = format!("{} has bits behind its prefix", quoted(written));
        return Err(Flaw::new(what, write(node, &network.trunc().to_string())));
    }
    Ok(network)
}

/// Clients are compared in canonical form, in which `::ffff:10.0.0.1` is 10.0.0.1.
fn ipv4_inside(network: &IpNet) -> Option<IpNet> {
    let IpNet::V6(six) = network else { return None };
    let mapped: Ipv6Addr = six.addr();
    let inner = mapped.to_ipv4_mapped()?;
    let prefix = six.prefix_len().checked_sub(96)?;
    IpNet::new(IpAddr::V4(inner), prefix).ok()
}

fn glob(node: &Node, compile: fn(&str) -> Result<Glob, String>) -> Read<Glob> {
    let pattern = text(node)?;
    compile(pattern).map_err(|flaw| {
        let what = format!("{} is not a pattern: {}", quoted(pattern), printable(&flaw));
        let beyond_ascii = !pattern.is_ascii() && pattern.contains('[');
        let remedy = match beyond_ascii {
            true => "Write each letter beyond ASCII by itself, like [äöü], or in braces, like {ß,s}.",
            false => "Use *, ? and [a-z]; put a backslash before one that is meant as it stands.",
        };
        Flaw::new(what, remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for name in ["ftp", "ftp.example.com", "ftp.example.com.", "a_b-c.x1", "7.example"] {
            assert_eq!(host_name(name), Ok(name));
        }
        for name in ["", ".", "a..b", "a b", "ftp://x", "10.20.0.300", "1234", "ü.example", &"x".repeat(64)] {
            assert!(host_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn labels() {
        assert!(label("legacy-1_a.b").is_ok());
        for name in ["", "a b", "a\"b", "ä", &"x".repeat(65)] {
            assert!(label(name).is_err(), "{name}");
        }
    }

    #[test]
    fn networks_that_hold_everyone() {
        let nets = |texts: &[&str]| texts.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        assert!(hold_everyone(&nets(&["10.0.0.0/8", "::/0", "0.0.0.0/0"])));
        assert!(!hold_everyone(&nets(&["0.0.0.0/0"])));
    }
}
