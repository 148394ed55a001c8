//! Data connections under TLS against rustls' own buffered client and server.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls::{DataStream, Identities, Identity};

const DEADLINE: Duration = Duration::from_secs(20);
const LARGE: Room = Room { pace: Pace::Full, sealed: true };
const SMALL: Room = Room { pace: Pace::Slow, sealed: true };

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    configs_with(version, default_provider())
}

/// `provider` is the client's.
fn configs_with(
    version: &'static SupportedProtocolVersion,
    provider: CryptoProvider,
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let identity = Identity::self_signed(&["gateway.test".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.leaf().to_vec())).unwrap();
    let server = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Identities::single(identity)));
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("gateway.test").unwrap()
}

async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Socket::new(listener.accept().await.unwrap().0), far)
}

/// The gateway as server, and its client.
async fn front(version: &'static SupportedProtocolVersion) -> (DataStream, TlsStream<TcpStream>) {
    let (server, client) = configs(version);
    let (near, far) = pair().await;
    let answer = async { hello(near).await.unwrap().answer(server, false).await.unwrap() };
    let (records, client) = tokio::join!(answer, TlsConnector::from(client).connect(name(), far));
    (DataStream::Private(Box::new(records)), client.unwrap())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

async fn read_all(stream: &mut DataStream, blocks: &Blocks, room: Room) -> (Vec<u8>, WhyClosed) {
    let mut all = Vec::new();
    loop {
        match stream.read(blocks, room).await {
            Ok(piece) => all.extend_from_slice(piece.bytes()),
            Err(why) => return (all, why),
        }
    }
}

/// Every length around the edges of records and blocks, in large and in small blocks.
#[tokio::test]
async fn what_is_sent_arrives_in_both_directions() {
    for version in [&TLS12, &TLS13] {
        for room in [LARGE, SMALL] {
            for length in [0, 1, 16_383, 16_384, 16_385, 262_143, 262_144, 262_145, 1_000_003] {
                let (blocks, sent) = (Blocks::default(), pattern(length));
                let (mut gateway, mut client) = front(version).await;
                let upload = async {
                    client.write_all(&sent).await.unwrap();
                    client.shutdown().await.unwrap();
                };
                let ((), (came, why)) = tokio::join!(upload, read_all(&mut gateway, &blocks, room));
                assert!(came == sent && matches!(why, WhyClosed::Clean), "{version:?} {room:?} {length} up: {why:?}");
                let (near, mut far) = pair().await;
                let mut source = DataStream::Plain(near);
                let download = async {
                    while let Ok(piece) = source.read(&blocks, room).await {
                        gateway.write(piece).await.unwrap();
                    }
                    gateway.finish().await.unwrap();
                };
                let send = async {
                    far.write_all(&sent).await.unwrap();
                    far.shutdown().await.unwrap();
                };
                let mut came = Vec::new();
                let ((), (), read) = tokio::join!(download, send, client.read_to_end(&mut came));
                assert_eq!((read.unwrap(), came == sent), (length, true), "{version:?} {room:?} down");
                assert_eq!(blocks.taken(), 0);
            }
        }
    }
}

/// TLS on both legs: opened and sealed again in the same block.
#[tokio::test]
async fn what_is_opened_on_one_leg_is_sealed_on_the_other() {
    for version in [&TLS12, &TLS13] {
        let (blocks, sent) = (Blocks::default(), pattern(3_000_001));
        let (server, config) = configs(version);
        let (near, far) = pair().await;
        let (back, backend) = tokio::join!(connect(config, name(), near), TlsAcceptor::from(server).accept(far));
        let (mut back, mut backend) = (DataStream::Private(Box::new(back.unwrap())), backend.unwrap());
        let (mut gateway, mut client) = front(version).await;
        let relay = async {
            let mut small = false;
            while let Ok(piece) = gateway.read(&blocks, if small { SMALL } else { LARGE }).await {
                small = !small;
                back.write(piece).await.unwrap();
            }
            back.finish().await.unwrap();
        };
        let send = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut came = Vec::new();
        let ((), (), read) = tokio::join!(relay, send, backend.read_to_end(&mut came));
        assert_eq!((read.unwrap(), came == sent), (sent.len(), true));
    }
}

#[tokio::test]
async fn a_peer_that_puts_every_byte_into_a_record_is_understood() {
    for version in [&TLS12, &TLS13] {
        let (blocks, sent) = (Blocks::default(), pattern(5000));
        let (mut gateway, mut client) = front(version).await;
        let upload = async {
            for byte in &sent {
                client.write_all(&[*byte]).await.unwrap();
                client.flush().await.unwrap();
            }
            client.shutdown().await.unwrap();
        };
        let ((), (came, why)) = tokio::join!(upload, read_all(&mut gateway, &blocks, LARGE));
        assert!(came == sent && matches!(why, WhyClosed::Clean));
    }
}

/// RFC 8446 §4.6.3: with an answer, because rustls asks for one.
#[tokio::test]
async fn new_keys_in_the_middle_of_a_transfer_are_taken_and_answered() {
    let blocks = Blocks::default();
    let (mut gateway, mut client) = front(&TLS13).await;
    for round in 0..5u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round; 100]).await.unwrap();
        client.flush().await.unwrap();
        let piece = gateway.read(&blocks, SMALL).await.unwrap();
        assert_eq!(piece.bytes(), [round; 100]);
        gateway.write(piece).await.unwrap();
        let mut answer = [0; 100];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [round; 100]);
    }
}

