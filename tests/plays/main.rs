//! Plays: a scripted client and a scripted backend over loopback, with the gateway between them. One play shows one
//! rule of the protocol; the files are named after the parts of `docs/protocol.md`.
//!
//! Every expectation has a deadline and fails with what was awaited and everything that was said before. No play waits
//! by sleeping, and none has a port of its own.

#![allow(clippy::unwrap_used, clippy::panic)]

mod auth;
mod greeting;
mod stage;
