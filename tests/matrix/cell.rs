//! One cell: its server and gateway are started, its list of work is done, what came of it is written down.

use std::env;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::backend::Backend;
use crate::bare::{Judge, open_to_all};
use crate::cells::Cell;
use crate::driver::Target;
use crate::failure::Failure;
use crate::front::{Front, Wishes};
use crate::outcome::{Done, Outcome, Verdict};
use crate::place::{Place, tail};
use crate::work::{ITEMS, Item};

/// After this no further item begins. nextest's own limit is a little later, see `.config/nextest.toml`.
const LIMIT: Duration = Duration::from_secs(7 * 60);

/// Does the cell. The error is for whoever reads the tests' output.
pub(crate) fn run(cell: &Cell) -> Result<(), String> {
    let wishes = wishes(cell);
    let Wishes { data, resumption, truncated, back, .. } = wishes;
    let gateway =
        format!("data: {data}, data_resumption: {resumption}, truncated_uploads: {truncated}, backend data: {back}");
    let mut outcome = Outcome::new(cell, cell.driver.version(), gateway);
    // Stands if this process is killed.
    outcome.done.push(Done::defect("the cell", Failure::wrong("cell", "it did not come to its end".into())));
    outcome.write();
    let done = catch_unwind(AssertUnwindSafe(|| all(cell, wishes)));
    outcome.done = done.unwrap_or_else(|panic| vec![panicked("the cell", &*panic)]);
    outcome.write();
    let defects = outcome.done.iter().filter(|done| done.verdict == Verdict::Defect);
    let told: Vec<_> = defects.map(|done| format!("{}: {}", done.item, done.failure.as_ref().unwrap())).collect();
    if outcome.has_defect() { Err(told.join("\n")) } else { Ok(()) }
}

/// Where the client resumes and the server insists on it, the gateway insists too: then the bare server shows whether the
/// client keeps up with it.
fn wishes(cell: &Cell) -> Wishes {
    let insists = cell.setup.reuse || cell.strict;
    let resumption = if insists && cell.can.resumes(cell.way) { "require" } else { "prefer" };
    let truncated = if cell.strict && !cell.can.has("truncates") { "reject" } else { "tolerate" };
    let data = if cell.way.private { "required" } else { "optional" };
    Wishes { data, resumption, truncated, back: cell.back, ..Wishes::default() }
}

fn all(cell: &Cell, wishes: Wishes) -> Vec<Done> {
    let folder = scratch();
    let log = folder.path().join("gateway.log");
    log_to(&log);
    let backend = cell.setup.start(&folder.path().join("backend"));
    let front = Front::start(&backend, wishes, folder.path());
    let address = front.address(&format!("{}{}", cell.way.tls, if cell.way.ipv6 { 6 } else { 4 }));
    let target = Target::new(cell.way, cell.host(), address, &front.authority, (&backend.user, &backend.password));
    let mut place = Place::new(&cell.driver, target, &backend, Some(&front), folder.path().join("local"));
    let (mut done, open) = work(cell, &mut place);
    done.push(by_itself("nothing left", place.leave().and_then(|()| place.comes_to_rest())));
    done.push(resumption(cell, &front));
    done.push(host(cell, &log));
    drop(place);
    let authority = front.authority.clone();
    let ended = catch_unwind(AssertUnwindSafe(|| end(front, backend)));
    done.extend(ended.err().map(|panic| panicked("nothing left", &*panic)));
    let mut judge = Judge::new(cell, wishes.resumption == "require", authority, folder.path().join("bare"));
    for Open { at, item, failure, before } in open {
        done[at] = judge.judge(item, failure, &before);
        eprintln!("{}: {:?}, {:?}", item.name, done[at].verdict, done[at].bare);
    }
    if done.iter().any(|done| done.verdict == Verdict::Defect) {
        eprintln!("--- the gateway's log\n{}", tail(&log, 12_000));
    }
    done
}

/// A folder that is gone with the value. A process that was killed could not remove its own, so the next one does.
fn scratch() -> TempDir {
    const PREFIX: &str = "ftps-gateway-matrix-";
    for entry in fs::read_dir(env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", process::id())).tempdir().unwrap();
    open_to_all(folder.path());
    folder
}

/// A failure whose fault is not known yet, and what the same client had done until then.
struct Open {
    at: usize,
    item: &'static Item,
    failure: Failure,
    before: Vec<&'static Item>,
}

fn work(cell: &Cell, place: &mut Place<'_>) -> (Vec<Done>, Vec<Open>) {
    let began = Instant::now();
    let (mut all, mut open, mut before) = (Vec::new(), Vec::new(), Vec::new());
    for item in ITEMS.iter().filter(|item| item.least <= cell.much) {
        if !item.needs.iter().all(|word| cell.can.has(word)) {
            all.push(Done::plainly(item.name, Verdict::Cannot));
            continue;
        }
        if began.elapsed() > LIMIT {
            let text = "the cell's time was over before it".into();
            all.push(Done::defect(item.name, Failure::wrong("cell", text)));
            continue;
        }
        let start = Instant::now();
        let worked = (item.work)(place);
        eprintln!("{}: {:?}, {worked:?}", item.name, start.elapsed());
        match worked {
            Ok(()) => {
                before.push(item);
                all.push(Done::plainly(item.name, Verdict::Ok));
            }
            Err(failure) => {
                eprintln!("--- the client's log\n{}", place.log());
                place.forget();
                open.push(Open { at: all.len(), item, failure: failure.clone(), before: before.clone() });
                all.push(Done::defect(item.name, failure));
            }
        }
        if !place.has_client() {
            before.clear();
        }
    }
    (all, open)
}

/// Clients that say that they resume have done so.
fn resumption(cell: &Cell, front: &Front) -> Done {
    let name = "resumption";
    if !cell.can.resumes(cell.way) {
        return Done::plainly(name, Verdict::Cannot);
    }
    let labels = ["leg=\"front\"", "channel=\"data\"", "kind=\"resumed\"", "result=\"ok\""];
    let resumed = front.count("tls_handshakes_total", &labels) > 0;
    let seen = resumed.then_some(()).ok_or_else(|| Failure::wrong(name, "no data connection resumed".into()));
    by_itself(name, seen)
}

/// Clients that say that they send HOST have sent it.
fn host(cell: &Cell, log: &Path) -> Done {
    if !cell.strict || !cell.can.has("host") {
        return Done::plainly("HOST", Verdict::Cannot);
    }
    let sent = fs::read_to_string(log).unwrap().contains("verb=\"HOST\"");
    by_itself("HOST", sent.then_some(()).ok_or_else(|| Failure::wrong("HOST", "no HOST was sent".into())))
}

fn by_itself(name: &str, seen: Result<(), Failure>) -> Done {
    match seen {
        Ok(()) => Done::plainly(name, Verdict::Ok),
        Err(failure) => Done::defect(name, failure),
    }
}

fn end(front: Front, backend: Backend) {
    front.end();
    backend.end();
}

fn panicked(item: &str, panic: &(dyn std::any::Any + Send)) -> Done {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Done::defect(item, Failure::wrong("cell", text.unwrap_or_default()))
}

/// The gateway logs into a file. One process is one cell.
fn log_to(path: &Path) {
    let file = Arc::new(File::create(path).unwrap());
    let lines = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG);
    let _ = tracing::subscriber::set_global_default(lines.with_writer(file).finish());
}
