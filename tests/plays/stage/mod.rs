//! The stage: a gateway in this process on ports that the system chooses, between scripted clients and backends.

mod backend;
mod client;
mod data;
mod desk;
mod guest;
mod log;
mod numbers;
mod people;
mod scene;
mod setup;
mod talker;
mod tls;
mod transcript;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ftps_gateway::app::{Gateway, StartError};
use ftps_gateway::config;
use ftps_gateway::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) use backend::{Actor, Backend, Door, Security};
pub(crate) use client::{Client, Reply};
pub(crate) use data::Data;
pub(crate) use desk::{Desk, asks, audited, holds, is_asked_where, is_over};
pub(crate) use guest::{Guest, no_strays, strays};
pub(crate) use log::Log;
pub(crate) use people::Authority;
pub(crate) use scene::{Scene, Transfer};
pub(crate) use setup::{FEATURES, Setup};
pub(crate) use talker::Talker;
pub(crate) use tls::{ClientTls, Identity};
pub(crate) use transcript::{DEADLINE, Transcript};
pub(crate) use wire::{End, Wire};

/// A running gateway and its backends.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) setup: Setup,
    pub(crate) transcript: Transcript,
    /// The backends' certificate.
    pub(crate) identity: Identity,
    /// The gateway's certificates.
    pub(crate) own: Vec<Identity>,
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    /// Everything as usual.
    pub(crate) async fn plain() -> Self {
        Self::start(Setup::new()).await
    }

    /// Starts the gateway; the backends have answered what it asks at its start.
    pub(crate) async fn start(setup: Setup) -> Self {
        let stage = Self::start_unprobed(setup).await;
        if let Some(features) = stage.setup.probe {
            for backend in &stage.backends {
                backend.answers_probe(features).await;
            }
        }
        stage
    }

    async fn start_unprobed(setup: Setup) -> Self {
        log::show();
        let transcript = Transcript::default();
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::new(folder.path(), "backend", &["ftp.inside.example", "127.0.0.1", "::1"]);
        let mut backends = Vec::new();
        for _ in &setup.backends {
            let tls = identity.server();
            backends.push(Backend::new(setup.backend_on, setup.security, tls, transcript.clone()).await);
        }
        let own: Vec<Identity> =
            setup.certificates.iter().map(|name| Identity::new(folder.path(), name, &[name])).collect();
        let text = setup.yaml(folder.path(), &backends, &identity, &own.iter().collect::<Vec<_>>());
        let mut settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let metrics = Arc::new(Metrics::new().unwrap());
        // A port that the system chose on one address may be taken on another one.
        let mut attempts = 20;
        let gateway = loop {
            if setup.ports > 1 {
                settings.data.ports = free_range(setup.ports);
            }
            match Gateway::start(settings.clone(), Arc::clone(&metrics)).await {
                Ok(gateway) => break gateway,
                Err(StartError::Bind { .. }) if attempts > 0 => attempts -= 1,
                Err(error) => panic!("{error}\n{text}"),
            }
        };
        Self { gateway, metrics, backends, setup, transcript, identity, own, folder }
    }

    /// The address of a listener.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        let found = self.gateway.listeners().iter().find(|(listener, _)| **listener == *name);
        let mut address = found.unwrap().1;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)
            });
        }
        address
    }

    /// A client on the explicit listener that has been greeted.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.connects("client").await;
        client.hears("220 ").await;
        client
    }

    /// A client on the explicit listener that has heard nothing yet.
    pub(crate) async fn connects(&self, name: &'static str) -> Client {
        let to = self.listener("explicit");
        let from = to.ip();
        Client::connect(name, from, to, self.setup.client_tls.clone(), self.transcript.clone()).await
    }

    /// A greeted client from another address of this machine.
    pub(crate) async fn client_from(&self, name: &'static str, from: &str) -> Client {
        let (from, to) = (from.parse().unwrap(), self.listener("explicit"));
        let mut client = Client::connect(name, from, to, self.setup.client_tls.clone(), self.transcript.clone()).await;
        client.hears("220 ").await;
        client
    }

    /// A client on the implicit listener that has heard nothing yet.
    pub(crate) async fn connects_implicitly(&self) -> Client {
        let to = self.listener("implicit");
        let tls = self.setup.client_tls.clone();
        Client::connect("client", to.ip(), to, tls, self.transcript.clone()).await
    }

    /// A client on the implicit listener, secured and greeted.
    pub(crate) async fn implicit_client(&self) -> Client {
        let mut client = self.connects_implicitly().await;
        client.shakes_hands().await;
        client.hears("220 ").await;
        client
    }

    /// A client that has been greeted and secured.
    pub(crate) async fn secured_client(&self) -> Client {
        let mut client = self.client().await;
        client.secures().await;
        client
    }

    /// USER bob and a wrong password, as far as the backend has heard it. Behind the first one there is a backend.
    pub(crate) async fn guesses<'a>(&self, client: &mut Client, backend: &'a mut Option<Actor>) -> &'a mut Actor {
        client.says("USER bob").await;
        let actor = match backend.take() {
            Some(actor) => actor,
            None => self.backend().welcomes().await,
        };
        let actor = backend.insert(actor);
        actor.hears_and_says("USER bob", "331 Password").await;
        client.hears("331 ").await;
        client.says("PASS wrong").await;
        actor.hears("PASS wrong").await;
        actor
    }

    /// The first backend.
    pub(crate) fn backend(&self) -> &Backend {
        &self.backends[0]
    }

    /// A client gives a name, and the first backend asks for its password.
    pub(crate) async fn asks_for_a_password(&self, user: &str, client: &mut Client) -> Actor {
        let named = format!("USER {user}");
        client.says(&named).await;
        let mut actor = self.backend().welcomes().await;
        actor.hears_and_says(&named, "331 Password please").await;
        client.hears("331 ").await;
        actor
    }

    /// `bob` logs in; the first backend plays along.
    pub(crate) async fn logs_in(&self, client: &mut Client) -> Actor {
        let mut actor = self.asks_for_a_password("bob", client).await;
        client.says("PASS sesame").await;
        actor.hears("PASS sesame").await;
        actor.says("230 Welcome bob").await;
        actor.protects().await;
        client.hears("230 Welcome bob").await;
        actor
    }

    /// Reads the configuration anew, as another setup has it, and answers the gateway's question.
    pub(crate) async fn reloads(&self, setup: &Setup) -> Vec<&'static str> {
        self.reloads_with(setup, &self.own.iter().collect::<Vec<_>>()).await
    }

    /// Reads the configuration anew with the gateway's certificates in the other order.
    pub(crate) async fn reloads_with_the_other_certificate_first(&self) {
        self.reloads_with(&self.setup, &self.own.iter().rev().collect::<Vec<_>>()).await;
    }

    /// The same configuration cannot be used any more: why.
    pub(crate) fn refuses_to_reload(&self) -> String {
        let own: Vec<&Identity> = self.own.iter().collect();
        let text = self.setup.yaml(self.folder.path(), &self.backends, &self.identity, &own);
        let settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        self.gateway.reload(settings).unwrap_err().to_string()
    }

    async fn reloads_with(&self, setup: &Setup, own: &[&Identity]) -> Vec<&'static str> {
        let text = setup.yaml(self.folder.path(), &self.backends, &self.identity, own);
        let settings = config::parse(&text, "gateway.yaml").unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let restart = self.gateway.reload(settings).unwrap();
        for backend in &self.backends {
            backend.answers_probe(FEATURES).await;
        }
        restart
    }

    /// What the admin address says to a request.
    pub(crate) async fn asks_admin(&self, request: &str) -> String {
        let address = self.gateway.admin_address().unwrap();
        let connecting = tokio::net::TcpStream::connect(address);
        let mut stream = self.transcript.soon("the admin address", connecting).await.unwrap();
        stream.write_all(format!("{request}\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.transcript.soon("a page", stream.read_to_string(&mut answer)).await.unwrap();
        answer
    }

    /// No session is left, and no passive port is reserved.
    pub(crate) async fn is_empty(&self) {
        self.counts("passive_ports{state=\"reserved\"}", 0).await;
        for (listener, _) in self.gateway.listeners() {
            self.counts(&format!("sessions_active{{listener=\"{listener}\"}}"), 0).await;
        }
        assert_eq!(self.gateway.sessions(), 0);
    }
}

/// A range of ports that are free now.
fn free_range(count: u16) -> std::ops::RangeInclusive<u16> {
    loop {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let Some(last) = first.checked_add(count - 1) else { continue };
        if (first..=last).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first..=last;
        }
    }
}
