//! Who comes in front and who is behind: hostile ones by chance, good ones as they should be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::chance::Chance;

/// How long a hostile peer listens before it goes on.
const MOMENT: Duration = Duration::from_millis(15);
/// What they do that the other end looks for, besides nonsense.
const COMMANDS: [&str; 22] = [
    "USER eve\r\nPASS x\r\n",
    "PASV\r\n",
    "EPSV\r\n",
    "PASV\r\nRETR a\r\n",
    "EPSV\r\nSTOR a\r\n",
    "PASV\r\nLIST\r\nABOR\r\n",
    "ABOR\r\n",
    "FEAT\r\n",
    "REIN\r\n",
    "AUTH TLS\r\n",
    "PBSZ 0\r\nPROT P\r\n",
    "PROT C\r\n",
    "STAT\r\n",
    "NOOP\r\n",
    "REST 5\r\n",
    "PORT 127,0,4,1,255,254\r\n",
    "CCC\r\n",
    "HOST x\r\n",
    "OPTS UTF8 ON\r\n",
    "PWD\r\n",
    "QUIT\r\n",
    "SITE HELP\r\n",
];
const REPLIES: [&str; 14] = [
    "200 ok\r\n",
    "331 more\r\n",
    "230 in\r\n",
    "150 go\r\n",
    "226 done\r\n",
    "150 go\r\n226 done\r\n",
    "426 cut\r\n226 ok\r\n",
    "550 no\r\n",
    "211-a\r\n b\r\n211 c\r\n",
    "230-endless\r\n",
    "227 (127,0,3,1,255,255)\r\n",
    "421 bye\r\n",
    "257 \"/\"\r\n",
    "120 wait\r\n",
];

/// Connects, says whatever comes to mind, and goes in some way.
pub(crate) async fn hostile_client(from: IpAddr, to: &[SocketAddr], words: &[Vec<u8>], chance: &mut Chance) {
    let listener = to[chance.below(to.len())];
    let Ok(mut control) = connects(from, listener).await else { return };
    let logs_in = !chance.once_in(3);
    if logs_in && answers(&mut control, b"USER eve\r\nPASS x\r\n").await.is_err() {
        return;
    }
    let mut data: Vec<TcpStream> = Vec::new();
    for _ in 0..1 + chance.below(12) {
        let line = if chance.once_in(3) { chance.word(words) } else { chance.one_of(&COMMANDS).as_bytes().to_vec() };
        let Ok(heard) = answers(&mut control, &line).await else { break };
        if let Some(port) = passive_port(&heard).filter(|_| !chance.once_in(4))
            && let Ok(mut stream) = connects(from, SocketAddr::new(listener.ip(), port)).await
        {
            // Nothing is awaited of a write that may never be taken.
            let _ = timeout(MOMENT, stream.write_all(&chance.word(words))).await;
            data.push(stream);
        }
        if chance.once_in(3) {
            data.pop();
        }
    }
    if chance.once_in(2) {
        resets(&control);
    }
}

/// Serves everybody who dials, each in another bad way.
pub(crate) async fn hostile_backend(listener: TcpListener, words: Arc<[Vec<u8>]>, mut chance: Chance) {
    let mut sessions = JoinSet::new();
    loop {
        let (control, _) = listener.accept().await.unwrap();
        while sessions.try_join_next().is_some() {}
        let chance = Chance::new(u64::try_from(chance.below(usize::MAX)).unwrap());
        let words = Arc::clone(&words);
        // How it ends is for the gateway to see to.
        sessions.spawn(async move { hostile_session(control, &words, chance).await.unwrap_or_default() });
    }
}

