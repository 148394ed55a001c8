//! Processor seconds of the proxy for each GiB, and MiB in a second.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;

use super::{Amount, bounded, target};
use crate::backend::{Backend, receive, send};
use crate::client::{Session, dial, secured, source};
use crate::figures::Figures;
use crate::proxy::{Kind, Ports, Proxy, Stage};
use crate::system::cpu_seconds;
use crate::tls::{Version, of_one_session};

/// How the bytes go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    version: Version,
    private: bool,
    both: bool,
    streams: usize,
    /// The figures: processor down and up, then rate down and up.
    figures: [&'static str; 4],
}

macro_rules! way {
    ($name:literal, $version:ident, private: $private:literal, both: $both:literal, streams: $streams:literal) => {
        Way {
            version: Version::$version,
            private: $private,
            both: $both,
            streams: $streams,
            figures: [
                concat!($name, " down, CPU s/GiB"),
                concat!($name, " up, CPU s/GiB"),
                concat!($name, " down, MiB/s"),
                concat!($name, " up, MiB/s"),
            ],
        }
    };
}

/// All of them.
pub(crate) const WAYS: [Way; 5] = [
    way!("TLS 1.3", Tls13, private: true, both: false, streams: 1),
    way!("TLS 1.2", Tls12, private: true, both: false, streams: 1),
    way!("PROT C", Tls13, private: false, both: false, streams: 1),
    way!("TLS on both legs", Tls13, private: true, both: true, streams: 1),
    way!("eight streams", Tls13, private: true, both: false, streams: 8),
];

impl Way {
    /// Whether a proxy can go this way.
    pub(crate) fn is_open_to(self, kind: Kind) -> bool {
        kind.is_ftp_proxy() || kind.is_terminator() && self.private && !self.both
    }
}

/// One stream through a proxy.
enum Stream {
    Session(Box<Session>),
    Bare(Bare),
}

/// A connection for each direction, to proxies that know no FTP.
#[derive(Clone)]
struct Bare {
    tls: Arc<ClientConfig>,
    ports: Ports,
    backend: Arc<Backend>,
}

impl Stream {
    async fn download(&mut self, bytes: u64) -> Result<()> {
        match self {
            Self::Session(session) => session.download(bytes).await,
            Self::Bare(bare) => {
                let mut stream = secured(of_one_session(&bare.tls), dial(source(0), bare.ports.source).await?).await?;
                let received = receive(&mut stream).await?;
                ensure!(received == bytes, "{received} bytes of {bytes} have come");
                Ok(())
            }
        }
    }

    async fn upload(&mut self, bytes: u64) -> Result<()> {
        match self {
            Self::Session(session) => session.upload(bytes).await,
            Self::Bare(bare) => {
                let mut stream = secured(of_one_session(&bare.tls), dial(source(0), bare.ports.sink).await?).await?;
                send(&mut stream, bytes).await?;
                // Not every proxy answers the end with its own.
                let _ended = receive(&mut stream).await;
                bare.backend.sunk(bytes).await;
                Ok(())
            }
        }
    }
}

/// One way through one proxy, down and up.
pub(crate) async fn measure(
    stage: &Stage,
    proxy: &Proxy,
    way: Way,
    amount: Amount,
    figures: &mut Figures,
) -> Result<()> {
    let mut target = target(stage, proxy, way.version)?;
    target.private = way.private;
    if way.both {
        target.address = proxy.ports.ftps;
    }
    let mut sessions = Vec::new();
    for number in 0..way.streams {
        sessions.push(if proxy.kind.is_terminator() {
            Stream::Bare(Bare { tls: Arc::clone(&target.tls), ports: proxy.ports, backend: Arc::clone(&stage.backend) })
        } else {
            Stream::Session(Box::new(bounded("login", Session::open(&target, source(number))).await?))
        });
    }
    let each = amount.bulk / way.streams as u64;
    stage.backend.set_source(each);
    for (upload, cpu_figure, rate_figure) in
        [(false, way.figures[0], way.figures[2]), (true, way.figures[1], way.figures[3])]
    {
        let cpu = cpu_seconds(proxy.pid())?;
        let began = Instant::now();
        let mut running = JoinSet::new();
        for mut session in sessions.drain(..) {
            running.spawn(async move {
                let moved = if upload { session.upload(each).await } else { session.download(each).await };
                moved.map(|()| session)
            });
        }
        bounded(cpu_figure, async {
            while let Some(session) = running.join_next().await {
                sessions.push(session??);
            }
            Ok(())
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let gibibytes = (each * way.streams as u64) as f64 / f64::from(1 << 30);
        figures.record(cpu_figure, proxy.kind, (cpu_seconds(proxy.pid())? - cpu) / gibibytes);
        figures.record(rate_figure, proxy.kind, gibibytes * 1024.0 / seconds);
    }
    for session in sessions {
        if let Stream::Session(session) = session {
            bounded("QUIT", session.quit()).await?;
        }
    }
    Ok(())
}
