//! Wiring: the one place where all rooms meet. Start, reload, drain, stop.

mod advice;
mod bound;
mod daemon;
#[cfg(feature = "demo")]
mod demo;
mod descriptors;
mod gateway;
mod kept;
mod kept_codes;
mod prepared;
mod privilege;
mod second_factor;
mod state;

pub use daemon::{EXIT_BIND, EXIT_CONFIGURATION, EXIT_USAGE, check, run};
#[cfg(feature = "demo")]
pub use demo::{DemoOptions, demo};
pub use gateway::{Gateway, ReloadError, StartError};
