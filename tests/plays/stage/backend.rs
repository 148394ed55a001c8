//! The scripted backend.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::rustls::ServerConfig;

use super::data::Data;
use super::talker::Talker;
use super::transcript::Transcript;
use super::wire::{End, Wire};

/// How a backend is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Explicit,
    Implicit,
}

/// A backend that waits for the gateway.
pub(crate) struct Backend {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) security: Security,
    /// TLS of its control and data connections. A play may put another in.
    pub(crate) tls: Arc<ServerConfig>,
    transcript: Transcript,
}

/// One session of a backend. Dropped, it closes.
#[must_use]
pub(crate) struct Actor {
    pub(crate) talk: Talker,
    pub(crate) tls: Arc<ServerConfig>,
    /// The address that the gateway dialled.
    pub(crate) address: IpAddr,
}

impl Backend {
    pub(crate) async fn new(address: IpAddr, security: Security, tls: ServerConfig, transcript: Transcript) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address, security, tls: Arc::new(tls), transcript }
    }

    /// The gateway dials. Nothing is said yet.
    pub(crate) async fn accepts(&self) -> Actor {
        let accepting = self.listener.accept();
        let (tcp, _) = self.transcript.soon("the gateway dials the backend", accepting).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        self.transcript.note("backend", "is dialled");
        let talk = Talker::new("backend", Wire::Plain(tcp), self.transcript.clone());
        Actor { talk, tls: Arc::clone(&self.tls), address: self.address.ip() }
    }

    /// The gateway dials, is greeted, and secures the connection where it is to.
    pub(crate) async fn welcomes(&self) -> Actor {
        let mut actor = self.accepts().await;
        if self.security == Security::Implicit {
            actor.shakes_hands().await;
        }
        actor.says("220 Old server at 10.1.2.3 ready").await;
        if self.security == Security::Explicit {
            actor.hears("AUTH TLS").await;
            actor.says("234 Go on").await;
            actor.shakes_hands().await;
        }
        actor
    }

    /// What the gateway asks when it starts and reloads: who are you, what do you offer?
    pub(crate) async fn answers_probe(&self, features: &str) {
        let mut actor = self.welcomes().await;
        actor.hears("FEAT").await;
        actor.says(features).await;
        actor.hears("QUIT").await;
        actor.says("221 Bye").await;
        actor.ends().await;
    }

    /// The gateway has not dialled.
    pub(crate) async fn is_not_dialled(&self) {
        let moment = std::time::Duration::from_millis(60);
        let dialled = tokio::time::timeout(moment, self.listener.accept()).await;
        assert!(dialled.is_err(), "the backend was dialled\n\n{}", self.transcript);
    }
}

impl Actor {
    pub(crate) async fn shakes_hands(&mut self) {
        let shaking = self.talk.wire.accept_tls(Arc::clone(&self.tls));
        let secured = self.talk.transcript.soon("the backend's TLS handshake", shaking).await;
        assert!(secured.is_ok(), "the handshake failed: {secured:?}\n\n{}", self.talk.transcript);
        self.talk.transcript.note(self.talk.name, "is secured");
    }

    /// The gateway does not accept what the backend shows or speaks.
    pub(crate) async fn fails_to_shake_hands(&mut self) {
        let shaking = self.talk.wire.accept_tls(Arc::clone(&self.tls));
        let secured = self.talk.transcript.soon("the backend's TLS handshake", shaking).await;
        if secured.is_ok() {
            // Under TLS 1.3 the server is done before the client has looked at its certificate.
            assert_eq!(self.ends().await, End::Broken);
        }
        self.talk.transcript.note(self.talk.name, "could not be secured");
    }

    /// The next line, exactly, with CRLF.
    pub(crate) async fn hears(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let shown = String::from_utf8_lossy(expected).into_owned();
        let line = self.talk.line(&shown).await;
        let same = line.strip_suffix(b"\r\n") == Some(expected);
        let heard = String::from_utf8_lossy(&line).into_owned();
        assert!(same, "the backend expected {shown:?}, heard {heard:?}\n\n{}", self.talk.transcript);
    }

    pub(crate) async fn says(&mut self, line: impl AsRef<[u8]>) {
        self.talk.say(line).await;
    }

