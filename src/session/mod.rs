//! One client, from its greeting to its end.
//!
//! Invariants: a session is one task and a chain of owned values (accepted → secured → logged in → ended), each step
//! consuming the one before; the backend is dialled at USER and not before; whatever happens, a session ends with a
//! value that says by whom, during what and why. Not in this room: sockets that listen (`server`).

mod answers;
mod attempt;
mod defence;
pub mod dialogue;
mod front;
mod greet;
mod login;
mod pair;
mod proof;
mod run;
mod second_factor;
mod serve;
mod settings;
mod timers;

pub use run::{Course, Newcomer, Surroundings, run};
pub use settings::{Settings, Timeouts};
