//! `--show-backend`: a relay between the gateway and the server behind, which prints what it sees.
//!
//! Invariants: it changes nothing but the port in replies to PASV and EPSV, so that data connections come by here too;
//! a password is not printed; an end is passed on as an end and a break as a break.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::say;
use crate::ftp::{
    Command, Cut, LineCutter, Printable, ReplyCutter, ReplyLine, parse_epsv_port, parse_pasv, write_epsv, write_pasv,
};
use crate::net::{Socket, tune};

/// More than the gateway or the demo's server puts on one line.
const LINE: usize = 16 * 1024;
/// What is shown of a data connection.
const GLANCE: usize = 48;
/// How long the gateway may take to come to a data port.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Listens in front of `server`, until the runtime ends.
pub(super) async fn start(server: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        for number in 1.. {
            match listener.accept().await {
                Ok((gateway, _)) => {
                    tokio::spawn(async move {
                        if let Err(error) = control(number, gateway, server).await {
                            say(&format!("[{number}] broken: {error}"));
                        }
                    });
                }
                Err(error) => tracing::error!(%error, "the relay cannot accept"),
            }
        }
    });
    Ok(address)
}

async fn control(number: u64, gateway: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server_leg = TcpStream::connect(server).await?;
    tune(&gateway);
    tune(&server_leg);
    let (from_gateway, to_gateway) = gateway.into_split();
    let (from_server, to_server) = server_leg.into_split();
    tokio::try_join!(commands(number, from_gateway, to_server), replies(number, from_server, to_gateway, server))?;
    Ok(())
}

async fn commands(number: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut cutter = LineCutter::commands(LINE);
    let mut block = [0; 1024];
    loop {
        while let Some(cut) = cutter.next_cut() {
            let Cut::Line(line) = cut else { continue };
            let Ok(command) = Command::parse(&line) else { continue };
            say(&format!("[{number}] gateway -> server   {command}"));
            to.write_all(&command.to_wire()).await?;
        }
        match from.read(&mut block).await? {
            0 => return ended(&mut to).await,
            read => cutter.push(&block[..read]),
        }
    }
}

async fn replies(number: u64, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, server: SocketAddr) -> io::Result<()> {
    let mut cutter = ReplyCutter::new(LINE);
    let mut block = [0; 1024];
    loop {
        while let Some(line) = cutter.next_line().map_err(io::Error::other)? {
            say(&format!("[{number}] server  -> gateway  {}", Printable(&line.bytes)));
            let mut bytes = match data_port(&line) {
                Some(port) => redirected(number, &line, SocketAddr::new(server.ip(), port)).await?,
                None => line.bytes,
            };
            bytes.extend_from_slice(b"\r\n");
            to.write_all(&bytes).await?;
        }
        match from.read(&mut block).await? {
            0 => return ended(&mut to).await,
            read => cutter.push(&block[..read]),
        }
    }
}

fn data_port(line: &ReplyLine) -> Option<u16> {
    match line.code.number() {
        227 => parse_pasv(line.text()).ok().map(|endpoint| endpoint.port()),
        229 => parse_epsv_port(line.text()).ok(),
        _ => None,
    }
}

/// The same reply with a port of the relay's own.
async fn redirected(number: u64, line: &ReplyLine, server: SocketAddr) -> io::Result<Vec<u8>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        // A port that is reserved and never used is nothing to show.
        let Ok(Ok((gateway, _))) = timeout(ARRIVAL, listener.accept()).await else { return };
        match TcpStream::connect(server).await {
            Ok(server) => data(number, gateway, server).await,
            Err(error) => say(&format!("[{number}] data: the server's port cannot be reached: {error}")),
        }
    });
    let text = match line.code.number() {
        227 => write_pasv(Ipv4Addr::LOCALHOST, port),
        _ => write_epsv(port),
    };
    Ok(format!("{} {text}", line.code).into_bytes())
}

async fn data(number: u64, mut gateway: TcpStream, mut server: TcpStream) {
    let (mut down, mut up) = (Seen::default(), Seen::default());
    let moved = {
        let (mut from_gateway, mut to_gateway) = gateway.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::try_join!(
            copy(&mut from_gateway, &mut to_server, &mut up),
            copy(&mut from_server, &mut to_gateway, &mut down)
        )
    };
    if moved.is_err() {
        for connection in [gateway, server] {
            Socket::new(connection).reset_on_close(true);
        }
    }
    let (direction, seen) = if up.bytes > 0 { ("gateway -> server ", up) } else { ("server  -> gateway", down) };
    let cut = if moved.is_err() { ", cut" } else { "" };
    let (bytes, glance) = (seen.bytes, Printable(&seen.first));
    say(&format!("[{number}] {direction}  data connection, {bytes} bytes in clear{cut}: \"{glance}\""));
}

/// What went one way on a data connection.
#[derive(Default)]
struct Seen {
    bytes: u64,
    first: Vec<u8>,
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    seen: &mut Seen,
) -> io::Result<()> {
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut block).await?;
        if read == 0 {
            return ended(to).await;
        }
        seen.bytes += read as u64;
        let wanted = GLANCE.saturating_sub(seen.first.len()).min(read);
        seen.first.extend_from_slice(&block[..wanted]);
        to.write_all(&block[..read]).await?;
    }
}

/// Passes an end on. A peer that has gone already needs none.
async fn ended(to: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
    match to.shutdown().await {
        Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}
