//! The start of a data connection on a shared port: which session's is it?

use std::io::BufRead;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ftps_gateway::net::Socket;
use ftps_gateway::policy::DataResumption;
use ftps_gateway::tls::{FrontTls, Hello, Identities, Identity, LONGEST_HELLO, MinimumVersion, Seal, read_hello};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

/// Longer ones are legal, and slow to look at in every piece.
const LONGEST: usize = 4096;
/// In how many pieces a start comes.
const PIECES: usize = 500;
const DEADLINE: Duration = Duration::from_secs(10);
const RECORD_HEADER: usize = 5;
/// Where the length of a session's id stands in a record that begins with ServerHello (RFC 5246 §7.4.1.3).
const SERVERS_ID: usize = RECORD_HEADER + 4 + 2 + 32;

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// A session, and the ClientHello that its own client sends on a data connection.
struct Scene {
    seal: Seal,
    hello: Vec<u8>,
    ticket: Vec<u8>,
    /// What the gateway calls the session in its ServerHello. Who sees comparisons, as libFuzzer does, comes to know it.
    id: Vec<u8>,
}

impl Scene {
    /// A control connection over loopback, as far as its greeting.
    fn open(version: &'static SupportedProtocolVersion) -> Anything<Self> {
        let identity = Identity::self_signed(&["gateway.test".into()])?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(identity.leaf().to_vec()))?;
        let client = Arc::new(
            ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(roots)
                .with_no_client_auth(),
        );
        let identities = Arc::new(Identities::single(identity));
        let front = FrontTls::new(identities, MinimumVersion::Tls12, DataResumption::Require)?;
        let mut session = front.session()?;
        let name = ServerName::try_from("gateway.test")?;
        let mut connection = ClientConnection::new(Arc::clone(&client), name.clone())?;
        let connects = async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let far = TcpStream::connect(listener.local_addr()?).await?;
            let near = Socket::new(listener.accept().await?.0);
            let (secured, came) = tokio::join!(session.secure_control(near, DEADLINE), greeted(&mut connection, far));
            let mut secured = secured.map_err(|failure| failure.detail)?;
            // The tickets stand before the text.
            secured.stream.write_all(b"220 ready").await?;
            secured.stream.flush().await?;
            let (mut far, came) = came?;
            told(&mut connection, &mut far).await?;
            Anything::Ok(came)
        };
        let came = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(connects)?;
        let length = usize::from(*came.get(SERVERS_ID).ok_or("no ServerHello has come")?);
        let id = came.get(SERVERS_ID + 1..SERVERS_ID + 1 + length).ok_or("a ServerHello ends early")?.to_vec();
        let mut hello = Vec::new();
        ClientConnection::new(client, name)?.write_tls(&mut hello)?;
        let seal = session.seal();
        // It begins with the session's name, and its length stands before that.
        let at = hello.windows(16).position(|bytes| bytes == seal.name()).ok_or("no ticket is offered")?;
        let length = usize::from(u16::from_be_bytes([hello[at - 2], hello[at - 1]]));
        let ticket = hello[at..at + length].to_vec();
        Ok(Self { seal, hello, ticket, id })
    }
}

/// A handshake; and all that came of the server.
async fn greeted(connection: &mut ClientConnection, mut far: TcpStream) -> Anything<(TcpStream, Vec<u8>)> {
    let mut came = Vec::new();
    loop {
        let mut sent = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut sent)?;
        }
        far.write_all(&sent).await?;
        if !connection.is_handshaking() {
            return Ok((far, came));
        }
        came.extend(more(connection, &mut far).await?);
    }
}

/// Until a text has come.
async fn told(connection: &mut ClientConnection, far: &mut TcpStream) -> Anything<()> {
    while connection.reader().fill_buf().map_or(true, <[u8]>::is_empty) {
        more(connection, far).await?;
    }
    Ok(())
}

async fn more(connection: &mut ClientConnection, far: &mut TcpStream) -> Anything<Vec<u8>> {
    let mut room = [0; 4096];
    let read = far.read(&mut room).await?;
    let mut came = room.get(..read).filter(|came| !came.is_empty()).ok_or("the gateway has closed")?;
    while !came.is_empty() {
        connection.read_tls(&mut came)?;
        connection.process_new_packets()?;
    }
    Ok(room[..read].to_vec())
}

