//! One end of a control connection: lines out, lines in.

use std::time::Duration;

use tokio::time::timeout;

use super::transcript::Transcript;
use super::wire::{End, Wire};

/// How long silence is listened to before it is believed.
const SILENCE: Duration = Duration::from_millis(60);

/// One end of a control connection.
pub(crate) struct Talker {
    pub(crate) name: &'static str,
    pub(crate) wire: Wire,
    pub(crate) transcript: Transcript,
    buffer: Vec<u8>,
}

impl Talker {
    pub(crate) fn new(name: &'static str, wire: Wire, transcript: Transcript) -> Self {
        Self { name, wire, transcript, buffer: Vec::new() }
    }

    /// Says a line; CRLF is added.
    pub(crate) async fn say(&mut self, line: impl AsRef<[u8]>) {
        self.say_raw([line.as_ref(), b"\r\n"].concat()).await;
    }

    /// Sends bytes as they are, in one piece.
    pub(crate) async fn say_raw(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.transcript.note_bytes(self.name, "→", bytes);
        let sent = self.transcript.soon("the gateway takes a line", self.wire.write(bytes)).await;
        if let Err(error) = sent {
            panic!("{} could not send: {error}\n\n{}", self.name, self.transcript);
        }
    }

    /// Sends each byte in a segment, and under TLS in a record, of its own.
    pub(crate) async fn say_byte_by_byte(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.say_raw([*byte]).await;
        }
    }

    /// The next line, with its line end.
    pub(crate) async fn line(&mut self, awaited: &str) -> Vec<u8> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                self.transcript.note_bytes(self.name, "←", &line);
                return line;
            }
            if let Err(end) = self.fill(awaited).await {
                panic!("{} expected {awaited}, and the gateway ended with {end:?}\n\n{}", self.name, self.transcript);
            }
        }
    }

    /// So many bytes, whatever they are.
    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            if let Err(end) = self.fill("bytes").await {
                panic!(
                    "{} expected {count} bytes, and the gateway ended with {end:?}\n\n{}",
                    self.name, self.transcript
                );
            }
        }
        self.buffer.drain(..count).collect()
    }

    /// The peer says nothing more and ends.
    pub(crate) async fn ends(&mut self) -> End {
        let end = loop {
            if let Err(end) = self.fill("the end of the control connection").await {
                break end;
            }
        };
        self.transcript.note(self.name, format_args!("sees the end: {end:?}"));
        let rest = String::from_utf8_lossy(&self.buffer).into_owned();
        assert!(rest.is_empty(), "{} expected the end and heard {rest:?}\n\n{}", self.name, self.transcript);
        end
    }

    /// Nothing has been said that was not read, and nothing is said for a moment.
    pub(crate) async fn hears_nothing(&mut self) {
        let mut block = [0; 1024];
        let heard = timeout(SILENCE, self.wire.read(&mut block)).await;
        if let Ok(Ok(read)) = heard {
            self.buffer.extend_from_slice(&block[..read]);
        }
        let rest = String::from_utf8_lossy(&self.buffer).into_owned();
        let quiet = rest.is_empty() && heard.is_err();
        assert!(quiet, "{} expected silence and heard {heard:?}: {rest:?}\n\n{}", self.name, self.transcript);
    }

    /// FIN and `close_notify` where TLS is up; the connection goes on being read.
    pub(crate) async fn finishes(&mut self) {
        self.transcript.note(self.name, "closes");
        // The gateway may have been faster.
        let _ = self.wire.finish().await;
    }

    /// FIN without `close_notify`.
    pub(crate) async fn fins(&mut self) {
        self.transcript.note(self.name, "closes without close_notify");
        let _ = self.wire.fin().await;
    }

    /// RST.
    pub(crate) fn resets(&mut self) {
        self.transcript.note(self.name, "resets");
        self.wire.reset();
    }

    /// Closes as a process that dies.
    pub(crate) fn vanishes(&mut self) {
        self.transcript.note(self.name, "vanishes");
        self.wire.vanish();
    }

    async fn fill(&mut self, awaited: &str) -> Result<(), End> {
        let mut block = [0; 16 * 1024];
        let awaited = format_args!("{} waits for {awaited}", self.name);
        let read = self.transcript.soon(awaited, self.wire.read(&mut block)).await?;
        self.buffer.extend_from_slice(&block[..read]);
        Ok(())
    }
}
