//! What a reader is told: proper ends, truncations, tickets, new keys, nonsense.

use std::io::{IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ktls_core::tls::ContentType;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{Linger, TcpTlsRx, TcpTlsTx};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg, setsockopt};

use crate::{Failure, control, key, pair, take_over};

/// What one read came to: bytes of what, or an error.
#[derive(Debug, PartialEq)]
enum Heard {
    Text(usize),
    Alert(usize),
    Handshake(usize),
    /// No bytes, and no kind.
    End,
    Odd,
    Failed(Errno),
}

fn hear(end: &TcpStream) -> Heard {
    let mut memory = vec![0; 100_000];
    let mut pieces = [IoSliceMut::new(&mut memory)];
    let mut kinds = cmsg_space!(u8);
    let message = match recvmsg::<()>(end.as_raw_fd(), &mut pieces, Some(&mut kinds), MsgFlags::empty()) {
        Ok(message) => message,
        Err(error) => return Heard::Failed(error),
    };
    let kind = message.cmsgs().ok().into_iter().flatten().find_map(|kind| match kind {
        ControlMessageOwned::TlsGetRecordType(kind) => Some(kind),
        _ => None,
    });
    match kind {
        None if message.bytes == 0 => Heard::End,
        Some(TlsGetRecordType::ApplicationData) => Heard::Text(message.bytes),
        Some(TlsGetRecordType::Alert) => Heard::Alert(message.bytes),
        Some(TlsGetRecordType::Handshake) => Heard::Handshake(message.bytes),
        Some(_) | None => Heard::Odd,
    }
}

/// A connection on which the kernel seals what the first end sends, and opens it for the second.
fn secured(version: u16) -> Result<(TcpStream, TcpStream), Failure> {
    let (sender, reader) = pair(0)?;
    take_over(&sender)?;
    setsockopt(&sender, TcpTlsTx, &key(version))?;
    open(&reader, version)?;
    Ok((sender, reader))
}

fn open(reader: &TcpStream, version: u16) -> Result<(), Failure> {
    take_over(reader)?;
    Ok(setsockopt(reader, TcpTlsRx, &key(version))?)
}

/// Whether all is as the decision says.
pub(crate) fn findings(version: u16, name: &str) -> Result<bool, Failure> {
    let mut held = true;
    let mut find = |what: &str, found: &[Heard], awaited: &[Heard]| {
        let as_awaited = found == awaited;
        held &= as_awaited;
        let mark = if as_awaited { "as awaited" } else { "OTHERWISE" };
        println!("{name}: {what}: {found:?} ({mark})");
    };
    let close_notify = [1, 0];

    let (mut sender, reader) = secured(version)?;
    sender.write_all(&[0; 40_000])?;
    control(&sender, ContentType::Alert, &close_notify)?;
    sender.shutdown(Shutdown::Write)?;
    let heard = [hear(&reader), hear(&reader), hear(&reader)];
    find("text, close_notify, FIN", &heard, &[Heard::Text(40_000), Heard::Alert(2), Heard::End]);

    let (mut sender, reader) = secured(version)?;
    sender.write_all(&[0; 40_000])?;
    sender.shutdown(Shutdown::Write)?;
    find("text, FIN", &[hear(&reader), hear(&reader)], &[Heard::Text(40_000), Heard::End]);

    let (mut sender, reader) = pair(0)?;
    open(&reader, version)?;
    sender.write_all(&[23, 3, 3, 0, 40, 0, 0, 0])?;
    sender.shutdown(Shutdown::Write)?;
    find("half a record, FIN", &[hear(&reader)], &[Heard::End]);

    let (mut sender, reader) = secured(version)?;
    sender.write_all(&[0; 7])?;
    setsockopt(&sender, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    let first = hear(&reader);
    drop(sender);
    find("text, reset", &[first, hear(&reader)], &[Heard::Text(7), Heard::Failed(Errno::ECONNRESET)]);

    let (mut sender, reader) = pair(0)?;
    open(&reader, version)?;
    sender.write_all(&[23, 3, 3, 0, 40])?;
    sender.write_all(&[0; 40])?;
    let bad = Heard::Failed(Errno::EBADMSG);
    find("a record that does not open", &[hear(&reader), hear(&reader)], &[bad, Heard::Failed(Errno::EBADMSG)]);

    let (sender, mut reader) = secured(version)?;
    control(&sender, ContentType::Alert, &close_notify)?;
    let plain = match reader.read(&mut [0; 10]) {
        Ok(read) => Heard::Text(read),
        Err(error) => Heard::Failed(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
    };
    find(
        "an alert, to read() and then to recvmsg()",
        &[plain, hear(&reader)],
        &[Heard::Failed(Errno::EIO), Heard::Alert(2)],
    );

    let (mut sender, reader) = secured(version)?;
    for _ in 0..2 {
        control(&sender, ContentType::Handshake, &[4, 0, 0, 1, 0])?;
    }
    sender.write_all(&[0; 9])?;
    find(
        "two tickets, text",
        &[hear(&reader), hear(&reader), hear(&reader)],
        &[Heard::Handshake(5), Heard::Handshake(5), Heard::Text(9)],
    );

    // A short upload has ended before anybody knows whether it will be long.
    let (sender, reader) = pair(0)?;
    sender.shutdown(Shutdown::Write)?;
    while reader.peek(&mut [0])? != 0 {}
    let refused = take_over(&reader).err().map_or(Heard::End, Heard::Failed);
    find("TLS for a connection whose peer has ended", &[refused], &[Heard::Failed(Errno::ENOTCONN)]);

    new_keys(version, name)?;
    Ok(held)
}

/// Whether a connection can get new keys: a finding that the kernel's age decides.
fn new_keys(version: u16, name: &str) -> Result<(), Failure> {
    let (sender, reader) = secured(version)?;
    control(&sender, ContentType::Handshake, &[24, 0, 0, 1, 0])?;
    let heard = hear(&reader);
    let sending = setsockopt(&sender, TcpTlsTx, &key(version));
    reader.set_read_timeout(Some(Duration::from_millis(500)))?;
    let paused = hear(&reader);
    let receiving = setsockopt(&reader, TcpTlsRx, &key(version));
    println!("{name}: a key update is heard as {heard:?}, then {paused:?}");
    println!("{name}: new keys to send: {sending:?}, to receive: {receiving:?}");
    Ok(())
}
