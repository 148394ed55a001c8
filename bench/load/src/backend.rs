//! The server behind every proxy: fast enough that what is measured is the proxy.
//!
//! Plain FTP, or FTPS after AUTH TLS. A download of `RETR n` is n bytes from memory; an upload is counted and thrown away, and the
//! count is in the 226. Beside it a source and a sink without any protocol, for proxies that know TLS and no FTP.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::tls::Identity;

/// What is read and written at once.
pub(crate) const BLOCK: usize = 256 * 1024;
/// No command of ours is longer.
const LINE: u64 = 1024;

/// Where the backend listens, and what it has taken.
#[derive(Debug)]
pub(crate) struct Backend {
    /// FTP.
    pub(crate) ftp: SocketAddr,
    /// FTPS, after AUTH TLS.
    pub(crate) ftps: SocketAddr,
    /// Sends [`Backend::set_source`] bytes to whoever connects.
    pub(crate) source: SocketAddr,
    /// Takes whatever comes, and closes behind the end.
    pub(crate) sink: SocketAddr,
    state: Arc<State>,
}

/// How it takes TLS, for each kind of connection.
#[derive(Clone)]
struct Tls {
    control: TlsAcceptor,
    data: TlsAcceptor,
}

#[derive(Debug, Default)]
struct State {
    source: AtomicU64,
    sunk: AtomicU64,
    /// The sink has taken something.
    more: Notify,
}

impl Backend {
    /// Starts it on a thread of its own.
    pub(crate) fn start(identity: &Identity) -> Result<Self> {
        let [control, data] = identity.server()?.map(TlsAcceptor::from);
        let tls = Tls { control, data };
        let state = Arc::new(State::default());
        let listen = || -> Result<(std::net::TcpListener, SocketAddr)> {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let ((ftp, ftp_at), (ftps, ftps_at)) = (listen()?, listen()?);
        let ((source, source_at), (sink, sink_at)) = (listen()?, listen()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&state);
        thread::Builder::new().name("backend".into()).spawn(move || {
            runtime.block_on(async move {
                let served = tokio::try_join!(
                    serve(ftp, |stream| converse(stream, None)),
                    serve(ftps, |stream| converse(stream, Some(tls.clone()))),
                    serve(source, |stream| pour(stream, Arc::clone(&shared))),
                    serve(sink, |stream| swallow(stream, Arc::clone(&shared))),
                );
                if let Err(error) = served {
                    eprintln!("the backend has stopped: {error}");
                    std::process::exit(1);
                }
            });
        })?;
        Ok(Self { ftp: ftp_at, ftps: ftps_at, source: source_at, sink: sink_at, state })
    }

    /// How much the source sends from now on.
    pub(crate) fn set_source(&self, bytes: u64) {
        self.state.source.store(bytes, Ordering::SeqCst);
    }

    /// Waits until the sink has taken so many bytes whole, and takes them off its count.
    pub(crate) async fn sunk(&self, bytes: u64) {
        let enough = |sunk: u64| sunk.checked_sub(bytes);
        while self.state.sunk.fetch_update(Ordering::SeqCst, Ordering::SeqCst, enough).is_err() {
            self.state.more.notified().await;
        }
    }
}

async fn serve<F>(listener: std::net::TcpListener, session: impl Fn(TcpStream) -> F) -> std::io::Result<()>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that has gone is no fault of the backend's: whoever measures sees what is missing.
        tokio::spawn(session(stream));
    }
}

async fn pour(mut to: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    let bytes = state.source.load(Ordering::SeqCst);
    send(&mut to, bytes).await
}

async fn swallow(mut from: TcpStream, state: Arc<State>) -> std::io::Result<()> {
    let bytes = receive(&mut from).await?;
    state.sunk.fetch_add(bytes, Ordering::SeqCst);
    // One permit stays for whoever asks later; more who wait at once are woken by turns.
    state.more.notify_one();
    Ok(())
}

/// Sends `bytes` bytes, and the end.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: u64) -> std::io::Result<()> {
    static CONTENT: [u8; BLOCK] = [b'x'; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(BLOCK as u64);
        to.write_all(&CONTENT[..usize::try_from(now).unwrap_or(BLOCK)]).await?;
        left -= now;
    }
    to.shutdown().await
}

