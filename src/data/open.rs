//! Opening the TCP connection of a data connection, on either leg and in either mode.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::settings::SourcePort;
use crate::net::{ConnectError, Socket, connect, connect_from, tune};
use crate::policy::{Claim, canonical};

/// RFC 959 §5.2: the server's data port.
const FTP_DATA: u16 = 20;

/// How an active data connection with a client will come to be.
#[derive(Debug)]
pub struct FrontDoor {
    /// Where, checked.
    pub claim: Claim,
    /// From the address the client dialled: .NET refuses others. Behind a balancer: from the one it dialled.
    pub local: IpAddr,
    /// From which port.
    pub source_port: SourcePort,
}

/// How a data connection with a backend will come to be.
#[derive(Debug)]
pub enum BackDoor {
    /// The gateway connects to the host of the control connection, whatever address the backend named.
    Passive {
        /// The control connection's peer, with the data port.
        peer: SocketAddr,
        /// The control connection's local address: the backend's firewall knows it.
        local: IpAddr,
    },
    /// The backend connects to the gateway.
    Active {
        /// Bound on the control connection's local address.
        listener: TcpListener,
        /// The control connection's peer; nobody else is taken.
        backend: IpAddr,
    },
}

/// Why a data connection was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not in time.
    #[error("no data connection within {0:?}")]
    Timeout(Duration),
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Timeout(deadline) => Self::Timeout(deadline),
            ConnectError::Io(error) => Self::Io(error),
        }
    }
}

/// Connects to the client (active mode).
///
/// # Errors
/// When it cannot be connected to within `deadline`.
pub async fn open_front(door: FrontDoor, deadline: Duration) -> Result<Socket, OpenError> {
    let port = match door.source_port {
        SourcePort::Any => 0,
        SourcePort::FtpData => FTP_DATA,
    };
    let (local, peer) = (canonical(door.local), door.claim.peer());
    // A balancer can bring an IPv6 client over IPv4, and the other way round.
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let local = if local.is_ipv4() == peer.is_ipv4() { local } else { any };
    Ok(Socket::new(connect_from(local, port, peer, deadline).await?))
}

/// Connects to the backend, or waits for the backend's connection.
///
/// # Errors
/// When it is not there within `deadline`.
pub async fn open_back(door: BackDoor, deadline: Duration) -> Result<Socket, OpenError> {
    match door {
        BackDoor::Passive { peer, local } if peer.is_ipv4() == local.is_ipv4() => {
            Ok(Socket::new(connect_from(local, 0, peer, deadline).await?))
        }
        BackDoor::Passive { peer, .. } => Ok(Socket::new(connect(peer, deadline).await?)),
        BackDoor::Active { listener, backend } => {
            let accepted = async {
                loop {
                    let (stream, peer) = listener.accept().await?;
                    if canonical(peer.ip()) == canonical(backend) {
                        tune(&stream);
                        return Ok::<_, io::Error>(Socket::new(stream));
                    }
                    tracing::warn!(%peer, "a stranger came for a backend's data connection and was dropped");
                }
            };
            Ok(timeout(deadline, accepted).await.map_err(|_| OpenError::Timeout(deadline))??)
        }
    }
}
