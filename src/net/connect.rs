//! Connecting, with a deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::listen::tune;

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What the system says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Connects to `peer` within `deadline`.
///
/// # Errors
/// When the peer refuses, cannot be reached, or does not answer in time.
pub async fn connect(peer: SocketAddr, deadline: Duration) -> Result<TcpStream, ConnectError> {
    let stream = timeout(deadline, TcpStream::connect(peer)).await.map_err(|_| ConnectError::Timeout(deadline))??;
    tune(&stream);
    Ok(stream)
}

/// Connects to `peer` from a given local address, and from a given local port unless it is 0. Several connections may
/// leave from the same port to different peers.
///
/// # Errors
/// As [`connect`]; and when the local port cannot be had (below 1024 it takes CAP_NET_BIND_SERVICE).
pub async fn connect_from(
    local: IpAddr,
    local_port: u16,
    peer: SocketAddr,
    deadline: Duration,
) -> Result<TcpStream, ConnectError> {
    let socket = bound(local, local_port, peer)?;
    let stream = timeout(deadline, socket.connect(peer)).await.map_err(|_| ConnectError::Timeout(deadline))??;
    tune(&stream);
    Ok(stream)
}

fn bound(local: IpAddr, local_port: u16, peer: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if peer.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if local_port != 0 {
        socket.set_reuseaddr(true)?;
    } else {
        choose_port_late(&socket);
    }
    socket.bind(SocketAddr::new(local, local_port))?;
    Ok(socket)
}

/// The system chooses the port when it knows the peer, so that connections to different peers can share one. Else each takes
/// a port of its own, also for the minute after its end, and a busy gateway runs out of them. Where it cannot be had, nothing
/// else is lost.
fn choose_port_late(socket: &TcpSocket) {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true) {
        tracing::debug!(%error, "a port is chosen before the peer is known");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_without_a_port_keeps_none_from_others() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let socket = bound(peer.ip(), 0, peer).unwrap();
        assert_eq!(socket.local_addr().unwrap(), SocketAddr::new(peer.ip(), 0));
        let stream = connect_from(peer.ip(), 0, peer, Duration::from_secs(10)).await.unwrap();
        assert_ne!(stream.local_addr().unwrap().port(), 0);
    }
}
