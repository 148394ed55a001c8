//! The audit file and whoever the process becomes.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use super::user::Identity;
use crate::config::Settings;
use crate::telemetry::AuditFile;

/// The owner writes, the group reads.
const MODE: u32 = 0o640;

/// Makes the file, and its folder, for the user that the process becomes, where they are not there: afterwards it could
/// not. What is there stays as it is. Whatever does not work is missed by whoever opens the file, who says so better.
pub(super) fn prepare(settings: &Settings, identity: Option<&Identity>) {
    let (Some(audit), Some(identity)) = (&settings.audit, identity) else { return };
    if audit.path.exists() {
        return;
    }
    let made = make_folder(&audit.path, identity).and_then(|()| {
        // Not through a link that somebody has put there.
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&audit.path)?;
        file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
        chown(&audit.path, Some(identity.uid()), Some(identity.gid()))
    });
    if let Err(error) = made {
        tracing::debug!(%error, path = %audit.path.display(), "the audit file could not be made");
    }
}

fn make_folder(path: &Path, identity: &Identity) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750))?;
    chown(folder, Some(identity.uid()), Some(identity.gid()))
}

/// What is wrong with the audit file, as far as can be seen without making or changing anything.
pub(in crate::app) fn check_audit(settings: &Settings) -> Vec<String> {
    let Some(audit) = &settings.audit else { return Vec::new() };
    if let Err(error) = AuditFile::check(&audit.path) {
        return vec![error.to_string()];
    }
    // Whoever checks may be root, and the gateway will not be.
    let Ok(Some(identity)) = Identity::of(&settings.run_as) else { return Vec::new() };
    let shown = audit.path.display();
    let user = identity.name();
    let may_not =
        |path: &Path, wanted: u32| path.metadata().is_ok_and(|metadata| !allows(&metadata, &identity, wanted));
    let mut problems = Vec::new();
    if may_not(&audit.path, 0o2) {
        problems.push(format!("audit_log.path: the user {user} may not write {shown}. chown {user} {shown}"));
    }
    if let Some(folder) = audit.path.parent().filter(|folder| may_not(folder, 0o1)) {
        let folder = folder.display();
        problems
            .push(format!("audit_log.path: the user {user} may not enter the folder {folder}. chown {user} {folder}"));
    }
    problems
}

/// By mode bits and the user's first group alone: access lists and further groups may allow more.
fn allows(metadata: &std::fs::Metadata, identity: &Identity, wanted: u32) -> bool {
    let mode = metadata.mode();
    let bits = match () {
        () if metadata.uid() == identity.uid() => mode >> 6,
        () if metadata.gid() == identity.gid() => mode >> 3,
        () => mode,
    };
    bits & wanted == wanted || (mode >> 3) & wanted == wanted
}
