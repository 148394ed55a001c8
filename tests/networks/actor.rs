//! A scripted backend that makes up what it sends and forgets what it gets, so that any length costs no memory.
//!
//! `RETR n` sends n bytes, `STOR` takes what comes; both end with a 226 that names the SHA-256.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aws_lc_rs::digest::{Context, SHA256};
use socket2::{Domain, Socket, Type};

use crate::space::Space;
use crate::talk::{hex, patient};

/// What is made and sent at once.
pub(crate) const PIECE: usize = 1024 * 1024;

/// Bytes without end in which no place looks like another.
pub(crate) struct Source {
    block: Vec<u8>,
    left: u64,
    number: u64,
    pub(crate) hash: Context,
}

impl Source {
    pub(crate) fn new(length: u64) -> Self {
        let mut block = vec![0; PIECE];
        aws_lc_rs::rand::fill(&mut block).unwrap();
        Self { block, left: length, number: 0, hash: Context::new(&SHA256) }
    }

    /// The next piece, none at the end.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let length = self.left.min(PIECE as u64) as usize;
        self.block[..8].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        self.left -= length as u64;
        let piece = &self.block[..length];
        self.hash.update(piece);
        (length > 0).then_some(piece)
    }
}

/// Asked before each piece that is read, with how much has been read; it may take its time.
pub(crate) type Pace = Arc<dyn Fn(u64) + Send + Sync>;

/// How a backend behaves.
#[derive(Clone)]
pub(crate) struct Manner {
    /// The size of its receive buffers.
    pub(crate) buffer: Option<usize>,
    pub(crate) pace: Pace,
    /// What its system has taken from it on data connections.
    pub(crate) sent: Arc<AtomicU64>,
    /// What it has read on data connections.
    pub(crate) received: Arc<AtomicU64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { buffer: None, pace: Arc::new(|_| ()), sent: Arc::default(), received: Arc::default() }
    }
}

/// Begins to serve on an address of the namespace; how the gateway's configuration names it. It ends with the test.
pub(crate) fn serve(space: &Space, address: &'static str, manner: Manner) -> String {
    let listener = space.inside({
        let buffer = manner.buffer;
        move || listen(format!("{address}:2121").parse().unwrap(), buffer)
    });
    space.thread(move || {
        for stream in listener.incoming() {
            let (stream, manner) = (stream.unwrap(), manner.clone());
            // It ends as its peers end.
            thread::spawn(move || session(stream, &manner));
        }
    });
    format!("servers: [\"{address}:2121\"]")
}

fn listen(address: SocketAddr, buffer: Option<usize>) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(buffer) = buffer {
        // What it accepts has the same.
        socket.set_recv_buffer_size(buffer).unwrap();
    }
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

/// One session to its end, whatever that is.
fn session(stream: TcpStream, manner: &Manner) -> std::io::Result<()> {
    patient(&stream);
    let local = stream.local_addr()?;
    let mut lines = BufReader::new(stream);
    let mut door = None;
    say(&mut lines, "220 Ready")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (verb, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        match verb {
            "USER" => say(&mut lines, "331 Password")?,
            "PASS" => say(&mut lines, "230 Welcome")?,
            "PASV" => {
                let listener = listen(SocketAddr::new(local.ip(), 0), manner.buffer);
                let [high, low] = listener.local_addr()?.port().to_be_bytes();
                let host = local.ip().to_string().replace('.', ",");
                door = Some(listener);
                say(&mut lines, &format!("227 Here ({host},{high},{low})"))?;
            }
            "RETR" | "STOR" => {
                let (data, _) = door.take().ok_or(ErrorKind::NotConnected)?.accept()?;
                patient(&data);
                say(&mut lines, "150 Go on")?;
                let moved = if verb == "RETR" { send(data, argument, manner) } else { receive(data, manner) };
                let said = moved.map_or_else(|error| format!("426 {error}"), |hash| format!("226 {hash}"));
                say(&mut lines, &said)?;
            }
            "QUIT" => return say(&mut lines, "221 Bye"),
            "TYPE" | "NOOP" => say(&mut lines, "200 Fine")?,
            _ => say(&mut lines, "502 No")?,
        }
    }
}

fn say(lines: &mut BufReader<TcpStream>, line: &str) -> std::io::Result<()> {
    lines.get_mut().write_all(format!("{line}\r\n").as_bytes())
}

fn send(mut data: TcpStream, length: &str, manner: &Manner) -> std::io::Result<String> {
    let mut source = Source::new(length.parse().unwrap());
    while let Some(mut piece) = source.next() {
        while !piece.is_empty() {
            let taken = data.write(piece)?;
            manner.sent.fetch_add(taken as u64, Ordering::Relaxed);
            piece = &piece[taken..];
        }
    }
    Ok(hex(source.hash))
}

fn receive(mut data: TcpStream, manner: &Manner) -> std::io::Result<String> {
    let mut hash = Context::new(&SHA256);
    let mut block = vec![0; 256 * 1024];
    let mut received = 0;
    loop {
        (manner.pace)(received);
        let read = data.read(&mut block)?;
        if read == 0 {
            return Ok(hex(hash));
        }
        hash.update(&block[..read]);
        received += read as u64;
        manner.received.store(received, Ordering::Relaxed);
    }
}
