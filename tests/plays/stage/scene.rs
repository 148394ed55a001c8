//! A client that is logged in, its backend, and transfers between them.

use std::net::SocketAddr;

use super::{Actor, Client, Data, Door, Setup, Stage};

/// A client that is logged in and protects its data, and its backend.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) client: Client,
    pub(crate) backend: Actor,
}

/// The two data connections of a transfer that runs.
pub(crate) struct Transfer {
    pub(crate) client: Data,
    pub(crate) backend: Data,
}

impl Scene {
    /// Everything as usual.
    pub(crate) async fn plain() -> Self {
        Self::open(Setup::new()).await
    }

    /// AUTH TLS, USER, PASS, PBSZ, PROT P.
    pub(crate) async fn open(setup: Setup) -> Self {
        let stage = Stage::start(setup).await;
        let mut client = stage.secured_client().await;
        let backend = stage.logs_in(&mut client).await;
        client.protects().await;
        Self { stage, client, backend }
    }

    /// AUTH TLS, USER, PASS, PBSZ, PROT C.
    pub(crate) async fn open_clear(setup: Setup) -> Self {
        let stage = Stage::start(setup.with("tls", "data: optional")).await;
        let mut client = stage.secured_client().await;
        let backend = stage.logs_in(&mut client).await;
        client.says_and_hears("PBSZ 0", "200 ").await;
        client.says_and_hears("PROT C", "200 ").await;
        Self { stage, client, backend }
    }

    /// USER, PASS, all in clear.
    pub(crate) async fn unsecured() -> Self {
        let stage = Stage::start(Setup::new().with("tls", "control: optional").with("tls", "data: optional")).await;
        let mut client = stage.client().await;
        let backend = stage.logs_in(&mut client).await;
        Self { stage, client, backend }
    }

    /// PASV on IPv4, EPSV on IPv6, on both legs: where the client is awaited, and where the gateway.
    pub(crate) async fn goes_passive(&mut self) -> (SocketAddr, Door) {
        let (verb, code) = if self.client.address().is_ipv4() { ("PASV", "227 ") } else { ("EPSV", "229 ") };
        self.client.says(verb).await;
        let door = self.backend.goes_passive().await;
        let reply = self.client.hears(code).await;
        (self.client.passive_address(&reply), door)
    }

    /// A transfer up to where bytes can flow, as most clients do it: connect, command, 150, handshake.
    pub(crate) async fn begins(&mut self, command: &str) -> Transfer {
        let (address, door) = self.goes_passive().await;
        let client = self.client.opens(address).await;
        let mut transfer = self.commands(command, client, &door).await;
        if self.backend.talk.wire.is_private() {
            let config = std::sync::Arc::clone(&self.backend.tls);
            let (backend, client) = (&mut transfer.backend, &mut transfer.client);
            tokio::join!(backend.secures_as_server(config), client.secures(&self.client.tls));
        } else {
            transfer.client.secures(&self.client.tls).await;
        }
        transfer
    }

    /// The same in clear.
    pub(crate) async fn begins_clear(&mut self, command: &str) -> Transfer {
        let (address, door) = self.goes_passive().await;
        let client = self.client.opens(address).await;
        self.commands(command, client, &door).await
    }

    /// The transfer command up to its 150.
    pub(crate) async fn commands(&mut self, command: &str, client: Data, door: &Door) -> Transfer {
        self.client.says(command).await;
        let backend = door.accepts().await;
        self.backend.hears(command).await;
        self.backend.says("150 Here it comes").await;
        self.client.hears("150 Here it comes").await;
        Transfer { client, backend }
    }

    /// A command that goes through, to show that nothing stands in its way and no reply is astray.
    pub(crate) async fn goes_on(&mut self) {
        self.client.says("PWD").await;
        self.backend.hears("PWD").await;
        self.backend.says("257 \"/home\" is here").await;
        self.client.hears("257 \"/home\" is here").await;
    }

    /// A whole download, to show that transfers work.
    pub(crate) async fn downloads(&mut self) {
        let mut transfer = self.begins("RETR small").await;
        transfer.backend.sends("small content").await;
        transfer.backend.finishes().await;
        self.backend.says("226 Sent").await;
        let (content, end) = transfer.client.receives_all().await;
        assert_eq!((content, end), (b"small content".to_vec(), super::End::CloseNotify));
        self.client.hears("226 Sent").await;
    }

    /// A whole upload, to show that transfers work.
    pub(crate) async fn uploads(&mut self) {
        let mut transfer = self.begins("STOR small").await;
        transfer.client.sends("small content").await;
        transfer.client.finishes().await;
        let (content, end) = transfer.backend.receives_all().await;
        assert_eq!(content, b"small content");
        let proper = if transfer.backend.wire.is_private() { super::End::CloseNotify } else { super::End::Fin };
        assert_eq!(end, proper);
        transfer.backend.finishes().await;
        self.backend.says("226 Stored").await;
        self.client.hears("226 Stored").await;
    }
}
