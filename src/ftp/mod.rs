//! FTP as text: lines, commands, replies and data-connection endpoints.
//!
//! Invariants: nothing here opens a socket, reads a clock or knows a policy. Bytes stay bytes: path names are never
//! decoded and never re-encoded (RFC 959 §5.3 leaves their encoding to the two ends).
//!
//! Not in this room: what a command is allowed to do (`policy`), what it is answered with (`session`).

mod command;
mod endpoint;
mod line;
mod printable;
mod reply;
mod telnet;
mod verb;

pub use command::{Command, CommandFlaw, Secret};
pub use endpoint::{
    EndpointFlaw, EpsvRequest, HostPort, parse_eprt, parse_epsv_port, parse_epsv_request, parse_pasv, parse_port,
    write_eprt, write_epsv, write_pasv, write_port,
};
pub use line::{Cut, Edges, Flaw, LineCutter};
pub use printable::{Printable, is_plain};
pub use reply::{Code, CodeClass, Reply, ReplyCutter, ReplyFlaw, ReplyLine, ends_with_final_reply};
pub use verb::Verb;
