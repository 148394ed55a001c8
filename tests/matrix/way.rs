//! How a client comes in: its TLS, its data connections, their protection. Which ways a client has is read from what its
//! driver says it `can`.

use std::collections::BTreeSet;
use std::fmt;

/// The words of a driver's `can`.
#[derive(Debug, Clone)]
pub(crate) struct Can(BTreeSet<String>);

/// How data connections are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

/// One way to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    /// `"explicit"` or `"implicit"`; `"none"` only towards bare servers.
    pub(crate) tls: &'static str,
    /// `"1.2"` or `"1.3"`.
    pub(crate) version: &'static str,
    pub(crate) data: Data,
    pub(crate) ipv6: bool,
    /// PROT P; otherwise PROT C.
    pub(crate) private: bool,
}

const PLACES: [(Data, bool); 6] = [
    (Data::Pasv, false),
    (Data::Epsv, false),
    (Data::Epsv, true),
    (Data::Port, false),
    (Data::Eprt, false),
    (Data::Eprt, true),
];

impl Can {
    pub(crate) fn read(line: &str) -> Self {
        Self(line.split_whitespace().map(str::to_owned).collect())
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// All ways this client has, those under PROT P first. Under PROT C each kind of data connection comes once, with
    /// TLS that differs from one to the next: control connections are the same there.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let kinds: Vec<_> = ["explicit", "implicit"].into_iter().filter(|tls| self.has(tls)).collect();
        let versions: Vec<_> =
            ["1.2", "1.3"].into_iter().filter(|version| self.has(&format!("tls{version}"))).collect();
        let secured: Vec<_> =
            kinds.iter().flat_map(|tls| versions.iter().map(move |version| (*tls, *version))).collect();
        let mut ways = Vec::new();
        for (tls, version) in &secured {
            for (data, ipv6) in PLACES.into_iter().filter(|(data, ipv6)| self.can_data(*data, *ipv6, true)) {
                ways.push(Way { tls, version, data, ipv6, private: true });
            }
        }
        let clear = PLACES.into_iter().filter(|(data, ipv6)| self.can_data(*data, *ipv6, false));
        for ((data, ipv6), (tls, version)) in clear.zip(secured.iter().cycle()) {
            ways.push(Way { tls, version, data, ipv6, private: false });
        }
        ways
    }

    /// Whether data connections under this version of TLS resume the control connection's session.
    pub(crate) fn resumes(&self, way: Way) -> bool {
        way.private && (self.has("resume") || self.has(&format!("resume+tls{}", way.version)))
    }

    fn can_data(&self, data: Data, ipv6: bool, private: bool) -> bool {
        let word = data.label();
        let here = |word: &str| {
            let under_tls = self.has(&format!("{word}+tls"));
            if private && data.is_active() { under_tls } else { under_tls || self.has(word) }
        };
        // The address chooses: EPSV and EPRT are for IPv6, and only for it.
        let against = self.has("byfamily") && ipv6 != matches!(data, Data::Epsv | Data::Eprt);
        let over_either = here(word) && (!ipv6 || self.has("ipv6")) && !against;
        let over_ipv6_only = ipv6 && here(&format!("{word}6"));
        (over_either || over_ipv6_only) && self.has(if private { "P" } else { "C" })
    }
}

impl Data {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Pasv => "pasv",
            Self::Epsv => "epsv",
            Self::Port => "port",
            Self::Eprt => "eprt",
        }
    }

    fn is_active(self) -> bool {
        matches!(self, Self::Port | Self::Eprt)
    }
}

impl Way {
    /// Where a client that comes this way connects to.
    pub(crate) fn host(self) -> &'static str {
        if self.ipv6 { "::1" } else { "127.0.0.1" }
    }

    /// `P` or `C`.
    pub(crate) fn protection(self) -> &'static str {
        if self.private { "P" } else { "C" }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, version, data, ipv6, .. } = self;
        let family = if *ipv6 { "6" } else { "" };
        write!(f, "{tls}-{version}-{}{family}-{}", data.label(), self.protection())
    }
}

/// What drivers say leads to the ways they have.
pub(crate) fn selftest() {
    let ways = |words: &str| Can::read(words).ways().iter().map(Way::to_string).collect::<Vec<_>>();
    assert_eq!(ways("explicit tls1.3 pasv P put"), ["explicit-1.3-pasv-P"]);
    assert_eq!(ways("implicit tls1.2 epsv6 eprt6+tls P"), ["implicit-1.2-epsv6-P", "implicit-1.2-eprt6-P"]);
    assert_eq!(
        ways("explicit implicit tls1.3 pasv epsv port ipv6 P C"),
        [
            "explicit-1.3-pasv-P",
            "explicit-1.3-epsv-P",
            "explicit-1.3-epsv6-P",
            "implicit-1.3-pasv-P",
            "implicit-1.3-epsv-P",
            "implicit-1.3-epsv6-P",
            "explicit-1.3-pasv-C",
            "implicit-1.3-epsv-C",
            "explicit-1.3-epsv6-C",
            "implicit-1.3-port-C",
        ]
    );
    let chosen = ["explicit-1.3-pasv-P", "explicit-1.3-epsv6-P"];
    assert_eq!(ways("explicit tls1.3 pasv epsv ipv6 byfamily P"), chosen);
    assert_eq!(ways("explicit tls1.3 pasv epsv6 P"), chosen);
    let all = "explicit implicit tls1.2 tls1.3 pasv epsv port+tls eprt+tls ipv6 P C";
    assert_eq!(ways(all).len(), 4 * 6 + 6);
}
