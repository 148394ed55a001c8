//! The matrix: one test for each server × TLS behind × client × way, which does the whole list of work.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::backend::{Kind, Security, Setup};
use crate::client::{Client, Data, Target, Way};
use crate::curl::Curl;
use crate::front::{Front, Wishes};
use crate::ftplib::Ftplib;
use crate::lftp::Lftp;
use crate::work::Place;

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Curl,
    Lftp,
    /// ftplib as it is: no data connection resumes.
    Ftplib,
    /// ftplib as many people patch it, for servers that want resumption.
    Resuming,
}

/// How much of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Much {
    /// All.
    All,
    /// All, also with 64 MiB.
    Large,
    /// A little.
    Little,
}

/// A folder that is gone with the value. FTP users of their own must be able to pass through it.
pub(crate) fn scratch() -> tempfile::TempDir {
    let passable = std::fs::Permissions::from_mode(0o711);
    tempfile::Builder::new().prefix("peers").permissions(passable).tempdir().unwrap()
}

fn cell(setup: Setup, back: &'static str, who: Who, way: Way, much: Much) {
    if crate::left_out() {
        return;
    }
    let folder = scratch();
    let backend = setup.start(&folder.path().join("backend"));
    // Where the client can resume the control connection's session each time, the gateway insists. OpenSSL marks a TLS
    // 1.3 session as used up when it has been resumed once, and curl keeps only the newest: after an upload, whose
    // ticket it does not read, it has none left.
    let resumption = match who {
        Who::Lftp | Who::Resuming => "require",
        Who::Curl if way.version == "1.2" => "require",
        Who::Curl | Who::Ftplib => "prefer",
    };
    let clear = who == Who::Curl && way.data.is_active();
    let wishes = Wishes { data: if clear { "optional" } else { "required" }, resumption, back, ..Wishes::default() };
    let front = Front::start(&backend, wishes, folder.path());
    let local = folder.path().join("local");
    std::fs::create_dir(&local).unwrap();
    let target = Target::new(&front, way, &backend.user, &backend.password, folder.path());
    let place = Place { backend: &backend, front: &front, local: &local };
    let work = |client: &mut dyn Client| match much {
        Much::All => place.all(client, false),
        Much::Large => place.all(client, true),
        Much::Little => place.little(client),
    };
    match who {
        Who::Curl => work(&mut Curl(target)),
        Who::Lftp => {
            let mut lftp = Lftp(target);
            work(&mut lftp);
            if much != Much::Little {
                mirrors(&lftp, &place, folder.path());
            }
        }
        Who::Ftplib => work(&mut Ftplib::start(target, false)),
        Who::Resuming => work(&mut Ftplib::start(target, true)),
    }
    backend_resumed(&front, setup);
    front.end();
    backend.end();
}

/// `mirror` both ways with four in parallel.
fn mirrors(lftp: &Lftp, place: &Place<'_>, folder: &Path) {
    let (there, back) = (folder.join("tree"), folder.join("tree-back"));
    for (number, size) in [0, 1, 1000, 70_000, 300_000].into_iter().cycle().take(40).enumerate() {
        let folder = there.join(format!("folder {}", number % 3));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("file {number}")), crate::work::bytes(size, number as u64)).unwrap();
    }
    lftp.mirror(true, &there, Path::new("tree"));
    lftp.mirror(false, Path::new("tree"), &back);
    for copy in [&place.backend.root.join("tree"), &back] {
        let mut command = std::process::Command::new("diff");
        crate::client::run(command.arg("--recursive").arg(&there).arg(copy));
    }
}

/// Every data connection with a backend under TLS resumed its control connection's session, if the backend can.
fn backend_resumed(front: &Front, setup: Setup) {
    let shakes = |kind: &str| front.count("tls_handshakes_total", &["leg=\"back\"", "channel=\"data\"", kind]);
    let counted = (shakes("kind=\"full\"") > 0, shakes("kind=\"resumed\"") > 0);
    let tls = setup.security != Security::None;
    let expected = if setup.resumes() { (false, tls) } else { (tls, false) };
    assert_eq!(counted, expected, "(full, resumed) handshakes of data connections with {setup:?}");
}

macro_rules! cells {
    ($($name:ident: $setup:expr, $back:literal, $who:ident, $tls:ident $version:literal $family:ident $data:ident, $much:ident;)+) => {
        $(#[test]
        fn $name() {
            let implicit = stringify!($tls) == "implicit";
            let way = Way { implicit, version: $version, ipv6: stringify!($family) == "v6", data: Data::$data };
            cell($setup, $back, Who::$who, way, Much::$much);
        })+
    };
}

const VSFTPD: Setup = Setup::plain(Kind::Vsftpd);
const PROFTPD: Setup = Setup::plain(Kind::Proftpd);
const PUREFTPD: Setup = Setup::plain(Kind::Pureftpd);
const PYFTPDLIB: Setup = Setup::plain(Kind::Pyftpdlib);
const INETUTILS: Setup = Setup::plain(Kind::Inetutils);

