//! The same without the gateway: whose fault a failure is.
//!
//! A failure that is not seen in the same way at the bare server is the gateway's. One that is, is the server's when
//! another server does not have it, and the client's when it does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::backend::{Backend, Kind, Security, Setup};
use crate::cells::{Cell, label, setup, speaks};
use crate::driver::Target;
use crate::failure::{Failure, Kind as Manner};
use crate::outcome::{Bare, Done, Verdict};
use crate::place::{IMPATIENT, Place};
use crate::work::Item;

/// After this nothing more is tried; what is not known by then is a defect.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Bare servers of one cell. They are started when they are needed first, and each item has fresh clients there.
pub(crate) struct Judge<'a> {
    cell: &'a Cell,
    /// The gateway insists that data connections resume, so the bare server must too.
    reuse: bool,
    /// For servers without TLS, whose clients want a file all the same.
    authority: PathBuf,
    folder: PathBuf,
    servers: Vec<Backend>,
    tries: usize,
    /// Servers that left this client waiting. They would again.
    mute: Vec<Setup>,
    began: Instant,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(cell: &'a Cell, reuse: bool, authority: PathBuf, folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        open_to_all(&folder);
        Self { cell, reuse, authority, folder, servers: Vec::new(), tries: 0, mute: Vec::new(), began: Instant::now() }
    }

    /// Says whose fault it is that an item failed. `before`: what the same client had done until then.
    pub(crate) fn judge(&mut self, item: &Item, failure: Failure, before: &[&Item]) -> Done {
        let mut done = Done::defect(item.name, failure.clone());
        let own = self.cell.setup.kind;
        let other = if own == Kind::Proftpd { Kind::Vsftpd } else { Kind::Proftpd };
        let excused = self.fails_at(own, item, &failure, before, &mut done.bare);
        if excused == Some(false) {
            return done;
        }
        let elsewhere = self.fails_at(other, item, &failure, before, &mut done.bare);
        done.verdict = match (excused, elsewhere) {
            (_, Some(true)) => Verdict::Client,
            (Some(true), _) => Verdict::Server,
            (_, _) => Verdict::Defect,
        };
        done
    }

    /// Whether it fails in the same way there: alone, or if it does not fail then, after all that the client had done
    /// before. Where it fails in another way, nothing is known of this one: the next kind of TLS is tried, and none at
    /// last. None: this client cannot talk to this server without a gateway.
    fn fails_at(
        &mut self,
        kind: Kind,
        item: &Item,
        failure: &Failure,
        before: &[&Item],
        tries: &mut Vec<Bare>,
    ) -> Option<bool> {
        let mut known = None;
        for (setup, tls) in self.setups(kind) {
            let would_wait = self.mute.contains(&setup) && failure.kind != Manner::Silent;
            // Without TLS there is nothing to resume, so nothing is shown.
            let besides = failure.is_unresumed() && setup.security == Security::None;
            if would_wait || besides {
                continue;
            }
            let start = Instant::now();
            let mut bare = self.try_at(setup, tls, item, &[], failure)?;
            let mut same = bare.failure.as_ref().is_some_and(|other| other.is_like(failure));
            if bare.failure.is_none() && !before.is_empty() {
                bare = self.try_at(setup, tls, item, before, failure)?;
                same = bare.failure.as_ref().is_some_and(|other| other.is_as(failure));
            }
            let well = bare.failure.is_none();
            if !well && start.elapsed() >= IMPATIENT {
                self.mute.push(setup);
            }
            tries.push(bare);
            known = Some(same);
            if same || well {
                break;
            }
        }
        known
    }

    /// None when the time is over.
    fn try_at(
        &mut self,
        setup: Setup,
        tls: &'static str,
        item: &Item,
        before: &[&Item],
        wanted: &Failure,
    ) -> Option<Bare> {
        if self.began.elapsed() > LIMIT {
            return None;
        }
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
        let authority = backend.authority.clone().unwrap_or_else(|| self.authority.clone());
        let way = crate::way::Way { tls, ..self.cell.way };
        let login = (&*backend.user, &*backend.password);
        let address = backend.address.parse().unwrap();
        let target = Target::new(way, self.cell.host(), address, &authority, login);
        self.tries += 1;
        let folder = self.folder.join(format!("try-{}", self.tries));
        let mut place = Place::new(&self.cell.driver, target, backend, None, folder);
        // Silence is waited for only where there was silence before.
        if wanted.kind != Manner::Silent {
            place.patience = IMPATIENT;
        }
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

    /// The server with the client's own TLS, with the other, without.
    fn setups(&self, kind: Kind) -> Vec<(Setup, &'static str)> {
        let Cell { way, can, .. } = self.cell;
        let explicit = (Security::Explicit, "explicit");
        let implicit = (Security::Implicit, "implicit");
        let order = if way.tls == "implicit" { [implicit, explicit] } else { [explicit, implicit] };
        let both_have = |(security, tls): &(Security, &str)| speaks(kind, *security) && can.has(tls);
        let setup = |(security, tls)| {
            let own = setup(kind, security);
            let own = if way.ipv6 { own.on_ipv6() } else { own };
            (Setup { reuse: own.reuse && self.reuse, clear: !way.private, ..own }, tls)
        };
        order.into_iter().chain([(Security::None, "none")]).filter(both_have).map(setup).collect()
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
