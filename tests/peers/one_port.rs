//! One passive port for several real clients of one address at once, each with files of its own.

use std::path::Path;
use std::thread;

use crate::backend::{Kind, Setup};
use crate::client::{Client, Data, Listing, Target, Way};
use crate::curl::Curl;
use crate::front::{Front, Wishes};
use crate::ftplib::Ftplib;
use crate::lftp::Lftp;
use crate::work::bytes;

/// How often each client uploads and downloads its files.
const TURNS: u64 = 4;
/// Files of one client.
const FILES: u64 = 3;

fn way(version: &'static str, data: Data) -> Way {
    Way { implicit: false, version, ipv6: false, data }
}

/// Uploads files that no other client has, downloads them, and holds both to what they must be.
fn works(number: u64, client: &mut dyn Client, root: &Path, scratch: &Path) {
    for turn in 0..TURNS {
        let contents: Vec<_> = (0..FILES).map(|file| bytes(150_000, (number << 16) + (turn << 8) + file)).collect();
        let names: Vec<_> = (0..FILES).map(|file| format!("client-{number}-{file}")).collect();
        let (there, back): (Vec<_>, Vec<_>) =
            names.iter().map(|name| (scratch.join(name), scratch.join(format!("{name}-back")))).unzip();
        for (local, content) in there.iter().zip(&contents) {
            std::fs::write(local, content).unwrap();
        }
        let up: Vec<_> = there.iter().zip(&names).map(|(local, name)| (&**local, name.as_bytes())).collect();
        client.up(&up);
        for (name, content) in names.iter().zip(&contents) {
            assert!(std::fs::read(root.join(name)).unwrap() == *content, "{name} is another client's");
        }
        let down: Vec<_> = names.iter().zip(&back).map(|(name, local)| (name.as_bytes(), &**local)).collect();
        client.down(&down);
        for (local, content) in back.iter().zip(&contents) {
            assert!(std::fs::read(local).unwrap() == *content, "{} is another client's", local.display());
        }
    }
}

/// OpenSSL (curl, Python) and GnuTLS (lftp), TLS 1.2 and 1.3.
#[test]
fn clients_that_resume_share_one_port() {
    if crate::left_out() {
        return;
    }
    let folder = crate::matrix::scratch();
    let backend = Setup::plain(Kind::Vsftpd).start(&folder.path().join("backend"));
    let front = Front::start(&backend, Wishes { ports: 1, ..Wishes::default() }, folder.path());
    let kinds =
        [("lftp", "1.3"), ("curl", "1.2"), ("ftplib", "1.3"), ("lftp", "1.2"), ("ftplib", "1.2"), ("lftp", "1.3")];
    thread::scope(|scope| {
        for (number, (kind, version)) in (0..).zip(kinds) {
            let scratch = folder.path().join(format!("client-{number}"));
            std::fs::create_dir(&scratch).unwrap();
            let data = if number % 2 == 0 { Data::Pasv } else { Data::Epsv };
            let target = Target::new(&front, way(version, data), &backend.user, &backend.password, &scratch);
            let root = &backend.root;
            scope.spawn(move || match kind {
                "lftp" => works(number, &mut Lftp(target), root, &scratch),
                "curl" => works(number, &mut Curl(target), root, &scratch),
                _ => works(number, &mut Ftplib::start(target, true), root, &scratch),
            });
        }
    });
    let resumptions = |cause| front.count("data_resumptions_total", &[cause]);
    assert_eq!(resumptions(""), resumptions("\"resumed\""));
    assert!(resumptions("") >= kinds.len() as u64 * TURNS * FILES * 2);
    assert_eq!(front.count("stray_connections_total", &[]), 0);
    front.end();
    backend.end();
}

/// Python's ftplib as it is, twice: nobody can tell whose their connections are, so they go one after the other, once they
/// are known for what they are.
#[test]
fn clients_that_do_not_resume_wait_for_their_turn() {
    if crate::left_out() {
        return;
    }
    let folder = crate::matrix::scratch();
    let backend = Setup::plain(Kind::Vsftpd).start(&folder.path().join("backend"));
    let front = Front::start(&backend, Wishes { ports: 1, ..Wishes::default() }, folder.path());
    let mut clients = Vec::new();
    for number in 0..2 {
        let scratch = folder.path().join(format!("client-{number}"));
        std::fs::create_dir(&scratch).unwrap();
        let target = Target::new(&front, way("1.3", Data::Pasv), &backend.user, &backend.password, &scratch);
        let mut client = Ftplib::start(target, false);
        // Alone, nobody has to wait.
        client.list(Listing::List);
        clients.push((number, client, scratch));
    }
    thread::scope(|scope| {
        for (number, mut client, scratch) in clients {
            let root = &backend.root;
            scope.spawn(move || works(number, &mut client, root, &scratch));
        }
    });
    assert_eq!(front.count("data_resumptions_total", &["\"resumed\""]), 0);
    assert_eq!(front.count("stray_connections_total", &[]), 0);
    front.end();
    backend.end();
}
