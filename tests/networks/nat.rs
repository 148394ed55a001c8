//! Real NAT on both sides of the gateway: clients behind a router that masquerades, the gateway behind a firewall that
//! forwards to it, the backend behind another one.
//!
//! ```text
//! home client ── home router ── firewall ── gateway ── inner firewall ── backend
//! 192.168.1.10   198.51.100.5   203.0.113.7  10.9.0.2   10.10.0.1         172.16.0.11
//!                masquerades    forwards                forwards, masquerades
//! office client ─────────────── 10.8.0.1
//! 10.8.0.10                     routes
//! ```

use std::path::Path;
use std::sync::{Arc, Barrier};

use tempfile::TempDir;

use crate::clients::{Data, Visit, Who};
use crate::gateway::{Gateway, PASSIVE};
use crate::server::Server;
use crate::space::Space;

/// The gateway's address for the world.
pub(crate) const PUBLIC: &str = "203.0.113.7";
/// The gateway's own address.
const DMZ: &str = "10.9.0.2";
/// The gateway's own address of the other family.
const DMZ6: &str = "2001:db8:9::2";
/// Enough for many segments.
const LENGTH: usize = 300_000;
/// Scripted clients behind one router, and how often each of them uploads and downloads.
const SCRIPTED: usize = 8;
const TURNS: usize = 5;

/// What an operator writes for this network.
pub(crate) fn advertise() -> String {
    format!(
        "passive: {{ ports: {PASSIVE}, advertise: [{{ clients: [10.0.0.0/8], address: local }}, \
         {{ address: {PUBLIC} }}] }}"
    )
}

/// All of it.
pub(crate) struct Site {
    pub(crate) home: Space,
    pub(crate) router: Space,
    pub(crate) firewall: Space,
    pub(crate) gateway: Space,
    pub(crate) inner: Space,
    pub(crate) vault: Space,
    office: Space,
    pub(crate) folder: TempDir,
}

impl Site {
    pub(crate) fn build() -> Self {
        Self::open(&format!("21, {PASSIVE}"))
    }

    /// With a firewall that lets these ports through to the gateway and no other.
    pub(crate) fn open(ports: &str) -> Self {
        let site = Self {
            home: Space::new(),
            router: Space::router(),
            firewall: Space::router(),
            gateway: Space::new(),
            inner: Space::router(),
            vault: Space::new(),
            office: Space::new(),
            folder: crate::scratch(),
        };
        site.connect();
        site.router.nft(
            "table ip nat {
                chain post { type nat hook postrouting priority srcnat; oifname wan masquerade; }
            }",
        );
        site.firewall.nft(&format!(
            "table ip nat {{
                chain pre {{ type nat hook prerouting priority dstnat;
                    iifname net ip daddr {PUBLIC} tcp dport {{ {ports} }} dnat to {DMZ}
                }}
                chain post {{ type nat hook postrouting priority srcnat;
                    oifname net ip saddr {DMZ} snat to {PUBLIC}
                }}
            }}
            table inet filter {{
                chain forward {{ type filter hook forward priority filter; policy drop;
                    ct state established,related accept
                    ct status dnat accept
                    iifname {{ dmz, office }} accept
                    ip6 daddr {DMZ6} tcp dport {{ {ports} }} accept
                }}
            }}"
        ));
        site.inner.nft(
            "table ip nat {
                chain pre { type nat hook prerouting priority dstnat;
                    iifname outer ip daddr 10.10.0.1 meta l4proto tcp dnat to 172.16.0.11
                }
                chain post { type nat hook postrouting priority srcnat; oifname outer masquerade; }
            }",
        );
        site
    }

    fn connect(&self) {
        let Self { home, router, firewall, gateway, inner, vault, office, .. } = self;
        home.cable(
            ("eth", &["192.168.1.10/24", "2001:db8:1::10/64"]),
            router,
            ("lan", &["192.168.1.1/24", "2001:db8:1::1/64"]),
        );
        router.cable(
            ("wan", &["198.51.100.5/24", "2001:db8:100::5/64"]),
            firewall,
            ("net", &["198.51.100.1/24", "203.0.113.7/32", "2001:db8:100::1/64"]),
        );
        firewall.cable(
            ("dmz", &["10.9.0.1/24", "2001:db8:9::1/64"]),
            gateway,
            ("eth", &["10.9.0.2/24", "2001:db8:9::2/64"]),
        );
        firewall.cable(("office", &["10.8.0.1/24"]), office, ("eth", &["10.8.0.10/24"]));
        gateway.cable(("back", &["10.10.0.2/24"]), inner, ("outer", &["10.10.0.1/24"]));
        inner.cable(("lan", &["172.16.0.1/24"]), vault, ("eth", &["172.16.0.11/24"]));
        home.routes(&["default via 192.168.1.1", "default via 2001:db8:1::1"]);
        router.routes(&["default via 198.51.100.1", "default via 2001:db8:100::1"]);
        firewall.routes(&["2001:db8:1::/64 via 2001:db8:100::5"]);
        gateway.routes(&["default via 10.9.0.1", "default via 2001:db8:9::1"]);
        vault.routes(&["default via 172.16.0.1"]);
        office.routes(&["default via 10.8.0.1"]);
    }

    /// A server behind the inner firewall, and how the gateway's configuration names it.
    pub(crate) fn server(&self, kind: &str) -> (Server, String) {
        let server = Server::start(&self.vault, kind, "172.16.0.11", self.folder.path());
        let backend = format!("servers: [\"10.10.0.1:{}\"]", server.port);
        (server, backend)
    }

    fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

