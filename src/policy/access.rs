//! Who may come at all: `access.allow` and `access.deny`.
//!
//! Invariants: an address is looked up in a number of steps that grows with the logarithm of the lists' length, so a list
//! of a hundred thousand networks costs a connection nineteen comparisons; an IPv4 address that came through an IPv6
//! socket is the IPv4 address it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::refusal::Refusal;

/// Which client addresses may connect.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `None`: everyone who is not denied.
    allow: Option<Networks>,
    deny: Networks,
}

impl Access {
    /// `allow`: only these, all when it is empty; `deny`: not these, also when they are allowed.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let only = (!allow.is_empty()).then(|| Networks::new(allow));
        Self { allow: only, deny: Networks::new(deny) }
    }

    /// Whether this address may connect.
    ///
    /// # Errors
    /// When it is denied, or there is a list of those who are allowed and it is not on it.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.deny.hold(address) {
            return Err(Refusal::AddressDenied);
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.hold(address)) {
            return Err(Refusal::AddressNotAllowed);
        }
        Ok(())
    }
}

/// A set of networks, as ranges that are sorted and do not overlap. A clone shares them.
#[derive(Debug, Clone, Default)]
struct Networks {
    v4: Arc<[(Ipv4Addr, Ipv4Addr)]>,
    v6: Arc<[(Ipv6Addr, Ipv6Addr)]>,
}

impl Networks {
    fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push(*network),
                IpNet::V6(network) => v6.push(*network),
            }
        }
        // Aggregated networks do not overlap, so one order is that of their beginnings and of their ends.
        let mut v4: Vec<_> = Ipv4Net::aggregate(&v4).iter().map(|net| (net.network(), net.broadcast())).collect();
        let mut v6: Vec<_> = Ipv6Net::aggregate(&v6).iter().map(|net| (net.network(), net.broadcast())).collect();
        v4.sort_unstable();
        v6.sort_unstable();
        Self { v4: v4.into(), v6: v6.into() }
    }

    fn hold(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address),
            IpAddr::V6(address) => within(&self.v6, address),
        }
    }
}

/// Whether one of these ranges, sorted and apart, holds the address.
fn within<A: Ord>(ranges: &[(A, A)], address: A) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    behind.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn deny_wins_over_allow_and_an_empty_allow_is_everyone() {
        let check = |allow: &[&str], deny: &[&str], address: &str| {
            Access::new(&nets(allow), &nets(deny)).check(address.parse().unwrap())
        };
        assert_eq!(check(&[], &[], "192.0.2.1"), Ok(()));
        assert_eq!(check(&[], &["192.0.2.0/24"], "192.0.2.1"), Err(Refusal::AddressDenied));
        assert_eq!(check(&[], &["192.0.2.0/24"], "192.0.3.1"), Ok(()));
        assert_eq!(check(&["10.0.0.0/8"], &[], "10.255.255.255"), Ok(()));
        assert_eq!(check(&["10.0.0.0/8"], &[], "11.0.0.0"), Err(Refusal::AddressNotAllowed));
        assert_eq!(check(&["10.0.0.0/8"], &[], "2001:db8::1"), Err(Refusal::AddressNotAllowed));
        assert_eq!(check(&["10.0.0.0/8"], &["10.1.0.0/16"], "10.1.2.3"), Err(Refusal::AddressDenied));
        assert_eq!(check(&["0.0.0.0/0", "::/0"], &[], "2001:db8::1"), Ok(()));
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let access = Access::new(&nets(&["192.0.2.0/24"]), &nets(&["192.0.2.7/32"]));
        assert_eq!(access.check("::ffff:192.0.2.1".parse().unwrap()), Ok(()));
        assert_eq!(access.check("::ffff:192.0.2.7".parse().unwrap()), Err(Refusal::AddressDenied));
        // A wide IPv6 network does not hold IPv4.
        let access = Access::new(&nets(&["::/0"]), &[]);
        assert_eq!(access.check("::ffff:192.0.2.1".parse().unwrap()), Err(Refusal::AddressNotAllowed));
    }

    thread_local!(static COMPARED: Cell<usize> = const { Cell::new(0) });

    /// Counts how often it is looked at.
    #[derive(PartialEq, Eq)]
    struct Counted(u32);

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn a_hundred_thousand_networks_cost_nineteen_comparisons() {
        let ranges: Vec<_> = (0..100_000).map(|at| (Counted(at * 4), Counted(at * 4 + 1))).collect();
        for address in (0..400_010).step_by(37) {
            COMPARED.set(0);
            assert_eq!(within(&ranges, Counted(address)), address < 400_000 && address % 4 < 2);
            assert!(COMPARED.get() <= 19, "{address}: {}", COMPARED.get());
        }
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few addresses and long prefixes, so that networks touch, repeat and hold each other.
        let v4 =
            (0u32..512, 22u8..=32).prop_map(|(low, length)| IpNet::new(Ipv4Addr::from(low).into(), length).unwrap());
        let v6 =
            (0u128..512, 118u8..=128).prop_map(|(low, length)| IpNet::new(Ipv6Addr::from(low).into(), length).unwrap());
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn looking_up_says_what_looking_at_each_says(
            networks in proptest::collection::vec(network(), 0..40),
            low in 0u32..600,
        ) {
            let set = Networks::new(&networks);
            for address in [IpAddr::from(Ipv4Addr::from(low)), IpAddr::from(Ipv6Addr::from(u128::from(low)))] {
                let held = networks.iter().any(|network| network.contains(&address));
                prop_assert_eq!(set.hold(address), held, "{}", address);
            }
        }
    }
}