const fn explicit(kind: Kind) -> Setup {
    Setup::tls(kind, Security::Explicit, "1.3")
}

const fn explicit12(kind: Kind) -> Setup {
    Setup::tls(kind, Security::Explicit, "1.2")
}

const fn implicit(kind: Kind) -> Setup {
    Setup::tls(kind, Security::Implicit, "1.3")
}

// test:               server, its data connections; client, its TLS, its data connections; how much work
cells! {
    vsftpd_curl: VSFTPD, "auto", Curl, explicit "1.3" v4 Epsv, Large;
    vsftpd_lftp: VSFTPD, "auto", Lftp, explicit "1.2" v4 Pasv, All;
    vsftpd_ftplib: VSFTPD, "auto", Ftplib, explicit "1.3" v4 Pasv, All;
    vsftpd_resuming_active: VSFTPD, "active", Resuming, implicit "1.2" v4 Port, All;
    vsftpd_ipv6_curl: VSFTPD.on_ipv6(), "auto", Curl, implicit "1.2" v4 Pasv, All;
    vsftpd_ipv6_lftp: VSFTPD.on_ipv6(), "active", Lftp, implicit "1.3" v6 Epsv, All;
    vsftpd_tls_curl: explicit(Kind::Vsftpd), "auto", Curl, explicit "1.3" v4 Epsv, Large;
    vsftpd_tls_lftp: explicit(Kind::Vsftpd), "auto", Lftp, implicit "1.3" v4 Epsv, All;
    vsftpd_tls_resuming: explicit(Kind::Vsftpd), "active", Resuming, implicit "1.3" v4 Pasv, All;
    vsftpd_tls12_curl: explicit12(Kind::Vsftpd), "auto", Curl, explicit "1.2" v6 Epsv, All;
    vsftpd_tls12_lftp: explicit12(Kind::Vsftpd), "active", Lftp, explicit "1.3" v4 Port, All;
    vsftpd_tls12_ftplib: explicit12(Kind::Vsftpd), "auto", Ftplib, implicit "1.2" v4 Epsv, All;
    vsftpd_implicit_curl: implicit(Kind::Vsftpd), "active", Curl, implicit "1.3" v4 Port, All;
    vsftpd_implicit_lftp: implicit(Kind::Vsftpd).on_ipv6(), "auto", Lftp, explicit "1.3" v6 Epsv, All;
    vsftpd_implicit_resuming: implicit(Kind::Vsftpd).on_ipv6(), "active", Resuming, explicit "1.3" v4 Epsv, Large;

    proftpd_curl: PROFTPD, "active", Curl, explicit "1.2" v4 Pasv, All;
    proftpd_lftp: PROFTPD, "auto", Lftp, implicit "1.3" v4 Port, Large;
    proftpd_ftplib: PROFTPD, "auto", Ftplib, explicit "1.2" v4 Eprt, All;
    proftpd_ipv6_curl: PROFTPD.on_ipv6(), "active", Curl, implicit "1.3" v6 Epsv, All;
    proftpd_ipv6_resuming: PROFTPD.on_ipv6(), "auto", Resuming, explicit "1.3" v6 Epsv, All;
    proftpd_tls_curl: explicit(Kind::Proftpd), "auto", Curl, implicit "1.3" v4 Epsv, All;
    proftpd_tls_lftp: explicit(Kind::Proftpd), "auto", Lftp, explicit "1.3" v4 Pasv, Large;
    proftpd_tls_ftplib: explicit(Kind::Proftpd), "auto", Ftplib, explicit "1.3" v4 Pasv, All;
    proftpd_tls_resuming: explicit(Kind::Proftpd), "active", Resuming, explicit "1.3" v4 Port, All;
    proftpd_tls12_curl: explicit12(Kind::Proftpd), "active", Curl, explicit "1.3" v6 Eprt, All;
    proftpd_tls12_lftp: explicit12(Kind::Proftpd), "auto", Lftp, implicit "1.2" v4 Epsv, All;
    proftpd_implicit_curl: implicit(Kind::Proftpd), "auto", Curl, explicit "1.2" v4 Epsv, Large;
    proftpd_implicit_lftp: implicit(Kind::Proftpd).on_ipv6(), "active", Lftp, implicit "1.3" v4 Pasv, All;
    proftpd_implicit_ftplib: implicit(Kind::Proftpd).on_ipv6(), "auto", Ftplib, implicit "1.3" v6 Eprt, All;

    pureftpd_curl: PUREFTPD, "auto", Curl, explicit "1.3" v4 Eprt, All;
    pureftpd_lftp: PUREFTPD, "active", Lftp, explicit "1.3" v4 Epsv, All;
    pureftpd_ftplib: PUREFTPD, "auto", Ftplib, explicit "1.3" v4 Pasv, Large;
    pureftpd_ipv6_resuming: PUREFTPD.on_ipv6(), "active", Resuming, implicit "1.3" v6 Epsv, All;
    pureftpd_tls_curl: explicit(Kind::Pureftpd), "auto", Curl, explicit "1.3" v4 Pasv, All;
    pureftpd_tls_lftp: explicit(Kind::Pureftpd), "auto", Lftp, implicit "1.2" v6 Epsv, All;
    pureftpd_tls_resuming: explicit(Kind::Pureftpd).on_ipv6(), "active", Resuming, explicit "1.3" v4 Eprt, All;
    pureftpd_tls12_curl: explicit12(Kind::Pureftpd), "active", Curl, implicit "1.2" v4 Epsv, All;
    pureftpd_tls12_ftplib: explicit12(Kind::Pureftpd), "auto", Ftplib, explicit "1.2" v4 Port, All;

    pyftpdlib_curl: PYFTPDLIB, "auto", Curl, implicit "1.3" v4 Pasv, All;
    pyftpdlib_lftp: PYFTPDLIB, "auto", Lftp, explicit "1.3" v4 Port, All;
    pyftpdlib_ftplib: PYFTPDLIB, "active", Ftplib, implicit "1.3" v4 Epsv, All;
    pyftpdlib_ipv6_resuming: PYFTPDLIB.on_ipv6(), "active", Resuming, explicit "1.2" v6 Eprt, All;
    pyftpdlib_tls_curl: explicit(Kind::Pyftpdlib), "auto", Curl, explicit "1.3" v4 Epsv, Large;
    // Not "active": four active data connections under TLS at once stall pyftpdlib 2.2.0 for ten seconds and more, also when
    // lftp's `mirror` talks to it without a gateway.
    pyftpdlib_tls_lftp: explicit(Kind::Pyftpdlib).on_ipv6(), "auto", Lftp, explicit "1.3" v4 Epsv, All;
    pyftpdlib_tls12_resuming: explicit12(Kind::Pyftpdlib), "auto", Resuming, implicit "1.3" v4 Pasv, All;
    pyftpdlib_implicit_curl: implicit(Kind::Pyftpdlib), "active", Curl, explicit "1.3" v4 Port, All;
    pyftpdlib_implicit_ftplib: implicit(Kind::Pyftpdlib), "auto", Ftplib, explicit "1.3" v6 Epsv, All;

    inetutils_curl: INETUTILS, "auto", Curl, explicit "1.3" v4 Epsv, All;
    inetutils_lftp: INETUTILS, "auto", Lftp, explicit "1.3" v4 Pasv, Large;
    inetutils_ftplib: INETUTILS, "active", Ftplib, explicit "1.3" v4 Pasv, All;
    inetutils_ipv6_curl: INETUTILS.on_ipv6(), "active", Curl, implicit "1.3" v6 Epsv, All;
    inetutils_ipv6_lftp: INETUTILS.on_ipv6(), "auto", Lftp, implicit "1.3" v4 Port, All;
    inetutils_ipv6_resuming: INETUTILS.on_ipv6(), "auto", Resuming, explicit "1.3" v6 Eprt, All;

    // Every way to come in, with each client once more, where the server makes no difference.
    way_curl_implicit_epsv_ipv6: VSFTPD, "auto", Curl, implicit "1.3" v6 Epsv, Little;
    way_curl_implicit_pasv: VSFTPD, "auto", Curl, implicit "1.3" v4 Pasv, Little;
    way_curl_explicit_epsv_ipv6: VSFTPD, "auto", Curl, explicit "1.3" v6 Epsv, Little;
    way_curl_explicit_eprt_ipv6: VSFTPD, "auto", Curl, explicit "1.2" v6 Eprt, Little;
    way_curl_implicit_port: VSFTPD, "auto", Curl, implicit "1.2" v4 Port, Little;
    way_lftp_explicit_epsv: VSFTPD, "auto", Lftp, explicit "1.3" v4 Epsv, Little;
    way_lftp_implicit_pasv: VSFTPD, "auto", Lftp, implicit "1.2" v4 Pasv, Little;
    way_lftp_explicit_pasv: VSFTPD, "auto", Lftp, explicit "1.2" v4 Pasv, Little;
    way_lftp_implicit_epsv_ipv6: VSFTPD, "auto", Lftp, implicit "1.3" v6 Epsv, Little;
    way_lftp_implicit_port: VSFTPD, "auto", Lftp, implicit "1.2" v4 Port, Little;
    way_ftplib_implicit_pasv: VSFTPD, "auto", Ftplib, implicit "1.3" v4 Pasv, Little;
    way_ftplib_explicit_epsv_ipv6: VSFTPD, "auto", Ftplib, explicit "1.2" v6 Epsv, Little;
    way_ftplib_explicit_port: VSFTPD, "auto", Ftplib, explicit "1.3" v4 Port, Little;
    way_resuming_implicit_eprt_ipv6: VSFTPD, "auto", Resuming, implicit "1.3" v6 Eprt, Little;
    way_resuming_explicit_epsv: VSFTPD, "auto", Resuming, explicit "1.2" v4 Epsv, Little;
}
