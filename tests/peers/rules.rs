//! Rules for commands and paths in front of real servers, which have their own ways of reading both.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;

use crate::backend::{Kind, Setup};
use crate::client::{Data, Target, Way};
use crate::front::{Front, Wishes};
use crate::ftplib::Ftplib;

/// By listener: here only what is allowed passes, there all but what is denied.
const RULES: &str = r#"[
  { listener: explicit4, allow: [read, write, delete, rename], paths: ["/out/**"] },
  { listener: implicit4, deny: ["SITE CHMOD"] },
]"#;

fn replies(client: &mut Ftplib, commands: &[&str]) -> Vec<String> {
    let answer = client.order(json!({ "do": "replies", "commands": commands }));
    answer.as_array().unwrap().iter().map(|reply| reply.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn all(client: &mut Ftplib, commands: &[&str], wanted: impl Fn(&str) -> bool) {
    for (command, reply) in commands.iter().zip(replies(client, commands)) {
        assert!(wanted(&reply), "{command:?}: {reply}");
    }
}

/// The folder that a session is in is renamed, by itself and by a second session; and words, bytes and quotes that these
/// servers read in ways of their own.
#[test]
fn no_server_is_led_out_of_what_a_rule_holds() {
    if crate::left_out() {
        return;
    }
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::Pureftpd] {
        let folder = crate::matrix::scratch();
        let backend = Setup::plain(kind).start(&folder.path().join("backend"));
        fs::create_dir(backend.root.join("out")).unwrap();
        chown(backend.root.join("out"), Some(backend.owner.0), Some(backend.owner.1)).unwrap();
        backend.put("x.key", b"secret");
        backend.put("out/ok", b"fine");
        let front = Front::start(&backend, Wishes { commands: RULES, ..Wishes::default() }, folder.path());
        let start = |implicit| {
            let way = Way { implicit, version: "1.3", ipv6: false, data: Data::Epsv };
            Ftplib::start(Target::new(&front, way, &backend.user, &backend.password, folder.path()), false)
        };
        let (mut first, mut second, mut other) = (start(false), start(false), start(true));
        let good = |reply: &str| reply.starts_with(['2', '3']);
        let unknown = |reply: &str| reply.contains("path_unknown");
        let up = ["SIZE ../../x.key", "SIZE ../x.key", "DELE ../x.key", "RNFR ../../x.key", "MKD ../../y", "STAT .."];

        all(&mut first, &["TYPE I", "MKD /out/a", "MKD /out/a/b", "CWD /out/a/b"], good);
        all(&mut first, &["RNFR /out/a/b", "RNTO /out/b"], good);
        all(&mut first, &up, unknown);
        all(&mut first, &["CWD /out", "MKD a/c", "CWD a/c", "MKD here"], good);
        all(&mut second, &["RNFR /out/a/c", "RNTO /out/c"], good);
        all(&mut first, &up, unknown);
        // The folder has taken the session along, where the server's working directory is the system's.
        let below = replies(&mut first, &["MKD there"]).remove(0);
        assert_eq!(backend.root.join("out/c/there").is_dir(), kind != Kind::Proftpd, "{kind:?}: {below}");

        all(&mut first, &["CWD /out", "SIZE ok"], good);
        all(&mut first, &["SIZE o\u{1}k", "SIZE  ok", "SIZE ok ", "SIZE \"ok\"", "SIZE /out/o\u{7f}"], unknown);
        let disguised = ["SITE \"CHMOD\" 640 ok", "SITE CHMOD\u{b}640 ok", "SITE  CHMOD 640 ok", "SITE chmod 640 ok"];
        let mode = || fs::metadata(backend.root.join("out/ok")).unwrap().permissions().mode();
        let before = mode();
        all(&mut other, &["CWD /out"], good);
        all(&mut other, &disguised, |reply| reply.contains("verb_denied"));
        assert_eq!(mode(), before);

        all(&mut first, &["MKD q\"r", "CWD q\"r"], good);
        let told = replies(&mut first, &["SIZE none"]).remove(0);
        assert!(unknown(&told), "{kind:?}: {told}");
        all(&mut first, &["CWD /", "CWD ..", "CDUP"], |reply| !unknown(reply));
        all(&mut first, &["SIZE x.key"], |reply| reply.contains("path_denied"));
        assert_eq!(fs::read(backend.root.join("x.key")).unwrap(), b"secret");
        drop((first, second, other));
        front.end();
        backend.end();
    }
}

/// pyftpdlib takes the last four letters of a verb that it does not know for ABOR, STAT or QUIT. Its own STAT names both
/// ends of its control connection.
#[test]
fn no_verb_ends_in_stat() {
    if crate::left_out() {
        return;
    }
    let folder = crate::matrix::scratch();
    let backend = Setup::plain(Kind::Pyftpdlib).start(&folder.path().join("backend"));
    let front = Front::start(&backend, Wishes::default(), folder.path());
    let way = Way { implicit: false, version: "1.3", ipv6: false, data: Data::Epsv };
    let mut client = Ftplib::start(Target::new(&front, way, &backend.user, &backend.password, folder.path()), false);
    all(&mut client, &["ZSTAT", "xstat", "XABOR", "ZQUIT"], |reply| reply.contains("not_implemented"));
    // What it does not know is its own to say.
    all(&mut client, &["STATZ"], |reply| reply.starts_with("500"));
    drop(client);
    front.end();
    backend.end();
}

/// inetutils hands a listing's argument to a program, word by word.
#[test]
fn no_word_of_a_listing_leads_out() {
    if crate::left_out() {
        return;
    }
    let folder = crate::matrix::scratch();
    let backend = Setup::plain(Kind::Inetutils).start(&folder.path().join("backend"));
    fs::create_dir(backend.root.join("out")).unwrap();
    chown(backend.root.join("out"), Some(backend.owner.0), Some(backend.owner.1)).unwrap();
    backend.put("x.key", b"secret");
    backend.put("out/ok", b"fine");
    let rules = format!("[{{ allow: [read, write, delete, rename], paths: [\"{}/out/**\"] }}]", backend.root.display());
    let front = Front::start(&backend, Wishes { commands: rules.leak(), ..Wishes::default() }, folder.path());
    let way = Way { implicit: false, version: "1.3", ipv6: false, data: Data::Epsv };
    let mut client = Ftplib::start(Target::new(&front, way, &backend.user, &backend.password, folder.path()), false);
    let good = |reply: &str| reply.starts_with('2');
    all(&mut client, &["CWD out", "STAT ok", "STAT -a ok", "STAT ok ok", "STAT o?"], good);
    let out =
        ["STAT ok ../x.key", "STAT ok /", "STAT ok ..", "STAT ok -R ..", "STAT ~", "STAT ok ~", "STAT ~ ?", "STAT ~?"];
    all(&mut client, &out, |reply| reply.contains("path_"));
    drop(client);
    front.end();
    backend.end();
}
