//! Servers behind that mean harm, by chance: in clear, under explicit and under implicit TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;

use super::MOMENT;
use super::chance::Chance;
use super::leg::Leg;

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

/// How a server means to be spoken to.
#[derive(Clone)]
pub(crate) enum Security {
    None,
    Explicit(Arc<ServerConfig>),
    Implicit(Arc<ServerConfig>),
}

/// Serves everybody who dials, each in another bad way.
pub(crate) async fn hostile_backend(
    listener: TcpListener,
    security: Security,
    words: Arc<[Vec<u8>]>,
    mut chance: Chance,
) {
    let mut sessions = JoinSet::new();
    loop {
        let (control, _) = listener.accept().await.unwrap();
        while sessions.try_join_next().is_some() {}
        let chance = Chance::new(u64::try_from(chance.below(usize::MAX)).unwrap());
        let (words, security) = (Arc::clone(&words), security.clone());
        // How it ends is for the gateway to see to.
        sessions.spawn(async move {
            hostile_session(Leg::Plain(control), security, &words, chance).await.unwrap_or_default()
        });
    }
}

/// TLS, or what is none.
async fn shakes_hands(leg: Leg, config: &Arc<ServerConfig>, words: &[Vec<u8>], chance: &mut Chance) -> io::Result<Leg> {
    if !chance.once_in(6) {
        return leg.accepted(config).await;
    }
    let mut leg = leg;
    timeout(MOMENT, leg.write_all(&chance.word(words))).await.unwrap_or(Ok(()))?;
    leg.spoils(words, chance).await?;
    Ok(leg)
}

async fn hostile_session(
    mut control: Leg,
    security: Security,
    words: &[Vec<u8>],
    mut chance: Chance,
) -> io::Result<()> {
    let host = control.tcp().local_addr()?.ip();
    if let Security::Implicit(config) = &security {
        control = shakes_hands(control, config, words, &mut chance).await?;
    }
    let mut private = None;
    let mut control = BufReader::new(control);
    let greeting = if chance.once_in(8) { chance.word(words) } else { b"220 ready\r\n".to_vec() };
    control.write_all(&greeting).await?;
    control.flush().await?;
    let (mut line, mut data) = (Vec::new(), JoinSet::new());
    while control.read_until(b'\n', &mut line).await? > 0 {
        let verb = String::from_utf8_lossy(line.get(..4).unwrap_or_default()).into_owned();
        line.clear();
        let reply = match verb.as_str() {
            _ if chance.once_in(10) => chance.word(words),
            "AUTH" => match &security {
                Security::Explicit(config) => {
                    control.write_all(b"234 go\r\n").await?;
                    control = BufReader::new(shakes_hands(control.into_inner(), config, words, &mut chance).await?);
                    continue;
                }
                Security::None | Security::Implicit(_) => b"500 no\r\n".to_vec(),
            },
            "PBSZ" => b"200 ok\r\n".to_vec(),
            "PROT" => {
                private = match &security {
                    Security::None => None,
                    Security::Explicit(config) | Security::Implicit(config) => Some(Arc::clone(config)),
                };
                b"200 ok\r\n".to_vec()
            }
            "USER" => b"331 more\r\n".to_vec(),
            "PASS" => b"230 in\r\n".to_vec(),
            "PASV" => {
                let door = TcpListener::bind((host, 0)).await?;
                let [high, low] = door.local_addr()?.port().to_be_bytes();
                let content = chance.word(words);
                let (private, own) = (private.clone(), chance.fork());
                let words = words.to_vec();
                data.spawn(async move {
                    hostile_data(door, private, &content, &words, own).await.unwrap_or_default();
                });
                format!("227 Entering Passive Mode (10,0,0,1,{high},{low})\r\n").into_bytes()
            }
            "RETR" | "STOR" | "LIST" if !chance.once_in(3) => b"150 go\r\n226 done\r\n".to_vec(),
            "QUIT" => b"221 bye\r\n".to_vec(),
            _ => chance.one_of(&REPLIES).as_bytes().to_vec(),
        };
        control.write_all(&reply).await?;
        control.flush().await?;
        if chance.once_in(30) {
            control.get_mut().spoils(words, &mut chance).await?;
        }
        if chance.once_in(40) {
            control.get_ref().resets();
            return Ok(());
        }
        if chance.once_in(60) {
            flood(&mut control).await?;
        }
    }
    Ok(())
}

/// A reply of many lines, of which nobody knows the end.
async fn flood(control: &mut BufReader<Leg>) -> io::Result<()> {
    let lines = "211-and so it goes on and on\r\n".repeat(200);
    for _ in 0..50 {
        match timeout(MOMENT, control.write_all(lines.as_bytes())).await {
            Ok(written) => written?,
            Err(_) => break,
        }
    }
    Ok(())
}

async fn hostile_data(
    door: TcpListener,
    private: Option<Arc<ServerConfig>>,
    content: &[u8],
    words: &[Vec<u8>],
    mut chance: Chance,
) -> io::Result<()> {
    let Ok(accepted) = timeout(Duration::from_secs(1), door.accept()).await else { return Ok(()) };
    let mut stream = Leg::Plain(accepted?.0);
    if let Some(config) = private {
        stream = shakes_hands(stream, &config, words, &mut chance).await?;
    }
    stream.write_all(content).await?;
    stream.flush().await?;
    match chance.below(4) {
        0 => stream.resets(),
        1 => stream.spoils(words, &mut chance).await?,
        2 => timeout(MOMENT, stream.shutdown()).await.unwrap_or(Ok(()))?,
        _ => {}
    }
    Ok(())
}
