//! Binding and tuning TCP sockets.

use std::io;
use std::net::SocketAddr;
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

/// Binds a listening socket. `[::]` takes IPv4 clients too.
///
/// # Errors
/// What the system says: in use, no permission, no such address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    listen(address, BACKLOG)
}

/// Binds a listening socket for one active data connection of a backend, on a port the system chooses.
///
/// # Errors
/// What the system says.
pub fn bind_data(address: std::net::IpAddr) -> io::Result<TcpListener> {
    listen(SocketAddr::new(address, 0), DATA_BACKLOG)
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

fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}
