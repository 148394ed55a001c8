//! Binding and tuning TCP sockets.

use std::io;
use std::net::{SocketAddr, TcpListener as Unwatched};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// For one data connection of a backend in active mode; nobody else is expected.
const DATA_BACKLOG: i32 = 4;
/// NAT boxes forget silent connections after minutes; during a long transfer the control connection is silent.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Sockets that [`bind_ahead`] has bound and nobody has asked for yet. The process's own, as what an init system hands
/// over is.
static AHEAD: Mutex<Vec<(SocketAddr, Unwatched)>> = Mutex::new(Vec::new());

/// Binds a listening socket. `[::]` takes IPv4 clients too. One that was bound ahead is taken from there.
///
/// # Errors
/// What the system says: in use, no permission, no such address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut ahead = AHEAD.lock().unwrap_or_else(PoisonError::into_inner);
    let bound = ahead.iter().position(|(own, _)| *own == address).map(|at| ahead.swap_remove(at).1);
    drop(ahead);
    TcpListener::from_std(bound.map_or_else(|| listen(address, BACKLOG), Ok)?)
}

/// Binds a listening socket for a later [`bind`] of the same address, while the process still may. Needs no runtime.
///
/// # Errors
/// As [`bind`].
pub fn bind_ahead(address: SocketAddr) -> io::Result<()> {
    let socket = listen(address, BACKLOG)?;
    AHEAD.lock().unwrap_or_else(PoisonError::into_inner).push((address, socket));
    Ok(())
}

/// Binds a listening socket for one active data connection of a backend, on a port the system chooses.
///
/// # Errors
/// What the system says.
pub fn bind_data(address: std::net::IpAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(listen(SocketAddr::new(address, 0), DATA_BACKLOG)?)
}

/// Keepalive on, Nagle's delay off. A socket whose peer is gone already cannot be tuned; its next use says so.
pub fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let tuned = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket could not be tuned");
    }
}

fn listen(address: SocketAddr, backlog: i32) -> io::Result<Unwatched> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
