//! The admin pages, asked from another machine.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::gateway::Gateway;
use crate::space::Space;

/// The line of the answer that says how it went.
fn asks(from: &Space, to: &'static str, request: &'static str) -> String {
    from.inside(move || {
        let mut connection = TcpStream::connect(to).unwrap();
        write!(connection, "{request} HTTP/1.1\r\nHost: gateway\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    })
}

/// The pages are where everybody reaches them, against all advice.
#[test]
fn bans_are_ended_from_the_same_machine_alone() {
    if crate::left_out() {
        return;
    }
    let (machine, other) = (Space::new(), Space::new());
    machine.cable(("inside", &["10.9.0.2/24"]), &other, ("outside", &["10.9.0.1/24"]));
    let folder = crate::scratch();
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    let ban = format!(r#"{{"kind":"address","address":"192.0.2.1","until":{}}}"#, until.as_secs());
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/bans.jsonl"), ban).unwrap();
    let admin = r#"admin: { address: "[::]:9921" }"#;
    let gateway = Gateway::start(&machine, folder.path(), r#"servers: ["127.0.0.1:2"]"#, admin);

    assert!(asks(&other, "10.9.0.2:9921", "GET /bans").contains(r#""number":1,"#));
    // From another machine, and from this one by way of an address that others have routes to.
    for from in [&other, &machine] {
        let answer = asks(from, "10.9.0.2:9921", "POST /bans/lift/1");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    assert_eq!(gateway.count("bans_active", &[]), 1);
    assert!(asks(&machine, "127.0.0.1:9921", "POST /bans/lift/1").starts_with("HTTP/1.1 200 "));
    assert_eq!(gateway.count("bans_active", &[]), 0);
}
