//! Which IPv4 address PASV names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::settings::{AdvertiseRule, Advertised};
use crate::policy::{Refusal, canonical};

/// How long a name may take to be looked up.
const LOOKUP: Duration = Duration::from_secs(5);
/// How long a client waits for it where the last answer can be used again.
const MOMENT: Duration = Duration::from_millis(250);

/// Chooses the address by the client's network. Names are looked up again as their TTL says: the resolver's cache
/// holds them for so long and no longer.
pub struct Advertise {
    rules: Vec<AdvertiseRule>,
    resolver: Option<TokioResolver>,
    last_known: LastKnown,
    /// Lookups of names, the last of each.
    lookups: Mutex<HashMap<String, AbortOnDropHandle<()>>>,
}

/// What names were found to be. It outlives a configuration: an address that was right a while ago is better than none.
#[derive(Debug, Clone, Default)]
pub struct LastKnown(Arc<Mutex<HashMap<String, Ipv4Addr>>>);

impl LastKnown {
    fn get(&self, name: &str) -> Option<Ipv4Addr> {
        lock(&self.0).get(name).copied()
    }

    fn set(&self, name: &str, address: Ipv4Addr) {
        lock(&self.0).insert(name.to_owned(), address);
    }
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
        Ok(Self { rules, resolver, last_known: LastKnown::default(), lookups: Mutex::default() })
    }

    /// With what is known from before.
    #[must_use]
    pub fn remembering(self, last_known: LastKnown) -> Self {
        Self { last_known, ..self }
    }

    /// The address for this client, who dialled `local`.
    ///
    /// # Errors
    /// When the client dialled an IPv6 address and no rule names an IPv4 one, or a name has no IPv4 address.
    pub async fn address(&self, client: IpAddr, local: IpAddr) -> Result<Ipv4Addr, Refusal> {
        let client = canonical(client);
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.clients.is_empty() || rule.clients.iter().any(|net| net.contains(&client)));
        match rule.map(|rule| &rule.address) {
            Some(Advertised::Address(address)) => Ok(*address),
            Some(Advertised::Name(name)) => self.look_up(name).await,
            Some(Advertised::Local) | None => match canonical(local) {
                IpAddr::V4(address) => Ok(address),
                IpAddr::V6(_) => Err(Refusal::AdvertiseUnavailable),
            },
        }
    }

    /// Without an answer in a moment, the last one counts, and the next may be there for the next client.
    async fn look_up(&self, name: &str) -> Result<Ipv4Addr, Refusal> {
        let Some(resolver) = &self.resolver else { return Err(Refusal::AdvertiseUnavailable) };
        if self.last_known.get(name).is_none() {
            find(resolver, name, &self.last_known).await;
        } else if let Some(over) = self.begin_lookup(resolver, name) {
            // When it is late, or there is no answer, the last one is what there is.
            let _ = timeout(MOMENT, over).await;
        }
        self.last_known.get(name).ok_or(Refusal::AdvertiseUnavailable)
    }

    /// Looks a name up in the background. `None`: somebody does already.
    fn begin_lookup(&self, resolver: &TokioResolver, name: &str) -> Option<oneshot::Receiver<()>> {
        let mut lookups = lock(&self.lookups);
        if lookups.get(name).is_some_and(|lookup| !lookup.is_finished()) {
            return None;
        }
        let (ends, over) = oneshot::channel();
        let (resolver, last_known, wanted) = (resolver.clone(), self.last_known.clone(), name.to_owned());
        let lookup = tokio::spawn(async move {
            find(&resolver, &wanted, &last_known).await;
            // Whoever asked for it may have gone on.
            let _ = ends.send(());
        });
        lookups.insert(name.to_owned(), AbortOnDropHandle::new(lookup));
        Some(over)
    }
}

async fn find(resolver: &TokioResolver, name: &str, last_known: &LastKnown) {
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
    if let Some(address) = found {
        last_known.set(name, address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole after every change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A DNS server that answers the first question, with an address that is good for no time at all, and no other one.
    async fn falls_silent() -> TokioResolver {
        use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
        use hickory_resolver::net::runtime::TokioRuntimeProvider;
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut udp = ConnectionConfig::udp();
        udp.port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut question = [0; 512];
            let (_, from) = socket.recv_from(&mut question).await.unwrap();
            let name = question[12..].iter().position(|&byte| byte == 0).unwrap();
            let end = 12 + name + 1 + 4;
            // RFC 1035 §4.1: an answer to one question, and one record, of the name in it.
            let mut answer = question[..2].to_vec();
            answer.extend_from_slice(b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00");
            answer.extend_from_slice(&question[12..end]);
            answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\xcb\x00\x71\x07");
            socket.send_to(&answer, from).await.unwrap();
            std::future::pending::<()>().await;
        });
        let server = NameServerConfig::new("127.0.0.1".parse().unwrap(), true, vec![udp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap()
    }

    /// Also with another configuration, as a reload makes one, and without much of a wait.
    #[tokio::test]
    async fn a_name_is_what_it_was_while_nobody_answers() {
        let rules = || vec![AdvertiseRule { clients: Vec::new(), address: Advertised::Name("gw.example.test".into()) }];
        let (known, resolver) = (LastKnown::default(), falls_silent().await);
        let with = |rules, resolver: &TokioResolver, known: &LastKnown| {
            let lookups = Mutex::default();
            let advertise =
                Advertise { rules, resolver: Some(resolver.clone()), last_known: LastKnown::default(), lookups };
            advertise.remembering(known.clone())
        };
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let expected = Ok(Ipv4Addr::new(203, 0, 113, 7));
        let before = with(rules(), &resolver, &known);
        assert_eq!(before.address(client, client).await, expected);
        let after = with(rules(), &resolver, &known);
        for advertise in [&before, &after] {
            for _ in 0..3 {
                let answer = timeout(LOOKUP / 2, advertise.address(client, client)).await;
                assert_eq!(answer.unwrap(), expected);
            }
        }
    }
}
