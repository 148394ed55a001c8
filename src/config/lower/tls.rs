//! `tls` and `state_dir`: identities, versions, and what must be under TLS.

use std::path::PathBuf;

use super::read::{EMPTY, Reader, Section};
use super::scalars::{choice, path, readable_file};
use crate::config::raw::{Node, Value};
use crate::policy::{
    ClearCommandChannel, ClientCertificate, DataResumption, ProtectionPolicy, Requirement, TruncatedUploads, UserFrom,
};
use crate::tls::{CertificateFiles, ClientCertificates, MinimumVersion, Settings};

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

/// Whether clients are asked for a certificate; `none` is for listeners alone.
pub(super) const ASK: &[(&str, ClientCertificate)] = &[
    ("none", ClientCertificate::None),
    ("request", ClientCertificate::Request),
    ("require", ClientCertificate::Require),
];
const USER_FROM: &[(&str, UserFrom)] = &[
    ("none", UserFrom::None),
    ("common_name", UserFrom::CommonName),
    ("email", UserFrom::Email),
    ("dns", UserFrom::Dns),
];

/// Where a self-signed identity is kept when nothing else is said.
const STATE_DIR: &str = "/var/lib/ftps-gateway";

/// Identities and versions, from the section `tls`; the state directory has a key of its own at the root.
pub(super) fn identities(reader: &mut Reader<'_>, root: Section<'_>, section: Section<'_>) -> Settings {
    let items = section.get("certificates").map_or(&[][..], |node| reader.list(node, EMPTY));
    let directory = reader.directory;
    let client_certificates = client_certificates(reader, section);
    Settings {
        client_certificates,
        certificates: items.iter().filter_map(|item| certificate(reader, item)).collect(),
        minimum_version: reader.value(section, "minimum_version", MinimumVersion::Tls12, |node| choice(node, VERSION)),
        state_dir: Some(reader.value(root, "state_dir", PathBuf::from(STATE_DIR), |node| path(node, directory))),
    }
}

/// Whose certificates clients may show. The files are checked to be there; what is in them is for the `tls` room to say.
fn client_certificates(reader: &mut Reader<'_>, section: Section<'_>) -> Option<ClientCertificates> {
    let section = reader.section(section.get("client_certificates")?)?;
    let directory = reader.directory;
    let ask = reader
        .required(section, "mode", "Write: mode: require")
        .and_then(|node| reader.keep(node, choice(node, &ASK[1..])));
    let authorities = reader
        .required(section, "authorities", "Write: authorities: /etc/ftps-gateway/tls/clients-ca.pem")
        .and_then(|node| reader.keep(node, readable_file(node, directory)));
    let lists =
        section.get("revocation_lists").filter(|node| !matches!(&node.value, Value::List(items) if items.is_empty()));
    let revocation_lists = match lists {
        Some(_) => reader.each(section, "revocation_lists", |node| readable_file(node, directory)).unwrap_or_default(),
        None => Vec::new(),
    };
    let user_from = reader.value(section, "user_from", UserFrom::None, |node| choice(node, USER_FROM));
    Some(ClientCertificates { authorities: authorities?, revocation_lists, ask: ask?, user_from })
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
