//! Every client in front of every server, in every way: the matrix. Each cell is a test.
//!
//! `./tests/run` does the cells that begin with `fast`; `./tests/run --matrix` does all others and writes
//! `docs/interop.md` from what came of them. They need root and what `tests/peers/install` and `tests/matrix/install`
//! bring; `FTPS_GATEWAY_WITHOUT_PEERS=1` leaves them out. Clients are driven by `tests/matrix/drivers`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "peers/backend.rs"]
#[allow(dead_code, reason = "the peers use more of it")]
mod backend;
#[path = "matrix/bare.rs"]
mod bare;
#[path = "matrix/cell.rs"]
mod cell;
#[path = "matrix/cells.rs"]
mod cells;
#[path = "matrix/content.rs"]
mod content;
#[path = "matrix/driver.rs"]
mod driver;
#[path = "matrix/failure.rs"]
mod failure;
#[path = "peers/front.rs"]
mod front;
#[path = "matrix/outcome.rs"]
mod outcome;
#[path = "matrix/place.rs"]
mod place;
#[path = "matrix/report.rs"]
mod report;
#[path = "matrix/way.rs"]
mod way;
#[path = "matrix/words.rs"]
mod words;
#[path = "matrix/work/mod.rs"]
mod work;

use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Trial, run};

use crate::cells::Cell;
use crate::driver::{Driver, drivers};
use crate::work::Much;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("report") {
        return report::write(&everything());
    }
    let arguments = Arguments::from_args();
    let mut trials = selftests();
    if left_out() {
        eprintln!("skipped: FTPS_GATEWAY_WITHOUT_PEERS=1 leaves out the tests with real servers and clients");
    } else {
        trials.extend(wanted(&arguments).into_iter().flat_map(trial));
    }
    run(&arguments, trials).exit_code()
}

fn left_out() -> bool {
    std::env::var_os("FTPS_GATEWAY_WITHOUT_PEERS").is_some_and(|value| value == "1")
}

/// What the harness is built on holds, be there clients or not.
fn selftests() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        ("harness::words", words::selftest),
        ("harness::ways", way::selftest),
        ("harness::failures", failure::selftest),
        ("harness::cells", cells::selftest),
        ("harness::report", report::selftest),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

/// The cells of a driver, or why there are none.
type Cells = (Driver, Result<Vec<Cell>, String>);

/// All drivers' cells. Asking a client what it can takes a moment, so all are asked at once.
fn everything() -> Vec<Cells> {
    let asked = drivers().into_iter().enumerate().map(|(place, driver)| thread::spawn(move || cells_of(driver, place)));
    let asked: Vec<_> = asked.collect();
    asked.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// nextest starts a process for each test, by its full name: only that driver is asked then.
fn wanted(arguments: &Arguments) -> Vec<Cells> {
    let name = arguments.filter.as_deref().filter(|_| arguments.exact && !arguments.list);
    let Some(name) = name else { return everything() };
    let own = drivers().into_iter().enumerate().find(|(_, driver)| name.split("::").nth(1) == Some(&driver.name));
    own.map(|(place, driver)| cells_of(driver, place)).into_iter().collect()
}

fn cells_of(driver: Driver, place: usize) -> Cells {
    let cells = driver.can().and_then(|can| {
        let cells = cells::of(&driver, &can, place);
        if cells.is_empty() { Err(format!("{} has no way to come in: {can:?}", driver.name)) } else { Ok(cells) }
    });
    (driver, cells)
}

fn trial((driver, cells): Cells) -> Vec<Trial> {
    match cells {
        Ok(cells) => cells.into_iter().map(cell_trial).collect(),
        // A client that is not there fails every run that was to have it.
        Err(trouble) => vec![Trial::test(format!("fast::{}", driver.name), move || Err(trouble.into()))],
    }
}

/// Cells that are not fast are for `--run-ignored`.
fn cell_trial(cell: Cell) -> Trial {
    let slow = cell.much != Much::Fast;
    Trial::test(cell.name.clone(), move || cell::run(&cell).map_err(Into::into)).with_ignored_flag(slow)
}
