//! Rules for commands and paths in front of real servers, which have their own ways of reading both.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use crate::backend::{Backend, Kind, Setup};
use crate::client::{Data, Target, Way};
use crate::front::{Front, Wishes};
use crate::ftplib::Ftplib;

/// By listener: here only what is allowed passes, there all but what is denied.
const RULES: &str = r#"[
  { listener: explicit4, allow: [read, write, delete, rename], paths: ["/out/**"] },
  { listener: implicit4, deny: ["SITE CHMOD"] },
]"#;

/// A session that can say any command, on the explicit or the implicit listener.
fn client(implicit: bool, front: &Front, backend: &Backend, folder: &Path) -> Ftplib {
    let way = Way { implicit, version: "1.3", ipv6: false, data: Data::Epsv };
    Ftplib::start(Target::new(front, way, &backend.user, &backend.password, folder), false)
}

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
        backend.put("out/x.key", b"decoy");
        let front = Front::start(&backend, Wishes { commands: RULES, ..Wishes::default() }, folder.path());
        let start = |implicit| client(implicit, &front, &backend, folder.path());
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

        // The name is looked up when RNTO comes, from where the session is then (vsftpd, Pure-FTPd).
        all(&mut first, &["CWD /out", "RNFR x.key"], good);
        let moved = replies(&mut first, &["CWD /"]).remove(0);
        assert_eq!(good(&moved), kind != Kind::Proftpd, "{kind:?}: {moved}");
        all(&mut first, &["RNTO /out/stolen"], unknown);

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

/// ProFTPD answers all but RNTO, NOOP, STAT and QUIT with 501 from RNFR to RNTO; others would rename the file later, as
/// Pure-FTPd and pyftpdlib do in any case.
#[test]
fn no_server_waits_for_the_rest_of_a_refused_rename() {
    if crate::left_out() {
        return;
    }
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::Pureftpd, Kind::Pyftpdlib, Kind::Inetutils] {
        let folder = crate::matrix::scratch();
        let backend = Setup::plain(kind).start(&folder.path().join("backend"));
        backend.put("one", b"1");
        let front = Front::start(&backend, Wishes::default(), folder.path());
        let mut client = client(false, &front, &backend, folder.path());
        all(&mut client, &["RNFR one"], |reply| reply.starts_with("350"));
        let long = format!("RNTO {}", "x".repeat(600));
        all(&mut client, &[&long], |reply| reply.contains("line_too_long_for_server"));
        all(&mut client, &["PWD", "MKD here"], |reply| reply.starts_with("257"));
        // The log and the audit say what, where it is not forgotten.
        let told = replies(&mut client, &["RNTO two"]).remove(0);
        let unforgetting = matches!(kind, Kind::Pureftpd | Kind::Pyftpdlib);
        assert_eq!(told.starts_with("250"), unforgetting, "{kind:?}: {told}");
        drop(client);
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
    let mut client = client(false, &front, &backend, folder.path());
    all(&mut client, &["ZSTAT", "xstat", "XABOR", "ZQUIT"], |reply| reply.contains("not_implemented"));
    // What it does not know is its own to say.
    all(&mut client, &["STATZ"], |reply| reply.starts_with("500"));
    drop(client);
    front.end();
    backend.end();
}

/// inetutils takes what is beyond its buffer for the next command (CVE-2008-4247).
#[test]
fn no_end_of_a_line_is_a_command_of_its_own() {
    if crate::left_out() {
        return;
    }
    let folder = crate::matrix::scratch();
    let backend = Setup::plain(Kind::Inetutils).start(&folder.path().join("backend"));
    backend.put("victim", b"precious");
    let wishes = Wishes { commands: "[{ allow: [read] }]", ..Wishes::default() };
    let front = Front::start(&backend, wishes, folder.path());
    let mut client = client(false, &front, &backend, folder.path());
    let hidden: Vec<String> = (500..520).map(|buffer| format!("{:A<buffer$}DELE victim", "SIZE ")).collect();
    let hidden: Vec<&str> = hidden.iter().map(String::as_str).collect();
    all(&mut client, &hidden, |reply| reply.contains("line_too_long_for_server"));
    // What is let through has one reply.
    let longest = format!("{:A<500}", "SIZE ");
    all(&mut client, &[&longest], |reply| reply.starts_with("550"));
    all(&mut client, &["PWD"], |reply| reply.starts_with("257"));
    assert_eq!(fs::read(backend.root.join("victim")).unwrap(), b"precious");
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
    let mut client = client(false, &front, &backend, folder.path());
    let good = |reply: &str| reply.starts_with('2');
    all(&mut client, &["CWD out", "STAT ok", "STAT -a ok", "STAT ok ok", "STAT o?"], good);
    let out =
        ["STAT ok ../x.key", "STAT ok /", "STAT ok ..", "STAT ok -R ..", "STAT ~", "STAT ok ~", "STAT ~ ?", "STAT ~?"];
    all(&mut client, &out, |reply| reply.contains("path_"));
    drop(client);
    front.end();
    backend.end();
}

