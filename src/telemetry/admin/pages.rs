//! What the pages say.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::bans::Bans;
use crate::telemetry::metrics::Metrics;

/// Whether new sessions are taken, and come to anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Not listening yet.
    Starting,
    /// Listening.
    Ready,
    /// No new sessions; the running ones come to their end.
    Draining,
    /// Sessions come, and nobody can log in: the audit file cannot be written.
    Unrecorded,
}

impl Readiness {
    /// What `/readyz` says.
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unrecorded => "audit_unavailable",
        }
    }
}

/// What the pages show.
pub struct Pages {
    metrics: Arc<Metrics>,
    readiness: AtomicU8,
    bans: OnceLock<Bans>,
}

impl Pages {
    /// Pages of a gateway that is starting.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, readiness: AtomicU8::new(Readiness::Starting as u8), bans: OnceLock::new() }
    }

    /// From now on `/readyz` says this.
    pub fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(readiness as u8, Ordering::Relaxed);
    }

    /// What `/readyz` says.
    pub fn readiness(&self) -> Readiness {
        let stored = self.readiness.load(Ordering::Relaxed);
        let known = [Readiness::Ready, Readiness::Draining].into_iter().find(|readiness| *readiness as u8 == stored);
        match known.unwrap_or(Readiness::Starting) {
            Readiness::Ready if !self.metrics.is_audit_writable() => Readiness::Unrecorded,
            readiness => readiness,
        }
    }

    /// From now on `/bans` shows these. Only the first call counts.
    pub fn set_bans(&self, bans: Bans) {
        let _ = self.bans.set(bans);
    }

    /// The page of this path.
    pub(super) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap, peer: IpAddr) -> Answer {
        if let (Some(bans), Some(number)) = (self.bans.get(), path.strip_prefix("/bans/lift/")) {
            return match *method {
                Method::POST => bans.lift(number, headers, peer),
                _ => Answer { allow: "POST", ..Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n") },
            };
        }
        let page: fn(&Self) -> Answer = match path {
            "/metrics" => Self::metrics,
            "/healthz" => |_| Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" => Self::ready,
            "/bans" if self.bans.get().is_some() => Self::bans,
            _ => return Answer::text(StatusCode::NOT_FOUND, "not found\n"),
        };
        match *method {
            Method::GET | Method::HEAD => page(self),
            _ => Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        }
    }

    fn ready(&self) -> Answer {
        let readiness = self.readiness();
        let status = match readiness {
            Readiness::Ready => StatusCode::OK,
            Readiness::Starting | Readiness::Draining | Readiness::Unrecorded => StatusCode::SERVICE_UNAVAILABLE,
        };
        Answer::text(status, format!("{}\n", readiness.label()))
    }

    fn bans(&self) -> Answer {
        self.bans.get().map_or_else(|| Answer::text(StatusCode::NOT_FOUND, "not found\n"), Bans::list)
    }

    fn metrics(&self) -> Answer {
        match self.metrics.render() {
            Ok(text) => Answer { kind: prometheus::TEXT_FORMAT, ..Answer::text(StatusCode::OK, text) },
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written, the log says why\n")
            }
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("readiness", &self.readiness()).finish_non_exhaustive()
    }
}

/// A page, before it is HTTP.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    kind: &'static str,
    body: Bytes,
    /// What may be done here, where what was asked may not.
    allow: &'static str,
}

impl Answer {
    pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into(), allow: "GET, HEAD" }
    }

    pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { kind: "application/json", ..Self::text(status, body) }
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// As hyper sends it.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(self.allow));
        }
        response
    }
}
