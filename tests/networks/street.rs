//! Client, gateway and backend in a row, with a cable or a bad link between each two.

use std::sync::Arc;

use tempfile::TempDir;
use tokio_rustls::rustls::ClientConfig;

use crate::gateway::Gateway;
use crate::link::{Link, Quality};
use crate::space::Space;
use crate::talk::{Session, trust};

/// The gateway's address for clients.
pub(crate) const GATEWAY: &str = "10.9.0.2";
/// The backend's address.
pub(crate) const BACKEND: &str = "10.10.0.1";

/// All three, and what is between them.
pub(crate) struct Street {
    pub(crate) client: Space,
    pub(crate) gateway: Space,
    pub(crate) backend: Space,
    pub(crate) folder: TempDir,
    links: Vec<Link>,
}

impl Street {
    pub(crate) fn build(front: Option<Quality>, back: Option<Quality>) -> Self {
        let (client, gateway, backend) = (Space::new(), Space::new(), Space::new());
        let mut links = Vec::new();
        let sides = [(&client, "10.9.0.9", GATEWAY, front), (&backend, BACKEND, "10.10.0.2", back)];
        for ((far, its, own, quality), name) in sides.into_iter().zip(["front", "back"]) {
            if let Some(quality) = quality {
                let (near, far) = ((&gateway, &*format!("{own}/24")), (far, &*format!("{its}/24")));
                links.push(Link::between(near, far, quality));
            } else {
                gateway.cable((name, &[&format!("{own}/24")]), far, ("eth", &[&format!("{its}/24")]));
            }
        }
        Self { client, gateway, backend, folder: crate::scratch(), links }
    }

    /// Ends the links: how many packets they were given, and how many of them they lost.
    pub(crate) fn end(self) -> (u64, u64) {
        self.links.into_iter().map(Link::end).fold((0, 0), |sum, link| (sum.0 + link.0, sum.1 + link.1))
    }

    /// What a client needs to believe the gateway.
    pub(crate) fn trust(gateway: &Gateway<'_>) -> Arc<ClientConfig> {
        trust(&gateway.authority)
    }
}

/// A client that is logged in with a scripted backend; for a thread of the client's.
pub(crate) fn logged_in(tls: &Arc<ClientConfig>, buffer: Option<usize>) -> Session {
    let mut session = Session::open(format!("{GATEWAY}:21"), tls, buffer);
    session.logs_in("bob", "sesame");
    session
}

/// Downloads so much from a scripted backend, and the bytes are those that it sent.
pub(crate) fn downloads(session: &mut Session, length: u64, pace: impl FnMut(u64)) {
    let (received, hash) = session.begins(&format!("RETR {length}")).receives_all(pace);
    assert_eq!((received, session.hears()), (length, format!("226 {hash}\r\n")));
}

/// Uploads so much to a scripted backend, and the bytes are those that it got.
pub(crate) fn uploads(session: &mut Session, length: u64, sent: impl FnMut(u64)) {
    let data = session.begins("STOR it");
    let hash = data.sends_all(length, sent);
    assert_eq!(session.hears(), format!("226 {hash}\r\n"));
}
