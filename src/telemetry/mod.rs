//! Events in; counters, log lines, the audit file and admin pages out.
//!
//! Invariants: the other rooms do not know this one, they report to an [`Observer`](crate::event::Observer). One
//! exhaustive `match` over [`Event`](crate::event::Event) feeds metrics, log and audit file together, so none can be forgotten.
//! Label values come from closed enums and from the configuration; addresses, user names and paths go to the log and the audit file only.
//! A metric's name, help text and labels are written in `metrics/names.rs` and nowhere else.
//!
//! Not in this room: a decision. Nothing here changes what a session does, and taking in an event never waits for a
//! scrape.

mod admin;
mod audit;
mod log;
mod metrics;
mod observe;
mod settings;

pub use admin::{Bans, Pages, Readiness, serve};
pub use audit::{Audit, AuditEvent, AuditField, AuditFile, AuditFileError, FieldType};
pub use log::{LogHandle, init};
pub use metrics::Metrics;
pub use observe::Telemetry;
pub use settings::{AdminSettings, AuditFormat, AuditSettings, LogFormat, LogLevel, LogSettings};
