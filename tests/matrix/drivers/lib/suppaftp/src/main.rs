//! Rust's suppaftp with rustls as a driver, see README.md in the folder of drivers.

mod client;

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Mutex;

use client::Client;

const CAN: &str = "explicit implicit none tls1.2 tls1.3 pasv epsv port+tls eprt6+tls ipv6 P verify resume \
    open close list get put append get_rest put_rest rename delete mkdir rmdir many put_folder get_folder abort leave \
    leave_put";

/// The client's own words.
pub type Failure = Box<dyn Error>;

/// What the client says it does.
struct Log(Mutex<File>);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Ok(mut file) = self.0.lock() {
            // A log that cannot be written is no reason to fail.
            let _ = writeln!(file, "{} {}", record.target(), record.args());
        }
    }

    fn flush(&self) {}
}

fn main() -> Result<(), Failure> {
    match std::env::args().nth(1).as_deref() {
        Some("can") => println!("{CAN}"),
        Some("version") => println!("suppaftp {}", "12.2.1"),
        Some("run") => run()?,
        _ => return Err("usage: suppaftp can|run".into()),
    }
    Ok(())
}

fn run() -> Result<(), Failure> {
    let path = std::env::var("SCRATCH")? + "/log";
    let log = OpenOptions::new().create(true).append(true).open(path)?;
    log::set_boxed_logger(Box::new(Log(Mutex::new(log))))?;
    log::set_max_level(log::LevelFilter::Debug);
    let mut client = Client::default();
    for line in stdin().lock().split(b'\n') {
        let line = line?;
        let words: Vec<String> = line.split(|&byte| byte == b'\t').map(read).collect();
        let answer = match client.work(&words[0], &words[1..]) {
            Ok(names) => [vec!["ok".to_owned()], names].concat(),
            Err(error) => {
                client.look_after(error.as_ref());
                vec!["failed".to_owned(), error.to_string().trim_end().to_owned()]
            }
        };
        let answer: Vec<String> = answer.iter().map(|word| written(word)).collect();
        log::info!("{} -> {}", String::from_utf8_lossy(&line), answer.join(" "));
        writeln!(stdout(), "{}", answer.join("\t"))?;
    }
    Ok(())
}

/// Words are strings with a letter for each byte, as the client is told to take the names of files.
fn read(word: &[u8]) -> String {
    let mut bytes = word.iter();
    let mut text = String::new();
    while let Some(&byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|&digit| char::from(digit).to_digit(16)).unwrap_or_default();
        let code = if byte == b'%' { digit() * 16 + digit() } else { u32::from(byte) };
        text.extend(char::from_u32(code));
    }
    text
}

fn written(word: &str) -> String {
    let mut text = String::new();
    for letter in word.chars() {
        match letter {
            '%' | '\t' | '\n' | '\r' | '\x7f'..='\u{ff}' => text += &format!("%{:02X}", u32::from(letter)),
            '\u{100}'.. => text.push('?'),
            letter => text.push(letter),
        }
    }
    text
}
