//! Which IPv4 address PASV names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::time::timeout;

use super::settings::{AdvertiseRule, Advertised};
use crate::policy::{Refusal, canonical};

/// How long a name may take to be looked up before the last answer is used again.
const LOOKUP: Duration = Duration::from_secs(5);

/// Chooses the address by the client's network. Names are looked up again as their TTL says: the resolver's cache
/// holds them for so long and no longer.
pub struct Advertise {
    rules: Vec<AdvertiseRule>,
    resolver: Option<TokioResolver>,
    last_known: Mutex<HashMap<String, Ipv4Addr>>,
}

impl Advertise {
    /// Rules in their order. A resolver is made only when a rule holds a name.
    ///
    /// # Errors
    /// When a rule holds a name and the system's resolver configuration cannot be read.
    pub fn new(rules: Vec<AdvertiseRule>) -> Result<Self, String> {
        let named = rules.iter().any(|rule| matches!(rule.address, Advertised::Name(_)));
        let resolver = if named {
            let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
            Some(builder.build().map_err(|error| error.to_string())?)
        } else {
            None
        };
        Ok(Self { rules, resolver, last_known: Mutex::default() })
    }

    /// The address for this client, who dialled `local`.
    ///
    /// # Errors
    /// When the client dialled an IPv6 address and no rule names an IPv4 one, or a name has no IPv4 address.
    pub async fn address(&self, client: IpAddr, local: IpAddr) -> Result<Ipv4Addr, Refusal> {
        let client = canonical(client);
        let rule =
            self.rules.iter().find(|rule| rule.clients.is_empty() || rule.clients.iter().any(|net| net.contains(&client)));
        match rule.map(|rule| &rule.address) {
            Some(Advertised::Address(address)) => Ok(*address),
            Some(Advertised::Name(name)) => self.look_up(name).await,
            Some(Advertised::Local) | None => match canonical(local) {
                IpAddr::V4(address) => Ok(address),
                IpAddr::V6(_) => Err(Refusal::AdvertiseUnavailable),
            },
        }
    }

    async fn look_up(&self, name: &str) -> Result<Ipv4Addr, Refusal> {
        let Some(resolver) = &self.resolver else { return Err(Refusal::AdvertiseUnavailable) };
        let found = match timeout(LOOKUP, resolver.ipv4_lookup(name)).await {
            Ok(Ok(answer)) => answer.answers().iter().find_map(|record| match record.data.ip_addr() {
                Some(IpAddr::V4(address)) => Some(address),
                Some(IpAddr::V6(_)) | None => None,
            }),
            Ok(Err(error)) => {
                tracing::warn!(name, %error, "the advertised name could not be looked up");
                None
            }
            Err(_) => {
                tracing::warn!(name, "the advertised name was not looked up in time");
                None
            }
        };
        let mut last_known = self.last_known.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(address) => {
                last_known.insert(name.to_owned(), address);
                Ok(address)
            }
            // An address that was right a while ago is better than none.
            None => last_known.get(name).copied().ok_or(Refusal::AdvertiseUnavailable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_rule_that_matches_wins_and_none_is_local() {
        let outside = Advertised::Address("203.0.113.7".parse().unwrap());
        let rules = vec![
            AdvertiseRule { clients: vec!["10.0.0.0/8".parse().unwrap()], address: Advertised::Local },
            AdvertiseRule { clients: vec!["198.51.100.0/24".parse().unwrap()], address: outside },
        ];
        let advertise = Advertise::new(rules).unwrap();
        let local: IpAddr = "10.1.1.1".parse().unwrap();
        let address = async |client: &str| advertise.address(client.parse().unwrap(), local).await.unwrap().to_string();
        assert_eq!(address("::ffff:10.9.9.9").await, "10.1.1.1");
        assert_eq!(address("198.51.100.3").await, "203.0.113.7");
        assert_eq!(address("192.0.2.3").await, "10.1.1.1");
    }

    #[tokio::test]
    async fn an_ipv6_address_cannot_be_advertised() {
        let advertise = Advertise::new(Vec::new()).unwrap();
        let local: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(advertise.address(local, local).await, Err(Refusal::AdvertiseUnavailable));
    }
}
