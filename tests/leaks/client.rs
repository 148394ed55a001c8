//! A client that goes its way until its luck ends, where and how its number says.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;

use super::backend::CONTENT;
use super::tls::ClientTls;
use super::wire::Wire;

/// Where it ends, in the order of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Connect,
    Greeting,
    HalfALine,
    Auth,
    Handshake,
    Secured,
    User,
    Pass,
    Pasv,
    DataConnected,
    DataHandshake,
    DataSecured,
    Command,
    Begun,
    Middle,
    Abor,
    LastByte,
    Final,
    Quit,
}

const POINTS: [Point; 19] = [
    Point::Connect,
    Point::Greeting,
    Point::HalfALine,
    Point::Auth,
    Point::Handshake,
    Point::Secured,
    Point::User,
    Point::Pass,
    Point::Pasv,
    Point::DataConnected,
    Point::DataHandshake,
    Point::DataSecured,
    Point::Command,
    Point::Begun,
    Point::Middle,
    Point::Abor,
    Point::LastByte,
    Point::Final,
    Point::Quit,
];

/// How it ends. Silence is rarer, since it takes a deadline's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Vanishes,
    Resets,
    Closes,
    IsSilent,
}

const HOWS: [How; 10] = [
    How::Vanishes,
    How::Resets,
    How::Closes,
    How::Vanishes,
    How::Resets,
    How::Closes,
    How::Vanishes,
    How::Resets,
    How::Closes,
    How::IsSilent,
];

/// Half a ClientHello.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01";

struct Client {
    control: Wire,
    data: Option<Wire>,
    heard: Vec<u8>,
    upload: bool,
}

/// Plays session `number` to wherever its luck, the backend's or a deadline ends it.
pub(crate) async fn plays(number: usize, from: IpAddr, to: SocketAddr) {
    let tls = ClientTls::new();
    let struck = POINTS[number % POINTS.len()];
    let how = HOWS[number / POINTS.len() % HOWS.len()];
    let Some(control) = connects(from, to).await else { return };
    let upload = number / POINTS.len() / HOWS.len() % 2 == 1;
    let mut client = Client { control, data: None, heard: Vec::new(), upload };
    if client.goes_on_until(struck, from, &tls).await.is_some() {
        client.ends(how).await;
    }
}

/// A client that has logged in; none when it is not let in.
pub(crate) async fn logs_in(from: IpAddr, to: SocketAddr) -> Option<Wire> {
    loop {
        let mut client = Client { control: connects(from, to).await?, data: None, heard: Vec::new(), upload: false };
        if client.reply().await != Some(220) {
            return None;
        }
        // The backend may be one of the unlucky; then once more.
        if client.logs_in(from, &ClientTls::new()).await == Some(230) {
            return Some(client.control);
        }
    }
}

async fn connects(from: IpAddr, to: SocketAddr) -> Option<Wire> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let tcp = socket.connect(to).await.ok()?;
    tcp.set_nodelay(true).unwrap();
    Some(Wire::Plain(tcp))
}

impl Client {
    /// `None`: somebody else ended it first.
    async fn goes_on_until(&mut self, struck: Point, from: IpAddr, tls: &ClientTls) -> Option<()> {
        let stop = |here| (struck == here).then_some(());
        if struck == Point::Connect {
            return Some(());
        }
        self.reply().await?;
        if stop(Point::Greeting).is_some() {
            return Some(());
        }
        if stop(Point::HalfALine).is_some() {
            return self.control.write(b"AUTH T").await.ok();
        }
        if matches!(struck, Point::Auth | Point::Handshake) {
            self.asks("AUTH TLS", 234).await?;
            return match struck {
                Point::Handshake => self.control.write(HALF_A_HELLO).await.ok(),
                _ => Some(()),
            };
        }
        if matches!(struck, Point::Secured | Point::User) {
            self.asks("AUTH TLS", 234).await?;
            self.control.connect_tls(tls.config(), tls.name()).await.ok()?;
            return match struck {
                Point::User => self.says(&format!("USER {from}")).await,
                _ => Some(()),
            };
        }
        if self.logs_in(from, tls).await? != 230 {
            return None;
        }
        if stop(Point::Pass).is_some() {
            return Some(());
        }
        self.asks("PBSZ 0", 200).await?;
        self.asks("PROT P", 200).await?;
        self.says("PASV").await?;
        if stop(Point::Pasv).is_some() {
            return Some(());
        }
        let address = self.passive_address().await?;
        self.transfers(struck, from, address, tls).await
    }

