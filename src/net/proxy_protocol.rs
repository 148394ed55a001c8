//! The PROXY protocol, versions 1 and 2: who is behind a balancer, and who is behind this gateway.
//!
//! Invariants: of what a balancer sends exactly the header is taken from the kernel, so that what is behind it is still
//! there for whoever reads next; a header has a bound and a deadline; what is no header is told with its first wrong
//! byte. Not in this room: whom to believe (`server`, `data`).
//!
//! The protocol: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How a header of version 1 begins (§2.1).
const TEXT: &[u8] = b"PROXY ";
/// How a header of version 2 begins (§2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The shortest header there is: `PROXY UNKNOWN` and its line end.
const SHORTEST: usize = 15;
/// The longest header of version 1, its line end included (§2.1).
const LONGEST_TEXT: usize = 107;
/// Version 2: the signature, version and command, family, length (§2.2).
const FIXED: usize = 16;
/// The longest header of version 2. Addresses take 216 bytes at most; the rest is for what balancers add about TLS.
const LONGEST: usize = 4096;

/// Both ends of a connection as its client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// The address it dialled.
    pub destination: SocketAddr,
}

/// The version of a header that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not whole in time.
    #[error("no PROXY header within {0:?}")]
    Late(Duration),
    /// Something else was sent.
    #[error("what was sent is no PROXY header")]
    NotAHeader,
    /// A header that cannot be read, or that names what no client can be.
    #[error("the PROXY header is wrong: {0}")]
    Wrong(&'static str),
    /// The connection ended or broke.
    #[error("the connection ended before the PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderStart {
    /// At least so many bytes are still to come.
    More(usize),
    /// A line that ends in this many bytes at most. To take no byte behind it, they are looked at first.
    RestOfLine(usize),
    /// `None`: the balancer speaks for itself (`LOCAL`, `UNKNOWN`), or for a client without an internet address.
    Whole(Option<Endpoints>),
}

/// Reads the header that a balancer sends first. `None`: it speaks for itself, so the connection's own ends hold (§2.2).
///
/// # Errors
/// When the header is not there within `deadline`, is none, or is wrong.
pub async fn read_header(stream: &mut TcpStream, deadline: Duration) -> Result<Option<Endpoints>, HeaderError> {
    timeout(deadline, read_undated(stream)).await.map_err(|_| HeaderError::Late(deadline))?
}

