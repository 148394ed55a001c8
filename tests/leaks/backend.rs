//! A backend that answers by itself, and whose luck ends where its number says.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Content of every file.
pub(crate) const CONTENT: usize = 40_000;

/// Where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Dial,
    User,
    Pass,
    Pasv,
    Command,
    Begun,
    Middle,
    Data,
    Final,
    Quit,
}

const POINTS: [Point; 10] = [
    Point::Dial,
    Point::User,
    Point::Pass,
    Point::Pasv,
    Point::Command,
    Point::Begun,
    Point::Middle,
    Point::Data,
    Point::Final,
    Point::Quit,
];

/// How it ends. Silence is rarer, since it takes a deadline's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Vanishes,
    Resets,
    Leaves,
    Babbles,
    IsSilent,
}

const HOWS: [How; 9] = [
    How::Vanishes,
    How::Resets,
    How::Leaves,
    How::Babbles,
    How::Vanishes,
    How::Resets,
    How::Leaves,
    How::Babbles,
    How::IsSilent,
];

struct Session {
    control: BufReader<TcpStream>,
    host: IpAddr,
    /// Half of the sessions have none.
    struck: Option<(Point, How)>,
    door: Option<TcpListener>,
}

/// Serves everybody who dials.
pub(crate) async fn serves(listener: TcpListener) {
    let mut sessions = JoinSet::new();
    for number in 0.. {
        let (tcp, _) = listener.accept().await.unwrap();
        while sessions.try_join_next().is_some() {}
        // The first of all is the gateway's own question.
        let unlucky = number > 0 && number % 2 == 0;
        let number: usize = number / 2;
        let struck = unlucky.then(|| (POINTS[number % POINTS.len()], HOWS[number / POINTS.len() % HOWS.len()]));
        let host = listener.local_addr().unwrap().ip();
        let session = Session { control: BufReader::new(tcp), host, struck, door: None };
        // How it ends is for the gateway to see to.
        sessions.spawn(async move { session.runs().await.unwrap_or_default() });
    }
}

impl Session {
    async fn runs(mut self) -> io::Result<()> {
        if self.ends(Point::Dial).await? {
            return Ok(());
        }
        self.says("220 Ready").await?;
        let mut line = String::new();
        while self.control.read_line(&mut line).await? > 0 {
            let verb = line.split_whitespace().next().unwrap_or_default().to_owned();
            let point = match verb.as_str() {
                "USER" => Some((Point::User, "331 Password")),
                "PASS" => Some((Point::Pass, "230 In")),
                "QUIT" => Some((Point::Quit, "221 Bye")),
                _ => None,
            };
            line.clear();
            match (point, verb.as_str()) {
                (Some((point, answer)), _) => {
                    if self.ends(point).await? {
                        return Ok(());
                    }
                    self.says(answer).await?;
                }
                (None, "PASV") => {
                    if self.ends(Point::Pasv).await? {
                        return Ok(());
                    }
                    let door = TcpListener::bind((self.host, 0)).await?;
                    let [high, low] = door.local_addr()?.port().to_be_bytes();
                    self.door = Some(door);
                    self.says(&format!("227 Entering Passive Mode (10,0,0,1,{high},{low})")).await?;
                }
                (None, "RETR" | "STOR") => {
                    if self.transfers(verb == "STOR").await? {
                        return Ok(());
                    }
                }
                (None, "FEAT") => self.says("500 What?").await?,
                (None, _) => self.says("200 Fine").await?,
            }
            if verb == "QUIT" {
                break;
            }
        }
        Ok(())
    }

    /// A transfer. `true`: it was the session's end.
    async fn transfers(&mut self, upload: bool) -> io::Result<bool> {
        if self.ends(Point::Command).await? {
            return Ok(true);
        }
        let Some(door) = self.door.take() else {
            self.says("425 Where to?").await?;
            return Ok(false);
        };
        let (mut data, _) = door.accept().await?;
        self.says("150 Here it comes").await?;
        if self.ends(Point::Begun).await? {
            return Ok(true);
        }
        if upload {
            data.read_exact(&mut [0; 1000]).await?;
        } else {
            data.write_all(&[b'x'; CONTENT / 2]).await?;
        }
        if self.ends(Point::Middle).await? {
            return Ok(true);
        }
        if let Some((Point::Data, how)) = self.struck {
            if how == How::IsSilent {
                // Until the gateway has had enough.
                let _ = self.control.read_line(&mut String::new()).await?;
                return Ok(true);
            }
            if how != How::Leaves {
                SockRef::from(&data).set_linger(Some(Duration::ZERO))?;
            }
            drop(data);
            self.says(if how == How::Babbles { "226 All is well" } else { "426 Lost it" }).await?;
            return Ok(false);
        }
        if upload {
            let whole = data.read_to_end(&mut Vec::new()).await.is_ok();
            drop(data);
            if self.ends(Point::Final).await? {
                return Ok(true);
            }
            self.says(if whole { "226 Stored" } else { "426 Lost it" }).await?;
        } else {
            data.write_all(&[b'x'; CONTENT / 2]).await?;
            data.shutdown().await?;
            drop(data);
            if self.ends(Point::Final).await? {
                return Ok(true);
            }
            self.says("226 Sent").await?;
        }
        Ok(false)
    }

    /// Whether its luck ends here; then it has ended.
    async fn ends(&mut self, here: Point) -> io::Result<bool> {
        let Some((point, how)) = self.struck else { return Ok(false) };
        if point != here {
            return Ok(false);
        }
        match how {
            How::Vanishes => {}
            How::Resets => SockRef::from(self.control.get_ref()).set_linger(Some(Duration::ZERO))?,
            How::Leaves => self.says("421 Leaving").await?,
            How::Babbles => self.says("who knows").await?,
            How::IsSilent => while self.control.read_line(&mut String::new()).await? > 0 {},
        }
        Ok(true)
    }

    async fn says(&mut self, line: &str) -> io::Result<()> {
        self.control.get_mut().write_all(format!("{line}\r\n").as_bytes()).await
    }
}
