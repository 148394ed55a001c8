//! Wiring: the one place where all rooms meet. Start, reload, drain, stop.

mod daemon;
mod gateway;

pub use daemon::{EXIT_BIND, EXIT_CONFIGURATION, EXIT_USAGE, check, run};
pub use gateway::{Gateway, ReloadError, StartError};
