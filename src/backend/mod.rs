//! The servers behind: dialling one, its control connection, what it is known to offer.
//!
//! Invariants: a backend that is to be reached over TLS is never spoken to in plain beyond `AUTH TLS`; its greeting is
//! read here and goes nowhere; every wait has a deadline. Not in this room: which backend (`policy`), when (`session`).

mod dial;
mod leg;
mod pool;
mod settings;

pub use dial::{BackendError, Deadlines, dial, probe};
pub use leg::{BackEvent, BackLeg, WholeReply};
pub use pool::{Backend, Pool};
pub use settings::{DataPreference, Security, ServerAddress, Settings};
