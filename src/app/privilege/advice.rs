//! What is better done otherwise, said by `check` and in the log.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::user::is_root;
use crate::config::Settings;

/// Everybody else on the machine.
const OTHERS: u32 = 0o007;

/// One line each: the key, what is unwise, what to do.
pub(in crate::app) fn advice(settings: &Settings) -> Vec<String> {
    let mut advice = Vec::new();
    if is_root() && settings.run_as.user.is_none() {
        advice.push("user: is not set and the gateway runs as root. Write the user that it shall become".to_owned());
    }
    let kept = settings.tls.state_dir.as_deref().map(|folder| folder.join("self-signed.key"));
    let keys = settings.tls.certificates.iter().map(|files| ("tls.certificates", files.private_key.as_path()));
    let own = kept.iter().filter(|_| settings.tls.certificates.is_empty()).map(|key| ("state_dir", key.as_path()));
    advice.extend(keys.chain(own).filter_map(|(key, path)| open_to_all(key, path)));
    advice
}

/// A key that is not there, or in a folder that cannot be looked into, is somebody else's to complain about.
fn open_to_all(key: &str, path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & OTHERS != 0)
        .then(|| format!("{key}: everybody on this machine may use the key {shown} (mode {mode:o}). chmod o= {shown}"))
}
