//! What came of a cell, and the file below `target/matrix` that tells it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::Kind;
use crate::cells::{Cell, label};
use crate::failure::Failure;

/// What came of one item of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Done, and seen to be done.
    Ok,
    /// The client does not have it.
    Cannot,
    /// It fails in the same way without the gateway, at more than one server.
    Client,
    /// It fails in the same way without the gateway, at this server.
    Server,
    /// The gateway's, until somebody shows that it is not.
    Defect,
}

/// A try without the gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bare {
    /// The server and how it was set up.
    pub(crate) server: String,
    /// None: it went well.
    pub(crate) failure: Option<Failure>,
}

/// One item of work with its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) item: String,
    pub(crate) verdict: Verdict,
    /// What failed through the gateway.
    pub(crate) failure: Option<Failure>,
    /// What came of the same without it.
    pub(crate) bare: Vec<Bare>,
}

/// A whole cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) cell: String,
    pub(crate) driver: String,
    /// Of the client.
    pub(crate) version: String,
    /// The server's row, like `vsftpd-explicit`.
    pub(crate) server: String,
    pub(crate) server_version: String,
    pub(crate) way: String,
    /// How the gateway was set up.
    pub(crate) gateway: String,
    pub(crate) done: Vec<Done>,
}

impl Done {
    pub(crate) fn plainly(item: &str, verdict: Verdict) -> Self {
        Self { item: item.into(), verdict, failure: None, bare: Vec::new() }
    }

    pub(crate) fn defect(item: &str, failure: Failure) -> Self {
        Self { item: item.into(), verdict: Verdict::Defect, failure: Some(failure), bare: Vec::new() }
    }
}

/// Where results are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/matrix")
}

impl Outcome {
    pub(crate) fn new(cell: &Cell, version: String, gateway: String) -> Self {
        Self {
            cell: cell.name.clone(),
            driver: cell.driver.name.clone(),
            version,
            server: label(cell.setup),
            server_version: server_version(cell.setup.kind),
            way: cell.way.to_string(),
            gateway,
            done: Vec::new(),
        }
    }

    pub(crate) fn has_defect(&self) -> bool {
        self.done.iter().any(|done| done.verdict == Verdict::Defect)
    }

    /// Writes the file, in place of an earlier one.
    pub(crate) fn write(&self) {
        let path = file(&self.cell);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = serde_json::to_string_pretty(self).unwrap();
        // A reader sees the old one or the new one.
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    /// What a cell of this name has written; none when it has not.
    pub(crate) fn read(cell: &str) -> Option<Self> {
        let text = fs::read_to_string(file(cell)).ok()?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{cell}: {error}")))
    }
}

fn file(cell: &str) -> PathBuf {
    folder().join("results").join(format!("{}.json", cell.replace("::", ".")))
}

/// As `tests/peers/install` noted it.
fn server_version(kind: Kind) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let peers = std::env::var_os("FTPS_GATEWAY_PEERS").filter(|path| !path.is_empty()).map_or(here, PathBuf::from);
    let name = if kind == Kind::Pyftpdlib { "venv" } else { kind.label() };
    let version = fs::read_to_string(peers.join(name).join("version"));
    version.map_or_else(|_| "unknown".into(), |version| version.trim().to_owned())
}