#[tokio::test]
async fn an_end_a_cut_and_a_break_are_told_apart() {
    for version in [&TLS12, &TLS13] {
        for end in ["close_notify", "fin", "garbage"] {
            let blocks = Blocks::default();
            let (mut gateway, mut client) = front(version).await;
            client.write_all(b"text").await.unwrap();
            client.flush().await.unwrap();
            match end {
                "close_notify" => client.shutdown().await.unwrap(),
                "fin" => client.get_mut().0.shutdown().await.unwrap(),
                _ => client.get_mut().0.write_all(&[23, 3, 3, 0, 32].repeat(20)).await.unwrap(),
            }
            let (came, why) = read_all(&mut gateway, &blocks, SMALL).await;
            assert_eq!(came, b"text");
            let told = match why {
                WhyClosed::Clean => "close_notify",
                WhyClosed::Unclean => "fin",
                WhyClosed::Broken(_) => "garbage",
            };
            assert_eq!(told, end);
            if end == "garbage" {
                let error = client.read(&mut [0; 1]).await.unwrap_err();
                assert!(error.to_string().contains("BadRecordMac"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn who_waits_for_the_rest_of_a_record_holds_no_block() {
    let blocks = Blocks::default();
    let (near, mut far) = pair().await;
    let (mut gateway, client) = front(&TLS13).await;
    let (mut tcp, mut tls) = client.into_inner();
    tls.writer().write_all(&pattern(10_000)).unwrap();
    let mut record = Vec::new();
    tls.write_tls(&mut record).unwrap();
    tcp.write_all(&record[..record.len() - 1]).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(50), gateway.read(&blocks, LARGE)).await;
    assert!(waits.is_err());
    assert_eq!(blocks.taken(), 0);
    let mut plain = DataStream::Plain(near);
    assert!(tokio::time::timeout(Duration::from_millis(50), plain.read(&blocks, LARGE)).await.is_err());
    assert_eq!(blocks.taken(), 0);
    tcp.write_all(&record[record.len() - 1..]).await.unwrap();
    far.write_all(b"x").await.unwrap();
    let piece = tokio::time::timeout(DEADLINE, gateway.read(&blocks, LARGE)).await.unwrap().unwrap();
    assert!(piece.bytes() == pattern(10_000) && blocks.taken() > 0);
}

/// A client without AES in hardware says so by putting ChaCha20 first; all others put AES first.
#[tokio::test]
async fn the_clients_first_suite_is_taken() {
    for (first, chosen) in
        [("AES", CipherSuite::TLS13_AES_256_GCM_SHA384), ("ChaCha20", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)]
    {
        let mut provider = default_provider();
        if first == "ChaCha20" {
            provider.cipher_suites.reverse();
            provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        }
        let (server, client) = configs_with(&TLS13, provider);
        let (near, far) = pair().await;
        let answer = async { hello(near).await.unwrap().answer(server, false).await.unwrap() };
        let (records, _client) = tokio::join!(answer, TlsConnector::from(client).connect(name(), far));
        assert_eq!(records.common().negotiated_cipher_suite().map(|suite| suite.suite()), Some(chosen));
    }
}
