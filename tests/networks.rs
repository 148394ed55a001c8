//! The gateway on networks as they are: NAT, distance, loss, small windows, peers that vanish without a word, peers that
//! are slow.
//!
//! Each test makes network namespaces of its own. They need root, what `tests/peers/install` brings, and a kernel that
//! has what `tests/networks/check` looks for. Without them they fail; `FTPS_GATEWAY_WITHOUT_PEERS=1` leaves them out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "networks/actor.rs"]
mod actor;
#[path = "networks/admin.rs"]
mod admin;
#[path = "networks/clients.rs"]
mod clients;
#[path = "networks/crowd.rs"]
mod crowd;
#[path = "networks/distance.rs"]
mod distance;
#[path = "matrix/driver.rs"]
#[allow(dead_code, reason = "the matrix uses more of it")]
mod driver;
#[path = "matrix/failure.rs"]
#[allow(dead_code, reason = "the matrix uses more of it")]
mod failure;
#[path = "networks/gateway.rs"]
mod gateway;
#[path = "networks/keepalive.rs"]
mod keepalive;
#[path = "networks/link.rs"]
mod link;
#[path = "networks/nat.rs"]
mod nat;
#[path = "networks/pressure.rs"]
mod pressure;
#[path = "networks/server.rs"]
mod server;
#[path = "networks/space.rs"]
mod space;
#[path = "networks/street.rs"]
mod street;
#[path = "networks/talk.rs"]
mod talk;
#[path = "networks/vanish.rs"]
mod vanish;
#[path = "matrix/way.rs"]
#[allow(dead_code, reason = "the matrix uses more of it")]
mod way;
#[path = "networks/windows.rs"]
mod windows;
#[path = "matrix/words.rs"]
#[allow(dead_code, reason = "the matrix uses more of it")]
mod words;

/// Whether these tests shall be left out, which is said.
fn left_out() -> bool {
    let left_out = std::env::var_os("FTPS_GATEWAY_WITHOUT_PEERS").is_some_and(|value| value == "1");
    if left_out {
        eprintln!("skipped: FTPS_GATEWAY_WITHOUT_PEERS=1 leaves out the tests with real networks");
    }
    left_out
}

/// A folder that is gone with the value. FTP users of their own must be able to pass through it.
fn scratch() -> tempfile::TempDir {
    let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    tempfile::Builder::new().prefix("networks").permissions(passable).tempdir().unwrap()
}
