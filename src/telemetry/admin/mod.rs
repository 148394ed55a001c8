//! The pages for Prometheus, for probes and for the operator: `/metrics`, `/healthz`, `/readyz`, `/bans`.
//!
//! Invariants: pages are read, but for `/bans/lift/`, which takes a POST from this machine; whoever connects holds one of few places, for seconds at most, and a
//! newcomer always gets one: when all are taken, the oldest connection is cut. A request that is sent at once is
//! answered in a millisecond, so what is oldest is idle or slow. The bans are
//! the one thing here that sessions wait for, for as long as it takes to copy them.

mod bans;
mod pages;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

pub use self::bans::Bans;
pub use self::pages::{Pages, Readiness};

/// How much of the gateway the pages may take.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Connections at the same time.
    connections: usize,
    /// From the connection to the last byte of the request's header.
    header: Duration,
    /// From the connection to the last byte of the answer; also how long the end waits for answers under way.
    longest: Duration,
}

/// A few scrapers and probes need one connection each, for milliseconds. Prometheus gives up after 10 s unless told
/// otherwise.
const BOUNDS: Bounds = Bounds { connections: 32, header: Duration::from_secs(5), longest: Duration::from_secs(15) };

/// After an error of the listening socket (no file descriptor is free): long enough not to spin.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the pages until `shutdown`; then answers what is under way and returns.
///
/// One request for each connection: an idle connection would only hold a place. The address has no access control of
/// its own, so one that is not loopback is worth a warning.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, shutdown: impl Future<Output = ()>) {
    serve_within(BOUNDS, listener, pages, shutdown).await;
}

async fn serve_within(bounds: Bounds, listener: TcpListener, pages: Arc<Pages>, shutdown: impl Future<Output = ()>) {
    if let Ok(address) = listener.local_addr()
        && !address.ip().to_canonical().is_loopback()
    {
        tracing::warn!(%address, "the admin pages are not on loopback: whoever reaches this address can read them");
    }
    let graceful = GracefulShutdown::new();
    let mut places = VecDeque::with_capacity(bounds.connections);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        make_room(&mut places, bounds.connections);
        let answered = answer_one(bounds, stream, peer.ip(), Arc::clone(&pages), &graceful);
        places.push_back(tokio::spawn(answered).abort_handle());
    }
    drop(listener);
    // Connections that do not come to their end are bounded by `longest` themselves.
    let _ = timeout(bounds.longest, graceful.shutdown()).await;
}

/// Forgets connections that are over and cuts the oldest one when that is not enough.
fn make_room(places: &mut VecDeque<AbortHandle>, connections: usize) {
    places.retain(|place| !place.is_finished());
    if places.len() >= connections
        && let Some(oldest) = places.pop_front()
    {
        oldest.abort();
    }
}

fn answer_one(
    bounds: Bounds,
    stream: TcpStream,
    peer: IpAddr,
    pages: Arc<Pages>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = pages.answer(request.method(), request.uri().path(), request.headers(), peer);
        async move { Ok::<_, Infallible>(answer.into_response()) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    async move {
        // A peer that sends nonsense, stalls or goes away is nobody's concern.
        let _ = timeout(bounds.longest, watched).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    struct Server {
        address: SocketAddr,
        pages: Arc<Pages>,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    /// Long enough that a test which waits for it has failed.
    const SOON: Duration = Duration::from_secs(2);

    async fn server() -> Server {
        server_within(BOUNDS).await
    }

    async fn server_within(bounds: Bounds) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::new(Pages::new(Arc::new(Metrics::new().unwrap())));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve_within(bounds, listener, Arc::clone(&pages), async move {
            let _ = stopped.await;
        }));
        Server { address, pages, stop, task }
    }

    async fn ask(address: SocketAddr, request_line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{request_line} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages_answer() {
        let server = server().await;
        let metrics = ask(server.address, "GET /metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4\r\n"), "{metrics}");
        assert!(metrics.contains("\nftps_gateway_build_info{version="), "{metrics}");
        let health = ask(server.address, "GET /healthz?verbose").await;
        assert!(health.starts_with("HTTP/1.1 200 OK\r\n") && health.ends_with("\r\n\r\nok\n"), "{health}");
        for elsewhere in ["GET /", "GET /metrics/", "POST /status", "GET /../metrics"] {
            let answer = ask(server.address, elsewhere).await;
            assert!(answer.starts_with("HTTP/1.1 404 "), "{elsewhere}: {answer}");
        }
    }

    #[tokio::test]
    async fn pages_are_read_only() {
        let server = server().await;
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = ask(server.address, &format!("{method} /metrics")).await;
            assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
        }
        let head = ask(server.address, "HEAD /healthz").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[tokio::test]
    async fn readiness_is_told_with_its_reason() {
        let server = server().await;
        for (readiness, status) in [(Readiness::Starting, 503), (Readiness::Ready, 200), (Readiness::Draining, 503)] {
            server.pages.set_readiness(readiness);
            assert_eq!(server.pages.readiness(), readiness);
            let answer = ask(server.address, "GET /readyz").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.ends_with(&format!("\r\n\r\n{}\n", readiness.label())), "{answer}");
        }
    }

    #[tokio::test]
    async fn idle_connections_keep_nobody_out() {
        let server = server().await;
        let mut idle = Vec::new();
        for _ in 0..3 * BOUNDS.connections {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.unwrap();
            idle.push(stream);
        }
        let answer = timeout(SOON, ask(server.address, "GET /healthz")).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // The oldest were cut for it.
        let mut byte = [0];
        let cut = timeout(SOON, idle[0].read(&mut byte)).await.unwrap();
        assert!(matches!(cut, Ok(0) | Err(_)), "{cut:?}");
    }

    #[tokio::test]
    async fn a_header_that_never_ends_is_cut() {
        let server = server_within(Bounds { header: Duration::from_millis(50), ..BOUNDS }).await;
        let mut slow = TcpStream::connect(server.address).await.unwrap();
        slow.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(SOON, slow.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{answer:?}");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }

    #[tokio::test]
    async fn a_connection_is_over_after_a_while() {
        let server = server_within(Bounds { longest: Duration::from_millis(50), ..BOUNDS }).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut answer = Vec::new();
        assert!(timeout(SOON, stream.read_to_end(&mut answer)).await.is_ok(), "{answer:?}");
    }

    #[tokio::test]
    async fn the_end_waits_for_no_idle_connection() {
        let server = server().await;
        let _idle = TcpStream::connect(server.address).await.unwrap();
        ask(server.address, "GET /healthz").await;
        server.stop.send(()).unwrap();
        timeout(SOON, server.task).await.unwrap().unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }
}