async fn hostile_session(control: TcpStream, words: &[Vec<u8>], mut chance: Chance) -> io::Result<()> {
    let host = control.local_addr()?.ip();
    let mut control = BufReader::new(control);
    let greeting = if chance.once_in(8) { chance.word(words) } else { b"220 ready\r\n".to_vec() };
    control.write_all(&greeting).await?;
    let (mut line, mut data) = (Vec::new(), JoinSet::new());
    while control.read_until(b'\n', &mut line).await? > 0 {
        let verb = String::from_utf8_lossy(line.get(..4).unwrap_or_default()).into_owned();
        line.clear();
        let reply = match verb.as_str() {
            _ if chance.once_in(6) => chance.word(words),
            "USER" => b"331 more\r\n".to_vec(),
            "PASS" => b"230 in\r\n".to_vec(),
            "PASV" => {
                let door = TcpListener::bind((host, 0)).await?;
                let [high, low] = door.local_addr()?.port().to_be_bytes();
                let (content, cut) = (chance.word(words), chance.once_in(3));
                data.spawn(async move { hostile_data(door, &content, cut).await.unwrap_or_default() });
                format!("227 Entering Passive Mode (10,0,0,1,{high},{low})\r\n").into_bytes()
            }
            "RETR" | "STOR" | "LIST" if !chance.once_in(3) => b"150 go\r\n226 done\r\n".to_vec(),
            "QUIT" => b"221 bye\r\n".to_vec(),
            _ => chance.one_of(&REPLIES).as_bytes().to_vec(),
        };
        control.write_all(&reply).await?;
        if chance.once_in(40) {
            resets(control.get_ref());
            return Ok(());
        }
        if chance.once_in(60) {
            flood(&mut control).await?;
        }
    }
    Ok(())
}

/// A reply of many lines, of which nobody knows the end.
async fn flood(control: &mut BufReader<TcpStream>) -> io::Result<()> {
    let lines = "211-and so it goes on and on\r\n".repeat(200);
    for _ in 0..50 {
        match timeout(MOMENT, control.write_all(lines.as_bytes())).await {
            Ok(written) => written?,
            Err(_) => break,
        }
    }
    Ok(())
}

async fn hostile_data(door: TcpListener, content: &[u8], cut: bool) -> io::Result<()> {
    let Ok(accepted) = timeout(Duration::from_secs(1), door.accept()).await else { return Ok(()) };
    let (mut stream, _) = accepted?;
    stream.write_all(content).await?;
    if cut {
        resets(&stream);
    }
    Ok(())
}

/// Logs in and asks where it is.
pub(crate) async fn good_client(to: SocketAddr) -> io::Result<()> {
    let mut control = BufReader::new(TcpStream::connect(to).await?);
    for (command, code) in
        [("", "220 "), ("USER good\r\n", "331 "), ("PASS x\r\n", "230 "), ("PWD\r\n", "257 "), ("QUIT\r\n", "221 ")]
    {
        control.write_all(command.as_bytes()).await?;
        let mut line = String::new();
        control.read_line(&mut line).await?;
        if !line.starts_with(code) {
            return Err(io::Error::other(format!("{command:?} is answered with {line:?}")));
        }
    }
    Ok(())
}

/// Serves everybody who dials as he should be.
pub(crate) async fn good_backend(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    loop {
        let (control, _) = listener.accept().await.unwrap();
        while sessions.try_join_next().is_some() {}
        sessions.spawn(async move { good_session(control).await.unwrap_or_default() });
    }
}

async fn good_session(control: TcpStream) -> io::Result<()> {
    let mut control = BufReader::new(control);
    control.write_all(b"220 ready\r\n").await?;
    let mut line = String::new();
    while control.read_line(&mut line).await? > 0 {
        let reply = match line.trim_end().split(' ').next() {
            Some("USER") => "331 more\r\n",
            Some("PASS") => "230 in\r\n",
            Some("PWD") => "257 \"/\"\r\n",
            Some("QUIT") => "221 bye\r\n",
            _ => "500 no\r\n",
        };
        line.clear();
        control.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}

async fn connects(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    timeout(Duration::from_secs(5), socket.connect(to)).await?
}

/// Says something, and what comes within a moment.
async fn answers(control: &mut (impl AsyncRead + AsyncWrite + Unpin), line: &[u8]) -> io::Result<Vec<u8>> {
    // It may not be taken.
    if let Ok(written) = timeout(MOMENT, control.write_all(line)).await {
        written?;
    }
    let mut heard = vec![0; 8192];
    match timeout(MOMENT, control.read(&mut heard)).await {
        Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => {
            heard.truncate(read?);
            Ok(heard)
        }
        Err(_) => Ok(Vec::new()),
    }
}

/// The port in a 227 or 229, wherever it stands.
fn passive_port(heard: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(heard);
    if let Some((_, rest)) = text.split_once("(|||") {
        return rest.split('|').next()?.parse().ok();
    }
    let (_, rest) = text.split_once("227 ")?;
    let numbers: Vec<u8> = rest.split(['(', ')']).nth(1)?.split(',').filter_map(|number| number.parse().ok()).collect();
    Some(u16::from_be_bytes([*numbers.get(4)?, *numbers.get(5)?]))
}

fn resets(stream: &TcpStream) {
    // One that is gone already needs none.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
