//! The scripted client.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::data::Data;
use super::talker::Talker;
use super::tls::ClientTls;
use super::transcript::Transcript;
use super::wire::{End, Wire};

/// A client with its control connection.
pub(crate) struct Client {
    pub(crate) talk: Talker,
    /// TLS of the control connection, and of data connections unless a play says otherwise.
    pub(crate) tls: ClientTls,
}

/// A reply as the client heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// All lines, with their line ends.
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The lines without code and line ends, first and last included as they came.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

impl Client {
    /// Connects from a given address of this machine.
    pub(crate) async fn connect(
        name: &'static str,
        from: IpAddr,
        to: SocketAddr,
        tls: ClientTls,
        transcript: Transcript,
    ) -> Self {
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let tcp = transcript.soon("the gateway accepts", socket.connect(to)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        transcript.note(name, format_args!("connects to {to}"));
        Self { talk: Talker::new(name, Wire::Plain(tcp), transcript), tls }
    }

    pub(crate) async fn says(&mut self, line: impl AsRef<[u8]>) {
        self.talk.say(line).await;
    }

    /// The next reply, which begins so.
    pub(crate) async fn hears(&mut self, start: &str) -> Reply {
        let reply = self.reply(start).await;
        let text = reply.text();
        assert!(text.starts_with(start), "expected {start:?}, heard {text:?}\n\n{}", self.talk.transcript);
        reply
    }

    /// The next reply has this code and names this reason.
    pub(crate) async fn refused(&mut self, code: u16, label: &str) -> Reply {
        let reply = self.reply(&format!("{code} … [{label}]")).await;
        let text = reply.text();
        let named = text.contains(&format!("[{label}]"));
        assert!(reply.code == code && named, "expected {code} [{label}], heard {text:?}\n\n{}", self.talk.transcript);
        reply
    }

    pub(crate) async fn says_and_hears(&mut self, line: &str, start: &str) -> Reply {
        self.says(line).await;
        self.hears(start).await
    }

    /// One whole reply (RFC 959 §4.2).
    pub(crate) async fn reply(&mut self, awaited: &str) -> Reply {
        let first = self.talk.line(awaited).await;
        let mut bytes = first.clone();
        assert!(first.ends_with(b"\r\n"), "no CRLF: {first:?}\n\n{}", self.talk.transcript);
        let code = first.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let Some(code) = code else { panic!("no reply: {first:?}\n\n{}", self.talk.transcript) };
        if first.get(3) == Some(&b'-') {
            let end = [&first[..3], b" "].concat();
            loop {
                let line = self.talk.line(awaited).await;
                assert!(line.ends_with(b"\r\n"), "no CRLF: {line:?}\n\n{}", self.talk.transcript);
                bytes.extend_from_slice(&line);
                if line.starts_with(&end) {
                    break;
                }
            }
        }
        Reply { code, bytes }
    }

    /// AUTH TLS and the handshake.
    pub(crate) async fn secures(&mut self) {
        self.says_and_hears("AUTH TLS", "234 ").await;
        self.shakes_hands().await;
    }

    /// The handshake, which must succeed.
    pub(crate) async fn shakes_hands(&mut self) {
        let secured = self.try_to_shake_hands().await;
        assert!(secured.is_ok(), "the handshake failed: {secured:?}\n\n{}", self.talk.transcript);
    }

    /// The handshake, which may fail.
    pub(crate) async fn try_to_shake_hands(&mut self) -> std::io::Result<()> {
        let shaking = self.talk.wire.connect_tls(self.tls.config(), self.tls.name());
        let secured = self.talk.transcript.soon("the TLS handshake", shaking).await;
        let outcome = if secured.is_ok() { "is secured" } else { "could not be secured" };
        self.talk.transcript.note(self.talk.name, outcome);
        secured
    }

    /// PBSZ 0, PROT P.
    pub(crate) async fn protects(&mut self) {
        self.says_and_hears("PBSZ 0", "200 PBSZ=0\r\n").await;
        self.says_and_hears("PROT P", "200 ").await;
    }

    /// PASV: where the gateway awaits the data connection.
    pub(crate) fn passive_address(&self, reply: &Reply) -> SocketAddr {
        let text = reply.text();
        if reply.code == 229 {
            let port = text.split('|').nth(3).unwrap().parse().unwrap();
            let gateway = self.talk.wire.tcp().unwrap().peer_addr().unwrap().ip();
            return SocketAddr::new(gateway, port);
        }
        let inner = text.split(['(', ')']).nth(1).unwrap();
        let numbers: Vec<u8> = inner.split(',').map(|number| number.parse().unwrap()).collect();
        let address: [u8; 4] = numbers[..4].try_into().unwrap();
        SocketAddr::from((address, u16::from_be_bytes([numbers[4], numbers[5]])))
    }

    /// A data connection to the gateway, from the control connection's address, without TLS yet.
    pub(crate) async fn opens(&self, to: SocketAddr) -> Data {
        let from = self.address();
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let transcript = self.talk.transcript.clone();
        let tcp = transcript.soon("the gateway accepts a data connection", socket.connect(to)).await.unwrap();
        Data::new("client's data", tcp, transcript)
    }

    /// A port of the client's for active mode.
    pub(crate) async fn listens(&self) -> TcpListener {
        TcpListener::bind((self.address(), 0)).await.unwrap()
    }

    /// The gateway's active data connection.
    pub(crate) async fn accepts(&self, listener: &TcpListener) -> Data {
        let transcript = self.talk.transcript.clone();
        let (tcp, _) = transcript.soon("the gateway connects to the client", listener.accept()).await.unwrap();
        Data::new("client's data", tcp, transcript)
    }

    /// The address the control connection comes from.
    pub(crate) fn address(&self) -> IpAddr {
        self.talk.wire.tcp().unwrap().local_addr().unwrap().ip()
    }

    pub(crate) async fn ends(&mut self) -> End {
        self.talk.ends().await
    }
}
