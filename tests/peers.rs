//! Real FTP servers behind the gateway and real clients in front of it: vsftpd, ProFTPD, Pure-FTPd, pyftpdlib and
//! inetutils-ftpd; curl, lftp and Python's ftplib.
//!
//! They need what `tests/peers/install` brings, and root. Without them they fail; `FTPS_GATEWAY_WITHOUT_PEERS=1` leaves
//! them out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "peers/audit.rs"]
mod audit;
#[path = "peers/backend.rs"]
mod backend;
#[path = "peers/client.rs"]
mod client;
#[path = "peers/curl.rs"]
mod curl;
#[path = "peers/front.rs"]
mod front;
#[path = "peers/ftplib.rs"]
mod ftplib;
#[path = "peers/identity.rs"]
mod identity;
#[path = "peers/lftp.rs"]
mod lftp;
#[path = "peers/matrix.rs"]
mod matrix;
#[path = "peers/one_port.rs"]
mod one_port;
#[path = "peers/rules.rs"]
mod rules;
#[path = "peers/work.rs"]
mod work;

/// Whether real peers shall be left out, which is said.
fn left_out() -> bool {
    let left_out = std::env::var_os("FTPS_GATEWAY_WITHOUT_PEERS").is_some_and(|value| value == "1");
    if left_out {
        eprintln!("skipped: FTPS_GATEWAY_WITHOUT_PEERS=1 leaves out the tests with real servers and clients");
    }
    left_out
}
