//! The audit file of real clients in front of real servers.

use std::fs;

use serde_json::Value;

use crate::backend::{Kind, Setup};
use crate::client::{Change, Client, Data, Listing, Target, Way};
use crate::curl::Curl;
use crate::front::{Front, Wishes};
use crate::lftp::Lftp;
use crate::work::bytes;

const SIZE: usize = 300_000;

/// What curl and lftp do stands there, with paths from the root, in front of servers that say them in their own ways.
#[test]
fn what_real_clients_do_is_recorded_with_whole_paths() {
    if crate::left_out() {
        return;
    }
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::Pureftpd] {
        let folder = crate::matrix::scratch();
        let backend = Setup::plain(kind).start(&folder.path().join("backend"));
        let front = Front::start(&backend, Wishes { audited: true, ..Wishes::default() }, folder.path());
        let way = Way { implicit: false, version: "1.3", ipv6: false, data: Data::Epsv };
        let target = || Target::new(&front, way, &backend.user, &backend.password, folder.path());
        let (there, back) = (folder.path().join("there"), folder.path().join("back"));
        fs::write(&there, bytes(SIZE, 7)).unwrap();
        for (name, client) in
            [("curl", &mut Curl(target()) as &mut dyn Client), ("lftp", &mut Lftp(target()) as &mut dyn Client)]
        {
            let (file, other, made) = (format!("{name}-a b"), format!("{name}-c"), format!("{name}-d"));
            client.up(&[(&there, file.as_bytes())]);
            client.down(&[(file.as_bytes(), &back)]);
            client.list(Listing::List);
            fs::rename(backend.root.join(&file), backend.root.join(&other)).unwrap();
            client.change(&[Change::Rename(&other, &made), Change::Delete(&made)]);
            client.change(&[Change::Make(&made), Change::Remove(&made)]);
            assert!(client.wrong_password());
            let _ = fs::remove_file(&back);
        }
        front.end();
        backend_tells(&folder.path().join("audit.jsonl"), &backend.user, &backend.password);
        backend.end();
    }
}

fn backend_tells(path: &std::path::Path, user: &str, password: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(!text.contains(password), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
    for name in ["curl", "lftp"] {
        let ends_in = |line: &Value, field: &str, end: &str| {
            line[field].as_str().is_some_and(|path| path.starts_with('/') && path.ends_with(&format!("/{name}-{end}")))
        };
        for (verb, direction) in [("STOR", "upload"), ("RETR", "download")] {
            let moved = of("transfer").find(|line| line["verb"] == verb && ends_in(line, "resolved_path", "a b"));
            let moved = moved.unwrap_or_else(|| panic!("no {verb} of {name} in\n{text}"));
            assert_eq!((&moved["bytes"], &moved["user"]), (&SIZE.into(), &user.into()), "{moved}");
            assert_eq!((&moved["direction"], &moved["result"]), (&direction.into(), &"completed".into()), "{moved}");
            assert_eq!((&moved["front"], &moved["tls_version"]), (&"private".into(), &"1.3".into()), "{moved}");
        }
        let renamed =
            of("rename").find(|line| ends_in(line, "from_resolved_path", "c") && ends_in(line, "resolved_path", "d"));
        assert_eq!(renamed.unwrap_or_else(|| panic!("{name}: {text}"))["result"], "completed");
        for event in ["delete", "make_directory", "remove_directory"] {
            let done = of(event).find(|line| ends_in(line, "resolved_path", "d"));
            assert_eq!(done.unwrap_or_else(|| panic!("no {event} of {name} in\n{text}"))["result"], "completed");
        }
    }
    assert!(of("login_failed").count() >= 2 && of("login_failed").all(|line| line["reason"] == "rejected"), "{text}");
    assert!(of("transfer").any(|line| line["verb"] == "LIST"), "{text}");
    assert_eq!(of("session_started").count(), of("session_ended").count());
}
