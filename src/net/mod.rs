//! Sockets with deadlines, and memory for what goes through them: binding, connecting, keepalive, closing, blocks, and the
//! PROXY protocol ahead of everything else.
//!
//! Invariants: every connect has a deadline; every socket that comes out of this room has keepalive and no Nagle
//! delay. Not in this room: TLS (`tls`), who may connect (`policy`).

mod blocks;
mod connect;
mod listen;
mod peek;
mod progress;
#[cfg(test)]
mod slow_reader;
mod proxy_protocol;
mod socket;

pub use blocks::{Block, Blocks, FullSpeed, HEAD, Pace, Piece, Room};
pub use connect::{ConnectError, connect, connect_from};
pub use listen::{bind, bind_ahead, bind_data, tune};
pub use peek::{Start, peek_start};
pub use progress::{Progress, Watch};
pub use proxy_protocol::{
    Endpoints, HeaderError, HeaderStart, ProxyVersion, header_start, is_header, read_header, send_header, write_header,
};
#[cfg(test)]
pub(crate) use slow_reader::read_slowly;
pub use socket::Socket;
