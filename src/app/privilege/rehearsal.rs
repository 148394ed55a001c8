//! What a check finds out about whoever the process becomes, without making or changing anything.
//!
//! Invariant: where the checking process may, it becomes the user that `run` becomes, and is told by the system what that
//! user may do: by groups, lists of access and whatever else there is. So a check and a start do not differ.

use std::path::Path;

use nix::unistd::{AccessFlags, access};
use rustix::thread::CapabilitySet;

use super::PrivilegeError;
use super::made::is_within_reach;
use super::user::{Identity, UserError};
use crate::config::Settings;
use crate::telemetry::AuditFile;
use crate::tls::keeps_self_signed;

/// The checking process, as the user that serves, where it could become that.
#[derive(Debug)]
pub(in crate::app) struct Rehearsal {
    /// `None`: this process is somebody else, and cannot tell what the user may do.
    user: Option<String>,
    /// What is not there is made by root before, for the user: `state_dir`, the audit file.
    state_made: bool,
    audit_made: bool,
}

/// Becomes the user that the gateway becomes. Whether this process could is not asked: a check may be anybody's.
///
/// # Errors
/// When `user` or `group` does not exist, or the system refuses.
pub(in crate::app) fn rehearse(settings: &Settings) -> Result<Rehearsal, PrivilegeError> {
    let identity = match Identity::of(&settings.run_as) {
        Ok(Some(identity)) => identity,
        // A start as root may have made it.
        Ok(None) => {
            return Ok(Rehearsal { user: settings.run_as.user.clone(), state_made: true, audit_made: true });
        }
        Err(UserError::NotRoot { .. }) => return Ok(Rehearsal { user: None, state_made: true, audit_made: true }),
        Err(error) => return Err(error.into()),
    };
    let makes = |path: Option<&Path>| path.is_some_and(|path| is_within_reach(path, &identity).is_ok_and(|is| !is));
    let state_made = makes(settings.tls.state_dir.as_deref());
    let audit_made = makes(settings.audit.as_ref().map(|audit| &*audit.path));
    identity.assume(CapabilitySet::empty())?;
    Ok(Rehearsal { user: Some(identity.name().to_owned()), state_made, audit_made })
}

impl Rehearsal {
    /// What a start would fail at, each with its key and what to do.
    pub(in crate::app) fn problems(&self, settings: &Settings) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(audit) = &settings.audit {
            match AuditFile::check(&audit.path) {
                Err(error) => problems.push(error.to_string()),
                Ok(()) => {
                    problems.extend(self.unreachable(&audit.path, self.audit_made).map(said("audit_log.path")));
                }
            }
        }
        if settings.tls.certificates.is_empty() {
            problems.extend(self.state(settings).map(said("state_dir")));
        }
        problems
    }

    /// What goes wrong later on.
    pub(in crate::app) fn advice(&self, settings: &Settings, configuration: &Path) -> Vec<String> {
        let mut advice = Vec::new();
        if !settings.tls.certificates.is_empty() {
            let lost =
                |why| format!("state_dir: {why}. Until then a restart loses the bans and the codes that were used");
            advice.extend(self.state(settings).map(lost));
        }
        if let (Some(user), Err(error)) = (&self.user, std::fs::File::open(configuration)) {
            advice.push(format!("user: {user} may not read this file, and a reload will fail: {error}"));
        }
        advice
    }

    /// Why nothing can be kept in `state_dir`.
    fn state(&self, settings: &Settings) -> Option<String> {
        let (Some(user), Some(folder)) = (&self.user, settings.tls.state_dir.as_deref()) else { return None };
        if !folder.is_dir() {
            return self.unreachable(folder, self.state_made);
        }
        let writable = may(folder, AccessFlags::W_OK | AccessFlags::X_OK);
        let enough = settings.tls.certificates.is_empty() && keeps_self_signed(folder);
        let folder = folder.display();
        (!writable && !enough).then(|| format!("the user {user} may not write {folder}. chown -R {user} {folder}"))
    }

    /// Why what is not there cannot be made.
    fn unreachable(&self, path: &Path, made: bool) -> Option<String> {
        let user = self.user.as_ref()?;
        let path = std::path::absolute(path).ok().filter(|path| !path.exists())?;
        let above = path.ancestors().skip(1).find(|folder| folder.exists())?;
        let may_not = if !may(above, AccessFlags::X_OK) {
            "enter"
        } else if !made && !may(above, AccessFlags::W_OK) {
            "make anything in"
        } else {
            return None;
        };
        let above = above.display();
        Some(format!(
            "the user {user} may not {may_not} the folder {above}. chown {user} {above}, or write another path"
        ))
    }
}

fn said(key: &'static str) -> impl Fn(String) -> String {
    move |why| format!("{key}: {why}")
}

fn may(path: &Path, rights: AccessFlags) -> bool {
    access(path, rights).is_ok()
}
