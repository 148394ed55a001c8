//! Who a client is: curl with a certificate, and curl as a balancer that brings it.

use std::path::Path;
use std::process::Command;

use crate::backend::{Backend, Kind, Setup};
use crate::client::{Data, Target, Way, output, run, told};
use crate::curl::Curl;
use crate::front::{Certificate, Front, Wishes};
use crate::matrix::scratch;

const CONTENT: &[u8] = b"what the server has";

/// A download and an upload, with more arguments, under both versions of TLS.
fn moves(backend: &Backend, front: &Front, folder: &Path, more: impl Fn(&mut Command)) {
    for (version, data) in [("1.3", Data::Epsv), ("1.2", Data::Pasv)] {
        let curl = curl(backend, front, folder, version, data);
        let mut down = curl.here();
        more(&mut down);
        assert_eq!(run(down.arg(curl.url(b"there"))).stdout, CONTENT);
        let local = folder.join("local");
        std::fs::write(&local, b"what the client has").unwrap();
        let mut up = curl.here();
        more(&mut up);
        run(up.arg("--upload-file").arg(&local).arg(curl.url(version.as_bytes())));
        assert_eq!(std::fs::read(backend.root.join(version)).unwrap(), b"what the client has");
    }
}

fn curl(backend: &Backend, front: &Front, folder: &Path, version: &'static str, data: Data) -> Curl {
    let way = Way { implicit: false, version, ipv6: false, data };
    Curl(Target::new(front, way, &backend.user, &backend.password, folder))
}

#[test]
fn curl_shows_a_certificate() {
    if crate::left_out() {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    let backend = Setup::plain(Kind::Vsftpd).start(&folder.join("backend"));
    backend.put("there", CONTENT);
    let client = Certificate::make(folder, "clients");
    let front = Front::start(&backend, Wishes { certified: true, ..Wishes::default() }, folder);
    moves(&backend, &front, folder, |curl| {
        curl.arg("--cert").arg(&client.certificate).arg("--key").arg(&client.key);
    });
    // Without one it hears why.
    let bare = curl(&backend, &front, folder, "1.3", Data::Epsv);
    let mut command = bare.here();
    let refused = output(command.arg(bare.url(b"there")));
    let words = told(&command, &refused);
    assert!(!refused.status.success() && words.contains("certificate required"), "{words}");
    assert_eq!(front.count("tls_handshakes_total", &["result=\"certificate_rejected\""]), 1);
    front.end();
    backend.end();
}

#[test]
fn curl_comes_as_a_balancer() {
    if crate::left_out() {
        return;
    }
    let folder = scratch();
    let folder = folder.path();
    let backend = Setup::plain(Kind::Vsftpd).start(&folder.join("backend"));
    backend.put("there", CONTENT);
    let front = Front::start(&backend, Wishes { proxied: true, ..Wishes::default() }, folder);
    moves(&backend, &front, folder, |curl| {
        curl.arg("--haproxy-protocol");
    });
    assert_eq!(front.count("connections_refused_total", &[]), 0);
    assert_eq!(front.count("stray_connections_total", &[]), 0);
    front.end();
    backend.end();
}
