//! An emulated link between two namespaces, see `tests/networks/link`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::space::Space;

/// How bad a link is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    /// Seconds that a packet takes, each way.
    pub(crate) delay: f64,
    /// Share of the packets that are lost, each way.
    pub(crate) loss: f64,
    /// Bytes that go through in a second, each way; 0: as many as come.
    pub(crate) rate: u32,
}

/// A link, gone with the value.
pub(crate) struct Link {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Link {
    /// A link called `link` at both ends.
    pub(crate) fn between(near: (&Space, &str), far: (&Space, &str), quality: Quality) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks/link");
        let mut command = Command::new(script);
        command.args(["--ends", &near.0.path(), &far.0.path()]);
        command.args(["--delay", &quality.delay.to_string(), "--loss", &quality.loss.to_string()]);
        command.args(["--rate", &quality.rate.to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut link = Self { process, said };
        assert_eq!(link.line(), "ready\n");
        for (space, address) in [near, far] {
            space.addresses("link", &[address]);
        }
        link
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line
    }

    /// Ends it: how many packets it was given, and how many of them it lost.
    pub(crate) fn end(mut self) -> (u64, u64) {
        drop(self.process.stdin.take());
        let line = self.line();
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
