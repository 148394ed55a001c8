//! Half-open peers: from a moment on no packet of theirs comes, and nothing says so. Deadlines are all there is.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::actor::{Manner, serve};
use crate::gateway::Gateway;
use crate::space::Space;
use crate::street::{BACKEND, Street, logged_in};
use crate::talk::Session;

/// Short, so that a test is.
const DEADLINES: &str =
    "timeouts: { idle: 4s, data_stall: 2s, data_connect: 2s, backend_reply: 2s, backend_connect: 2s }";
/// More than all buffers on the way hold.
const ENDLESS: u64 = 1 << 40;

/// What a client does in its thread until it is told that it may end.
type Doing = fn(&mut Session, &Receiver<()>);

struct Scene<'a> {
    street: &'a Street,
    gateway: Gateway<'a>,
    /// Dropped, it ends what waits for it.
    told: Sender<()>,
}

impl<'a> Scene<'a> {
    /// A client that does something, with a scripted backend.
    fn begin(street: &'a Street, doing: Doing) -> Self {
        let backend = serve(&street.backend, BACKEND, Manner::default());
        let gateway = Gateway::start(&street.gateway, street.folder.path(), &backend, DEADLINES);
        let tls = Street::trust(&gateway);
        let (told, may_end) = channel();
        street.client.thread(move || {
            let mut session = logged_in(&tls, None);
            doing(&mut session, &may_end);
        });
        Self { street, gateway, told }
    }

    /// Once so much is under way, a machine vanishes. Everything is given back all the same, and the log says this.
    fn ends_without(self, space: &Space, under_way: impl Fn(&Gateway<'_>) -> bool, words: &[&[&str]]) {
        self.gateway.until("it is under way", || under_way(&self.gateway));
        space.vanishes();
        self.gateway.until("the session has ended", || self.gateway.has_said(&["session ended"]));
        self.gateway.is_empty();
        for words in words {
            assert!(self.gateway.has_said(words), "{words:?} is not in the log");
        }
        // Nothing of it is left on the other side either.
        for other in [&self.street.client, &self.street.backend] {
            if !std::ptr::eq(other, space) {
                self.gateway.until("the other side has ended", || other.sh("ss -tnH state established").is_empty());
            }
        }
        // The client waits for what will never come; its thread ends with the test.
        drop(self.told);
    }
}

fn logged_in_session(gateway: &Gateway<'_>) -> bool {
    gateway.has_said(&["logged in"])
}

fn bytes_flow(gateway: &Gateway<'_>) -> bool {
    gateway.count("transfer_bytes_total", &[]) > 0
}

fn waits(_: &mut Session, may_end: &Receiver<()>) {
    let _ = may_end.recv();
}

fn uploads_half(session: &mut Session, may_end: &Receiver<()>) {
    let mut data = session.begins("STOR it");
    data.sends(b"half of it");
    let _ = may_end.recv();
}

fn downloads(session: &mut Session, _: &Receiver<()>) {
    session.begins(&format!("RETR {ENDLESS}")).receives_all(|_| ());
}

#[test]
fn the_client_between_commands() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    Scene::begin(&street, waits).ends_without(&street.client, logged_in_session, &[&["session ended", "idle"]]);
}

#[test]
fn the_client_during_an_upload() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let words: [&[&str]; 2] = [&["transfer", "STOR", "client_stalled"], &["session ended", "idle"]];
    Scene::begin(&street, uploads_half).ends_without(&street.client, bytes_flow, &words);
}

#[test]
fn the_client_during_a_download() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let words: [&[&str]; 2] = [&["transfer", "RETR", "client_stalled"], &["session ended", "idle"]];
    Scene::begin(&street, downloads).ends_without(&street.client, bytes_flow, &words);
}

#[test]
fn the_backend_between_commands() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let doing: Doing = |session, _| {
        // Until the backend is gone.
        while session.asks("PWD").starts_with("502 ") {}
    };
    let words: [&[&str]; 1] = [&["session ended", "backend_timeout"]];
    Scene::begin(&street, doing).ends_without(&street.backend, logged_in_session, &words);
}

/// The backend is not asked for anything, so nobody misses it.
#[test]
fn the_backend_of_a_client_that_wants_nothing() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    Scene::begin(&street, waits).ends_without(&street.backend, logged_in_session, &[&["session ended", "idle"]]);
}

#[test]
fn the_backend_during_an_upload() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let doing: Doing = |session, may_end| {
        let data = session.begins("STOR it");
        data.sends_until_it_fails();
        assert!(session.hears().contains("[backend_stalled]"));
        waits(session, may_end);
    };
    let words: [&[&str]; 1] = [&["transfer", "STOR", "backend_stalled"]];
    Scene::begin(&street, doing).ends_without(&street.backend, bytes_flow, &words);
}

#[test]
fn the_backend_during_a_download() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let doing: Doing = |session, may_end| {
        session.begins(&format!("RETR {ENDLESS}")).receives_until_it_is_cut();
        assert!(session.hears().contains("[backend_stalled]"));
        waits(session, may_end);
    };
    let words: [&[&str]; 1] = [&["transfer", "RETR", "backend_stalled"]];
    Scene::begin(&street, doing).ends_without(&street.backend, bytes_flow, &words);
}

/// A session that cannot begin.
#[test]
fn the_backend_before_it_is_dialled() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(None, None);
    let backend = serve(&street.backend, BACKEND, Manner::default());
    let gateway = Gateway::start(&street.gateway, street.folder.path(), &backend, DEADLINES);
    street.backend.vanishes();
    let tls = Street::trust(&gateway);
    let said = street.client.inside(move || {
        let mut session = Session::open(format!("{}:21", crate::street::GATEWAY), &tls, None);
        session.asks("USER bob")
    });
    assert!(said.starts_with("421 ") && said.contains("[backend_"), "{said}");
    gateway.is_empty();
}