fn content() -> Vec<u8> {
    let mut content = vec![0; LENGTH];
    aws_lc_rs::rand::fill(&mut content).unwrap();
    content
}

/// Each client is told an address that it can reach, and the backend's private one in its 227 goes nowhere.
#[test]
fn pasv_names_the_address_that_the_client_can_reach() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("vsftpd");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &advertise());
    for who in [Who::Curl, Who::Lftp, Who::Ftplib] {
        for place in [(&site.home, PUBLIC), (&site.office, DMZ)] {
            Visit::new((who, Data::Pasv), place, &gateway, &server, site.scratch()).mirrors(&server, &content());
        }
    }
    gateway.is_empty();
}

/// What the clients of the test before are spared.
#[test]
fn without_advertise_pasv_leads_nowhere_from_outside_and_epsv_does_not_mind() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("pureftpd");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, "");
    let visit = |who, data| Visit::new((who, data), (&site.home, PUBLIC), &gateway, &server, site.scratch());
    let said = visit(Who::Ftplib, Data::Pasv).up("lost", b"content").unwrap_err();
    assert!(said.contains("the gateway advertised 10.9.0.2"), "{said}");
    for who in [Who::Curl, Who::Lftp, Who::Ftplib] {
        visit(who, Data::Epsv).mirrors(&server, &content());
    }
    gateway.is_empty();
}

/// Through a firewall that translates addresses without ports in the client's way, there is nothing against it.
#[test]
fn active_mode_works_from_inside() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("proftpd");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &advertise());
    for (who, data) in [(Who::Lftp, Data::Port), (Who::Ftplib, Data::Port), (Who::Ftplib, Data::Eprt)] {
        let place = (&site.office, DMZ);
        Visit::new((who, data), place, &gateway, &server, site.scratch()).mirrors(&server, &content());
    }
    gateway.is_empty();
}

