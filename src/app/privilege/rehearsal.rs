//! What a check finds out about whoever the process becomes, without making or changing anything.
//!
//! Invariant: where the checking process may, it becomes the user that `run` becomes, and is told by the system what that
//! user may do: by groups, lists of access and whatever else there is. So a check and a start do not differ.

use std::path::Path;

use nix::unistd::{AccessFlags, access};
use rustix::thread::CapabilitySet;

use super::PrivilegeError;
use super::made::is_within_reach;
use super::user::{Identity, UserError, own_name};
use crate::app::state;
use crate::config::Settings;
use crate::telemetry::AuditFile;
use crate::tls::keeps_self_signed;

/// A folder that has to be there.
#[derive(Debug, Clone, Copy)]
struct Folder {
    mode: &'static str,
    /// Where systemd makes such folders for its units, before they start.
    of_units: &'static str,
}

/// `StateDirectory=`
const STATE: Folder = Folder { mode: "700", of_units: "/var/lib" };
/// `LogsDirectory=`
const LOGS: Folder = Folder { mode: "750", of_units: "/var/log" };

/// The checking process, as the user that serves, where it could become that.
#[derive(Debug)]
pub(in crate::app) struct Rehearsal {
    /// Whose rights are asked about. `None`: this process is somebody else, and cannot tell.
    user: Option<String>,
    /// What is not there is made by root before, for the user: `state_dir`, the audit file.
    state_made: bool,
    audit_made: bool,
    /// Nobody but the process itself makes anything, or a unit that starts it.
    by_itself: bool,
}

/// Becomes the user that the gateway becomes. Whether this process could is not asked: a check may be anybody's.
///
/// # Errors
/// When `user` or `group` does not exist, or the system refuses.
pub(in crate::app) fn rehearse(settings: &Settings) -> Result<Rehearsal, PrivilegeError> {
    // A start as root may have made what is not there.
    let may_be_made = |user| Rehearsal { user, state_made: true, audit_made: true, by_itself: false };
    let identity = match Identity::of(&settings.run_as) {
        Ok(Some(identity)) => identity,
        Ok(None) if settings.run_as.user.is_some() => return Ok(may_be_made(settings.run_as.user.clone())),
        Ok(None) => {
            return Ok(Rehearsal { user: Some(own_name()), state_made: false, audit_made: false, by_itself: true });
        }
        Err(UserError::NotRoot { .. }) => return Ok(may_be_made(None)),
        Err(error) => return Err(error.into()),
    };
    let makes = |path: Option<&Path>| path.is_some_and(|path| is_within_reach(path, &identity).is_ok_and(|is| !is));
    let state_made = makes(settings.tls.state_dir.as_deref());
    let audit_made = makes(settings.audit.as_ref().map(|audit| &*audit.path));
    identity.assume(CapabilitySet::empty())?;
    Ok(Rehearsal { user: Some(identity.name().to_owned()), state_made, audit_made, by_itself: false })
}

/// What is in the way of a start.
enum Obstacle {
    /// Whatever starts it.
    Certain(String),
    /// Unless systemd makes the folder for its unit.
    UnlessMade(String),
}

