//! `/bans`: what is banned, and `/bans/lift/<number>`, which ends one.
//!
//! Invariants: only a peer on loopback ends a ban, and no page of a browser does (it would name its origin); what clients
//! sent is escaped; the page is bounded.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::header::ORIGIN;
use hyper::{HeaderMap, StatusCode};

use super::pages::Answer;
use crate::event::{Event, Observer};
use crate::ftp::Printable;
use crate::policy::{Admission, Ban};

/// How many are shown; `total` says how many there are.
const SHOWN: usize = 1000;

/// What the pages need to show and end bans.
pub struct Bans {
    /// Who keeps them.
    pub admission: Arc<Admission>,
    /// Who hears of one that is ended.
    pub observer: Arc<dyn Observer>,
}

impl Bans {
    /// All bans in force as JSON.
    pub(super) fn list(&self) -> Answer {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let bans = self.admission.throttle().bans(now);
        let mut text = format!("{{\"total\":{},\"bans\":[", bans.len());
        for (at, ban) in bans.iter().take(SHOWN).enumerate() {
            text.push_str(if at == 0 { "\n" } else { ",\n" });
            show(&mut text, ban, clock + (ban.until - now));
        }
        text.push_str("]}\n");
        Answer::json(StatusCode::OK, text)
    }

    /// Ends the ban with this number.
    pub(super) fn lift(&self, number: &str, headers: &HeaderMap, peer: IpAddr) -> Answer {
        if !peer.to_canonical().is_loopback() || headers.contains_key(ORIGIN) {
            return Answer::text(StatusCode::FORBIDDEN, "bans are ended from this machine only\n");
        }
        let lifted = number.parse().ok().and_then(|id| self.admission.throttle().lift(id, Instant::now()));
        match lifted {
            Some(ban) => {
                self.observer.observe(&Event::BanLifted { ban: &ban });
                Answer::text(StatusCode::OK, "lifted\n")
            }
            None => Answer::text(StatusCode::NOT_FOUND, "there is no such ban\n"),
        }
    }
}

fn show(text: &mut String, ban: &Ban, until: SystemTime) {
    let until = humantime::format_rfc3339_seconds(until);
    let subject = &ban.subject;
    // Writing to a String does not fail.
    let _ = write!(text, "{{\"number\":{},\"kind\":\"{}\",\"until\":\"{until}\"", ban.id, subject.kind().label());
    if let Some(origin) = subject.origin() {
        let _ = write!(text, ",\"address\":\"{origin}\"");
    }
    if let Some(user) = subject.user() {
        let user = serde_json::Value::String(Printable(user.name()).to_string());
        let _ = write!(text, ",\"user\":{user}");
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Unobserved;
    use crate::policy::{Access, FailedLogins, Limits};
    use std::time::Duration;

    #[test]
    fn only_a_peer_on_this_machine_comes_to_ending_a_ban() {
        let limits = Limits { sessions: 1, sessions_per_address: 1, sessions_per_user: 1, failed_logins: None };
        let admission = Admission::new(Access::default(), limits);
        let bans = Bans { admission, observer: Arc::new(Unobserved) };
        let status = |peer: &str| bans.lift("1", &HeaderMap::new(), peer.parse().unwrap()).status;
        for peer in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0"] {
            assert_eq!(status(peer), StatusCode::FORBIDDEN, "{peer}");
        }
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(status(peer), StatusCode::NOT_FOUND, "{peer}");
        }
    }

    #[test]
    fn the_page_is_bounded_and_says_how_many_there_are() {
        let rule = FailedLogins { attempts: 2, within: Duration::from_secs(60), ban: Duration::from_secs(600) };
        let limits = Limits { sessions: 1, sessions_per_address: 1, sessions_per_user: 1, failed_logins: Some(rule) };
        let admission = Admission::new(Access::default(), limits);
        let now = Instant::now();
        for at in 0..=u32::try_from(SHOWN).unwrap() {
            for _ in 0..2 {
                let failed =
                    admission.throttle().failed(IpAddr::from(at.to_be_bytes()), format!("{at}").as_bytes(), now);
                assert!(failed.is_ok());
            }
        }
        let page = Bans { admission, observer: Arc::new(Unobserved) }.list();
        let text = std::str::from_utf8(page.body()).unwrap();
        assert!(text.starts_with("{\"total\":1001,"), "{text}");
        assert_eq!(text.matches("\"number\":").count(), SHOWN);
    }
}
