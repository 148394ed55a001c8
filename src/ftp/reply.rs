//! Replies (RFC 959 §4.2): the gateway's own, and a backend's, read line by line.
//!
//! Invariants: a multi-line reply ends only at its own code; a reply is streamed line by line and never collected
//! here; a continuation line that looks like the end of a reply is made not to.

use std::fmt;

use super::line::{Cut, Flaw, LineCutter};

/// A reply code from 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

/// The first digit of a code (RFC 959 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeClass {
    /// 1yz: another reply follows.
    Preliminary,
    /// 2yz: done.
    Completion,
    /// 3yz: more is needed.
    Intermediate,
    /// 4yz: failed, may be tried again.
    TransientNegative,
    /// 5yz: failed.
    PermanentNegative,
}

impl CodeClass {
    /// Every class.
    pub const ALL: [Self; 5] =
        [Self::Preliminary, Self::Completion, Self::Intermediate, Self::TransientNegative, Self::PermanentNegative];

    /// A metric's label: `1xx` to `5xx`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Preliminary => "1xx",
            Self::Completion => "2xx",
            Self::Intermediate => "3xx",
            Self::TransientNegative => "4xx",
            Self::PermanentNegative => "5xx",
        }
    }
}

impl Code {
    /// A code, when it is between 100 and 599.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            100..=599 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its first digit's meaning.
    pub fn class(self) -> CodeClass {
        match self.0 / 100 {
            1 => CodeClass::Preliminary,
            2 => CodeClass::Completion,
            3 => CodeClass::Intermediate,
            4 => CodeClass::TransientNegative,
            _ => CodeClass::PermanentNegative,
        }
    }

    /// 1yz.
    pub fn is_preliminary(self) -> bool {
        self.class() == CodeClass::Preliminary
    }

    /// 2yz.
    pub fn is_completion(self) -> bool {
        self.class() == CodeClass::Completion
    }

