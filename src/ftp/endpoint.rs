//! Where a data connection goes: the arguments of PORT and EPRT, the replies to PASV and EPSV.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address and a port as a peer named them. Nothing says yet that anyone may connect there.
pub type HostPort = SocketAddr;

/// Why an endpoint cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointFlaw {
    /// Not the form the RFC gives.
    #[error("not an address and port as RFC 959 and RFC 2428 write them")]
    Syntax,
    /// EPRT or EPSV with a network protocol that is neither 1 nor 2 (RFC 2428 §2).
    #[error("network protocol not supported, use (1,2)")]
    Protocol,
}

/// What EPSV asked for (RFC 2428 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpsvRequest {
    /// No argument: the control connection's own protocol.
    Any,
    /// `1`: IPv4.
    Ipv4,
    /// `2`: IPv6.
    Ipv6,
    /// `ALL`: from now on nothing but EPSV.
    All,
}

/// Reads the argument of PORT: six decimal numbers (RFC 959 §4.1.2).
///
/// # Errors
/// When it is anything else.
pub fn parse_port(argument: &[u8]) -> Result<HostPort, EndpointFlaw> {
    let text = std::str::from_utf8(argument).map_err(|_| EndpointFlaw::Syntax)?.trim();
    let numbers: Vec<&str> = text.split(',').collect();
    let six: [&str; 6] = numbers.try_into().map_err(|_| EndpointFlaw::Syntax)?;
    six_numbers(six).ok_or(EndpointFlaw::Syntax)
}

/// Finds the six numbers in the text of a 227 reply. RFC 1123 §4.1.2.6: the parentheses may be missing, so the text
/// is searched for them.
///
/// # Errors
/// When there are none.
pub fn parse_pasv(text: &[u8]) -> Result<HostPort, EndpointFlaw> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
    text.split(|byte| !is_part(byte))
        .filter_map(|run| std::str::from_utf8(run).ok())
        .filter_map(|run| run.trim_matches(',').split(',').collect::<Vec<_>>().try_into().ok())
        .find_map(six_numbers)
        .ok_or(EndpointFlaw::Syntax)
}

/// Finds `(|||port|)` in the text of a 229 reply; the delimiter is any of ASCII 33–126 (RFC 2428 §3).
///
/// # Errors
/// When it is not there or the port is 0.
pub fn parse_epsv_port(text: &[u8]) -> Result<u16, EndpointFlaw> {
    let start = text.iter().position(|&byte| byte == b'(').ok_or(EndpointFlaw::Syntax)? + 1;
    let inner = &text[start..];
    let delimiter = *inner.first().filter(|byte| is_delimiter(**byte)).ok_or(EndpointFlaw::Syntax)?;
    let fields: Vec<&[u8]> = inner.split(|&byte| byte == delimiter).collect();
    // Before, protocol, address, port, after: some servers fill in protocol and address; both are ignored.
    let [_, _, _, port, ..] = fields[..] else { return Err(EndpointFlaw::Syntax) };
    number::<u16>(port).filter(|&port| port != 0).ok_or(EndpointFlaw::Syntax)
}

/// Reads the argument of EPSV.
///
/// # Errors
/// `Protocol` for a network protocol other than 1 and 2, to be answered 522.
pub fn parse_epsv_request(argument: &[u8]) -> Result<EpsvRequest, EndpointFlaw> {
    match argument.trim_ascii() {
        b"" => Ok(EpsvRequest::Any),
        b"1" => Ok(EpsvRequest::Ipv4),
        b"2" => Ok(EpsvRequest::Ipv6),
        other if other.eq_ignore_ascii_case(b"ALL") => Ok(EpsvRequest::All),
        other if other.iter().all(u8::is_ascii_digit) => Err(EndpointFlaw::Protocol),
        _ => Err(EndpointFlaw::Syntax),
    }
}

/// Reads the argument of EPRT: `|1|192.0.2.1|6275|` (RFC 2428 §2).
///
/// # Errors
/// `Protocol` for a network protocol other than 1 and 2, `Syntax` for anything else that is wrong.
pub fn parse_eprt(argument: &[u8]) -> Result<HostPort, EndpointFlaw> {
    let argument = argument.trim_ascii();
    let delimiter = *argument.first().filter(|byte| is_delimiter(**byte)).ok_or(EndpointFlaw::Syntax)?;
    let fields: Vec<&[u8]> = argument.split(|&byte| byte == delimiter).collect();
    let [b"", protocol, address, port, b""] = fields[..] else { return Err(EndpointFlaw::Syntax) };
    let address = std::str::from_utf8(address).map_err(|_| EndpointFlaw::Syntax)?;
    let address = match number::<u32>(protocol) {
        Some(1) => address.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| EndpointFlaw::Syntax)?,
        Some(2) => address.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| EndpointFlaw::Syntax)?,
        Some(_) => return Err(EndpointFlaw::Protocol),
        None => return Err(EndpointFlaw::Syntax),
    };
    let port = number::<u16>(port).ok_or(EndpointFlaw::Syntax)?;
    Ok(SocketAddr::new(address, port))
}

