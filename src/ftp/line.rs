//! Cutting a stream of bytes into lines, with a bound.
//!
//! Invariants: at most `limit` bytes of an unfinished line are kept, and of a flawed one its edges; how the bytes were cut
//! into reads makes no difference to the lines; a flawed line is reported once, at its end, and the next line is whole
//! again.

use std::collections::VecDeque;

use super::telnet::{Filtered, TelnetFilter};

/// Why a line cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Longer than the limit.
    TooLong,
    /// Holds a NUL byte (RFC 2640 §3.1 forbids it, and C programs behind would cut the line there).
    Nul,
    /// Holds a carriage return that is not before a line feed: a second line in disguise.
    BareCr,
}

/// What the cutter found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// A whole line: the bytes between two line ends.
    Line(Vec<u8>),
    /// A line that was thrown away, why, and what it looked like.
    Flawed(Flaw, Edges),
}

/// The first and the last bytes of a flawed line, with what was between them left out: enough to tell a request of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edges {
    bytes: [u8; HEAD + TAIL],
    kept: usize,
}

/// The longest method of HTTP that is known by itself, and the blank behind it.
const HEAD: usize = 9;
/// A blank, the version of HTTP, and what does not matter behind it.
const TAIL: usize = 11;

impl Edges {
    /// The bytes, at most 20.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.kept]
    }

    fn of(line: &[u8]) -> Self {
        let mut edges = Self { bytes: [0; HEAD + TAIL], kept: 0 };
        let (head, rest) = line.split_at(line.len().min(HEAD));
        let tail = &rest[rest.len().saturating_sub(TAIL)..];
        head.iter().chain(tail).for_each(|byte| edges.push(*byte));
        edges
    }

    fn push(&mut self, byte: u8) {
        if self.kept == self.bytes.len() {
            self.bytes.copy_within(HEAD + 1.., HEAD);
            self.kept -= 1;
        }
        self.bytes[self.kept] = byte;
        self.kept += 1;
    }
}

/// Cuts lines at LF, taking a CR before it away (RFC 959 §5.3.1 asks for CRLF; old peers send LF alone).
#[derive(Debug)]
pub struct LineCutter {
    limit: usize,
    telnet: Option<TelnetFilter>,
    partial: Vec<u8>,
    /// The verb has ended: what follows is passed on as it is.
    in_argument: bool,
    pending_cr: bool,
    flaw: Option<(Flaw, Edges)>,
    cuts: VecDeque<Cut>,
    waiting_bytes: usize,
}

impl LineCutter {
    /// A cutter for command lines: Telnet sequences are taken out before and in the verb, NUL and bare CR are flaws.
    ///
    /// In an argument nothing is taken out and nothing undoubled. Names are bytes, and 0xFF is a letter in some of them
    /// (ÿ in Latin-1): `raw\xff\xfe` without its end is another file. Client and backend see each other there as if there
    /// were no gateway, also in what they make of `IAC IAC`.
    /// `limit` is the longest line in bytes, without its line end.
    pub fn commands(limit: usize) -> Self {
        Self::new(limit, Some(TelnetFilter::default()))
    }

    /// A cutter for reply lines. `limit` is the longest line in bytes, without its line end.
    pub fn replies(limit: usize) -> Self {
        Self::new(limit, None)
    }

