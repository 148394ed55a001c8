//! Bytes per second through the gateway: TLS 1.3 towards the client, plain towards the backend, one stream, beside a bare
//! copy over loopback of the same bytes in the same run.
//!
//! Everything runs in this process on loopback: client, gateway and backend share the processor, so the ratio between
//! the lines is what counts. Run with `cargo bench --bench relay`.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // A bench that cannot set up its stage has nothing to measure.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ftps_gateway::app::Gateway;
use ftps_gateway::telemetry::Metrics;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[allow(dead_code)]
#[path = "../tests/plays/stage/tls.rs"]
mod tls;

use tls::ClientTls;

/// One transfer.
const BYTES: usize = 64 * 1024 * 1024;
/// What client and backend read and write at once.
const BLOCK: usize = 256 * 1024;

fn benches(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut client = runtime.block_on(Client::start());
    let mut group = criterion.benchmark_group("relay");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(20);
    group.bench_function("loopback_copy", |bencher| bencher.iter(|| runtime.block_on(loopback_copy())));
    group.bench_function("download", |bencher| bencher.iter(|| runtime.block_on(client.download())));
    group.bench_function("upload", |bencher| bencher.iter(|| runtime.block_on(client.upload())));
    group.finish();
}

criterion_group!(relay, benches);
criterion_main!(relay);

/// The bytes through one TCP connection, without anything in between.
async fn loopback_copy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sender = tokio::spawn(async move { send(listener.accept().await.unwrap().0).await });
    assert_eq!(receive(TcpStream::connect(address).await.unwrap()).await, BYTES);
    sender.await.unwrap();
}

async fn send(mut to: impl AsyncWriteExt + Unpin) {
    let block = vec![b'x'; BLOCK];
    for _ in 0..BYTES / BLOCK {
        to.write_all(&block).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

async fn receive(mut from: impl AsyncReadExt + Unpin) -> usize {
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        match from.read(&mut block).await.unwrap() {
            0 => return bytes,
            read => bytes += read,
        }
    }
}

/// A backend that knows just what the bench needs, and sends and takes [`BYTES`] bytes.
async fn backend(listener: TcpListener) {
    loop {
        let (control, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let data = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let [high, low] = data.local_addr().unwrap().port().to_be_bytes();
            let mut control = BufReader::new(control);
            control.write_all(b"220 ready\r\n").await.unwrap();
            let mut line = String::new();
            while control.read_line(&mut line).await.unwrap_or(0) > 0 {
                let reply = match line.split_whitespace().next().unwrap_or_default() {
                    "USER" => "331 password".to_owned(),
                    "PASS" => "230 in".to_owned(),
                    "PASV" => format!("227 (127,0,0,1,{high},{low})"),
                    "RETR" => {
                        control.write_all(b"150 go\r\n").await.unwrap();
                        send(data.accept().await.unwrap().0).await;
                        "226 sent".to_owned()
                    }
                    "STOR" => {
                        control.write_all(b"150 go\r\n").await.unwrap();
                        assert_eq!(receive(data.accept().await.unwrap().0).await, BYTES);
                        "226 stored".to_owned()
                    }
                    _ => "502 no".to_owned(),
                };
                control.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
                line.clear();
            }
        });
    }
}

/// One session through the gateway.
struct Client {
    _gateway: Gateway,
    tls: ClientTls,
    control: BufReader<TlsStream<TcpStream>>,
}

impl Client {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        tokio::spawn(backend(listener));
        let yaml = format!(
            "listeners: [{{ address: '127.0.0.1:0', tls: implicit }}]\npassive: {{ ports: 0 }}\n\
             backends: {{ bench: {{ servers: ['{server}'] }} }}\nadmin: {{ address: none }}\n"
        );
        let mut settings = ftps_gateway::config::parse(&yaml, "bench.yaml").unwrap();
        settings.tls.state_dir = None;
        let gateway = Gateway::start(settings, Arc::new(Metrics::new().unwrap())).await.unwrap();
        let address = gateway.listeners()[0].1;
        // The gateway's certificate was made a moment ago; who it is does not matter here.
        let tls = ClientTls::new();
        let control = connect(&tls, address.port()).await;
        let mut client = Self { _gateway: gateway, tls, control: BufReader::new(control) };
        client.reply("220").await;
        for (command, code) in [("USER bench", "331"), ("PASS bench", "230")] {
            client.ask(command, code).await;
        }
        client
    }

    async fn download(&mut self) {
        let port = self.passive().await;
        self.send("RETR x").await;
        let data = connect(&self.tls, port).await;
        self.reply("150").await;
        assert_eq!(receive(data).await, BYTES);
        self.reply("226").await;
    }

    async fn upload(&mut self) {
        let port = self.passive().await;
        self.send("STOR x").await;
        let data = connect(&self.tls, port).await;
        self.reply("150").await;
        send(data).await;
        self.reply("226").await;
    }

    async fn passive(&mut self) -> u16 {
        let reply = self.ask("EPSV", "229").await;
        reply.split('|').nth(3).unwrap().parse().unwrap()
    }

    async fn ask(&mut self, command: &str, code: &str) -> String {
        self.send(command).await;
        self.reply(code).await
    }

    async fn send(&mut self, command: &str) {
        self.control.write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        self.control.flush().await.unwrap();
    }

    async fn reply(&mut self, code: &str) -> String {
        let mut line = String::new();
        self.control.read_line(&mut line).await.unwrap();
        assert!(line.starts_with(code), "{code} awaited: {line}");
        line
    }
}

async fn connect(tls: &ClientTls, port: u16) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    TlsConnector::from(tls.config()).connect(tls.name(), tcp).await.unwrap()
}
