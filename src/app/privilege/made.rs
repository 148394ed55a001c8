//! What is made for the user that the process becomes, where it is not there: `state_dir`, the audit file and its folder.
//! Afterwards nothing can be made beside what Landlock leaves open.
//!
//! Invariants: root gives away what it holds open and has just made, never a name: between making and giving somebody else
//! may have put a link there. And it makes nothing where its user could change the way that leads there; what the user can
//! make himself, he makes, when the process is that user. Whatever does not work is missed by whoever opens the file, who
//! says so better.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::fcntl::OFlag;

use super::user::Identity;
use crate::config::Settings;

/// Nobody else looks into it.
const STATE: u32 = 0o700;
/// The group reads.
const LOGS: u32 = 0o750;
/// The audit file itself.
const AUDIT: u32 = 0o640;
/// Folders on the way.
const WAY: u32 = 0o755;
/// Who may write into a folder may change what is in it.
const WRITE: u32 = 0o2;
/// Only its owner changes an entry of such a folder.
const STICKY: u32 = 0o1000;

/// As root, before it becomes this user.
pub(super) fn as_root(settings: &Settings, identity: &Identity) {
    if let Some(state) = settings.tls.state_dir.as_deref().filter(|folder| !folder.exists()) {
        told(state, folder_for(state, STATE, identity));
    }
    let Some(audit) = settings.audit.as_ref().map(|audit| &*audit.path).filter(|path| !path.exists()) else { return };
    if let Some(folder) = folder_of(audit).filter(|folder| !folder.exists()) {
        told(folder, folder_for(folder, LOGS, identity));
    }
    told(audit, file_for(audit, identity));
}

/// As whoever serves.
pub(super) fn as_oneself(settings: &Settings) {
    if let Some(state) = settings.tls.state_dir.as_deref().filter(|folder| !folder.exists()) {
        told(state, make_folder(state, STATE));
    }
    let audit = settings.audit.as_ref().and_then(|audit| folder_of(&audit.path));
    if let Some(folder) = audit.filter(|folder| !folder.exists()) {
        told(folder, make_folder(folder, LOGS));
    }
}

/// Whether the user could change where this path leads, or make it himself. Looked at along the path as it is written and as
/// it is behind all links.
pub(super) fn is_within_reach(path: &Path, identity: &Identity) -> io::Result<bool> {
    let path = std::path::absolute(path)?;
    let Some(above) = path.ancestors().skip(1).find(|folder| folder.exists()) else { return Ok(true) };
    let real = above.canonicalize()?;
    if identity.may(&real.metadata()?, WRITE) {
        return Ok(true);
    }
    for folder in above.ancestors().chain(real.ancestors()) {
        let (entry, folder) = (folder.symlink_metadata()?, folder.metadata()?);
        let owned = [&entry, &folder].iter().any(|one| one.uid() == identity.uid());
        if owned || (folder.mode() & STICKY == 0 && identity.may(&folder, WRITE)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn folder_for(path: &Path, mode: u32, identity: &Identity) -> io::Result<()> {
    if is_within_reach(path, identity)? {
        return Ok(());
    }
    make_folder(path, mode)?;
    let only = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    give(&OpenOptions::new().read(true).custom_flags(only).open(path)?, mode, identity)
}

/// `create_new` follows no link.
fn file_for(path: &Path, identity: &Identity) -> io::Result<()> {
    if is_within_reach(path, identity)? {
        return Ok(());
    }
    give(&OpenOptions::new().write(true).create_new(true).mode(AUDIT).open(path)?, AUDIT, identity)
}

fn give(held: &File, mode: u32, identity: &Identity) -> io::Result<()> {
    held.set_permissions(Permissions::from_mode(mode))?;
    fchown(held, Some(identity.uid()), Some(identity.gid()))
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(way) = path.parent().filter(|way| !way.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(WAY).create(way)?;
    }
    DirBuilder::new().mode(mode).create(path)
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

fn told(path: &Path, made: io::Result<()>) {
    if let Err(error) = made {
        tracing::debug!(%error, path = %path.display(), "it could not be made");
    }
}