    async fn transfers(&mut self, struck: Point, from: IpAddr, to: SocketAddr, tls: &ClientTls) -> Option<()> {
        let mut data = connects(from, to).await?;
        if struck == Point::DataHandshake {
            data.write(HALF_A_HELLO).await.ok()?;
        }
        if matches!(struck, Point::DataConnected | Point::DataHandshake) {
            self.data = Some(data);
            return Some(());
        }
        data.connect_tls(tls.config(), tls.name()).await.ok()?;
        if struck == Point::DataSecured {
            self.data = Some(data);
            return Some(());
        }
        self.says(if self.upload { "STOR file" } else { "RETR file" }).await?;
        if struck != Point::Command {
            self.reply().await.filter(|code| *code == 150)?;
        }
        if matches!(struck, Point::Command | Point::Begun) {
            self.data = Some(data);
            return Some(());
        }
        self.moves(&mut data, CONTENT / 2).await?;
        if matches!(struck, Point::Middle | Point::Abor) {
            self.data = Some(data);
            if struck == Point::Abor {
                self.says("ABOR").await?;
                self.reply().await?;
            }
            return Some(());
        }
        self.moves(&mut data, CONTENT / 2).await?;
        if self.upload {
            data.finish().await.ok()?;
        }
        self.data = Some(data);
        if struck == Point::LastByte {
            return Some(());
        }
        self.reply().await?;
        if struck == Point::Final {
            return Some(());
        }
        self.asks("QUIT", 221).await
    }

    async fn moves(&self, data: &mut Wire, bytes: usize) -> Option<()> {
        if self.upload {
            return data.write(&vec![b'x'; bytes]).await.ok();
        }
        let (mut block, mut left) = (vec![0; bytes], bytes);
        while left > 0 {
            left -= data.read(&mut block[..left]).await.ok()?;
        }
        Some(())
    }

    async fn ends(&mut self, how: How) {
        match how {
            How::Vanishes => {
                self.data = None;
                self.control.vanish();
            }
            How::Resets => {
                if let Some(data) = &mut self.data {
                    data.reset();
                }
                self.control.reset();
            }
            How::Closes => {
                if let Some(data) = &mut self.data {
                    let _ = data.finish().await;
                }
                let _ = self.control.finish().await;
                self.hears_it_out().await;
            }
            How::IsSilent => self.hears_it_out().await,
        }
    }

    /// Until the gateway ends.
    async fn hears_it_out(&mut self) {
        let mut block = [0; 4096];
        while self.control.read(&mut block).await.is_ok() {}
    }

    async fn logs_in(&mut self, user: IpAddr, tls: &ClientTls) -> Option<u16> {
        self.asks("AUTH TLS", 234).await?;
        self.control.connect_tls(tls.config(), tls.name()).await.ok()?;
        self.asks(&format!("USER {user}"), 331).await?;
        self.says("PASS sesame").await?;
        self.reply().await
    }

    async fn passive_address(&mut self) -> Option<SocketAddr> {
        let line = self.line().await?;
        let inner = line.split(['(', ')']).nth(1)?;
        let numbers: Vec<u8> = inner.split(',').filter_map(|number| number.parse().ok()).collect();
        let address: [u8; 4] = numbers.get(..4)?.try_into().ok()?;
        Some(SocketAddr::from((address, u16::from_be_bytes([*numbers.get(4)?, *numbers.get(5)?]))))
    }

    async fn asks(&mut self, line: &str, code: u16) -> Option<()> {
        self.says(line).await?;
        self.reply().await.filter(|heard| *heard == code).map(|_| ())
    }

    async fn says(&mut self, line: &str) -> Option<()> {
        self.control.write(format!("{line}\r\n").as_bytes()).await.ok()
    }

    /// The code of the next reply. Nobody here says more than a line.
    async fn reply(&mut self) -> Option<u16> {
        self.line().await?.get(..3)?.parse().ok()
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            let mut block = [0; 1024];
            let read = self.control.read(&mut block).await.ok()?;
            self.heard.extend_from_slice(&block[..read]);
        }
    }
}
