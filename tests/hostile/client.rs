//! Who comes in front and means harm, by chance: in clear, in a handshake that breaks, and within TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::MOMENT;
use super::chance::Chance;
use super::leg::{Leg, hello};
use super::tls::ClientTls;

/// Each has a backend of its own, in clear and under both kinds of TLS.
const LOGINS: [&str; 3] = ["USER eve\r\nPASS x\r\n", "USER mallory\r\nPASS x\r\n", "USER trudy\r\nPASS x\r\n"];
/// What they say that the other end looks for, besides nonsense.
const COMMANDS: [&str; 26] = [
    "USER eve\r\nPASS x\r\n",
    "PASV\r\n",
    "EPSV\r\n",
    "PASV\r\nRETR a\r\n",
    "EPSV\r\nSTOR a\r\n",
    "PASV\r\nLIST\r\nABOR\r\n",
    "ABOR\r\n",
    "FEAT\r\n",
    "REIN\r\n",
    "AUTH TLS\r\n",
    "PBSZ 0\r\nPROT P\r\nPASV\r\nRETR a\r\n",
    "PBSZ 0\r\nPROT P\r\nEPSV\r\nSTOR a\r\n",
    "PBSZ 0\r\nPROT P\r\nPASV\r\nLIST\r\n",
    "PASV\r\nSTOR a\r\n",
    "PBSZ 0\r\nPROT P\r\n",
    "PROT C\r\n",
    "STAT\r\n",
    "NOOP\r\n",
    "REST 5\r\n",
    "PORT 127,0,4,1,255,254\r\n",
    "CCC\r\n",
    "HOST x\r\n",
    "OPTS UTF8 ON\r\n",
    "PWD\r\n",
    "QUIT\r\n",
    "SITE HELP\r\n",
];

/// Connects, says whatever comes to mind, and goes in some way. `to`: the explicit listener and the implicit one.
pub(crate) async fn hostile_client(from: IpAddr, to: [SocketAddr; 2], words: &[Vec<u8>], chance: &mut Chance) {
    let implicit = chance.once_in(2);
    let tls = if chance.once_in(4) { ClientTls::tls12() } else { ClientTls::new() };
    let Ok(mut control) = connects(from, to[usize::from(implicit)]).await else { return };
    // In clear where TLS is awaited, too.
    if !chance.once_in(4) {
        if !implicit && answers(&mut control, b"AUTH TLS\r\n").await.is_err() {
            return;
        }
        if chance.once_in(4) {
            return breaks_off(control, &tls, words, chance).await;
        }
        let Ok(secured) = control.secured(&tls).await else { return };
        control = secured;
    }
    // How it ends is for the gateway to see to.
    let _ = talks(&mut control, from, &tls, words, chance).await;
    if chance.once_in(2) {
        control.resets();
    }
}

/// Begins a handshake that comes to nothing.
async fn breaks_off(mut control: Leg, tls: &ClientTls, words: &[Vec<u8>], chance: &mut Chance) {
    let mut start = hello(tls);
    match chance.below(4) {
        0 => start = chance.changed(start, words),
        1 => start.truncate(chance.below(start.len())),
        2 => start.extend_from_slice(&chance.word(words)),
        _ => {}
    }
    // The answer is heard or not, and what follows is no end of a handshake.
    if answers(&mut control, &start).await.is_ok() && chance.once_in(2) {
        let _ = control.spoils(words, chance).await;
    }
    if chance.once_in(2) {
        control.resets();
    }
}

async fn talks(
    control: &mut Leg,
    from: IpAddr,
    tls: &ClientTls,
    words: &[Vec<u8>],
    chance: &mut Chance,
) -> io::Result<()> {
    let host = control.tcp().peer_addr()?.ip();
    if !chance.once_in(3) {
        answers(control, chance.one_of(&LOGINS).as_bytes()).await?;
    }
    let mut data: Vec<Leg> = Vec::new();
    for _ in 0..1 + chance.below(12) {
        let line = if chance.once_in(3) { chance.word(words) } else { chance.one_of(&COMMANDS).as_bytes().to_vec() };
        let heard = answers(control, &line).await?;
        if let Some(port) = passive_port(&heard).filter(|_| !chance.once_in(4))
            && let Ok(stream) = connects(from, SocketAddr::new(host, port)).await
        {
            data.extend(fills(stream, tls, words, chance).await.ok());
        }
        if chance.once_in(3) {
            data.pop();
        }
        if chance.once_in(12) {
            control.spoils(words, chance).await?;
        }
    }
    Ok(())
}

/// Does on a data connection what it likes.
async fn fills(mut stream: Leg, tls: &ClientTls, words: &[Vec<u8>], chance: &mut Chance) -> io::Result<Leg> {
    match chance.below(4) {
        // In clear.
        0 => {}
        // A ClientHello that may have come over the wire otherwise.
        1 => {
            answers(&mut stream, &chance.changed(hello(tls), words)).await?;
            return Ok(stream);
        }
        _ => stream = stream.secured(tls).await?,
    }
    // Nothing is awaited of a write that may never be taken.
    timeout(MOMENT, stream.write_all(&chance.word(words))).await.unwrap_or(Ok(()))?;
    timeout(MOMENT, stream.flush()).await.unwrap_or(Ok(()))?;
    match chance.below(3) {
        0 => stream.spoils(words, chance).await?,
        1 => timeout(MOMENT, stream.shutdown()).await.unwrap_or(Ok(()))?,
        _ => {}
    }
    Ok(stream)
}

async fn connects(from: IpAddr, to: SocketAddr) -> io::Result<Leg> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    Ok(Leg::Plain(timeout(Duration::from_secs(5), socket.connect(to)).await??))
}

/// Says something, and what comes within a moment.
async fn answers(control: &mut Leg, line: &[u8]) -> io::Result<Vec<u8>> {
    // It may not be taken.
    if let Ok(written) = timeout(MOMENT, control.write_all(line)).await {
        written?;
        timeout(MOMENT, control.flush()).await.unwrap_or(Ok(()))?;
    }
    let mut heard = vec![0; 8192];
    match timeout(MOMENT, control.read(&mut heard)).await {
        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => {
            heard.truncate(read?);
            Ok(heard)
        }
        Err(_) => Ok(Vec::new()),
    }
}

/// The port in a 227 or 229, wherever it stands.
fn passive_port(heard: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(heard);
    if let Some((_, rest)) = text.split_once("(|||") {
        return rest.split('|').next()?.parse().ok();
    }
    let (_, rest) = text.split_once("227 ")?;
    let numbers: Vec<u8> = rest.split(['(', ')']).nth(1)?.split(',').filter_map(|number| number.parse().ok()).collect();
    Some(u16::from_be_bytes([*numbers.get(4)?, *numbers.get(5)?]))
}