/// A router that mends PORT and opens the way for what it names.
fn with_ftp_helper(router: &Space) {
    router.nft(
        "table ip helper {
            ct helper ftp { type \"ftp\" protocol tcp; }
            chain pre { type filter hook prerouting priority filter; tcp dport 21 ct helper set \"ftp\"; }
        }",
    );
}

/// The client names its private address, the gateway sees the router's: 504. The router's FTP helper could mend it, and
/// under TLS cannot read it; that it does in clear shows the next test.
#[test]
fn active_mode_from_behind_nat_is_refused_with_the_reason() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    with_ftp_helper(&site.router);
    let (server, backend) = site.server("vsftpd");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &advertise());
    for (who, data) in [(Who::Lftp, Data::Port), (Who::Ftplib, Data::Port), (Who::Ftplib, Data::Eprt)] {
        let visit = Visit::new((who, data), (&site.home, PUBLIC), &gateway, &server, site.scratch());
        let said = visit.up("lost", b"content").unwrap_err();
        assert!(said.contains("[foreign_address]"), "{said}");
    }
    // The same client in the same place.
    let place = (&site.home, PUBLIC);
    Visit::new((Who::Lftp, Data::Pasv), place, &gateway, &server, site.scratch()).mirrors(&server, &content());
    gateway.is_empty();
}

#[test]
fn in_clear_a_routers_ftp_helper_mends_active_mode() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("vsftpd");
    let clear = format!("{}\ntls: {{ control: optional, data: optional }}", advertise());
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &clear);
    let (local, content) = (site.scratch().join("local"), content());
    std::fs::write(&local, &content).unwrap();
    let upload = || {
        let mut curl = site.home.command("timeout");
        curl.args(["60", "curl", "--verbose", "--silent", "--disable", "--noproxy", "*", "--ftp-port", "-"]);
        curl.arg("--user").arg(format!("{}:{}", server.user, server.password));
        curl.arg("--upload-file").arg(&local).arg(format!("ftp://{PUBLIC}/clear"));
        curl.output().unwrap()
    };
    let said = upload();
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("[foreign_address]"), "{said:?}");
    with_ftp_helper(&site.router);
    let said = upload();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(server.get("clear") == content);
    gateway.is_empty();
}

/// The client knows its router's address and names it, but nothing leads from there to the client.
#[test]
fn active_mode_to_the_routers_address_finds_nobody() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("vsftpd");
    let more = format!("{}\ntimeouts: {{ data_connect: 3s }}", advertise());
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &more);
    let (tls, user, password) = (crate::talk::trust(&gateway.authority), server.user.clone(), server.password.clone());
    let said = site.home.inside(move || {
        let mut session = crate::talk::Session::open(format!("{PUBLIC}:21"), &tls, None);
        session.logs_in(&user, &password);
        assert!(session.asks("PORT 198,51,100,5,195,80").starts_with("200 "));
        let mut said = session.asks("STOR lost");
        if said.starts_with("150 ") {
            said = session.hears();
        }
        session.asks("QUIT");
        said
    });
    assert!(said.starts_with("425 ") && said.contains("[client_data_failed]"), "{said}");
    gateway.is_empty();
}

/// Some large NATs give each connection of a client another address. For the gateway a stranger comes to the data port.
#[test]
fn a_nat_with_an_address_for_each_connection_lets_no_data_through() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    site.router.sh("ip address add 198.51.100.6/24 dev wan");
    site.router.nft(&format!("insert rule ip nat post oifname wan tcp dport {PASSIVE} snat to 198.51.100.6"));
    let (server, backend) = site.server("vsftpd");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &advertise());
    let place = (&site.home, PUBLIC);
    Visit::new((Who::Curl, Data::Epsv), place, &gateway, &server, site.scratch()).up("lost", b"content").unwrap_err();
    assert!(gateway.count("stray_connections_total", &["cause=\"no_reservation\""]) > 0);
    assert_eq!(gateway.count("transfers_total", &["result=\"completed\""]), 0);
    gateway.is_empty();
}

