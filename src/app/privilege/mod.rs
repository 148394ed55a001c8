//! What the process may do, and how it comes to be little.
//!
//! Order: keys cannot land in a core file → ports below 1024 are bound → what is missing is [`made`] → user, group and
//! capabilities are given up → no program can give them back → files are closed but for those that [`files`] lists. All of
//! it before a second thread runs: on Linux credentials, capabilities and Landlock are each thread's own, and a new thread
//! takes those of the one that makes it.
//!
//! Certificates, keys and everything else are read after that. So what cannot be read on the next SIGHUP cannot be read at
//! start either, where somebody looks.

mod files;
mod made;
mod rehearsal;
mod user;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetStatus, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};

use files::Files;
pub(super) use rehearsal::rehearse;
pub(super) use user::is_root;
use user::{Identity, UserError};

use crate::config::Settings;
use crate::data::SourcePort;

/// The newest of Landlock's rules that this code knows; an older kernel does what it can.
const RULES: ABI = ABI::V5;

/// What the process has left, for a reload to be measured by.
#[derive(Debug)]
pub(super) struct Privileges {
    /// Landlock is in force, and these can still be reached.
    files: Option<Files>,
    /// Ports below 1024 can still be bound.
    low_ports: bool,
}

/// A privilege cannot be given up: then nothing is served.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivilegeError {
    /// `user` or `group`.
    #[error("{0}")]
    User(#[from] UserError),
    /// The system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> PrivilegeError {
    move |error| PrivilegeError::System { what, source: error.into() }
}

/// Memory that holds keys goes into no core file, and other processes of the same user cannot read it.
///
/// # Errors
/// What the system says.
pub(super) fn keep_memory_private() -> Result<(), PrivilegeError> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(system("core files cannot be switched off"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(system("the memory cannot be kept private"))
}

/// Gives up what serving does not need. Ports below 1024 are bound by now; this thread is the only one.
///
/// # Errors
/// When `user` or `group` cannot be taken, or the system refuses.
pub(super) fn give_up(settings: &Settings, configuration: &Path) -> Result<Privileges, PrivilegeError> {
    let identity = Identity::of(&settings.run_as)?;
    if let Some(identity) = &identity {
        made::as_root(settings, identity);
    }
    let wants_low_ports = settings.data.active == Some(SourcePort::FtpData);
    let keep = if wants_low_ports { CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::empty() };
    match &identity {
        Some(identity) => {
            identity.assume(keep)?;
            tracing::info!(user = identity.name(), uid = identity.uid(), gid = identity.gid(), "running as");
        }
        // Root without `user` stays root, and has been told so.
        None if is_root() => {}
        None => restrict_capabilities(keep)?,
    }
    set_no_new_privs(true).map_err(system("new privileges cannot be ruled out"))?;
    // Taking another user has switched it on again.
    keep_memory_private()?;
    made::as_oneself(settings);
    let held = capabilities(None).map_err(system("capabilities cannot be read"))?;
    let low_ports = held.effective.contains(CapabilitySet::NET_BIND_SERVICE);
    let files = Files::of(settings, configuration);
    let closed = close(&files).map_err(|error| PrivilegeError::System {
        what: "files cannot be closed (Landlock)",
        source: io::Error::other(error),
    })?;
    Ok(Privileges { files: closed.then_some(files), low_ports })
}

impl Privileges {
    /// What else may be behind a file that cannot be read: the system says the same whoever forbids it.
    pub(super) fn hint(&self, problem: &str) -> &'static str {
        let denied = ["may not be read", "Permission denied"].iter().any(|words| problem.contains(words));
        if denied && self.files.is_some() {
            " Where it may: its folder was not open at start (Landlock). Restart instead of reloading."
        } else {
            ""
        }
    }

    /// Why these settings cannot be put in force by this process, each with what to do.
    pub(super) fn missing_for(&self, settings: &Settings, configuration: &Path) -> Vec<String> {
        let mut missing = Vec::new();
        if settings.data.active == Some(SourcePort::FtpData) && !self.low_ports {
            missing
                .push("active.source_port: ports below 1024 have been given up. Restart instead of reloading".into());
        }
        if let Some(open) = &self.files {
            let wanted = Files::of(settings, configuration);
            let closed = |path: &Path| match path.display() {
                folder if wanted.appended.contains(path) => format!(
                    "audit_log.path: {folder} lies where nothing may be written since the start (Landlock). Write a path in {}, \
                     or restart: a restart loses what could not be written",
                    open.for_lines().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" or ")
                ),
                path => format!(
                    "{path} lies where nothing may be read since the start (Landlock). Restart instead of reloading"
                ),
            };
            missing.extend(wanted.not_in(open).map(closed));
        }
        missing
    }
}

/// A process that is not root may have been given capabilities by whoever started it.
fn restrict_capabilities(keep: CapabilitySet) -> Result<(), PrivilegeError> {
    let held = capabilities(None).map_err(system("capabilities cannot be read"))?;
    let kept = held.permitted & keep;
    clear_ambient_capability_set().map_err(system("capabilities cannot be given up"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(system("capabilities cannot be given up"))
}

/// Closes everything but `files` to this thread and those it will make. `false`: the kernel cannot.
fn close(files: &Files) -> Result<bool, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write =
        read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::MakeDir | AccessFs::RemoveFile;
    let append = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::MakeReg;
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .create()?;
    let ruleset = open(ruleset, &files.read, read)?;
    let ruleset = open(ruleset, &files.appended, append)?;
    let status = open(ruleset, &files.written, write)?.restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => tracing::info!("files are closed but for those that are needed (Landlock)"),
        RulesetStatus::PartiallyEnforced => {
            tracing::info!("files are closed but for those that are needed, as far as this kernel can (Landlock)");
        }
        RulesetStatus::NotEnforced => {
            tracing::warn!("this kernel has no Landlock: whoever takes the process over reads what its user may read");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Paths that are not there are left out.
fn open(
    ruleset: RulesetCreated,
    paths: &BTreeSet<PathBuf>,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    ruleset.add_rules(path_beneath_rules(paths, access))
}
