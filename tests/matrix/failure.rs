//! What went wrong with one thing that a client was told to do, so that two failures can be compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The client says that it failed.
    Said,
    /// No answer came in time.
    Silent,
    /// The driver ended, or spoke nonsense.
    Gone,
    /// The client says `ok`, and it is not so.
    Wrong,
}

/// Where, how, and the client's own words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The command that failed.
    pub(crate) at: String,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(order: &[&[u8]], kind: Kind, text: String) -> Self {
        let at = order.first().map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
        Self { at, kind, text: steady(&text) }
    }

    pub(crate) fn wrong(at: &str, text: String) -> Self {
        Self::new(&[at.as_bytes()], Kind::Wrong, text)
    }

    /// Whether nothing more can be asked of the driver.
    pub(crate) fn ends_the_driver(&self) -> bool {
        matches!(self.kind, Kind::Silent | Kind::Gone)
    }

    /// Whether both failed at the same command, in the same manner and, where both tell one, with the same reply.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.at == other.at && self.is_as(other)
    }

    /// The same, at whichever command; but who cannot log in has shown nothing about transfers. Where a reply is told, its
    /// code says what it is about: the words are each server's own.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let place = |failure: &Self| (failure.at == "open", failure.kind);
        if place(self) != place(other) {
            return false;
        }
        match (code(&self.text), code(&other.text)) {
            _ if self.is_unresumed() && other.is_unresumed() => true,
            (None, None) => matter(&self.text) == matter(&other.text),
            (own, others) => own == others,
        }
    }

    /// Whether a data connection was refused because it did not resume the control connection's session: in the words of
    /// the gateway, vsftpd and ProFTPD.
    pub(crate) fn is_unresumed(&self) -> bool {
        let words =
            ["[client_not_resumed]", "session reuse required", "425 Unable to build data connection: Operation not"];
        words.iter().any(|words| self.text.contains(words))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.at, self.text)
    }
}

/// The last 4yz or 5yz among the words.
fn code(text: &str) -> Option<&str> {
    let mut words = text.rsplit(|letter: char| !letter.is_ascii_alphanumeric());
    let is_code = |word: &&str| word.len() == 3 && word.starts_with(['4', '5']);
    words.find(|word| is_code(word) && word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the words are about.
fn matter(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    let about = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if about(&["timed out", "timeout", "time-out", "no answer"]) {
        "time"
    } else if about(&["reset", "broken pipe", "closed", "eof", "refused"]) {
        "connection"
    } else if about(&["ssl", "tls", "certificate", "handshake"]) {
        "security"
    } else {
        "other"
    }
}

/// Text without what differs from one run to the next: long numbers, the two last of six in a
/// row, times, folders in `/tmp`.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    for word in text.split_inclusive(|letter: char| letter.is_whitespace()) {
        match word.find("/tmp/") {
            Some(at) => {
                let end = word[at..].find('/').map_or(word.len(), |_| word.rfind('/').unwrap_or(word.len()));
                steady.push_str(&word[..at]);
                steady.push_str("FOLDER");
                steady.push_str(&numbers(&word[end..]));
            }
            None => steady.push_str(&numbers(word)),
        }
    }
    steady
}

fn numbers(word: &str) -> String {
    let parts: Vec<_> = word.trim_end().split(['/', ':']).collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(number) {
        // A day, or a time of day.
        return format!("N{}", &word[word.trim_end().len()..]);
    }
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        text.push_str(&rest[..at]);
        let digits = &rest[at..];
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        let number = &digits[..end];
        let of_an_address = text.ends_with(',') && text.matches(',').count() >= 4;
        text.push_str(if end > 4 || of_an_address { "N" } else { number });
        rest = &digits[end..];
    }
    text.push_str(rest);
    text
}

/// The same failure reads the same in every run, and others differ.
pub(crate) fn selftest() {
    let said = |text: &str| Failure::new(&[b"get"], Kind::Said, text.into());
    assert_eq!(said("227 =127,0,0,1,200,3 port 33001").text, "227 =127,0,0,1,N,N port N");
    assert_eq!(said("no /tmp/peersXy/a/b/log: gone").text, "no FOLDER/log: gone");
    assert_eq!(said("2026/11/22 22:29:19 [::1]: gone").text, "N N [::1]: gone");
    assert!(said("550 No such file").is_like(&said("curl: (78) 550 gone")));
    assert!(!said("550 No such file").is_like(&said("425 No data connection")));
    assert!(!said("handshake failed").is_like(&said("no such name")));
    assert!(said("426 The client's data connection broke").is_like(&said("426 Data connection closed")));
    let unresumed =
        ["522 no session [client_not_resumed].", "425 Unable to build data connection: Operation not permitted"];
    assert!(said(unresumed[0]).is_like(&said(unresumed[1])));
    assert!(!said(unresumed[0]).is_like(&said("425 Unable to build data connection: Connection refused")));
    assert!(!said("x").is_as(&Failure { at: "open".into(), ..said("x") }));
    assert!(!said("550 No such file").is_like(&Failure::wrong("get", "550".into())));
}