/// Clients of one family, a backend of the other, and NAT on the backend's side alone.
#[test]
fn clients_on_ipv6_reach_a_backend_on_ipv4() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("vsftpd");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &advertise());
    // Of these only ftplib has EPRT over IPv6, see tests/peers/lftp.rs and curl.rs. From outside the firewall must let
    // the gateway out, and the home router lets it in, as a router without a filter does.
    let ways = [(Who::Curl, Data::Epsv), (Who::Lftp, Data::Epsv), (Who::Ftplib, Data::Epsv), (Who::Ftplib, Data::Eprt)];
    for way in ways {
        Visit::new(way, (&site.home, DMZ6), &gateway, &server, site.scratch()).mirrors(&server, &content());
    }
    gateway.is_empty();
}

/// In passive mode the 227's private address is not used; in active mode the backend comes from its firewall's address.
#[test]
fn a_backend_behind_nat_serves_in_both_modes() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    for (kind, data) in [("vsftpd", "passive"), ("proftpd", "passive"), ("vsftpd", "active"), ("pyftpdlib", "active")] {
        let (server, backend) = site.server(kind);
        let backend = format!("{backend}, data: {data}");
        let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &advertise());
        let place = (&site.office, DMZ);
        Visit::new((Who::Ftplib, Data::Pasv), place, &gateway, &server, site.scratch()).mirrors(&server, &content());
        gateway.is_empty();
    }
}

/// Several clients behind the home router have one address for the gateway, and it has one port for all of them.
#[test]
fn clients_behind_one_nat_share_one_port() {
    if crate::left_out() {
        return;
    }
    let site = Site::build();
    let (server, backend) = site.server("vsftpd");
    // The firewall lets ten through; the gateway listens on the first of them.
    let more = format!("passive: {{ ports: 50000, advertise: {PUBLIC} }}");
    let gateway = Gateway::start(&site.gateway, site.scratch(), &backend, &more);
    let barrier = Arc::new(Barrier::new(SCRIPTED));
    let scripted: Vec<_> = (0..SCRIPTED)
        .map(|number| {
            // Each with sessions of its own.
            let (tls, barrier) = (crate::talk::trust(&gateway.authority), Arc::clone(&barrier));
            let (user, password) = (server.user.clone(), server.password.clone());
            site.home.thread(move || {
                let mut session = crate::talk::Session::open(format!("{PUBLIC}:21"), &tls, None);
                session.logs_in(&user, &password);
                let (name, content) = (format!("of-{number}"), format!("of {number}, ").repeat(20_000));
                let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
                hash.update(content.as_bytes());
                let own = (content.len() as u64, crate::talk::hex(hash));
                for _ in 0..TURNS {
                    barrier.wait();
                    let mut data = session.begins(&format!("STOR {name}"));
                    data.sends(content.as_bytes());
                    data.finishes();
                    assert!(session.hears().starts_with("226 "));
                    barrier.wait();
                    let data = session.begins(&format!("RETR {name}"));
                    assert!(data.receives_all(|_| ()) == own, "{number} has got the bytes of another");
                    assert!(session.hears().starts_with("226 "));
                }
                session.asks("QUIT");
            })
        })
        .collect();
    // And real ones among them. Each has files of its own.
    std::thread::scope(|scope| {
        for data in [Data::Pasv, Data::Epsv] {
            let (site, gateway, server) = (&site, &gateway, &server);
            scope.spawn(move || {
                let visit = Visit::new((Who::Lftp, data), (&site.home, PUBLIC), gateway, server, site.scratch());
                visit.mirrors(server, &content());
            });
        }
    });
    for client in scripted {
        client.join().unwrap();
    }
    let shared = (SCRIPTED * TURNS * 2) as u64;
    assert!(gateway.count("data_resumptions_total", &["cause=\"resumed\""]) >= shared);
    assert_eq!(
        gateway.count("data_resumptions_total", &[]),
        gateway.count("data_resumptions_total", &["=\"resumed\""])
    );
    assert_eq!(gateway.count("stray_connections_total", &[]), 0);
    gateway.is_empty();
}
