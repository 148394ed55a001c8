//! May it? Every "no" of the gateway is decided here.
//!
//! Invariants: no socket, no clock (time is an argument), no configuration file. Three stamps can be made only here
//! and are asked for by the code that acts: [`Permit`] (a connection may start), [`Cleared`] (a command may reach the
//! backend), [`Claim`] (a peer may have this data connection). An unchecked path does not compile.
//!
//! Not in this room: what a failure is called ([`crate::event`]), how a refusal is sent (`session`).

mod access;
mod admission;
mod certificate;
mod classes;
mod commands;
mod data_peer;
mod groups;
mod host;
mod letters;
mod pace;
mod path_pattern;
mod paths;
mod protection;
mod refusal;
mod route;
mod rules;
mod second_factor;
mod shared_port;
mod throttle;
mod user_name;

pub use access::Access;
pub use admission::{Admission, Limits, Permit, Seat};
pub use certificate::{CertificateNames, ClientCertificate, UserFrom};
pub use commands::{Cleared, Disposition, TransferKind, check_length, check_proof, clear, clear_proof, disposition};
pub use data_peer::{Claim, canonical, claim_active, claim_passive};
pub use groups::{Entry, Group, group};
pub use host::HostNames;
pub use pace::{LoginAnswer, Pace};
pub use path_pattern::PathPattern;
pub use paths::{WorkingDirectory, located, located_name, may_move, may_set_time};
pub use protection::{
    ClearCommandChannel, DataResumption, Mechanism, Protection, ProtectionPolicy, ProtectionState, Requirement,
    TruncatedUploads,
};
pub use refusal::Refusal;
pub use route::{Glob, Route, Routes, Traveller};
pub use rules::{CommandRule, CommandRules, Rights};
pub use second_factor::{CodeFlaw, MOST_SKEW, RequiredFor, SecondFactor, SecondFactorSettings, Secrets, UsedCodes};
pub use shared_port::{Mark, Nobodys, Offer, Waiter, claim_offered, is_told_by_address};
pub use throttle::{
    Ban, BanKind, Decision, FailedLogins, Kept, Origin, Penalty, Subject, Throttle, Trial, Turn, UserKey, login_delay,
};
pub use user_name::{folded, is_unmistakable};
