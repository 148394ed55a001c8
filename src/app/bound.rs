//! Which addresses and ports are bound, and what of it while the process still may.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::gateway::StartError;
use crate::config::Settings;
use crate::net::bind_ahead;

/// Ports that the system gives to nobody but root and the holder of CAP_NET_BIND_SERVICE.
const LOW_PORTS: std::ops::Range<u16> = 1..1024;

/// Binds what only a privileged process can bind; [`Gateway::start`](super::Gateway::start) finds it there.
///
/// # Errors
/// The first that cannot be had.
pub(super) fn bind_low_ports(settings: &Settings) -> Result<(), StartError> {
    let listeners = settings.listeners.iter().map(|listener| listener.address);
    let clients_dial = passive_addresses(listeners.clone().map(|address| address.ip()));
    let ports = settings.data.ports.clone().filter(|port| LOW_PORTS.contains(port));
    let passive = ports.flat_map(|port| clients_dial.iter().map(move |&ip| SocketAddr::new(ip, port)));
    let admin = settings.admin.iter().map(|admin| admin.address);
    for address in listeners.chain(passive).chain(admin).filter(|address| LOW_PORTS.contains(&address.port())) {
        let problem = |error| StartError::Bind { address, what: format!("cannot listen on {address}: {error}") };
        bind_ahead(address).map_err(problem)?;
    }
    Ok(())
}

/// Where passive ports are bound: on each address that clients can dial, once.
pub(super) fn passive_addresses(listeners: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let addresses: HashSet<IpAddr> = listeners.collect();
    if addresses.contains(&IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        return vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    }
    let all_ipv4 = addresses.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let wanted = |address: &IpAddr| !all_ipv4 || address.is_ipv6() || address.is_unspecified();
    addresses.into_iter().filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_ports_are_bound_once_on_what_clients_can_dial() {
        let addresses = |list: &[&str]| {
            let mut bound = passive_addresses(list.iter().map(|address| address.parse().unwrap()));
            bound.sort();
            bound.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses(&["::", "127.0.0.1", "::"]), ["::"]);
        assert_eq!(addresses(&["0.0.0.0", "127.0.0.1", "::1"]), ["0.0.0.0", "::1"]);
        assert_eq!(addresses(&["10.0.0.1", "10.0.0.1", "10.0.0.2"]), ["10.0.0.1", "10.0.0.2"]);
    }
}