/// Sends a header ahead of everything else. `None`: the gateway speaks for itself.
///
/// # Errors
/// When the peer does not take it within `deadline`.
pub async fn send_header(
    stream: &mut TcpStream,
    version: ProxyVersion,
    endpoints: Option<Endpoints>,
    deadline: Duration,
) -> io::Result<()> {
    let header = write_header(version, endpoints)?;
    timeout(deadline, stream.write_all(&header)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whether somebody who is not asked for a header sends one: what a connection begins with.
pub fn is_header(first: &[u8]) -> bool {
    first.starts_with(TEXT) || first.starts_with(SIGNATURE)
}

async fn read_undated(stream: &mut TcpStream) -> Result<Option<Endpoints>, HeaderError> {
    let mut held = Vec::new();
    loop {
        let wanted = match header_start(&held)? {
            HeaderStart::Whole(endpoints) => return Ok(endpoints),
            HeaderStart::More(bytes) => bytes,
            HeaderStart::RestOfLine(most) => {
                let mut ahead = [0; LONGEST_TEXT];
                let seen = stream.peek(&mut ahead[..most]).await?;
                ahead[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1)
            }
        };
        let before = held.len();
        held.resize(before + wanted, 0);
        let read = stream.read(&mut held[before..]).await?;
        held.truncate(before + read);
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// What the bytes so far come to. Pure, and asks for no byte that may lie behind the header.
///
/// # Errors
/// When they are no header, or a wrong one.
pub fn header_start(held: &[u8]) -> Result<HeaderStart, HeaderError> {
    let begins = |start: &[u8]| held.iter().zip(start).all(|(one, other)| one == other);
    if begins(TEXT) && held.len() < SHORTEST || held.is_empty() {
        return Ok(HeaderStart::More(SHORTEST - held.len()));
    }
    if begins(TEXT) {
        return match held.last() {
            Some(b'\n') => Ok(HeaderStart::Whole(parse(held)?)),
            _ if held.len() < LONGEST_TEXT => Ok(HeaderStart::RestOfLine(LONGEST_TEXT - held.len())),
            _ => Err(HeaderError::Wrong("the line has no end")),
        };
    }
    if !begins(SIGNATURE) {
        return Err(HeaderError::NotAHeader);
    }
    if held.len() < FIXED {
        return Ok(HeaderStart::More(FIXED - held.len()));
    }
    let whole = FIXED + usize::from(u16::from_be_bytes([held[14], held[15]]));
    if whole > LONGEST {
        return Err(HeaderError::Wrong("it is too long"));
    }
    if held.len() < whole { Ok(HeaderStart::More(whole - held.len())) } else { Ok(HeaderStart::Whole(parse(held)?)) }
}

fn parse(header: &[u8]) -> Result<Option<Endpoints>, HeaderError> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) =
        ProxyHeader::parse(header, config).map_err(|_| HeaderError::Wrong("it is not as the protocol has it"))?;
    if length != header.len() {
        return Err(HeaderError::Wrong("its length is not what it says"));
    }
    let Some(ProxiedAddress { protocol, source, destination }) = parsed.proxied_address() else { return Ok(None) };
    if *protocol != Protocol::Stream {
        return Err(HeaderError::Wrong("it is about datagrams"));
    }
    let (source, destination) = (canonical(*source), canonical(*destination));
    let nobody = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    if nobody(source.ip()) || nobody(destination.ip()) {
        return Err(HeaderError::Wrong("it names an address that nobody has"));
    }
    Ok(Some(Endpoints { source, destination }))
}

/// A header to be sent. `None`: the gateway speaks for itself.
///
/// # Errors
/// When it cannot be written.
pub fn write_header(version: ProxyVersion, endpoints: Option<Endpoints>) -> io::Result<Vec<u8>> {
    let header = match endpoints.map(Endpoints::of_one_family) {
        Some(Endpoints { source, destination }) => {
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        }
        None => ProxyHeader::with_local(),
    };
    let mut bytes = Vec::new();
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    written.map_err(io::Error::other)?;
    Ok(bytes)
}

impl Endpoints {
    /// A header has one family for both: where they differ, IPv4 is written as IPv6.
    fn of_one_family(self) -> Self {
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Self { source, destination };
        }
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        };
        Self { source: mapped(source), destination: mapped(destination) }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoints(source: &str, destination: &str) -> Endpoints {
        Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    /// Feeds bytes as `read_undated` does; says what came out and how many bytes were taken.
    fn fed(bytes: &[u8]) -> (Result<Option<Endpoints>, HeaderError>, usize) {
        let mut taken = 0;
        loop {
            let wanted = match header_start(&bytes[..taken]) {
                Ok(HeaderStart::Whole(endpoints)) => return (Ok(endpoints), taken),
                Ok(HeaderStart::More(wanted)) => wanted,
                Ok(HeaderStart::RestOfLine(most)) => {
                    let ahead = &bytes[taken..bytes.len().min(taken + most)];
                    ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len(), |at| at + 1)
                }
                Err(error) => return (Err(error), taken),
            };
            if wanted == 0 || taken + wanted > bytes.len() {
                return (Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()), taken);
            }
            taken += wanted;
        }
    }

    #[test]
    fn both_versions_and_both_families_are_read_and_nothing_behind_them() {
        for (source, destination) in [("192.0.2.7:4021", "203.0.113.1:21"), ("[2001:db8::7]:4021", "[2001:db8::1]:990")]
        {
            let told = endpoints(source, destination);
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut bytes = write_header(version, Some(told)).unwrap();
                let length = bytes.len();
                bytes.extend(b"\r\nUSER bob\r\n");
                let (read, taken) = fed(&bytes);
                assert_eq!((read.unwrap(), taken), (Some(told), length));
            }
        }
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_names_nobody() {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let bytes = write_header(version, None).unwrap();
            assert_eq!(fed(&bytes).0.unwrap(), None);
        }
        assert_eq!(fed(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n").0.unwrap(), None);
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let (read, _) = fed(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.1 4021 21\r\n");
        assert_eq!(read.unwrap(), Some(endpoints("192.0.2.7:4021", "203.0.113.1:21")));
        let mixed = write_header(ProxyVersion::V1, Some(endpoints("192.0.2.7:1", "[2001:db8::1]:2"))).unwrap();
        assert_eq!(mixed, b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n");
    }

    #[test]
    fn what_is_no_header_is_told_with_its_first_wrong_byte() {
        for (bytes, at_most) in [
            (&b"USER bob\r\nPASS sesame\r\n"[..], SHORTEST),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaa", SHORTEST),
        ] {
            let (read, taken) = fed(bytes);
            assert!(matches!(read, Err(HeaderError::NotAHeader)), "{read:?}");
            assert!(taken <= at_most);
        }
        assert!(matches!(header_start(b"U"), Err(HeaderError::NotAHeader)));
        assert!(matches!(header_start(b"\r\n\r\n\0\r\nQUIX"), Err(HeaderError::NotAHeader)));
    }

    #[test]
    fn wrong_headers_are_refused() {
        let v2 = |rest: &[u8]| [SIGNATURE, rest].concat();
        for bytes in [
            b"PROXY TCP4 192.0.2.7 203.0.113.1 4021 99999\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 203.0.113.1 4021 21\r\n".to_vec(),
            b"PROXY TCP4 0.0.0.0 203.0.113.1 4021 21\r\n".to_vec(),
            b"PROXY TCP4 224.0.0.1 203.0.113.1 4021 21\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 203.0.113.1 4021\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 203.0.113.1 4021 21\n".to_vec(),
            [&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat(),
            v2(b"\x31\x11\x00\x0c\xc0\x00\x02\x07\xcb\x00\x71\x01\x0f\xb5\x00\x15"),
            v2(b"\x21\x12\x00\x0c\xc0\x00\x02\x07\xcb\x00\x71\x01\x0f\xb5\x00\x15"),
            v2(b"\x21\x11\x00\x04\xc0\x00\x02\x07"),
            v2(b"\x21\x11\xff\xff"),
        ] {
            let (read, taken) = fed(&bytes);
            assert!(matches!(read, Err(HeaderError::Wrong(_))), "{read:?} of {bytes:?}");
            assert!(taken <= LONGEST_TEXT.max(bytes.len()));
        }
    }

    proptest! {
        /// Whatever comes: an end, and no more than the bound is taken.
        #[test]
        fn no_bytes_are_too_much(kind in 0_usize..3, bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
            let start = [TEXT, SIGNATURE, &[]][kind];
            let (_, taken) = fed(&[start, &bytes[..]].concat());
            prop_assert!(taken <= LONGEST);
        }
    }
}
