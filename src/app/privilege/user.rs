//! Taking another user, for good.

use std::ffi::CString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist, initgroups, setgroups, setresgid, setresuid, setuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
};

use super::{PrivilegeError, system};
use crate::config::RunAs;

/// `user` or `group` cannot be had. Names the key and what to do.
#[derive(Debug, thiserror::Error)]
pub(in crate::app) enum UserError {
    /// No such user or group.
    #[error("{key}: there is no {key} {name} on this machine. Create it, or write another")]
    Unknown {
        /// `user` or `group`.
        key: &'static str,
        /// What was written.
        name: String,
    },
    /// The system cannot say.
    #[error("{key}: {name} cannot be looked up: {source}")]
    LookUp {
        /// `user` or `group`.
        key: &'static str,
        /// What was written.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// It would change nothing.
    #[error("user: {0} is root. Write a user without rights")]
    Root(String),
    /// Only root becomes somebody else.
    #[error("user: only root can become {wanted}; this process is user {own}. Start it as root, or take user: out")]
    NotRoot {
        /// What was written.
        wanted: String,
        /// Who it is.
        own: u32,
    },
}

/// Whom the process becomes.
#[derive(Debug)]
pub(super) struct Identity {
    name: String,
    /// The system's own name, for the user's further groups. A number alone may have none.
    account: Option<CString>,
    uid: Uid,
    gid: Gid,
    /// All of them.
    groups: Vec<Gid>,
}

/// Whether the process has all rights.
pub(in crate::app) fn is_root() -> bool {
    geteuid().is_root()
}

/// The user that the process is, by name where there is one.
pub(super) fn own_name() -> String {
    let own = geteuid();
    User::from_uid(own).ok().flatten().map_or_else(|| own.to_string(), |user| user.name)
}

impl Identity {
    /// Looks user and group up. `None`: none is asked for, or the process is that user already.
    ///
    /// # Errors
    /// When they do not exist, or this process may not become them.
    pub(super) fn of(run_as: &RunAs) -> Result<Option<Self>, UserError> {
        let Some(name) = run_as.user.clone() else { return Ok(None) };
        let known = look_up("user", &name, User::from_name, |number| User::from_uid(Uid::from_raw(number)))?;
        let (uid, own_group) = match (&known, name.parse()) {
            (Some(user), _) => (user.uid, Some(user.gid)),
            (None, Ok(number)) => (Uid::from_raw(number), None),
            (None, Err(_)) => return Err(UserError::Unknown { key: "user", name }),
        };
        let gid = match (&run_as.group, own_group) {
            (Some(group), _) => group_of(group)?,
            (None, Some(gid)) => gid,
            // A number that no account has: the group of the same number, as containers have it.
            (None, None) => Gid::from_raw(uid.as_raw()),
        };
        if uid.is_root() {
            return Err(UserError::Root(name));
        }
        if !is_root() {
            let own = geteuid();
            return if own == uid { Ok(None) } else { Err(UserError::NotRoot { wanted: name, own: own.as_raw() }) };
        }
        let account = known.and_then(|user| CString::new(user.name).ok());
        let groups = account.as_ref().map_or_else(|| Ok(vec![gid]), |account| getgrouplist(account, gid));
        let groups =
            groups.map_err(|error| UserError::LookUp { key: "user", name: name.clone(), source: error.into() })?;
        Ok(Some(Self { name, account, uid, gid, groups }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    pub(super) fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// Whether this user has these rights (one digit of the mode), as far as mode bits tell: lists of access may say else.
    pub(super) fn may(&self, metadata: &Metadata, wanted: u32) -> bool {
        let mode = match () {
            () if metadata.uid() == self.uid() => metadata.mode() >> 6,
            () if self.groups.iter().any(|group| group.as_raw() == metadata.gid()) => metadata.mode() >> 3,
            () => metadata.mode(),
        };
        mode & wanted == wanted
    }

    /// Becomes this user and keeps these capabilities alone. There is no way back.
    ///
    /// # Errors
    /// What the system says. The process is then between two users and must end.
    pub(super) fn assume(&self, keep: CapabilitySet) -> Result<(), PrivilegeError> {
        // What is not in the bounding set comes back through no program that is started.
        for capability in CapabilitySet::all().difference(keep).iter() {
            // A kernel that does not know one says so, and a container may have taken the right to do this.
            if let Err(error) = remove_capability_from_bounding_set(capability) {
                tracing::trace!(%error, ?capability, "stays in the bounding set");
            }
        }
        set_keep_capabilities(!keep.is_empty()).map_err(system("capabilities cannot be kept"))?;
        match &self.account {
            Some(account) => initgroups(account, self.gid),
            None => setgroups(&[]),
        }
        .map_err(system("the groups cannot be changed"))?;
        setresgid(self.gid, self.gid, self.gid).map_err(system("the group cannot be changed"))?;
        setresuid(self.uid, self.uid, self.uid).map_err(system("the user cannot be changed"))?;
        let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).map_err(system("capabilities cannot be given up"))?;
        set_keep_capabilities(false).map_err(system("capabilities cannot be given up"))?;
        // Belief is good.
        if setuid(Uid::from_raw(0)).is_ok() {
            let source = io::Error::other("the process can become root again");
            return Err(PrivilegeError::System { what: "the user cannot be changed", source });
        }
        Ok(())
    }
}

fn group_of(name: &str) -> Result<Gid, UserError> {
    let known = look_up("group", name, Group::from_name, |number| Group::from_gid(Gid::from_raw(number)))?;
    match (known, name.parse()) {
        (Some(group), _) => Ok(group.gid),
        (None, Ok(number)) => Ok(Gid::from_raw(number)),
        (None, Err(_)) => Err(UserError::Unknown { key: "group", name: name.to_owned() }),
    }
}

/// By name, or by number where it is one.
fn look_up<T>(
    key: &'static str,
    name: &str,
    by_name: impl FnOnce(&str) -> nix::Result<Option<T>>,
    by_number: impl FnOnce(u32) -> nix::Result<Option<T>>,
) -> Result<Option<T>, UserError> {
    let found = match name.parse() {
        Ok(number) => by_number(number),
        Err(_) => by_name(name),
    };
    found.map_err(|error| UserError::LookUp { key, name: name.to_owned(), source: error.into() })
}
