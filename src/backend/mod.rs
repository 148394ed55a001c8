//! (being built)
mod settings;
pub use settings::{DataPreference, Security, ServerAddress, Settings};