/// The argument of PORT.
pub fn write_port(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// The argument of EPRT.
pub fn write_eprt(endpoint: HostPort) -> String {
    let protocol = if endpoint.is_ipv4() { 1 } else { 2 };
    format!("|{protocol}|{}|{}|", endpoint.ip(), endpoint.port())
}

/// The text of a 227 reply.
pub fn write_pasv(address: Ipv4Addr, port: u16) -> String {
    format!("Entering Passive Mode ({})", write_port(address, port))
}

/// The text of a 229 reply.
pub fn write_epsv(port: u16) -> String {
    format!("Entering Extended Passive Mode (|||{port}|)")
}

fn six_numbers(numbers: [&str; 6]) -> Option<HostPort> {
    let mut bytes = [0u8; 6];
    for (byte, text) in bytes.iter_mut().zip(numbers) {
        *byte = number(text.as_bytes())?;
    }
    let [a, b, c, d, high, low] = bytes;
    Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes([high, low])))
}

/// Digits only: Rust's own parser would take a plus sign too.
fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn is_delimiter(byte: u8) -> bool {
    (33..=126).contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pasv_replies_of_many_servers() {
        let expected: HostPort = "10.0.0.7:5001".parse().unwrap();
        for text in [
            &b"Entering Passive Mode (10,0,0,7,19,137)."[..],
            b"Entering Passive Mode 10,0,0,7,19,137",
            b"=10,0,0,7,19,137",
            b"on 2 hosts: 10,0,0,7,19,137, good luck",
        ] {
            assert_eq!(parse_pasv(text), Ok(expected), "{}", String::from_utf8_lossy(text));
        }
        for text in [&b"Entering Passive Mode"[..], b"(1,2,3,4,5)", b"(1,2,3,4,5,256)", b"(1,2,3,4,5,6,7)"] {
            assert_eq!(parse_pasv(text), Err(EndpointFlaw::Syntax));
        }
    }

    #[test]
    fn epsv_replies_with_any_delimiter() {
        for text in [&b"Extended (|||6446|)"[..], b"ok (!!!6446!)", b"(|1|10.0.0.1|6446|) ."] {
            assert_eq!(parse_epsv_port(text), Ok(6446));
        }
        for text in [&b"Extended"[..], b"(|||0|)", b"(|||70000|)", b"(||)", b"("] {
            assert_eq!(parse_epsv_port(text), Err(EndpointFlaw::Syntax));
        }
    }

    #[test]
    fn epsv_requests() {
        assert_eq!(parse_epsv_request(b""), Ok(EpsvRequest::Any));
        assert_eq!(parse_epsv_request(b"all"), Ok(EpsvRequest::All));
        assert_eq!(parse_epsv_request(b"3"), Err(EndpointFlaw::Protocol));
        assert_eq!(parse_epsv_request(b"x"), Err(EndpointFlaw::Syntax));
    }

    #[test]
    fn eprt_with_any_delimiter_and_both_families() {
        assert_eq!(parse_eprt(b"|1|192.0.2.1|6275|"), Ok("192.0.2.1:6275".parse().unwrap()));
        assert_eq!(parse_eprt(b"!2!::1!6275!"), Ok("[::1]:6275".parse().unwrap()));
        assert_eq!(parse_eprt(b"|3|x|1|"), Err(EndpointFlaw::Protocol));
        for argument in [&b""[..], b"|1|::1|1|", b"|1|192.0.2.1|65536|", b"|1|192.0.2.1|1", b"|1|192.0.2.1|+1|"] {
            assert_eq!(parse_eprt(argument), Err(EndpointFlaw::Syntax), "{argument:?}");
        }
    }

    proptest! {
        #[test]
        fn parse_after_write_is_identity(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in 1u16..) {
            let four = SocketAddr::from((v4, port));
            let six = SocketAddr::from((v6, port));
            prop_assert_eq!(parse_port(write_port(v4.into(), port).as_bytes()), Ok(four));
            prop_assert_eq!(parse_pasv(write_pasv(v4.into(), port).as_bytes()), Ok(four));
            prop_assert_eq!(parse_eprt(write_eprt(four).as_bytes()), Ok(four));
            prop_assert_eq!(parse_eprt(write_eprt(six).as_bytes()), Ok(six));
            prop_assert_eq!(parse_epsv_port(write_epsv(port).as_bytes()), Ok(port));
        }

        #[test]
        fn parsing_never_panics(bytes in proptest::collection::vec(prop_oneof![Just(b'|'), Just(b','), Just(b'('), Just(b'1'), any::<u8>()], 0..60)) {
            let _ = (parse_port(&bytes), parse_pasv(&bytes), parse_eprt(&bytes), parse_epsv_port(&bytes), parse_epsv_request(&bytes));
        }
    }
}
