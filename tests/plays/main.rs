//! Plays: a scripted client and a scripted backend over loopback, with the gateway between them. One play shows one
//! rule of the protocol; the files are named after the parts of `docs/protocol.md`.
//!
//! Every expectation has a deadline and fails with what was awaited and everything that was said before. No play waits
//! by sleeping, and none has a port of its own.

#![allow(clippy::unwrap_used, clippy::panic)]

mod abort;
mod abuse;
mod access;
mod active;
mod audit;
mod audit_disk;
mod auth;
mod bans;
mod backend_tls;
mod bounce;
mod ccc;
mod client_certificates;
mod closing_download;
mod commands;
mod closing_upload;
mod drain_reload;
mod endless_replies;
mod epsv_all;
mod feat;
mod greeting;
mod guesses;
mod haste;
mod host;
mod http_garbage;
mod limits;
mod late_port;
mod lines;
mod login;
mod metrics;
mod modes;
mod one_port;
mod opening;
mod passive;
mod pbsz_prot;
mod pipelining;
mod proxy_protocol;
mod quirks;
mod quit_stat_noop;
mod rein;
mod replies;
mod resumption;
mod second_factor;
mod secrets;
mod spelling;
mod stage;
mod telnet;
mod timeouts;
mod trickle;
mod truncation;
mod vanish;
