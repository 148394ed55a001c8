//! Long ways and lossy ways, on either leg: real clients and a real server, and everything arrives as it was.

use std::thread;

use crate::actor::{Manner, serve};
use crate::clients::{Data, Visit, Who};
use crate::gateway::Gateway;
use crate::link::Quality;
use crate::server::Server;
use crate::street::{BACKEND, GATEWAY, Street, downloads, logged_in, uploads};

/// A second there and back, as `tc netem delay 1s` on one of two interfaces makes it.
const FAR: Quality = Quality { delay: 0.5, loss: 0.0, rate: 0 };
/// One packet of twenty is lost in each direction.
const LOSSY: Quality = Quality { delay: 0.01, loss: 0.05, rate: 0 };
/// Both.
const FAR_AND_LOSSY: Quality = Quality { delay: 0.5, loss: 0.05, rate: 0 };
/// A thin line whose router holds a second's worth of packets and drops what comes on top.
const THIN: Quality = Quality { delay: 0.01, loss: 0.0, rate: 1024 * 1024 };
const MEBIBYTE: usize = 1024 * 1024;

/// All clients at once, each one upload and one download, beside each other.
fn all_clients(front: Option<Quality>, back: Option<Quality>, length: usize) -> (u64, u64) {
    let street = Street::build(front, back);
    let folder = street.folder.path();
    let server = Server::start(&street.backend, "pureftpd", BACKEND, folder);
    let servers = format!("servers: [\"{BACKEND}:{}\"]", server.port);
    let gateway = Gateway::start(&street.gateway, folder, &servers, "");
    let mut content = vec![0; length];
    aws_lc_rs::rand::fill(&mut content).unwrap();
    server.put("big", &content);
    let place = (&street.client, GATEWAY);
    let visits = [(Who::Curl, Data::Epsv), (Who::Lftp, Data::Epsv), (Who::Ftplib, Data::Pasv)]
        .map(|way| Visit::new(way, place, &gateway, &server, folder));
    thread::scope(|scope| {
        for visit in &visits {
            let (content, server) = (&content, &server);
            scope.spawn(move || {
                let name = format!("{:?}", visit.who);
                visit.up(&name, content).unwrap_or_else(|said| panic!("{said}"));
                assert!(server.get(&name) == *content, "{name}: another file has arrived");
            });
            scope.spawn(move || {
                let again = visit.down("big").unwrap_or_else(|said| panic!("{said}"));
                assert!(again == *content, "{:?}: another file has come back", visit.who);
            });
        }
    });
    gateway.is_empty();
    drop((gateway, server));
    street.end()
}

#[track_caller]
fn lost_one_of_twenty((came, lost): (u64, u64)) {
    let share = lost as f64 / came as f64;
    assert!((0.03..0.07).contains(&share), "{lost} of {came} packets were lost");
}

#[test]
fn clients_a_second_away() {
    if !crate::left_out() {
        all_clients(Some(FAR), None, 2 * MEBIBYTE);
    }
}

#[test]
fn a_backend_a_second_away() {
    if !crate::left_out() {
        all_clients(None, Some(FAR), 2 * MEBIBYTE);
    }
}

#[test]
fn clients_behind_a_lossy_link() {
    if !crate::left_out() {
        lost_one_of_twenty(all_clients(Some(LOSSY), None, 2 * MEBIBYTE));
    }
}

#[test]
fn a_backend_behind_a_lossy_link() {
    if !crate::left_out() {
        lost_one_of_twenty(all_clients(None, Some(LOSSY), 2 * MEBIBYTE));
    }
}

#[test]
fn clients_behind_a_thin_line() {
    if !crate::left_out() {
        all_clients(Some(THIN), None, 2 * MEBIBYTE);
    }
}

/// TCP makes some 8 KB/s of this, so the files are small. A handshake whose packet is lost twice takes ten seconds, and
/// the deadlines are set for that.
#[test]
fn far_and_lossy_at_once() {
    if crate::left_out() {
        return;
    }
    let street = Street::build(Some(FAR_AND_LOSSY), None);
    let backend = serve(&street.backend, BACKEND, Manner::default());
    let patient = "timeouts: { tls_handshake: 30s, login: 2m }";
    let gateway = Gateway::start(&street.gateway, street.folder.path(), &backend, patient);
    let tls = Street::trust(&gateway);
    street.client.inside(move || {
        let mut session = logged_in(&tls, None);
        uploads(&mut session, 64 * 1024, |_| ());
        downloads(&mut session, 64 * 1024, |_| ());
        session.asks("QUIT");
    });
    gateway.is_empty();
}
