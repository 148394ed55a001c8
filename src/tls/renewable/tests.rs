//! The control connection against rustls' own server.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::server::TlsStream;

use super::*;
use crate::event::{HandshakeKind, HandshakeResult};
use crate::tls::tickets::SessionTickets;
use crate::tls::{BackTls, Connector, Identities, Identity, Stream, Verification};

const DEADLINE: Duration = Duration::from_secs(10);

/// A server that hands out two tickets on the control connection and none on data connections, as ProFTPD does.
struct Server {
    control: TlsAcceptor,
    data: TlsAcceptor,
    back: BackTls,
}

impl Server {
    fn new(versions: &[&'static tokio_rustls::rustls::SupportedProtocolVersion]) -> Self {
        let identity = Identity::self_signed(&["backend.example".into()]).unwrap();
        let verification = Verification { fingerprint: Some(identity.fingerprint), ..Verification::default() };
        let tickets = Arc::new(SessionTickets::new(true).unwrap()).control();
        let mut config = ServerConfig::builder_with_protocol_versions(versions)
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Identities::single(identity)));
        config.ticketer = tickets;
        config.send_tls13_tickets = 2;
        let mut data = config.clone();
        data.send_tls13_tickets = 0;
        Self {
            control: TlsAcceptor::from(Arc::new(config)),
            data: TlsAcceptor::from(Arc::new(data)),
            back: Connector::new(&verification, "backend.example").unwrap().back_leg(),
        }
    }

    async fn control(&self) -> (Stream, TlsStream<TcpStream>) {
        let (near, far) = pair().await;
        let (secured, accepted) = tokio::join!(self.back.secure_control(near, DEADLINE), self.control.accept(far));
        (secured.unwrap().0, accepted.unwrap())
    }
}

async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Socket::new(near), listener.accept().await.unwrap().0)
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &[u8]) {
    stream.write_all(text).await.unwrap();
    stream.flush().await.unwrap();
}

async fn hear(stream: &mut (impl AsyncRead + Unpin), text: &[u8]) {
    let mut heard = vec![0; text.len()];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, text);
}

#[tokio::test]
async fn two_tickets_serve_a_hundred_data_connections() {
    let server = Server::new(&[&TLS13]);
    let (mut near, mut far) = server.control().await;
    // The tickets stand before the text.
    say(&mut far, b"220 ready").await;
    hear(&mut near, b"220 ready").await;
    for _ in 0..100 {
        let (socket, peer) = pair().await;
        let (secured, accepted) = tokio::join!(server.back.secure_data(socket, DEADLINE), server.data.accept(peer));
        accepted.unwrap();
        assert_eq!(secured.unwrap().1.kind, HandshakeKind::Resumed);
    }
}

#[tokio::test]
async fn texts_of_any_length_pass_both_ways() {
    let server = Server::new(&[&TLS13]);
    let (mut near, mut far) = server.control().await;
    for length in [1, 16_384, 16_385, 100_000] {
        let text: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        tokio::join!(say(&mut near, &text), hear(&mut far, &text));
        tokio::join!(say(&mut far, &text), hear(&mut near, &text));
    }
}

#[tokio::test]
async fn keys_are_renewed_when_the_backend_asks() {
    let server = Server::new(&[&TLS13]);
    let (mut near, mut far) = server.control().await;
    for round in 0..3 {
        let text = format!("round {round}");
        far.get_mut().1.refresh_traffic_keys().unwrap();
        say(&mut far, text.as_bytes()).await;
        hear(&mut near, text.as_bytes()).await;
        say(&mut near, text.as_bytes()).await;
        hear(&mut far, text.as_bytes()).await;
    }
}

/// Without anybody asking, and without an end, however long a session lasts.
#[tokio::test]
async fn keys_are_renewed_before_they_are_worn() {
    const ROUNDS: u64 = 100;
    const RECORDS: u64 = 10;
    let server = Server::new(&[&TLS13]);
    let (near, mut far) = server.control().await;
    let Stream::Renewable(mut near) = near else { panic!("not under TLS 1.3") };
    near.records = RECORDS;
    for round in 0..ROUNDS {
        let text = format!("round {round}");
        say(&mut near, text.as_bytes()).await;
        hear(&mut far, text.as_bytes()).await;
        // Three replies to a command, as to a transfer.
        for _ in 0..3 {
            say(&mut far, text.as_bytes()).await;
            hear(&mut near, text.as_bytes()).await;
        }
        assert!(near.sealer.records() <= RECORDS && near.opener.records() <= RECORDS + 6);
    }
}

#[tokio::test]
async fn close_notify_is_told_from_a_cut() {
    let server = Server::new(&[&TLS13]);
    let (mut near, mut far) = server.control().await;
    far.shutdown().await.unwrap();
    assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
    near.finish().await.unwrap();
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);

    let (mut near, far) = server.control().await;
    far.into_inner().0.shutdown().await.unwrap();
    assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_record_that_does_not_open_ends_the_connection() {
    for junk in [
        &b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..],
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"\x17\x03\x03\xff\xff",
    ] {
        let server = Server::new(&[&TLS13]);
        let (mut near, far) = server.control().await;
        let mut raw = far.into_inner().0;
        raw.write_all(junk).await.unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn a_server_without_tls_1_3_is_told_from_others() {
    let server = Server::new(&[&TLS12]);
    let (near, far) = pair().await;
    let (secured, _) = tokio::join!(server.back.secure_control(near, DEADLINE), server.control.accept(far));
    assert_eq!(secured.unwrap_err().result, HandshakeResult::NoCommonParameters);
    let (near, far) = pair().await;
    let (secured, accepted) = tokio::join!(server.back.secure_old_control(near, DEADLINE), server.control.accept(far));
    accepted.unwrap();
    assert!(secured.is_ok());
}

#[tokio::test]
async fn a_server_that_sends_nonsense_is_refused_and_nothing_panics() {
    let server = Server::new(&[&TLS13]);
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for round in 0..200 {
        let (near, mut far) = pair().await;
        let mut junk = Vec::new();
        for _ in 0..3 {
            // Looks like records, and every fourth one is not even that.
            let length = random() % 60;
            let kind = if round % 4 == 0 { random() } else { 20 + random() % 4 };
            junk.extend([kind, 3, 3, 0, length]);
            junk.extend((0..length).map(|_| random()));
        }
        let talk = async {
            far.write_all(&junk).await.unwrap();
            far.shutdown().await.unwrap();
        };
        let (secured, ()) = tokio::join!(server.back.secure_control(near, DEADLINE), talk);
        assert!(secured.is_err());
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let (server, other) = (Server::new(&[&TLS13]), Server::new(&[&TLS13]));
    let (near, far) = pair().await;
    let (secured, _) = tokio::join!(server.back.secure_control(near, DEADLINE), other.control.accept(far));
    assert_eq!(secured.unwrap_err().result, HandshakeResult::CertificateRejected);
}
