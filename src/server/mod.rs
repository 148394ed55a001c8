//! Listening: accepts connections, turns away the cheap way, runs sessions, drains and stops.
//!
//! Invariants: a handshake never runs in the accept loop; every refusal that needs no TLS comes before it; every
//! session is a task with an owner that ends it. Not in this room: what a session does (`session`).

mod accept;
mod drain;
mod settings;

pub use accept::{BindError, Bound, Server};
pub use drain::Drain;
pub use settings::{ListenerSettings, TlsMode};
