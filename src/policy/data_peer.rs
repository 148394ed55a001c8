//! Who may have a data connection (RFC 2577 §3: the bounce attack and port stealing).

use std::net::{IpAddr, SocketAddr};

use super::refusal::Refusal;

/// The lowest port a client may ask a data connection to: below are services that believe whom they know.
const LOWEST_PORT: u16 = 1024;

/// This peer may have this data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    peer: SocketAddr,
    must_resume: bool,
}

impl Claim {
    /// The peer. In active mode the endpoint to connect to; in passive mode the peer that came.
    pub fn peer(self) -> SocketAddr {
        self.peer
    }

    /// Its address alone does not say whose it is: it may have the data connection when it has resumed the TLS session of
    /// the control connection, and not before.
    pub fn must_resume(self) -> bool {
        self.must_resume
    }

    pub(super) fn that_must_resume(self) -> Self {
        Self { must_resume: true, ..self }
    }
}

/// The client asks for an active data connection to `endpoint`.
///
/// # Errors
/// When the address is not the control connection's, or the port is a privileged one.
pub fn claim_active(endpoint: SocketAddr, control_peer: IpAddr) -> Result<Claim, Refusal> {
    if canonical(endpoint.ip()) != canonical(control_peer) {
        return Err(Refusal::ForeignAddress);
    }
    if endpoint.port() < LOWEST_PORT {
        return Err(Refusal::PrivilegedPort);
    }
    Ok(Claim { peer: SocketAddr::new(canonical(endpoint.ip()), endpoint.port()), must_resume: false })
}

/// A connection came in for a data connection that `expected` may have.
///
/// # Errors
/// When it came from another address.
pub fn claim_passive(peer: SocketAddr, expected: IpAddr) -> Result<Claim, Refusal> {
    if canonical(peer.ip()) != canonical(expected) {
        return Err(Refusal::ForeignAddress);
    }
    Ok(Claim { peer, must_resume: false })
}

/// An IPv4 address that came through an IPv6 socket is the IPv4 address it is.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_clients_own_address_and_high_ports() {
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        assert!(claim_active("192.0.2.7:1024".parse().unwrap(), client).is_ok());
        assert_eq!(claim_active("192.0.2.7:1023".parse().unwrap(), client), Err(Refusal::PrivilegedPort));
        assert_eq!(claim_active("192.0.2.8:5000".parse().unwrap(), client), Err(Refusal::ForeignAddress));
        assert_eq!(claim_active("127.0.0.1:5000".parse().unwrap(), client), Err(Refusal::ForeignAddress));
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let client: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert!(claim_active("192.0.2.7:5000".parse().unwrap(), client).is_ok());
        assert!(claim_passive("[::ffff:192.0.2.7]:5000".parse().unwrap(), "192.0.2.7".parse().unwrap()).is_ok());
    }

    proptest! {
        #[test]
        fn no_stranger_ever_gets_a_claim(peer in any::<IpAddr>(), client in any::<IpAddr>(), port in any::<u16>()) {
            prop_assume!(canonical(peer) != canonical(client));
            prop_assert!(claim_active(SocketAddr::new(peer, port), client).is_err());
            prop_assert!(claim_passive(SocketAddr::new(peer, port), client).is_err());
        }
    }
}
