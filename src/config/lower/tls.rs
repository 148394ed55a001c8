//! `tls` and `state_dir`: identities, versions, and what must be under TLS.

use std::path::PathBuf;

use super::read::{EMPTY, Reader, Section};
use super::scalars::{choice, path, readable_file};
use crate::config::raw::Node;
use crate::policy::{ClearCommandChannel, DataResumption, ProtectionPolicy, Requirement, TruncatedUploads};
use crate::tls::{CertificateFiles, MinimumVersion, Settings};

const REQUIREMENT: &[(&str, Requirement)] = &[("required", Requirement::Required), ("optional", Requirement::Optional)];
const VERSION: &[(&str, MinimumVersion)] = &[("1.2", MinimumVersion::Tls12), ("1.3", MinimumVersion::Tls13)];
const RESUMPTION: &[(&str, DataResumption)] = &[
    ("off", DataResumption::Off),
    ("prefer", DataResumption::Prefer),
    ("audit", DataResumption::Audit),
    ("require", DataResumption::Require),
];
const TRUNCATED: &[(&str, TruncatedUploads)] =
    &[("tolerate", TruncatedUploads::Tolerate), ("reject", TruncatedUploads::Reject)];
const CLEAR: &[(&str, ClearCommandChannel)] =
    &[("refuse", ClearCommandChannel::Refuse), ("allow", ClearCommandChannel::Allow)];

/// Where a self-signed identity is kept when nothing else is said.
const STATE_DIR: &str = "/var/lib/ftps-gateway";

/// Identities and versions, from the section `tls`; the state directory has a key of its own at the root.
pub(super) fn identities(reader: &mut Reader<'_>, root: Section<'_>, section: Section<'_>) -> Settings {
    let items = section.get("certificates").map_or(&[][..], |node| reader.list(node, EMPTY));
    let directory = reader.directory;
    Settings {
        certificates: items.iter().filter_map(|item| certificate(reader, item)).collect(),
        minimum_version: reader.value(section, "minimum_version", MinimumVersion::Tls12, |node| choice(node, VERSION)),
        state_dir: Some(reader.value(root, "state_dir", PathBuf::from(STATE_DIR), |node| path(node, directory))),
    }
}

/// What must be under TLS.
pub(super) fn protection(reader: &mut Reader<'_>, section: Section<'_>) -> ProtectionPolicy {
    ProtectionPolicy {
        control: reader.value(section, "control", Requirement::Required, |node| choice(node, REQUIREMENT)),
        data: reader.value(section, "data", Requirement::Required, |node| choice(node, REQUIREMENT)),
        clear_command_channel: reader
            .value(section, "clear_command_channel", ClearCommandChannel::Refuse, |node| choice(node, CLEAR)),
        truncated_uploads: reader
            .value(section, "truncated_uploads", TruncatedUploads::Tolerate, |node| choice(node, TRUNCATED)),
        data_resumption: reader
            .value(section, "data_resumption", DataResumption::Prefer, |node| choice(node, RESUMPTION)),
    }
}

/// Both files, checked to be there; what is in them is for the `tls` room to say.
fn certificate(reader: &mut Reader<'_>, item: &Node) -> Option<CertificateFiles> {
    let section = reader.section(item)?;
    let mut file = |key: &str, example: &str| {
        let node = reader.required(section, key, &format!("Write: {key}: {example}"))?;
        let directory = reader.directory;
        reader.keep(node, readable_file(node, directory))
    };
    let certificate = file("certificate", "/etc/ftps-gateway/tls/fullchain.pem");
    let private_key = file("private_key", "/etc/ftps-gateway/tls/privkey.pem");
    Some(CertificateFiles { certificate: certificate?, private_key: private_key? })
}
