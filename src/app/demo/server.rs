//! The server behind: plain FTP, on loopback, on a port that the system chooses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libunftp::ServerBuilder;
use tokio::net::{TcpListener, TcpStream};
use unftp_core::auth::{AuthenticationError, Authenticator, Credentials, Principal};
use unftp_sbe_fs::Filesystem;

use crate::net::tune;

/// The only user.
pub(super) const USER: &str = "demo";
/// His password.
pub(super) const PASSWORD: &str = "demo";

#[derive(Debug)]
struct OneUser;

#[async_trait::async_trait]
impl Authenticator for OneUser {
    async fn authenticate(&self, user: &str, credentials: &Credentials) -> Result<Principal, AuthenticationError> {
        match credentials.password.as_deref() {
            _ if user != USER => Err(AuthenticationError::BadUser),
            Some(PASSWORD) => Ok(Principal { username: user.to_owned() }),
            Some(_) | None => Err(AuthenticationError::BadPassword),
        }
    }
}

/// Serves `root` until the runtime ends.
pub(super) async fn start(root: &Path) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let root = root.to_owned();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // Or its 226 waits 40 ms for the acknowledgement of its 150.
                    tune(&connection);
                    tokio::spawn(serve(connection, root.clone()));
                }
                Err(error) => tracing::error!(%error, "the demo's server cannot accept"),
            }
        }
    });
    Ok(address)
}

async fn serve(connection: TcpStream, root: PathBuf) {
    // The library asks for a way to open the folder that cannot fail. It was made a moment ago and is ours.
    #[expect(clippy::expect_used, reason = "ends one session of the demo, and cannot happen while the folder is there")]
    let storage = Box::new(move || Filesystem::new(root.clone()).expect("the demo's folder is there"));
    let server = ServerBuilder::with_authenticator(storage, Arc::new(OneUser))
        .greeting("Old FTP server, plain as it ever was")
        // A range of one, and that one is 0: the system chooses a free port.
        .passive_ports(0..=0)
        .build();
    match server {
        Ok(server) => {
            if let Err(error) = server.service(connection).await {
                tracing::warn!(?error, "the demo's server ended a session");
            }
        }
        Err(error) => tracing::error!(%error, "the demo's server cannot be built"),
    }
}
