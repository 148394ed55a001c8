//! A scripted client: blocking sockets of whichever namespace its thread is in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::actor::Source;

/// Nothing that is awaited takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

type Private = StreamOwned<ClientConnection, TcpStream>;

/// TLS that believes this authority.
pub(crate) fn trust(authority: &Path) -> Arc<ClientConfig> {
    speaks(authority, ALL_VERSIONS)
}

/// The same, with these versions alone.
pub(crate) fn speaks(authority: &Path, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A connection that may have a small receive buffer, and with it a small window.
pub(crate) fn connect(to: SocketAddr, buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    if let Some(buffer) = buffer {
        socket.set_recv_buffer_size(buffer).unwrap();
    }
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    patient(&stream);
    stream
}

/// Nobody waits for ever.
pub(crate) fn patient(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// A client's control connection under TLS.
pub(crate) struct Session {
    wire: BufReader<Private>,
    tls: Arc<ClientConfig>,
    gateway: SocketAddr,
    buffer: Option<usize>,
}

impl Session {
    /// Connects and secures. `buffer`: the size of its receive buffers.
    pub(crate) fn open(gateway: impl Into<String>, tls: &Arc<ClientConfig>, buffer: Option<usize>) -> Self {
        let gateway: SocketAddr = gateway.into().parse().unwrap();
        let mut plain = connect(gateway, buffer);
        assert!(line(&mut plain).starts_with("220 "));
        plain.write_all(b"AUTH TLS\r\n").unwrap();
        assert!(line(&mut plain).starts_with("234 "));
        Self { wire: BufReader::new(secure(plain, tls)), tls: Arc::clone(tls), gateway, buffer }
    }

    pub(crate) fn logs_in(&mut self, user: &str, password: &str) {
        for (line, code) in [
            (&*format!("USER {user}"), "331 "),
            (&format!("PASS {password}"), "230 "),
            ("PBSZ 0", "200 "),
            ("PROT P", "200 "),
        ] {
            let said = self.asks(line);
            assert!(said.starts_with(code), "{line}: {said}");
        }
    }

    /// Says a line and hears the reply.
    pub(crate) fn asks(&mut self, line: &str) -> String {
        self.says(line);
        self.hears()
    }

    pub(crate) fn says(&mut self, line: &str) {
        self.wire.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The next reply of one line, or nothing at the end.
    pub(crate) fn hears(&mut self) -> String {
        let mut line = String::new();
        self.wire.read_line(&mut line).unwrap();
        line
    }

    /// EPSV, a connection, the command, its 150, TLS.
    pub(crate) fn begins(&mut self, command: &str) -> Data {
        let said = self.asks("EPSV");
        let port = said.split('|').nth(3).unwrap_or_else(|| panic!("{said}")).parse().unwrap();
        let plain = connect(SocketAddr::new(self.gateway.ip(), port), self.buffer);
        let said = self.asks(command);
        assert!(said.starts_with("150 "), "{said}");
        Data(secure(plain, &self.tls))
    }
}

/// A client's data connection under TLS.
pub(crate) struct Data(Private);

impl Data {
    /// Reads to the proper end; all of it, which must not be much.
    pub(crate) fn receives(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).unwrap();
        self.finishes();
        all
    }

    /// Reads to the proper end; how much, and its hash. `pace` is asked before each piece and may take its time.
    pub(crate) fn receives_all(mut self, mut pace: impl FnMut(u64)) -> (u64, String) {
        let (mut hash, mut received) = (Context::new(&SHA256), 0);
        let mut block = vec![0; 256 * 1024];
        loop {
            pace(received);
            let read = self.0.read(&mut block).unwrap();
            if read == 0 {
                // Not only FIN: a missing close_notify is an error.
                self.finishes();
                return (received, hex(hash));
            }
            hash.update(&block[..read]);
            received += read as u64;
        }
    }

    /// Sends so much and ends properly; its hash. `sent` hears how much the system has taken.
    pub(crate) fn sends_all(mut self, length: u64, mut sent: impl FnMut(u64)) -> String {
        let (mut source, mut taken) = (Source::new(length), 0);
        while let Some(piece) = source.next() {
            for part in piece.chunks(64 * 1024) {
                self.0.write_all(part).unwrap();
                taken += part.len() as u64;
                sent(taken);
            }
        }
        self.finishes();
        hex(source.hash)
    }

    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Sends for as long as the gateway takes it.
    pub(crate) fn sends_until_it_fails(mut self) {
        let mut source = Source::new(u64::MAX);
        while source.next().is_some_and(|piece| self.0.write_all(piece).is_ok()) {}
    }

    /// Reads until the gateway ends it, which must not be properly.
    pub(crate) fn receives_until_it_is_cut(mut self) {
        let mut block = vec![0; 256 * 1024];
        let error = loop {
            match self.0.read(&mut block) {
                Ok(read) => assert_ne!(read, 0, "a cut download ended with close_notify"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }

    /// `close_notify` and FIN, and waits for the other side's.
    pub(crate) fn finishes(mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().unwrap();
        self.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(self.0.read(&mut [0; 1]).unwrap(), 0);
    }
}

pub(crate) fn hex(hash: Context) -> String {
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secure(plain: TcpStream, tls: &Arc<ClientConfig>) -> Private {
    let name = ServerName::try_from("localhost").unwrap();
    let mut private = StreamOwned::new(ClientConnection::new(Arc::clone(tls), name).unwrap(), plain);
    while private.conn.is_handshaking() {
        private.conn.complete_io(&mut private.sock).unwrap();
    }
    private
}

/// A line, byte by byte: nothing behind it may be taken.
fn line(plain: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        plain.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}
