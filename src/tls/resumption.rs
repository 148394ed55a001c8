//! The tickets of one back leg: what the backend handed out on this control connection and its data connections.
//!
//! vsftpd and ProFTPD demand that a data connection resume *this* control connection's session, so there is one shelf
//! a back leg and never one a server name. rustls gives a TLS 1.3 ticket away for good when it offers it. Data
//! connections bring new ones where the backend sends some (vsftpd), and the gateway reads them, on uploads too; where
//! it sends none (ProFTPD) the control connection's last one is shown to rustls again ([`super::renewable`]).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::rustls::NamedGroup;
use tokio_rustls::rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use tokio_rustls::rustls::pki_types::ServerName;

/// Servers let their tickets live for two hours (OpenSSL) or less.
const FRESH: Duration = Duration::from_secs(30 * 60);
/// More than any server sends on one connection.
const TICKETS: usize = 16;

/// Tickets and the TLS 1.2 session of one back leg. The server name is the same for all of them.
#[derive(Debug, Default)]
pub(super) struct TicketShelf {
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<(Instant, Tls13ClientSessionValue)>,
}

impl TicketShelf {
    /// Whether a TLS 1.3 ticket is there that the backend will still take. Old ones are thrown away: each would cost a
    /// refused transfer.
    pub(super) fn is_stocked(&self) -> bool {
        let mut content = self.content();
        content.tls13.retain(|(since, _)| since.elapsed() < FRESH);
        !content.tls13.is_empty()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for TicketShelf {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.content().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.content().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.content().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.content().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.content().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut content = self.content();
        if content.tls13.len() == TICKETS {
            content.tls13.pop_front();
        }
        content.tls13.push_back((Instant::now(), value));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.content().tls13.pop_back().map(|(_, value)| value)
    }
}