/// A server with folders and files, and the gateway in front of it with a rule for one listener.
struct House {
    backend: Backend,
    front: Front,
    folder: tempfile::TempDir,
    /// What paths begin with on the server.
    root: String,
}

impl House {
    /// `@` in the rule is where the user's home is.
    fn build(kind: Kind, rule: &str) -> Self {
        let folder = crate::matrix::scratch();
        let backend = Setup::plain(kind).start(&folder.path().join("backend"));
        for name in ["in", "in/sub", "out", "out/_hid"] {
            fs::create_dir(backend.root.join(name)).unwrap();
            chown(backend.root.join(name), Some(backend.owner.0), Some(backend.owner.1)).unwrap();
        }
        for name in ["x.key", "out/ok", "out/_hid/h.key"] {
            backend.put(name, b"secret");
        }
        let root = if kind == Kind::Inetutils { backend.root.display().to_string() } else { String::new() };
        let rules = format!("[{{ listener: explicit4, {} }}]", rule.replace('@', &root));
        let front = Front::start(&backend, Wishes { commands: rules.leak(), ..Wishes::default() }, folder.path());
        Self { backend, front, folder, root }
    }

    /// A session that the rule is for, and one that no rule is for.
    fn sessions(&self, folder: &str) -> (Ftplib, Ftplib) {
        let start = |implicit| {
            let way = Way { implicit, version: "1.3", ipv6: false, data: Data::Epsv };
            let Backend { user, password, .. } = &self.backend;
            let mut client = Ftplib::start(Target::new(&self.front, way, user, password, self.folder.path()), false);
            all(&mut client, &["TYPE I", &format!("CWD {}/{folder}", self.root)], |reply| reply.starts_with('2'));
            client
        };
        (start(false), start(true))
    }

    /// The files in a folder.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.backend.root.join(folder)).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    fn end(self) {
        self.front.end();
        self.backend.end();
    }
}

/// ProFTPD and Pure-FTPd begin the name behind options at the first byte that is no letter and no digit. Pure-FTPd has
/// options for NLST and MLSD, and takes away the first letter of the name behind them, or finds a name in what is left of
/// an earlier command.
#[test]
fn no_option_of_a_listing_hides_a_name() {
    if crate::left_out() {
        return;
    }
    for (kind, habits) in [
        (Kind::Proftpd, &["LIST -a..", "LIST -a -..", "LIST -a/", "NLST -a.."][..]),
        (
            Kind::Pureftpd,
            &["LIST -a..", "LIST -a -..", "LIST -a/", "NLST -a x..", "NLST -a x/", "MLSD -a x..", "MLSD -a x/"],
        ),
    ] {
        let house = House::build(kind, "allow: [read], paths: [\"/out/**\"]");
        let (mut ruled, mut free) = house.sessions("out");
        for habit in habits {
            let shown = free.order(json!({ "do": "list", "verb": habit }));
            assert!(shown.as_str().unwrap().contains("x.key"), "{kind:?} has left its habit: {habit}: {shown}");
        }
        let shown = free.order(json!({ "do": "list", "verb": "LIST -a_hid" }));
        assert!(shown.as_str().unwrap().contains("h.key"), "{kind:?}: {shown}");
        if kind == Kind::Pureftpd {
            // It reads on behind the end of the option, in what is left there of the command before.
            all(&mut free, &["NOOP aaa x/out/_hid"], |reply| reply.starts_with("200"));
            let shown = free.order(json!({ "do": "list", "verb": "NLST -a" }));
            assert!(shown.as_str().unwrap().contains("h.key"), "{kind:?} has left its habit: {shown}");
        }
        all(&mut ruled, habits, |reply| reply.contains("path_unknown"));
        let others = [
            "LIST -a_hid",
            "NLST -a_hid",
            "STAT -a..",
            "STAT -a -..",
            "STAT -a_hid",
            "LIST -a*",
            "MLSD -a",
            "NLST -a",
            "LIST -a  ..",
        ];
        all(&mut ruled, &others, |reply| reply.contains("path_unknown"));
        for fine in ["LIST", "LIST -la", "LIST -a _hid", "NLST"] {
            let shown = ruled.order(json!({ "do": "list", "verb": fine }));
            assert!(
                !shown.as_str().unwrap().is_empty() && !shown.as_str().unwrap().contains("x.key"),
                "{fine}: {shown}"
            );
        }
        drop((ruled, free));
        house.end();
    }
}

