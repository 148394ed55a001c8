//! The audit file of a play, and what is read in it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Scene, Setup};

/// A folder for the audit file, for as long as it is held.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    pub(crate) fn setup(&self) -> Setup {
        audited(&self.path(), "json")
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// All lines of a kind.
    pub(crate) fn lines(&self, event: &str) -> Vec<Value> {
        let lines = self.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
        lines.into_iter().filter(|line| line["event"] == event).collect()
    }

    /// The only one.
    #[track_caller]
    pub(crate) fn line(&self, event: &str) -> Value {
        let mut lines = self.lines(event);
        assert_eq!(lines.len(), 1, "{event} in\n{}", self.text());
        lines.remove(0)
    }
}

pub(crate) fn audited(path: &Path, format: &str) -> Setup {
    Setup::new().line(format!("audit_log: {{ path: \"{}\", format: {format} }}", path.display()))
}

/// QUIT, and the gateway stops: every line is written.
pub(crate) async fn is_over(scene: Scene) {
    let Scene { stage, mut client, backend } = scene;
    client.says_and_hears("QUIT", "221 ").await;
    drop((client, backend));
    stage.is_empty().await;
    stage.gateway.stop().await;
}

/// The gateway asks where the session is.
pub(crate) async fn is_asked_where(scene: &mut Scene, here: &str) {
    scene.backend.hears_and_says("PWD", &format!("257 \"{here}\"")).await;
}

/// A command that the backend answers with this.
pub(crate) async fn asks(scene: &mut Scene, command: &str, answer: &str) {
    scene.client.says(command).await;
    scene.backend.hears(command).await;
    scene.backend.says(answer).await;
    scene.client.hears(&answer[..4]).await;
}

/// These fields, and no other value in them.
#[track_caller]
pub(crate) fn holds(line: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&line[field], value, "{field} of {line}");
    }
}
