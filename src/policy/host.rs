//! HOST (RFC 7151): which names there are.

use std::net::IpAddr;

use super::refusal::Refusal;
use super::route::Glob;

/// The names a client may give with HOST.
#[derive(Debug, Clone, Default)]
pub struct HostNames {
    /// Host patterns of the routes.
    pub routed: Vec<Glob>,
    /// DNS names of the certificates, `*.` wildcards included.
    pub certified: Vec<String>,
}

impl HostNames {
    /// Reads the argument of HOST and says which name it is. Without host routes every name leads to the same place,
    /// so every name is known.
    ///
    /// # Errors
    /// Not a name or address, a port in it, a name no route and no certificate knows, a name other than SNI's.
    pub fn check(&self, argument: &[u8], sni: Option<&str>) -> Result<String, Refusal> {
        let name = parse(argument).ok_or(Refusal::HostSyntax)?;
        if sni.is_some_and(|sni| !sni.eq_ignore_ascii_case(&name)) {
            return Err(Refusal::HostDiffersFromSni);
        }
        let known = self.routed.is_empty()
            || self.routed.iter().any(|glob| glob.matches(name.as_bytes()))
            || self.certified.iter().any(|pattern| certificate_covers(pattern, &name));
        if known { Ok(name) } else { Err(Refusal::HostUnknown) }
    }
}

/// RFC 7151 §3.1: a DNS name, an IPv4 address, or an IPv6 address in brackets; no port.
fn parse(argument: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(argument).ok()?;
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?;
        return Some(IpAddr::V6(address).to_string());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| name.to_ascii_lowercase())
}

/// RFC 6125 §6.4.3: `*.` stands for one label.
fn certificate_covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_host_is_a_syntax_error() {
        for argument in [&b"ftp.example:21"[..], b"", b"a b", b"[::1]:21", b"-\xff"] {
            assert_eq!(HostNames::default().check(argument, None), Err(Refusal::HostSyntax), "{argument:?}");
        }
        assert_eq!(HostNames::default().check(b"[::1]", None).as_deref(), Ok("::1"));
        assert_eq!(HostNames::default().check(b"FTP.Example", None).as_deref(), Ok("ftp.example"));
    }

    #[test]
    fn unknown_hosts_are_504_once_hosts_matter() {
        let names = HostNames {
            routed: vec![Glob::host("ftp.beta.example").unwrap()],
            certified: vec!["*.example.org".into()],
        };
        assert!(names.check(b"ftp.beta.example", None).is_ok());
        assert!(names.check(b"a.example.org", None).is_ok());
        assert_eq!(names.check(b"a.b.example.org", None), Err(Refusal::HostUnknown));
        assert_eq!(names.check(b"a.example.org", Some("ftp.beta.example")), Err(Refusal::HostDiffersFromSni));
    }
}