/// Takes everything up to the end.
pub(crate) async fn receive(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<u64> {
    let mut bytes = 0;
    count(from, &mut bytes).await?;
    Ok(bytes)
}

async fn count(from: &mut (impl AsyncRead + Unpin), bytes: &mut u64) -> std::io::Result<()> {
    // Small transfers do not pay for a large block.
    let mut block = vec![0; 4096];
    loop {
        match from.read(&mut block).await? {
            0 => return Ok(()),
            read => {
                *bytes += read as u64;
                if *bytes > 65_536 && block.len() < BLOCK {
                    block.resize(BLOCK, 0);
                }
            }
        }
    }
}

/// A connection, clear or private.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn converse(stream: TcpStream, tls: Option<Tls>) -> std::io::Result<()> {
    let here = stream.local_addr()?.ip();
    let mut control: BufReader<Box<dyn Stream>> = BufReader::with_capacity(512, Box::new(stream));
    let mut data = None;
    let mut private = false;
    say(&mut control, "220 ready").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if (&mut control).take(LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let (verb, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let reply = match (verb.to_ascii_uppercase().as_str(), &tls) {
            ("AUTH", Some(tls)) => {
                say(&mut control, "234 begin").await?;
                let private = tls.control.accept(control.into_inner()).await?;
                control = BufReader::with_capacity(512, Box::new(private));
                continue;
            }
            ("PBSZ", Some(_)) => "200 PBSZ=0".to_owned(),
            ("PROT", Some(_)) => {
                private = argument.eq_ignore_ascii_case("P");
                "200 so be it".to_owned()
            }
            ("USER", _) => "331 password".to_owned(),
            ("PASS", _) => "230 in".to_owned(),
            ("PASV" | "EPSV", _) => {
                let listener = TcpListener::bind((here, 0)).await?;
                let port = listener.local_addr()?.port();
                data = Some(listener);
                if verb.eq_ignore_ascii_case("EPSV") {
                    format!("229 extended (|||{port}|)")
                } else {
                    let host = here.to_string().replace('.', ",");
                    format!("227 passive ({host},{},{})", port >> 8, port & 255)
                }
            }
            ("RETR" | "STOR", _) => match data.take() {
                None => "425 where to?".to_owned(),
                Some(listener) => {
                    say(&mut control, "150 go").await?;
                    let upload = verb.eq_ignore_ascii_case("STOR");
                    let acceptor = tls.as_ref().filter(|_| private).map(|tls| &tls.data);
                    transfer(listener, acceptor, (!upload).then_some(argument)).await?
                }
            },
            ("TYPE" | "MODE" | "STRU" | "NOOP" | "OPTS" | "CWD" | "CLNT" | "ALLO" | "REST", _) => {
                "200 so be it".to_owned()
            }
            ("PWD", _) => "257 \"/\"".to_owned(),
            ("SYST", _) => "215 UNIX Type: L8".to_owned(),
            // mod_proxy believes in AUTH TLS when it is told of it.
            ("FEAT", Some(_)) => "211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n EPSV\r\n UTF8\r\n211 End".to_owned(),
            ("FEAT", None) => "211-Features:\r\n EPSV\r\n UTF8\r\n211 End".to_owned(),
            ("QUIT", _) => {
                say(&mut control, "221 bye").await?;
                return control.into_inner().shutdown().await;
            }
            _ => "502 no".to_owned(),
        };
        say(&mut control, &reply).await?;
    }
}

/// One transfer. `name` is the number of bytes of a download; absent, it is an upload.
async fn transfer(listener: TcpListener, tls: Option<&TlsAcceptor>, name: Option<&str>) -> std::io::Result<String> {
    let (stream, _) = listener.accept().await?;
    drop(listener);
    stream.set_nodelay(true)?;
    let mut stream: Box<dyn Stream> = match tls {
        Some(tls) => {
            let mut stream = tls.accept(BufReader::with_capacity(BLOCK, stream)).await?;
            stream.get_mut().1.set_buffer_limit(Some(2 * BLOCK));
            Box::new(stream)
        }
        None => Box::new(stream),
    };
    match name {
        Some(name) => {
            let bytes = name.parse().map_err(|_| Error::new(ErrorKind::InvalidInput, "a file's name is its size"))?;
            send(&mut stream, bytes).await?;
            Ok("226 sent".to_owned())
        }
        None => {
            let mut bytes = 0;
            match count(&mut stream, &mut bytes).await {
                // mod_proxy ends uploads without close_notify. The count tells whether all is there.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                ended => {
                    ended?;
                    stream.shutdown().await?;
                }
            }
            Ok(format!("226 stored {bytes}"))
        }
    }
}

async fn say(control: &mut BufReader<Box<dyn Stream>>, reply: &str) -> std::io::Result<()> {
    control.write_all(format!("{reply}\r\n").as_bytes()).await?;
    control.flush().await
}
