//! Which cells there are. The same drivers that can the same make the same cells, in every run.
//!
//! - `server::DRIVER::SERVER`: every driver in front of every server, coming in another way at each. All work.
//! - `way::DRIVER::WAY`: every driver in every way it has, in front of one server. The work that a way could matter for.
//! - `name::DRIVER`: every driver by the server's name instead of its address, so with SNI, and with HOST from those that
//!   send it; and held to all that it is known to do, see [`Cell::strict`].
//! - `fast::DRIVER`: every driver once, with little work. These are in every run of the tests.

use crate::backend::{Kind, Security, Setup};
use crate::driver::Driver;
use crate::way::{Can, Data, Way};
use crate::work::Much;

/// One client, one server, one way.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) driver: Driver,
    pub(crate) can: Can,
    pub(crate) setup: Setup,
    /// `data` of the backend.
    pub(crate) back: &'static str,
    pub(crate) way: Way,
    /// It is told a name to connect to, and the gateway is as strict as this client can bear: data connections must
    /// resume, and an upload without `close_notify` is a cut.
    pub(crate) strict: bool,
    pub(crate) much: Much,
}

impl Cell {
    /// Where the client is told to connect to.
    pub(crate) fn host(&self) -> &'static str {
        if self.strict { "localhost" } else { self.way.host() }
    }
}

const KINDS: [Kind; 5] = [Kind::Vsftpd, Kind::Proftpd, Kind::Pureftpd, Kind::Pyftpdlib, Kind::Inetutils];

/// Every server as it can be set up.
pub(crate) fn setups() -> Vec<Setup> {
    let all = KINDS.into_iter().flat_map(|kind| {
        [Security::None, Security::Explicit, Security::Implicit]
            .into_iter()
            .filter(move |security| speaks(kind, *security))
            .map(move |security| setup(kind, security))
    });
    all.collect()
}

/// A server that demands session reuse where it can.
pub(crate) fn setup(kind: Kind, security: Security) -> Setup {
    match security {
        Security::None => Setup::plain(kind),
        Security::Explicit | Security::Implicit => Setup::tls(kind, security, "1.3"),
    }
}

/// Whether the server has this.
pub(crate) fn speaks(kind: Kind, security: Security) -> bool {
    match security {
        Security::None => true,
        Security::Explicit => kind != Kind::Inetutils,
        Security::Implicit => !matches!(kind, Kind::Inetutils | Kind::Pureftpd),
    }
}

/// What a server's row or column is called.
pub(crate) fn label(setup: Setup) -> String {
    let security = match setup.security {
        Security::None => "plain",
        Security::Explicit => "explicit",
        Security::Implicit => "implicit",
    };
    format!("{}-{security}", setup.kind.label())
}

/// All cells of one driver, which has its place among the others.
pub(crate) fn of(driver: &Driver, can: &Can, place: usize) -> Vec<Cell> {
    let ways = can.ways();
    if ways.is_empty() {
        return Vec::new();
    }
    let cell = |name: String, setup: Setup, number: usize, way: Way, much: Much| Cell {
        name,
        driver: driver.clone(),
        can: can.clone(),
        setup: if number % 5 == 2 { setup.on_ipv6() } else { setup },
        back: back(setup, number),
        way,
        strict: false,
        much,
    };
    let setups = setups();
    let mut cells = Vec::new();
    for (number, setup) in setups.iter().enumerate() {
        let name = format!("server::{}::{}", driver.name, label(*setup));
        let much = if number == place % setups.len() { Much::Large } else { Much::Full };
        // Seven has no factor in common with most counts of ways, so most of them have their turn.
        let way = ways[(number * 7 + place) % ways.len()];
        cells.push(cell(name, *setup, number + place, way, much));
    }
    for (number, way) in ways.iter().enumerate() {
        let name = format!("way::{}::{way}", driver.name);
        cells.push(cell(name, setup(Kind::Proftpd, Security::None), number, *way, Much::Way));
    }
    // The name stands for 127.0.0.1.
    let passive = |way: &&Way| way.private && !way.ipv6 && matches!(way.data, Data::Pasv | Data::Epsv);
    let by_name: Vec<_> = ways.iter().filter(passive).collect();
    if !by_name.is_empty() {
        let way = *by_name[place % by_name.len()];
        let plain = setup(Kind::Proftpd, Security::None);
        cells.push(Cell { strict: true, ..cell(format!("name::{}", driver.name), plain, 0, way, Much::Way) });
    }
    let (setup, way) = (setups[place * 5 % setups.len()], ways[place * 3 % ways.len()]);
    cells.push(cell(format!("fast::{}", driver.name), setup, place, way, Much::Fast));
    cells
}

/// When pyftpdlib 2.2.0 has opened a data connection itself, it takes that descriptor out of its poll once more at the
/// session's next PORT, whoever has the number by then (`ActiveDTP` hands its socket over and is closed later). So a
/// transfer of another session stalls now and then, also without a gateway.
fn back(setup: Setup, number: usize) -> &'static str {
    if number % 3 == 1 && setup.kind != Kind::Pyftpdlib { "active" } else { "auto" }
}

/// No cell comes twice, and the 256 MiB are in one.
pub(crate) fn selftest() {
    assert_eq!(setups().len(), 12);
    let driver = Driver::named("some");
    let can = Can::read("explicit implicit tls1.2 tls1.3 pasv epsv port+tls eprt+tls ipv6 P C");
    for place in 0..20 {
        let cells = of(&driver, &can, place);
        let names: std::collections::BTreeSet<_> = cells.iter().map(|cell| &cell.name).collect();
        assert_eq!((names.len(), cells.len()), (12 + 30 + 1 + 1, 12 + 30 + 1 + 1));
        assert_eq!(cells.iter().filter(|cell| cell.much == Much::Large).count(), 1);
    }
}
