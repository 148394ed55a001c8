//! An FTPS client that knows just what is measured.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::backend::{BLOCK, receive, send};
use crate::tls::of_one_session;

/// No reply of a proxy here is longer.
const LINE: u64 = 8192;

/// Where a session goes, and how.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// A listener for AUTH TLS.
    pub(crate) address: SocketAddr,
    /// Version and suite.
    pub(crate) tls: Arc<ClientConfig>,
    /// PROT P or PROT C.
    pub(crate) private: bool,
}

/// The addresses that sessions come from: one alone has 28,000 ports.
pub(crate) fn source(number: usize) -> IpAddr {
    let last = 2 + number % 200;
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap_or(2)))
}

/// A connection from `source` to `to`.
pub(crate) async fn dial(source: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    connected(TcpSocket::new_v4()?, source, to).await
}

async fn connected(socket: TcpSocket, source: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    socket.bind((source, 0).into())?;
    let stream = socket.connect(to).await.with_context(|| format!("no connection to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS over `stream`, with room for many records at once in both directions.
pub(crate) async fn secured(tls: Arc<ClientConfig>, stream: TcpStream) -> Result<TlsStream<BufReader<TcpStream>>> {
    let stream = BufReader::with_capacity(BLOCK, stream);
    let mut stream = TlsConnector::from(tls).connect(ServerName::try_from("localhost")?, stream).await?;
    stream.get_mut().1.set_buffer_limit(Some(2 * BLOCK));
    Ok(stream)
}

/// A session that is logged in.
#[derive(Debug)]
pub(crate) struct Session {
    control: BufReader<TlsStream<TcpStream>>,
    source: IpAddr,
    target: Target,
}

impl Session {
    /// From connect to the reply to PROT.
    pub(crate) async fn open(target: &Target, source: IpAddr) -> Result<Self> {
        let mut target = target.clone();
        target.tls = of_one_session(&target.tls);
        let mut plain = BufReader::with_capacity(512, dial(source, target.address).await?);
        reply(&mut plain, "220").await?;
        plain.write_all(b"AUTH TLS\r\n").await?;
        reply(&mut plain, "234").await?;
        let connector = TlsConnector::from(Arc::clone(&target.tls));
        let control = connector.connect(ServerName::try_from("localhost")?, plain.into_inner()).await?;
        let mut session = Self { control: BufReader::with_capacity(512, control), source, target };
        let protection = if session.target.private { "PROT P" } else { "PROT C" };
        for (command, code) in
            [("USER anonymous", "331"), ("PASS load@", "230"), ("PBSZ 0", "200"), (protection, "200")]
        {
            session.ask(command, code).await?;
        }
        Ok(session)
    }

    /// One command, and its reply, which must have this code.
    pub(crate) async fn ask(&mut self, command: &str, code: &str) -> Result<String> {
        self.say(command).await?;
        reply(&mut self.control, code).await.with_context(|| format!("after {command}"))
    }

    /// A download of so many bytes, all of which come, up to the 226.
    pub(crate) async fn download(&mut self, bytes: u64) -> Result<()> {
        let data = self.begin(&format!("RETR {bytes}")).await?;
        let received = if self.target.private {
            receive(&mut secured(Arc::clone(&self.target.tls), data).await?).await?
        } else {
            let mut data = data;
            receive(&mut data).await?
        };
        ensure!(received == bytes, "{received} bytes of {bytes} have come");
        reply(&mut self.control, "226").await?;
        Ok(())
    }

    /// An upload of so many bytes, all of which the backend has counted.
    pub(crate) async fn upload(&mut self, bytes: u64) -> Result<()> {
        let data = self.begin("STOR x").await?;
        if self.target.private {
            let mut data = secured(Arc::clone(&self.target.tls), data).await?;
            send(&mut data, bytes).await?;
            receive(&mut data).await?;
        } else {
            let mut data = data;
            send(&mut data, bytes).await?;
        }
        let last = reply(&mut self.control, "226").await?;
        ensure!(last.contains(&bytes.to_string()), "of {bytes} bytes the backend says {last}");
        Ok(())
    }

    /// QUIT, up to the end of the connection.
    pub(crate) async fn quit(mut self) -> Result<()> {
        self.ask("QUIT", "221").await?;
        let control = self.control.get_mut();
        control.shutdown().await?;
        // vsftpd leaves without close_notify. That it has left is all that is awaited here.
        while matches!(control.read(&mut [0; 64]).await, Ok(1..)) {}
        Ok(())
    }

    /// Opens the data connection, sends the command, and awaits 150.
    async fn begin(&mut self, command: &str) -> Result<TcpStream> {
        self.begin_on(TcpSocket::new_v4()?, command).await
    }

    /// The same with buffers so small that a slow client is felt at the other end, and TLS done.
    pub(crate) async fn begin_slowly(&mut self, command: String) -> Result<TlsStream<TcpStream>> {
        const SMALL: u32 = 16 * 1024;
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SMALL)?;
        socket.set_send_buffer_size(SMALL)?;
        let data = self.begin_on(socket, &command).await?;
        Ok(TlsConnector::from(Arc::clone(&self.target.tls)).connect(ServerName::try_from("localhost")?, data).await?)
    }

    async fn begin_on(&mut self, socket: TcpSocket, command: &str) -> Result<TcpStream> {
        let passive = self.ask("EPSV", "229").await?;
        let port = passive.split('|').nth(3).and_then(|port| port.parse().ok());
        let port: u16 = port.with_context(|| format!("no port in {passive}"))?;
        self.say(command).await?;
        let data = connected(socket, self.source, (self.target.address.ip(), port).into()).await?;
        reply(&mut self.control, "150").await?;
        Ok(data)
    }

    async fn say(&mut self, command: &str) -> Result<()> {
        self.control.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.control.flush().await?;
        Ok(())
    }
}

/// The last line of the next reply, which must have this code.
async fn reply(control: &mut (impl AsyncBufReadExt + Unpin), code: &str) -> Result<String> {
    let mut line = String::new();
    loop {
        line.clear();
        if control.take(LINE).read_line(&mut line).await? == 0 {
            bail!("the connection has ended where {code} was awaited");
        }
        // Any other line belongs to a longer reply.
        if line.as_bytes().get(3) == Some(&b' ') && line.bytes().take(3).all(|byte| byte.is_ascii_digit()) {
            ensure!(line.starts_with(code), "{code} awaited, heard: {}", line.trim_end());
            return Ok(line.trim_end().to_owned());
        }
    }
}
