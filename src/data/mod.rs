//! (being built)
mod settings;
pub use settings::{AdvertiseRule, Advertised, Settings, SourcePort};