    fn new(limit: usize, telnet: Option<TelnetFilter>) -> Self {
        Self {
            limit,
            telnet,
            partial: Vec::new(),
            in_argument: false,
            pending_cr: false,
            flaw: None,
            cuts: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// Takes bytes as they came from the peer.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let filtered = match &mut self.telnet {
                Some(telnet) if !self.in_argument => telnet.push(byte),
                Some(_) | None => Filtered::Byte(byte),
            };
            match filtered {
                Filtered::Nothing => {}
                Filtered::Byte(byte) => self.push_text(byte),
                Filtered::LoneIac(byte) => {
                    self.push_text(0xFF);
                    self.push_text(byte);
                }
            }
        }
    }

    /// The next finished line, if there is one.
    pub fn next_cut(&mut self) -> Option<Cut> {
        let cut = self.cuts.pop_front()?;
        if let Cut::Line(line) = &cut {
            self.waiting_bytes -= line.len();
        }
        Some(cut)
    }

    /// Lines that are finished and not yet taken.
    pub fn waiting(&self) -> usize {
        self.cuts.len()
    }

    /// Bytes held: finished lines not yet taken, and the beginning of the next one.
    pub fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.partial.len()
    }

    /// The line that has begun is longer than the limit already. Its end may never come.
    pub fn is_overlong(&self) -> bool {
        matches!(self.flaw, Some((Flaw::TooLong, _)))
    }

    /// The line that has begun and not ended, or the edges of one that is flawed already.
    pub fn begun(&self) -> &[u8] {
        self.flaw.as_ref().map_or(&self.partial, |(_, edges)| edges.bytes())
    }

    /// Throws away everything held and says how many bytes of lines that was. For plaintext that stood behind
    /// `AUTH TLS` (RFC 4217 §4.2): it must never be run under the protection of the handshake that follows.
    pub fn discard(&mut self) -> usize {
        let held = self.held_bytes();
        let telnet = self.telnet.map(|_| TelnetFilter::default());
        *self = Self::new(self.limit, telnet);
        held
    }

    fn push_text(&mut self, byte: u8) {
        if byte == b'\n' {
            self.pending_cr = false;
            self.end_line();
            return;
        }
        if std::mem::take(&mut self.pending_cr) {
            self.bare_cr();
        }
        match byte {
            b'\r' => self.pending_cr = true,
            0 if self.telnet.is_some() => self.spoil(Flaw::Nul),
            0 => self.keep(b'?'),
            byte => self.keep(byte),
        }
    }

    /// In a command a bare CR spoils the line. In a reply it is made harmless: the backend's message is worth having.
    fn bare_cr(&mut self) {
        if self.telnet.is_some() {
            self.spoil(Flaw::BareCr);
        } else {
            self.keep(b'?');
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.flaw.is_none() && self.partial.len() == self.limit {
            self.spoil(Flaw::TooLong);
        }
        if let Some((_, edges)) = &mut self.flaw {
            edges.push(byte);
            return;
        }
        self.in_argument |= byte == b' ';
        self.partial.push(byte);
    }

    fn spoil(&mut self, flaw: Flaw) {
        if self.flaw.is_none() {
            self.flaw = Some((flaw, Edges::of(&self.partial)));
            self.partial = Vec::new();
        }
    }

    fn end_line(&mut self) {
        self.in_argument = false;
        let bytes = std::mem::take(&mut self.partial);
        let cut = match self.flaw.take() {
            Some((flaw, edges)) => Cut::Flawed(flaw, edges),
            None => {
                self.waiting_bytes += bytes.len();
                Cut::Line(bytes)
            }
        };
        self.cuts.push_back(cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut_all(cutter: &mut LineCutter) -> Vec<Cut> {
        std::iter::from_fn(|| cutter.next_cut()).collect()
    }

    fn line(bytes: &[u8]) -> Cut {
        Cut::Line(bytes.to_vec())
    }

    #[test]
    fn crlf_and_lf_end_lines_and_blanks_stay() {
        let mut cutter = LineCutter::commands(100);
        cutter.push(b"USER a \r\nPASS b\n\r\n");
        assert_eq!(cut_all(&mut cutter), [line(b"USER a "), line(b"PASS b"), line(b"")]);
    }

    #[test]
    fn telnet_sequences_are_taken_out_of_the_verb_and_of_nothing_else() {
        let mut cutter = LineCutter::commands(100);
        cutter.push(b"\xff\xf4\xff\xf2ABOR\r\nP\xff\xfd\nWD\r\n");
        cutter.push(b"STOR raw\xff\xfe\r\nSTOR a\xff\xff\xfb\xff\r\n\xff\xf2NOOP\r\n");
        let lines = [&b"ABOR"[..], b"PWD", b"STOR raw\xff\xfe", b"STOR a\xff\xff\xfb\xff", b"NOOP"];
        assert_eq!(cut_all(&mut cutter), lines.map(line));
    }

    #[test]
    fn flaws_are_reported_once_and_the_next_line_is_whole() {
        let mut cutter = LineCutter::commands(5);
        cutter.push(b"123456789\r\nA\0B\r\nA\rB\r\n12345\r\n");
        let flawed = |flaw, bytes| Cut::Flawed(flaw, Edges::of(bytes));
        assert_eq!(
            cut_all(&mut cutter),
            [
                flawed(Flaw::TooLong, b"123456789"),
                flawed(Flaw::Nul, b"AB"),
                flawed(Flaw::BareCr, b"AB"),
                line(b"12345")
            ]
        );
    }

    #[test]
    fn the_edges_of_a_flawed_line_are_its_first_and_its_last_bytes() {
        for limit in [4, 9, 15, 30, 90] {
            let mut cutter = LineCutter::commands(limit);
            let text = format!("PROPFIND /{} HTTP/1.1", "x".repeat(limit));
            cutter.push(text.as_bytes());
            assert!(cutter.is_overlong());
            let edges = [&text.as_bytes()[..HEAD], &text.as_bytes()[text.len() - TAIL..]].concat();
            assert_eq!(cutter.begun(), edges);
            cutter.push(b"\r\n");
            let Some(Cut::Flawed(Flaw::TooLong, told)) = cutter.next_cut() else { panic!("limit {limit}") };
            assert_eq!(told.bytes(), edges);
            assert_eq!(cutter.begun(), b"");
        }
    }

    #[test]
    fn an_endless_line_keeps_nothing() {
        let mut cutter = LineCutter::commands(8);
        for _ in 0..10_000 {
            cutter.push(b"xxxxxxxx");
            assert!(cutter.held_bytes() <= 8);
        }
    }

    #[test]
    fn a_reply_keeps_its_line_when_it_holds_nul_or_bare_cr() {
        let mut cutter = LineCutter::replies(100);
        cutter.push(b"200 a\0b\rc\r\n");
        assert_eq!(cut_all(&mut cutter), [line(b"200 a?b?c")]);
    }

    #[test]
    fn discarding_forgets_whole_and_half_lines() {
        let mut cutter = LineCutter::commands(100);
        cutter.push(b"USER evil\r\nPASS");
        assert_eq!(cutter.discard(), 13);
        assert_eq!(cutter.next_cut(), None);
        cutter.push(b"NOOP\r\n");
        assert_eq!(cutter.next_cut(), Some(line(b"NOOP")));
    }

    proptest! {
        #[test]
        fn cutting_does_not_depend_on_how_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(255u8), any::<u8>()], 0..300),
            at in proptest::collection::vec(0usize..300, 0..8),
            commands in any::<bool>(),
        ) {
            let make = || if commands { LineCutter::commands(20) } else { LineCutter::replies(20) };
            let mut whole = make();
            whole.push(&bytes);
            let mut pieces = make();
            let mut at: Vec<usize> = at.into_iter().map(|at| at.min(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            for pair in at.windows(2) {
                pieces.push(&bytes[pair[0]..pair[1]]);
            }
            prop_assert_eq!(cut_all(&mut whole), cut_all(&mut pieces));
        }
    }
}
