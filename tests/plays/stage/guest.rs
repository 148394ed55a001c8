//! Clients behind one address, and what becomes of connections that are nobody's.

use std::net::SocketAddr;

use super::{Actor, Client, ClientTls, Data, Door, End, Stage, Transfer};

/// One of several clients behind one address, and its backend.
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) backend: Actor,
}

impl Guest {
    pub(crate) async fn arrives(stage: &Stage, name: &str, tls: ClientTls) -> Self {
        let mut client = stage.client().await;
        client.tls = tls;
        client.secures().await;
        let backend = stage.logs_in(&mut client).await;
        client.protects().await;
        Self { name: name.to_owned(), client, backend }
    }

    /// Several that have had a transfer each, so that what they do is known.
    pub(crate) async fn several(stage: &Stage, kind: impl Fn() -> ClientTls, count: usize) -> Vec<Self> {
        let mut guests = Vec::new();
        for number in 0..count {
            let mut guest = Self::arrives(stage, &format!("guest-{number}"), kind()).await;
            guest.downloads().await;
            guests.push(guest);
        }
        guests
    }

    pub(crate) async fn goes_passive(&mut self) -> (SocketAddr, Door) {
        self.client.says("PASV").await;
        let door = self.backend.goes_passive().await;
        let reply = self.client.hears("227 ").await;
        (self.client.passive_address(&reply), door)
    }

    /// Connects, and says the command up to its 150.
    pub(crate) async fn begins(&mut self, verb: &str, address: SocketAddr, door: &Door) -> Transfer {
        let client = self.client.opens(address).await;
        self.commands(verb, client, door).await
    }

    pub(crate) async fn commands(&mut self, verb: &str, client: Data, door: &Door) -> Transfer {
        let command = format!("{verb} {}", self.name);
        self.client.says(&command).await;
        let backend = door.accepts().await;
        self.backend.hears(&command).await;
        self.backend.says("150 Here it comes").await;
        self.client.hears("150 Here it comes").await;
        Transfer { client, backend }
    }

    pub(crate) fn content(&self) -> String {
        format!("the content of {}", self.name).repeat(1000)
    }

    /// The rest of a download, from the client's handshake on.
    pub(crate) async fn gets_its_own(&mut self, mut transfer: Transfer) {
        transfer.client.secures(&self.client.tls).await;
        transfer.backend.sends(self.content()).await;
        transfer.backend.finishes().await;
        self.backend.says("226 Sent").await;
        let (content, end) = transfer.client.receives_all().await;
        assert_eq!(end, End::CloseNotify);
        assert!(content == self.content().as_bytes(), "{} got another's", self.name);
        self.client.hears("226 Sent").await;
    }

    /// The rest of an upload, from the client's handshake on.
    pub(crate) async fn stores_its_own(&mut self, mut transfer: Transfer) {
        transfer.client.secures(&self.client.tls).await;
        transfer.client.sends(self.content()).await;
        transfer.client.finishes().await;
        let (content, end) = transfer.backend.receives_all().await;
        assert_eq!(end, End::Fin);
        assert!(content == self.content().as_bytes(), "another's was stored for {}", self.name);
        self.backend.says("226 Stored").await;
        self.client.hears("226 Stored").await;
    }

    pub(crate) async fn downloads(&mut self) {
        let (address, door) = self.goes_passive().await;
        let transfer = self.begins("RETR", address, &door).await;
        self.gets_its_own(transfer).await;
    }

    /// The backend hears that the transfer is over.
    pub(crate) async fn is_refused(&mut self, mut transfer: Transfer, code: u16, label: &str) -> String {
        let reply = self.client.refused(code, label).await;
        assert_eq!(transfer.backend.ends().await, End::Reset);
        self.backend.says("426 Lost it").await;
        reply.text()
    }
}

pub(crate) async fn strays(stage: &Stage, cause: &str, count: u32) {
    stage.counts(&format!("stray_connections_total{{cause=\"{cause}\"}}"), count).await;
}

pub(crate) async fn no_strays(stage: &Stage) {
    for cause in ["no_reservation", "unknown_session", "session_elsewhere", "no_session", "not_tls", "unproven"] {
        strays(stage, cause, 0).await;
    }
}
