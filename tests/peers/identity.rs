//! Who a client is: curl with a certificate, and curl as a balancer that brings it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

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

/// A backend with something to fetch, and the gateway in front of it.
struct Place {
    folder: TempDir,
    backend: Backend,
    front: Front,
    /// Of the authority that the gateway takes certificates of, where it asks for any.
    client: Certificate,
}

impl Place {
    fn open(wishes: Wishes) -> Self {
        let folder = scratch();
        let backend = Setup::plain(Kind::Vsftpd).start(&folder.path().join("backend"));
        backend.put("there", CONTENT);
        let client = Certificate::make(folder.path(), "clients");
        let front = Front::start(&backend, wishes, folder.path());
        Self { folder, backend, front, client }
    }

    fn moves(&self, more: impl Fn(&mut Command)) {
        moves(&self.backend, &self.front, self.folder.path(), more);
    }

    fn close(self) {
        self.front.end();
        self.backend.end();
    }
}

#[test]
fn curl_shows_a_certificate() {
    if crate::left_out() {
        return;
    }
    let place = Place::open(Wishes { certified: true, ..Wishes::default() });
    place.moves(|curl| {
        curl.arg("--cert").arg(&place.client.certificate).arg("--key").arg(&place.client.key);
    });
    // Without one it hears why.
    let bare = curl(&place.backend, &place.front, place.folder.path(), "1.3", Data::Epsv);
    let mut command = bare.here();
    let refused = output(command.arg(bare.url(b"there")));
    let words = told(&command, &refused);
    assert!(!refused.status.success() && words.contains("certificate required"), "{words}");
    assert_eq!(place.front.count("tls_handshakes_total", &["result=\"certificate_rejected\""]), 1);
    place.close();
}

#[test]
fn curl_comes_as_a_balancer() {
    if crate::left_out() {
        return;
    }
    let place = Place::open(Wishes { proxied: true, ..Wishes::default() });
    place.moves(|curl| {
        curl.arg("--haproxy-protocol");
    });
    assert_eq!(place.front.count("connections_refused_total", &[]), 0);
    assert_eq!(place.front.count("stray_connections_total", &[]), 0);
    place.close();
}
