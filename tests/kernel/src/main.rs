//! What Linux's own TLS (kTLS) does at the ends of connections, on the kernel that this runs on.
//!
//! No handshake: both ends are given the same key. Prints a line for each finding. It is run by `run` beside it, in a
//! virtual machine, as the only program there.

mod receive;
mod send;

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ktls_core::tls::ContentType;
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, TcpUlp, TlsCryptoInfo};

/// TLS 1.2 and 1.3, as they are written on the wire.
const VERSIONS: [(u16, &str); 2] = [(0x0303, "TLS 1.2"), (0x0304, "TLS 1.3")];
/// Nothing here takes longer on a loopback interface, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    println!("Linux {}", release.trim());
    let (near, _far) = pair(0)?;
    if let Err(error) = take_over(&near) {
        println!("no TLS in this kernel: {error}");
        return Ok(());
    }
    let mut held = true;
    for (version, name) in VERSIONS {
        held &= receive::findings(version, name)?;
    }
    held &= send::findings()?;
    println!("{}", if held { "AS THE DECISION SAYS" } else { "NOT AS THE DECISION SAYS" });
    Ok(())
}

/// Two ends of a connection; the second has this many bytes of room for what it has not read, the usual for 0.
fn pair(room: usize) -> Result<(TcpStream, TcpStream), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    if room > 0 {
        setsockopt(&listener, RcvBuf, &room)?;
    }
    let near = TcpStream::connect(listener.local_addr()?)?;
    let far = listener.accept()?.0;
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((near, far))
}

/// Puts TLS between TCP and the program. Without keys everything still goes through as it is.
fn take_over(end: &TcpStream) -> nix::Result<()> {
    setsockopt(end, TcpUlp::default(), b"tls")
}

/// The same key for every connection here.
fn key(version: u16) -> TlsCryptoInfo {
    let info = libc::tls_crypto_info { version, cipher_type: libc::TLS_CIPHER_AES_GCM_128 };
    TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
        info,
        iv: [1; 8],
        key: [2; 16],
        salt: [3; 4],
        rec_seq: [0; 8],
    })
}

/// Sends one record that is no text.
fn control(end: &TcpStream, kind: ContentType, text: &[u8]) -> std::io::Result<usize> {
    ktls_core::ffi::send_tls_control_message(end.as_raw_fd(), kind, &mut text.to_vec())
}
