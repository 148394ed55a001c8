//! What must hold for any bytes that a client, a backend or a file holds. Each function takes bytes and panics when
//! something does not hold.
//!
//! libFuzzer calls them from `fuzz/targets`; `tests/fuzz.rs` calls them with what is kept in `fuzz/corpus` and with
//! random changes to it.

mod configuration;
mod hello;
mod listing;
mod paths;
mod proxy;
mod server;
mod text;
mod totp;
mod world;

pub use configuration::config;
pub use hello::hello;
pub use paths::paths;
pub use proxy::proxy;
pub use text::{command, endpoint, line, reply};
pub use totp::totp;
pub use world::dialogue;
