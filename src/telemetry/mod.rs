//! (being built)
mod settings;
pub use settings::{AdminSettings, LogFormat, LogLevel, LogSettings};