/// One of each version.
fn scenes() -> &'static [Scene; 2] {
    static SCENES: OnceLock<[Scene; 2]> = OnceLock::new();
    SCENES.get_or_init(|| {
        [&TLS13, &TLS12].map(|version| match Scene::open(version) {
            Ok(scene) => scene,
            Err(error) => panic!("there is no session: {error}"),
        })
    })
}

/// The bytes in handshake records of this many.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[22, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat();
    message.chunks(size).flat_map(record).collect()
}

/// What is in records, whatever they are.
fn unwrapped(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() {
        let (content, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes([header[3], header[4]]))));
        all.extend_from_slice(content);
        bytes = rest;
    }
    all
}

/// What rustls makes of it.
fn rustls_takes(mut bytes: &[u8]) -> bool {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() && acceptor.read_tls(&mut bytes).is_ok_and(|read| read > 0) {
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(_)) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// A look never goes back on what it said of less, asks for more than it has and never for too much, and sees whatever
/// rustls would take.
fn looks(bytes: &[u8]) -> Hello {
    let whole = read_hello(bytes);
    let mut known = Hello::Needs(0);
    let step = bytes.len() / PIECES + 1;
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        let look = read_hello(&bytes[..end]);
        match (&known, &look) {
            (Hello::Needs(needed), Hello::Needs(more)) => {
                assert!(end < *more && needed <= more && *more <= LONGEST_HELLO, "{needed}, {more} at {end}");
            }
            (Hello::Needs(needed), Hello::Whole(_)) => assert!(end >= *needed, "{end} of {needed} are enough"),
            (Hello::Needs(_), Hello::Not) => {}
            (Hello::Not | Hello::Whole(_), _) => assert_eq!(look, known, "said otherwise at {end}"),
        }
        known = look;
    }
    assert_eq!(known, whole);
    if rustls_takes(bytes) {
        assert!(matches!(whole, Hello::Whole(_)), "rustls takes what is {whole:?}");
    }
    if let Hello::Whole(offered) = &whole {
        assert!(offered.names().count() <= 8);
        assert!(offered.has_tickets() || offered.names().count() == 0);
    }
    whole
}

/// Client's first bytes: read within bounds and for good, and only a session's own ticket opens its seal.
pub fn hello(bytes: &[u8]) {
    let [how, size, rest @ ..] = bytes else { return };
    if rest.len() > LONGEST {
        return;
    }
    let scenes = scenes();
    let scene = &scenes[usize::from(how & 1)];
    let size = if *size == 0 { LONGEST } else { usize::from(*size) };
    let start = match how >> 1 & 3 {
        // As they are.
        0 => rest.to_vec(),
        // As a message, or as the body of a ClientHello.
        1 => records(rest, size),
        2 => records(&[&[1, 0][..], &(rest.len() as u16).to_be_bytes(), rest].concat(), size),
        // As changes to the ClientHello of the session's client.
        _ => {
            let mut message = scene.hello[RECORD_HEADER..].to_vec();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % message.len();
                message[at] ^= change[2];
            }
            let start = records(&message, size);
            if message == scene.hello[RECORD_HEADER..] && start.len() <= LONGEST_HELLO {
                let Hello::Whole(offered) = read_hello(&start) else { panic!("a client's own hello is none") };
                assert!(scene.seal.opens_ticket(&offered), "a client's own ticket opens nothing");
            }
            start
        }
    };
    if let Hello::Whole(offered) = looks(&start) {
        for scene in scenes {
            let shown = unwrapped(&start).windows(scene.ticket.len()).any(|bytes| bytes == scene.ticket);
            assert!(shown || !scene.seal.opens_ticket(&offered), "another's ticket opens the seal");
            let shown =
                !scene.id.is_empty() && unwrapped(&start).windows(scene.id.len()).any(|bytes| bytes == scene.id);
            assert!(shown || !scene.seal.knows_id(&offered), "another's session id is known");
        }
    }
}
