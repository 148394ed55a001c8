//! Python's ftplib: one process and one session for everything it does.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::client::{Change, Client, Data, Listing, Target, bounded};

pub(crate) struct Ftplib {
    target: Target,
    resume: bool,
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Ftplib {
    /// Starts it and logs in. `resume`: its data connections resume the control connection's TLS session, which ftplib
    /// does not do of itself.
    pub(crate) fn start(target: Target, resume: bool) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/clients/ftplib_client.py");
        let mut command = bounded("python3");
        let mut process = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut client = Self { target, resume, process, orders, answers };
        client.log_in();
        client
    }

    fn log_in(&mut self) {
        assert_eq!(self.connect(&self.target.clone()), "logged in");
    }

    fn connect(&mut self, target: &Target) -> Value {
        let data = match target.way.data {
            Data::Pasv => "pasv",
            Data::Epsv => "epsv",
            Data::Port => "port",
            Data::Eprt => "eprt",
        };
        self.order(json!({
            "do": "connect", "host": target.address.ip().to_string(), "port": target.address.port(),
            "implicit": target.way.implicit, "version": target.way.version, "authority": target.authority,
            "user": target.user, "password": target.password, "data": data, "resume": self.resume,
        }))
    }

    /// Gives an order and waits for the answer.
    pub(crate) fn order(&mut self, order: Value) -> Value {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("ftplib ended at {order}"));
        assert!(answer.get("error").is_none(), "{order}:\n{}", answer["error"].as_str().unwrap());
        answer["result"].clone()
    }
}

impl Drop for Ftplib {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// As JSON has them.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

impl Client for Ftplib {
    fn up(&mut self, files: &[(&Path, &[u8])]) {
        for (local, name) in files {
            self.order(json!({ "do": "up", "local": local, "name": latin1(name) }));
        }
    }

    fn down(&mut self, files: &[(&[u8], &Path)]) {
        for (name, local) in files {
            self.order(json!({ "do": "down", "local": local, "name": latin1(name) }));
        }
    }

    fn list(&mut self, listing: Listing) -> Vec<u8> {
        let verb = match listing {
            Listing::List => "LIST",
            Listing::Nlst => "NLST",
            Listing::Mlsd => "MLSD",
        };
        let text = self.order(json!({ "do": "list", "verb": verb }));
        text.as_str().unwrap().chars().map(|char| u8::try_from(char).unwrap()).collect()
    }

    fn resume_down(&mut self, name: &str, local: &Path) {
        self.order(json!({ "do": "resume_down", "local": local, "name": name }));
    }

    fn resume_up(&mut self, local: &Path, name: &str) {
        // RFC 3659 §5.2 has REST for uploads, too; the older APPE is curl's way.
        self.order(json!({ "do": "resume_up", "local": local, "name": name, "append": false }));
    }

    fn change(&mut self, changes: &[Change<'_>]) {
        let mut commands = Vec::new();
        for change in changes {
            match change {
                Change::Make(name) => commands.push(format!("MKD {name}")),
                Change::Remove(name) => commands.push(format!("RMD {name}")),
                Change::Rename(from, to) => commands.extend([format!("RNFR {from}"), format!("RNTO {to}")]),
                Change::Delete(name) => commands.push(format!("DELE {name}")),
            }
        }
        self.order(json!({ "do": "change", "commands": commands }));
    }

    fn wrong_password(&mut self) -> bool {
        self.order(json!({ "do": "quit" }));
        let answer = self.connect(&self.target.wrong());
        assert!(answer.as_str().unwrap().starts_with("530"), "{answer}");
        self.log_in();
        true
    }

    fn abort(&mut self, name: &str, then: &str, local: &Path) -> bool {
        let replies = self.order(json!({ "do": "abort_download", "name": name }));
        assert_eq!(replies, json!(["426", "226"]));
        self.down(&[(then.as_bytes(), local)]);
        true
    }
}