impl Rehearsal {
    /// What a start would fail at, each with its key and what to do.
    pub(in crate::app) fn problems(&self, settings: &Settings) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(audit) = &settings.audit {
            match AuditFile::check(&audit.path) {
                Err(error) => problems.push(error.to_string()),
                Ok(()) => problems.extend(self.audit(&audit.path).and_then(certain).map(said("audit_log.path"))),
            }
        }
        if has_to_keep(settings) {
            problems.extend(self.state(settings).and_then(certain).map(said("state_dir")));
        }
        problems
    }

    /// What goes wrong later on, or at a start that nobody has prepared.
    pub(in crate::app) fn advice(&self, settings: &Settings, configuration: &Path) -> Vec<String> {
        let mut advice = Vec::new();
        let audit = settings.audit.as_ref().and_then(|audit| self.audit(&audit.path));
        advice.extend(audit.and_then(unless_made).map(said("audit_log.path")));
        let state = self.state(settings);
        if has_to_keep(settings) {
            advice.extend(state.and_then(unless_made).map(said("state_dir")));
        } else {
            let lost =
                |(Obstacle::Certain(why) | Obstacle::UnlessMade(why))| format!("nothing is kept over a restart: {why}");
            advice.extend(state.map(lost).map(said("state_dir")));
        }
        if let (Some(user), Err(error)) = (&self.user, std::fs::File::open(configuration)) {
            advice.push(format!("user: {user} may not read this file, and a reload will fail: {error}"));
        }
        advice
    }

    /// Why nothing can be kept in `state_dir`.
    fn state(&self, settings: &Settings) -> Option<Obstacle> {
        let (Some(user), Some(folder)) = (&self.user, settings.tls.state_dir.as_deref()) else { return None };
        let shown = folder.display();
        if !folder.is_dir() {
            if folder.exists() {
                return Some(Obstacle::Certain(format!("{shown} is not a folder. Write the path of a folder")));
            }
            return self.unreachable(folder, self.state_made, Some(STATE));
        }
        if !may(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
            let enough = state::lost(settings).is_none() && keeps_self_signed(folder);
            let flaw = || format!("the user {user} may not write {shown}. chown -R {user} {shown}");
            return (!enough).then(flaw).map(Obstacle::Certain);
        }
        let unread = state::kept_files(settings, folder).iter().find_map(|file| state::readable(file).err());
        unread.map(|error| Obstacle::Certain(format!("{error}. chown -R {user} {shown}")))
    }

    /// Why the folder of the audit file cannot be made, or the file in it.
    fn audit(&self, path: &Path) -> Option<Obstacle> {
        match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
            Some(folder) => self.unreachable(folder, self.audit_made, Some(LOGS)),
            None => self.unreachable(path, self.audit_made, None),
        }
    }

    /// Why what is not there cannot be made. A file is of no sort.
    fn unreachable(&self, path: &Path, made: bool, sort: Option<Folder>) -> Option<Obstacle> {
        let user = self.user.as_ref()?;
        let path = std::path::absolute(path).ok().filter(|path| !path.exists())?;
        let above = path.ancestors().skip(1).find(|folder| folder.exists())?;
        let (shown, wanted) = (above.display(), path.display());
        if !above.is_dir() {
            return Some(Obstacle::Certain(format!("{wanted} lies below the file {shown}. Write another path")));
        }
        if !may(above, AccessFlags::X_OK) {
            let remedy = format!("Let {user} enter it, or write another path");
            return Some(Obstacle::Certain(format!("the user {user} may not enter the folder {shown}. {remedy}")));
        }
        if made || may(above, AccessFlags::W_OK) {
            return None;
        }
        let flaw = format!("the user {user} may not make anything in the folder {shown}");
        let Some(Folder { mode, of_units }) = sort else {
            return Some(Obstacle::Certain(format!("{flaw}. chown {user} {shown}, or write another path")));
        };
        let make = format!("install -d -m {mode} -o {user} {wanted}");
        Some(match self.by_itself && path.starts_with(of_units) {
            true => Obstacle::UnlessMade(format!(
                "{flaw}, and the gateway does not start without {wanted}. Let the unit make it, or: {make}"
            )),
            false => Obstacle::Certain(format!("{flaw}. {make}, or write another path")),
        })
    }
}

/// Without `state_dir` there is no start.
fn has_to_keep(settings: &Settings) -> bool {
    settings.tls.certificates.is_empty() || state::lost(settings).is_some()
}

fn certain(obstacle: Obstacle) -> Option<String> {
    match obstacle {
        Obstacle::Certain(why) => Some(why),
        Obstacle::UnlessMade(_) => None,
    }
}

fn unless_made(obstacle: Obstacle) -> Option<String> {
    match obstacle {
        Obstacle::Certain(_) => None,
        Obstacle::UnlessMade(why) => Some(why),
    }
}

fn said(key: &'static str) -> impl Fn(String) -> String {
    move |why| format!("{key}: {why}")
}

fn may(path: &Path, rights: AccessFlags) -> bool {
    access(path, rights).is_ok()
}
