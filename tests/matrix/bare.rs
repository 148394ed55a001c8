//! The same without the gateway: whose fault a failure is.
//!
//! A failure that is not seen in the same way at the bare server is the gateway's. One that is, is the server's when
//! another server does not have it, and the client's when it does.

use std::path::PathBuf;

use crate::backend::{Backend, Kind, Security, Setup};
use crate::cells::{Cell, label, setup, speaks};
use crate::driver::Target;
use crate::failure::Failure;
use crate::outcome::{Bare, Done, Verdict};
use crate::place::Place;
use crate::work::Item;

/// Bare servers of one cell. They are started when they are needed first, and each item has fresh clients there.
pub(crate) struct Judge<'a> {
    cell: &'a Cell,
    /// The gateway insists that data connections resume, so the bare server must too.
    reuse: bool,
    folder: PathBuf,
    servers: Vec<Backend>,
    tries: usize,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(cell: &'a Cell, reuse: bool, folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        open_to_all(&folder);
        Self { cell, reuse, folder, servers: Vec::new(), tries: 0 }
    }

    /// Says whose fault it is that an item failed. `before`: what the same client had done until then.
    pub(crate) fn judge(&mut self, item: &Item, failure: Failure, before: &[&Item]) -> Done {
        let mut done = Done::defect(item.name, failure.clone());
        let own = self.cell.setup.kind;
        let reference = if own == Kind::Proftpd { Kind::Vsftpd } else { Kind::Proftpd };
        let excused = self.fails_at(own, item, &failure, before, &mut done.bare);
        if excused == Some(false) {
            return done;
        }
        done.verdict = match (excused, self.fails_at(reference, item, &failure, before, &mut done.bare)) {
            (_, Some(true)) => Verdict::Client,
            (Some(true), _) => Verdict::Server,
            (_, _) => Verdict::Defect,
        };
        done
    }

    /// Whether it fails in the same way there: alone, or if not, after all that the client had done before. None: this
    /// client cannot talk to this server without a gateway.
    fn fails_at(
        &mut self,
        kind: Kind,
        item: &Item,
        failure: &Failure,
        before: &[&Item],
        tries: &mut Vec<Bare>,
    ) -> Option<bool> {
        let alone = self.try_at(kind, item, &[], failure)?;
        let same = alone.failure.as_ref().is_some_and(|other| other.is_like(failure));
        if same || before.is_empty() {
            tries.push(alone);
            return Some(same);
        }
        let later = self.try_at(kind, item, before, failure)?;
        let same = later.failure.as_ref().is_some_and(|other| other.is_as(failure));
        // What went well alone is no evidence when the rest tells it.
        tries.extend((!same).then_some(alone));
        tries.push(later);
        Some(same)
    }

    fn try_at(&mut self, kind: Kind, item: &Item, before: &[&Item], wanted: &Failure) -> Option<Bare> {
        let (setup, tls) = self.nearest(kind)?;
        let server = match self.servers.iter().position(|server| server.setup == setup) {
            Some(at) => at,
            None => {
                let folder = self.folder.join(format!("server-{}", self.servers.len()));
                self.servers.push(setup.start(&folder));
                self.servers.len() - 1
            }
        };
        let backend = &self.servers[server];
        clear(&backend.root);
        let authority = backend.authority.clone().unwrap_or_else(|| self.folder.join("none.pem"));
        let way = crate::way::Way { tls, ..self.cell.way };
        let login = (&*backend.user, &*backend.password);
        let target = Target::new(way, backend.address.parse().unwrap(), &authority, login);
        self.tries += 1;
        let folder = self.folder.join(format!("try-{}", self.tries));
        let mut place = Place::new(&self.cell.driver, target, backend, None, folder);
        // It may come earlier or later than with the gateway in between.
        let earlier = before.iter().filter_map(|item| (item.work)(&mut place).err()).find(|other| other.is_as(wanted));
        let failure = earlier.or_else(|| (item.work)(&mut place).err());
        if let Some(failure) = &failure {
            eprintln!("--- {} at {} without the gateway: {failure}\n{}", item.name, label(setup), place.log());
        }
        let reuse = if setup.reuse { ", session reuse required" } else { "" };
        let after = if before.is_empty() { "" } else { ", after the same work as before" };
        Some(Bare { server: format!("{}{reuse}{after}", label(setup)), failure })
    }

    /// The server with the client's own TLS, or else with what both have.
    fn nearest(&self, kind: Kind) -> Option<(Setup, &'static str)> {
        let Cell { way, can, .. } = self.cell;
        let explicit = (Security::Explicit, "explicit");
        let implicit = (Security::Implicit, "implicit");
        let order = if way.tls == "implicit" { [implicit, explicit] } else { [explicit, implicit] };
        let candidates = order.into_iter().chain([(Security::None, "none")]);
        let (security, tls) = candidates.into_iter().find(|(security, tls)| speaks(kind, *security) && can.has(tls))?;
        let own = setup(kind, security);
        let own = if way.ipv6 { own.on_ipv6() } else { own };
        Some((Setup { reuse: own.reuse && self.reuse, clear: !way.private, ..own }, tls))
    }
}

/// What an earlier item left there would be in the way.
fn clear(root: &std::path::Path) {
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap();
    }
}

/// Servers run as users of their own, who must be able to pass.
pub(crate) fn open_to_all(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711)).unwrap();
}