    /// USER and PASS of `bob`, and with TLS what the gateway settles behind the login.
    pub(crate) async fn lets_bob_in(&mut self) {
        self.hears("USER bob").await;
        self.says("331 Password please").await;
        self.hears("PASS sesame").await;
        self.says("230 Welcome bob").await;
        self.protects().await;
    }

    /// PBSZ and PROT P, which the gateway sends behind the login where the control connection is under TLS.
    pub(crate) async fn protects(&mut self) {
        if self.talk.wire.is_private() {
            self.hears("PBSZ 0").await;
            self.says("200 PBSZ=0").await;
            self.hears("PROT P").await;
            self.says("200 Private").await;
        }
    }

    /// A command and its answer.
    pub(crate) async fn hears_and_says(&mut self, command: &str, answer: &str) {
        self.hears(command).await;
        self.says(answer).await;
    }

    /// PASV on IPv4, EPSV on IPv6: the port where the gateway's data connection is awaited.
    pub(crate) async fn goes_passive(&mut self) -> Door {
        let door = self.door().await;
        if self.address.is_ipv4() {
            self.hears("PASV").await;
            self.says(door.pasv_reply()).await;
        } else {
            self.hears("EPSV").await;
            self.says(door.epsv_reply()).await;
        }
        door
    }

    /// A port for data connections, not told to anyone yet.
    pub(crate) async fn door(&self) -> Door {
        let listener = TcpListener::bind((self.address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Door { listener, address, transcript: self.talk.transcript.clone() }
    }

    /// PORT or EPRT: connects where the gateway awaits it.
    pub(crate) async fn connects(&self, to: SocketAddr) -> Data {
        self.connects_from(self.address, to).await
    }

    /// The same from another address.
    pub(crate) async fn connects_from(&self, from: IpAddr, to: SocketAddr) -> Data {
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let connecting = socket.connect(to);
        let tcp: TcpStream =
            self.talk.transcript.soon("the gateway accepts a data connection", connecting).await.unwrap();
        Data::new("backend's data", tcp, self.talk.transcript.clone())
    }

    /// PORT or EPRT: where the gateway awaits the data connection.
    pub(crate) async fn hears_where(&mut self) -> SocketAddr {
        let line = String::from_utf8(self.talk.line("PORT or EPRT").await).unwrap();
        let line = line.trim_end();
        if let Some(argument) = line.strip_prefix("PORT ") {
            let numbers: Vec<u8> = argument.split(',').map(|number| number.parse().unwrap()).collect();
            let address: [u8; 4] = numbers[..4].try_into().unwrap();
            return SocketAddr::from((address, u16::from_be_bytes([numbers[4], numbers[5]])));
        }
        let Some(argument) = line.strip_prefix("EPRT ") else { panic!("no PORT: {line}\n\n{}", self.talk.transcript) };
        let fields: Vec<&str> = argument.split('|').collect();
        SocketAddr::new(fields[2].parse().unwrap(), fields[3].parse().unwrap())
    }

    pub(crate) async fn ends(&mut self) -> End {
        self.talk.ends().await
    }
}

/// A port where the backend awaits the gateway's data connection.
pub(crate) struct Door {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
    transcript: Transcript,
}

impl Door {
    pub(crate) fn pasv_reply(&self) -> String {
        let [high, low] = self.address.port().to_be_bytes();
        let host = self.address.ip().to_string().replace('.', ",");
        format!("227 Entering Passive Mode ({host},{high},{low})")
    }

    pub(crate) fn epsv_reply(&self) -> String {
        format!("229 Entering Extended Passive Mode (|||{}|)", self.address.port())
    }

    /// The gateway's data connection.
    pub(crate) async fn accepts(&self) -> Data {
        let accepting = self.listener.accept();
        let (tcp, _) =
            self.transcript.soon("the gateway opens the backend's data connection", accepting).await.unwrap();
        Data::new("backend's data", tcp, self.transcript.clone())
    }

    /// Nobody has come.
    pub(crate) async fn stays_empty(&self) {
        let moment = std::time::Duration::from_millis(60);
        let come = tokio::time::timeout(moment, self.listener.accept()).await;
        assert!(come.is_err(), "a data connection came\n\n{}", self.transcript);
    }
}
