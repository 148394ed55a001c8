//! TLS on both legs: identities, handshakes, resumption, streams, and the bytes of a control connection.
//!
//! Invariants: a data connection can resume only the TLS session of its own control connection, on either leg; a
//! handshake has a deadline; `close_notify` is sent by [`Stream::finish`] and [`DataStream::finish`] and by nothing else,
//! so a stream that is dropped is a truncation that the peer can see. Never a step back from TLS to plain.
//!
//! Not in this room: whether TLS is required (`policy`), when a handshake happens (`session`).

mod accept;
mod clients;
mod connect;
mod data;
mod failure;
mod files;
mod hello;
mod identity;
mod records;
mod rejected;
mod renewable;
mod resumption;
mod seal;
mod settings;
mod stream;
mod tickets;
mod wire;

pub use accept::{FrontTls, Secured, SecuredData, SessionTls, TicketHint};
pub use clients::{ClientAuthorities, ClientAuthoritiesError, ClientIdentity, outdated_lists, unlisted_authorities};
pub use connect::{BackTls, Connector, ConnectorError};
pub use data::DataStream;
pub use failure::HandshakeFailure;
pub use files::FileError;
pub use hello::{Hello, MOST as LONGEST_HELLO, Offered, read_hello};
pub use identity::{Identities, Identity, IdentityError, expired_certificates, keep_self_signed, keeps_self_signed};
pub use seal::Seal;
pub use settings::{CertificateFiles, ClientCertificates, MinimumVersion, Settings, Verification};
pub use stream::{Stream, WhyClosed};
pub use tickets::SessionName;
pub use wire::{Wire, WireEvent};
