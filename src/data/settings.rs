//! What the data room must be told.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// Data connections with clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The passive ports, all bound at start. A port of 0 stands for one the system chooses.
    pub ports: RangeInclusive<u16>,
    /// Which address PASV names; the first rule that matches. None matches: the address the client dialled.
    pub advertise: Vec<AdvertiseRule>,
    /// Balancers: data connections from them begin with a PROXY header.
    pub balancers: Vec<IpNet>,
    /// Active mode; `None`: switched off.
    pub active: Option<SourcePort>,
}

/// The local port of active data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourcePort {
    /// The system chooses.
    Any,
    /// Port 20, for firewalls that want it (RFC 959 §5.2).
    FtpData,
}

/// One rule of `passive.advertise`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvertiseRule {
    /// Networks of clients; empty: all.
    pub clients: Vec<IpNet>,
    /// What they are told.
    pub address: Advertised,
}

/// What PASV names. Only IPv4: EPSV names no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// The address the client dialled.
    Local,
    /// This address.
    Address(Ipv4Addr),
    /// The IPv4 address of this name, looked up again as its TTL says.
    Name(String),
}
