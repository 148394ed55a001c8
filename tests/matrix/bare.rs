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

    /// Says whose fault it is that an item failed.
    pub(crate) fn judge(&mut self, item: &Item, failure: Failure) -> Done {
        let mut done = Done::defect(item.name, failure);
        let same = |bare: &Bare, done: &Done| {
            bare.failure.as_ref().is_some_and(|other| done.failure.as_ref().is_some_and(|own| own.is_like(other)))
        };
        let own = self.cell.setup.kind;
        let reference = if own == Kind::Proftpd { Kind::Vsftpd } else { Kind::Proftpd };
        let first = self.try_at(own, item);
        let excused = first.as_ref().is_some_and(|bare| same(bare, &done));
        let tried = first.is_some();
        done.bare.extend(first);
        if tried && !excused {
            return done;
        }
        let second = self.try_at(reference, item);
        let alike = second.as_ref().is_some_and(|bare| same(bare, &done));
        done.bare.extend(second);
        if alike {
            done.verdict = Verdict::Client;
        } else if excused {
            done.verdict = Verdict::Server;
        }
        done
    }

    /// None: this client cannot talk to this server without a gateway.
    fn try_at(&mut self, kind: Kind, item: &Item) -> Option<Bare> {
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
        let failure = (item.work)(&mut place).err();
        if let Some(failure) = &failure {
            eprintln!("--- {} at {} without the gateway: {failure}\n{}", item.name, label(setup), place.log());
        }
        let more = if setup.reuse { ", session reuse required" } else { "" };
        Some(Bare { server: format!("{}{more}", label(setup)), failure })
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
