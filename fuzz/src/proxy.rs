//! The header of the PROXY protocol, as a balancer sends it.

use std::net::{IpAddr, SocketAddr};

use ftps_gateway::net::{Endpoints, HeaderError, HeaderStart, ProxyVersion, header_start, is_header, write_header};

/// The most that is taken before somebody is told that he sent no header.
const BOUND: usize = 4096;

/// What came of the bytes, and how many were taken. They come in pieces of this size, and are taken as from a socket.
fn taken(bytes: &[u8], piece: usize) -> (Result<Option<Endpoints>, HeaderError>, usize) {
    let mut taken = 0;
    loop {
        let come = bytes.len().min((taken / piece + 1) * piece);
        let wanted = match header_start(&bytes[..taken]) {
            Ok(HeaderStart::Whole(endpoints)) => return (Ok(endpoints), taken),
            Err(error) => return (Err(error), taken),
            Ok(HeaderStart::More(bytes)) => bytes,
            Ok(HeaderStart::RestOfLine(most)) => {
                let ahead = &bytes[taken..come.min(taken + most)];
                ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len().max(1), |at| at + 1)
            }
        };
        assert!(wanted > 0, "nothing is wanted, and nothing said");
        assert!(taken + wanted <= BOUND, "{} bytes are held", taken + wanted);
        if taken == bytes.len() {
            return (Err(HeaderError::Wrong("it has no end")), taken);
        }
        taken = (taken + wanted).min(come);
    }
}

/// Somebody can be there.
fn is_somebody(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255; 4]) && ip == ip.to_canonical()
}

/// The line of a header of version 1, read as the protocol's §2.1 has it. `None`: it names nobody.
fn line(bytes: &[u8]) -> Option<Endpoints> {
    let line = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n")?;
    let &[_proxy, family, source, destination, from, to] = &*line.split(' ').collect::<Vec<_>>() else { return None };
    let address = |ip: &str, port: &str| {
        let ip: IpAddr = ip.parse().ok()?;
        (ip.is_ipv4() == (family == "TCP4")).then_some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
    };
    Some(Endpoints { source: address(source, from)?, destination: address(destination, to)? })
}

/// PROXY headers: bounded, the same however the bytes came, no byte of what is behind them, and nobody but who is named.
pub fn proxy(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let (whole, end) = taken(bytes, bytes.len().max(1));
    let (pieces, end_of_pieces) = taken(bytes, usize::from(*size) % 40 + 1);
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "another header in pieces");
    let Ok(endpoints) = whole else { return };
    assert_eq!(end, end_of_pieces, "a header of another length in pieces");
    let header = &bytes[..end];
    assert!(is_header(header), "a stranger's would not be seen");
    assert!(taken(&header[..end - 1], BOUND).0.is_err(), "a header ends twice");
    let Some(told) = endpoints else { return };
    assert!(is_somebody(told.source.ip()) && is_somebody(told.destination.ip()), "{told:?}");
    if header.starts_with(b"PROXY") {
        assert_eq!(line(header), Some(told), "{header:?}");
    }
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let Ok(written) = write_header(version, Some(told)) else { panic!("{told:?} cannot be written") };
        assert!(written.len() <= 107, "{} bytes", written.len());
        let behind = [&written[..], b"\r\nUSER bob\r\n"].concat();
        let (again, length) = taken(&behind, BOUND);
        assert_eq!((again.ok(), length), (Some(Some(told)), written.len()));
    }
}
