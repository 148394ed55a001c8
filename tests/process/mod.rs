//! The gateway as a process: started, listened to, signalled, waited for.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(5);

/// Which of its outputs is listened to. The other one is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Standard,
    Error,
}

/// A gateway that runs, and is killed if it still does when the test ends.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// A gateway with these arguments.
pub(crate) fn gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftps-gateway"));
    command.args(arguments).stdin(Stdio::null());
    command
}

impl Process {
    pub(crate) fn start(mut command: Command, output: Output) -> Self {
        let piped = |own| if own == output { Stdio::piped() } else { Stdio::null() };
        let mut child = command.stdout(piped(Output::Standard)).stderr(piped(Output::Error)).spawn().unwrap();
        let source: Box<dyn Read + Send> = match output {
            Output::Standard => Box::new(child.stdout.take().unwrap()),
            Output::Error => Box::new(child.stderr.take().unwrap()),
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            BufReader::new(source).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// One whose output the test has put elsewhere.
    #[allow(dead_code)]
    pub(crate) fn heard_elsewhere(mut command: Command) -> Self {
        Self { child: command.stdout(Stdio::null()).spawn().unwrap(), lines: channel().1 }
    }

    /// Lines up to the one that holds `end`.
    pub(crate) fn lines_until(&self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(end)) {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => lines.push(line),
                Err(_) => panic!("no {end:?} in\n{}", lines.join("\n")),
            }
        }
        lines
    }

    /// Whether a line with this has come since the last look.
    #[allow(dead_code)]
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.lines.try_iter().any(|line| line.contains(text))
    }

    /// Its number.
    #[allow(dead_code)]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None if start.elapsed() > SOON => panic!("it does not end"),
                None => thread::sleep(PAUSE),
            }
        }
    }

    /// Waits for its end; its status and everything it said until then.
    pub(crate) fn ends(&mut self) -> (Option<i32>, String) {
        let said: Vec<_> = self.lines.iter().collect();
        (self.wait().code(), said.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