    /// 4yz or 5yz.
    pub fn is_negative(self) -> bool {
        self.0 >= 400
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = digits else { return None };
        Some(Self(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether bytes of a control connection end with the last line of a final reply, so that it is the other side's turn to
/// speak. When only a part of a line is there, it may be wrong.
pub fn ends_with_final_reply(bytes: &[u8]) -> bool {
    let Some(text) = bytes.strip_suffix(b"\n") else { return false };
    let line = text.rsplit(|byte| *byte == b'\n').next().unwrap_or(text);
    let Some((digits, rest)) = line.split_first_chunk::<3>() else { return false };
    Code::parse(digits).is_some_and(|code| !code.is_preliminary()) && rest.first() != Some(&b'-')
}

/// A reply of the gateway's own making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// A reply of one line. `code` outside 100–599 becomes 500: the codes are literals of this crate, and a wrong one
    /// must not take the session down.
    pub fn new(code: u16, text: impl Into<Vec<u8>>) -> Self {
        Self { code: Code::new(code).unwrap_or(Code(500)), lines: vec![single_line(text.into())] }
    }

    /// A reply of several lines; the first and the last carry the code (RFC 959 §4.2).
    pub fn lines(code: u16, lines: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut lines: Vec<_> = lines.into_iter().map(single_line).collect();
        if lines.is_empty() {
            lines.push(Vec::new());
        }
        Self { code: Code::new(code).unwrap_or(Code(500)), lines }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The first line's text.
    pub fn text(&self) -> &[u8] {
        self.lines.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The bytes for the wire.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        let last = self.lines.len() - 1;
        for (at, text) in self.lines.iter().enumerate() {
            if at == last {
                wire.extend_from_slice(format!("{} ", self.code).as_bytes());
            } else if at == 0 {
                wire.extend_from_slice(format!("{}-", self.code).as_bytes());
            } else if !text.starts_with(b" ") {
                wire.push(b' ');
            }
            wire.extend_from_slice(text);
            wire.extend_from_slice(b"\r\n");
        }
        wire
    }
}

/// Takes line ends out of a text that may quote a peer: one line stays one line.
fn single_line(mut text: Vec<u8>) -> Vec<u8> {
    for byte in &mut text {
        if matches!(byte, b'\r' | b'\n' | 0) {
            *byte = b' ';
        }
    }
    text
}

/// One line of a backend's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLine {
    /// The reply's code, on continuation lines too.
    pub code: Code,
    /// The line as it goes to the client, without its line end: code and mark in front where the first and last lines
    /// have them, made unambiguous on continuation lines.
    pub bytes: Vec<u8>,
    /// It is the first line of the reply.
    pub first: bool,
    /// It is the last line of the reply.
    pub last: bool,
}

impl ReplyLine {
    /// What it takes while it is kept, in bytes. A line with nothing on it takes something, too.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// What stands behind the code on a first or last line; the whole line otherwise.
    pub fn text(&self) -> &[u8] {
        if self.first || self.last { self.bytes.get(4..).unwrap_or_default() } else { &self.bytes }
    }
}

/// Why bytes are no reply: the backend's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFlaw {
    /// A line does not begin with a code where one must stand.
    #[error("the backend sent a line that is not a reply")]
    NotAReply,
    /// A line is longer than `limits.reply_length`.
    #[error("the backend sent a reply line longer than limits.reply_length")]
    TooLong,
}

/// Reads replies from a backend's bytes, line by line.
#[derive(Debug)]
pub struct ReplyCutter {
    lines: LineCutter,
    open: Option<Code>,
}

impl ReplyCutter {
    /// A cutter for lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { lines: LineCutter::replies(limit), open: None }
    }

    /// Takes bytes as they came from the backend.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// Bytes held that are not yet taken as lines.
    pub fn held_bytes(&self) -> usize {
        self.lines.held_bytes()
    }

    /// The next line, if a whole one is there.
    ///
    /// # Errors
    /// When the line is no part of a reply. What follows it cannot be trusted any more.
    pub fn next_line(&mut self) -> Result<Option<ReplyLine>, ReplyFlaw> {
        while let Some(cut) = self.lines.next_cut() {
            let bytes = match cut {
                Cut::Line(line) => line,
                Cut::Flawed(Flaw::TooLong, _) => return Err(ReplyFlaw::TooLong),
                Cut::Flawed(Flaw::Nul | Flaw::BareCr, _) => return Err(ReplyFlaw::NotAReply),
            };
            match self.open {
                Some(code) => return Ok(Some(self.continuation(code, bytes))),
                // Some servers put blank lines between replies; they mean nothing.
                None if bytes.iter().all(|&byte| byte == b' ' || byte == b'\t') => {}
                None => return self.first(bytes).map(Some),
            }
        }
        if self.lines.is_overlong() { Err(ReplyFlaw::TooLong) } else { Ok(None) }
    }

    fn first(&mut self, mut bytes: Vec<u8>) -> Result<ReplyLine, ReplyFlaw> {
        let code = bytes.get(..3).and_then(Code::parse).ok_or(ReplyFlaw::NotAReply)?;
        let last = match bytes.get(3) {
            Some(b'-') => false,
            Some(b' ') => true,
            Some(b'\t') => {
                bytes[3] = b' ';
                true
            }
            None => {
                bytes.push(b' ');
                true
            }
            Some(_) => return Err(ReplyFlaw::NotAReply),
        };
        self.open = (!last).then_some(code);
        Ok(ReplyLine { code, bytes, first: true, last })
    }

    fn continuation(&mut self, code: Code, mut bytes: Vec<u8>) -> ReplyLine {
        let leading = bytes.get(..3).and_then(Code::parse);
        let looks_like_an_end = matches!(bytes.get(3), None | Some(b' ' | b'\t'));
        let last = leading == Some(code) && looks_like_an_end;
        if last {
            self.open = None;
            bytes.resize(bytes.len().max(4), b' ');
            bytes[3] = b' ';
        } else if looks_like_an_end && bytes.get(..3).is_some_and(|start| start.iter().all(u8::is_ascii_digit)) {
            // RFC 959 §4.2 asks the server to pad such a line; curl takes any code and a space for the end.
            bytes.insert(0, b' ');
        }
        ReplyLine { code, bytes, first: false, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_the_other_sides_turn_behind_a_final_reply_alone() {
        for (bytes, ended) in [
            (&b"200 done\r\n"[..], true),
            (b"226 done\n", true),
            (b"331\r\n", true),
            (b"150 here\r\n226 done\r\n", true),
            (b"211-Features\r\n UTF8\r\n211 End\r\n", true),
            (b"150 here\r\n", false),
            (b"226 done\r\n150 here\r\n", false),
            (b"211-Features\r\n", false),
            (b"211-Features\r\n UTF8\r\n", false),
            (b"200 do", false),
            (b"200 done\r\n22", false),
            (b"\r\n", false),
            (b"", false),
        ] {
            assert_eq!(ends_with_final_reply(bytes), ended, "{:?}", bytes.escape_ascii().to_string());
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<(u16, String, bool)>, ReplyFlaw> {
        let mut cutter = ReplyCutter::new(100);
        cutter.push(bytes);
        let mut lines = Vec::new();
        while let Some(line) = cutter.next_line()? {
            lines.push((line.code.number(), String::from_utf8(line.bytes).unwrap(), line.last));
        }
        Ok(lines)
    }

    #[test]
    fn a_multi_line_reply_ends_only_at_its_own_code() {
        let lines = read(b"211-Status\r\n226 not the end\r\n211-nor this\n\r\n\tTab\r\n211 End\r\n").unwrap();
        let ends: Vec<bool> = lines.iter().map(|line| line.2).collect();
        assert_eq!(ends, [false, false, false, false, false, true]);
        assert_eq!(lines[1].1, " 226 not the end");
        assert_eq!(lines[2].1, "211-nor this");
    }

    #[test]
    fn short_tabbed_and_blank_lines_of_old_servers_are_read() {
        let lines = read(b"\r\n200\r\n220\tWelcome\n230-Hi\r\n230\r\n").unwrap();
        let shown: Vec<&str> = lines.iter().map(|line| line.1.as_str()).collect();
        assert_eq!(shown, ["200 ", "220 Welcome", "230-Hi", "230 "]);
    }

    #[test]
    fn nonsense_is_the_backends_fault() {
        for bytes in [&b"hello\r\n"[..], b"099 x\r\n", b"600 x\r\n", b"220x\r\n", b"22\r\n", b"SSH-2.0-x\r\n"] {
            assert_eq!(read(bytes), Err(ReplyFlaw::NotAReply), "{bytes:?}");
        }
        assert_eq!(read(&[b'2'; 200].iter().chain(b"\n").copied().collect::<Vec<_>>()), Err(ReplyFlaw::TooLong));
        assert_eq!(read(&[b'2'; 200]), Err(ReplyFlaw::TooLong));
    }

    proptest! {
        #[test]
        fn what_the_gateway_writes_reads_back_as_one_reply(
            code in 100u16..600,
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..5),
        ) {
            let reply = Reply::lines(code, texts.clone());
            let mut cutter = ReplyCutter::new(100);
            cutter.push(&reply.to_wire());
            for at in 0..texts.len() {
                let line = cutter.next_line().unwrap().unwrap();
                prop_assert_eq!(line.code.number(), code);
                prop_assert_eq!(line.last, at + 1 == texts.len());
            }
            prop_assert_eq!(cutter.next_line(), Ok(None));
        }

        #[test]
        fn reading_never_panics_and_relayed_lines_read_the_same(bytes in proptest::collection::vec(
            prop_oneof![Just(b'2'), Just(b'1'), Just(b' '), Just(b'-'), Just(b'\n'), any::<u8>()], 0..200)
        ) {
            let mut cutter = ReplyCutter::new(50);
            let mut again = ReplyCutter::new(60);
            cutter.push(&bytes);
            while let Ok(Some(line)) = cutter.next_line() {
                again.push(&line.bytes);
                again.push(b"\r\n");
                let second = again.next_line().unwrap().unwrap();
                prop_assert_eq!((second.code, second.last, second.first), (line.code, line.last, line.first));
            }
        }
    }
}
