//! (being built)
mod settings;
pub use settings::{CertificateFiles, MinimumVersion, Settings, Verification};