/// STOU with an argument: ProFTPD and Pure-FTPd store in the working directory, vsftpd and inetutils behind a slash.
#[test]
fn what_a_server_names_is_stored_where_the_rule_has_it() {
    if crate::left_out() {
        return;
    }
    for kind in [Kind::Proftpd, Kind::Pureftpd, Kind::Vsftpd, Kind::Inetutils, Kind::Pyftpdlib] {
        let house = House::build(kind, "allow: [write], paths: [\"@/in/*\"]");
        let (mut ruled, mut free) = house.sessions("out");
        let root = house.root.clone();
        let stores = |client: &mut Ftplib, name: &str| {
            let reply =
                client.order(json!({ "do": "stored", "command": format!("STOU {}", name.replace('@', &root)) }));
            reply.as_str().unwrap().to_owned()
        };
        let reply = stores(&mut free, "@/in/x");
        assert!(reply.starts_with("226"), "{kind:?}: {reply}");
        let stored_here = matches!(kind, Kind::Proftpd | Kind::Pureftpd);
        let counts = |house: &House| ["in", "in/sub", "out"].map(|folder| house.files(folder).len());
        assert_eq!(counts(&house), if stored_here { [0, 0, 2] } else { [1, 0, 1] }, "{kind:?} has left its habit");
        if matches!(kind, Kind::Vsftpd | Kind::Inetutils) {
            let reply = stores(&mut free, "@/in/sub/");
            assert!(reply.starts_with("226"), "{kind:?}: {reply}");
            assert_eq!(counts(&house), [1, 1, 1], "{kind:?} has left its habit");
        }
        let before = counts(&house);
        for name in ["@/in/x", "@/in/sub/", "x", "@/in/sub/x", "@/out/x"] {
            let reply = stores(&mut ruled, name);
            assert!(reply.contains("name_denied"), "{kind:?}: {name}: {reply}");
        }
        all(&mut ruled, &[&format!("CWD {}/in", house.root)], |reply| reply.starts_with('2'));
        for name in ["@/in/sub/", "sub/", "sub/x", "@/out/x"] {
            let reply = stores(&mut ruled, name);
            assert!(reply.contains("name_denied"), "{kind:?}: {name}: {reply}");
        }
        assert_eq!(counts(&house), before);
        for name in ["x", "@/in/y"] {
            let reply = stores(&mut ruled, name);
            assert!(reply.starts_with("226"), "{kind:?}: {name}: {reply}");
        }
        assert_eq!(counts(&house), [before[0] + 2, before[1], before[2]], "{kind:?}");
        drop((ruled, free));
        house.end();
    }
}

/// vsftpd sets the time where a digit stands in front and the first blank is the ninth byte or the fifteenth.
#[test]
fn who_may_read_alone_sets_no_times() {
    if crate::left_out() {
        return;
    }
    let house = House::build(Kind::Vsftpd, "allow: [read], paths: [\"/out/**\"]");
    let (mut ruled, mut free) = house.sessions("out");
    let times =
        || ["x.key", "out/ok"].map(|name| fs::metadata(house.backend.root.join(name)).unwrap().modified().unwrap());
    let told =
        ["MDTM 20200101 ok", "MDTM 2xxxxxxxxxxxxx ok", "MDTM 20210101000000.123 /x.key", "MDTM 20010203 ../x.key"];
    for habit in told {
        let before = times();
        all(&mut free, &[habit], |reply| reply == "213 File modification time set.");
        assert_ne!(times(), before, "vsftpd has left its habit: {habit}");
    }
    let before = times();
    all(&mut ruled, &told, |reply| reply.contains("command_denied"));
    all(&mut ruled, &["MDTM /x.key"], |reply| reply.contains("path_denied"));
    all(&mut ruled, &["MDTM ok", "SIZE ok"], |reply| reply.starts_with("213 "));
    assert_eq!(times(), before);
    drop((ruled, free));
    house.end();
}

/// ProFTPD and inetutils take commands of Telnet out of a password, try the rest, and answer them in front of their no.
#[test]
fn no_password_is_tried_without_a_no_that_counts() {
    if crate::left_out() {
        return;
    }
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::Pureftpd, Kind::Pyftpdlib, Kind::Inetutils] {
        let folder = crate::matrix::scratch();
        let backend = Setup::plain(kind).start(&folder.path().join("backend"));
        let front = Front::start(&backend, Wishes::default(), folder.path());
        let mut client = client(false, &front, &backend, folder.path());
        let (user, right) = (format!("USER {}", backend.user), format!("PASS {}", backend.password));
        for telnet in ['\u{f4}', '\u{fb}', '\u{fd}'] {
            let telnet = format!("{right}\u{ff}{telnet}\u{1}");
            let told = replies(&mut client, &[&user, &telnet]);
            assert!(told[0].starts_with("331") && told[1].contains("telnet_in_password"), "{kind:?}: {told:?}");
        }
        // By itself it is a letter, and their no is one.
        for letter in ["x\u{ff}y\u{1}", "\u{ff}\u{ff}\u{ef}z\u{ff}"] {
            let told = replies(&mut client, &[&user, &format!("PASS {letter}")]);
            assert!(told[0].starts_with("331") && told[1].starts_with("530"), "{kind:?}: {told:?}");
        }
        assert_eq!(front.count("logins_total", &["rejected"]), 2, "{kind:?}");
        all(&mut client, &[&user, &right], |reply| reply.starts_with(['2', '3']));
        drop(client);
        front.end();
        backend.end();
    }
}
