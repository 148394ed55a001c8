//! Which backend a user is sent to. The first route that matches wins.

use std::borrow::Cow;
use std::net::IpAddr;

use globset::GlobBuilder;
use ipnet::IpNet;

use super::letters::{Letters, check_classes};
use super::user_name::{folded, folded_pattern};

/// A pattern with `*`, `?` and `[…]`, matched against a whole name.
#[derive(Debug, Clone)]
pub struct Glob {
    pattern: String,
    /// What is matched is a user name, and the pattern has these letters.
    letters: Option<Letters>,
    matcher: globset::GlobMatcher,
}

impl Glob {
    /// Compiles a pattern for user names. It matches them [`folded`]: a rule that another spelling walks past is none.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, String> {
        check_classes(pattern, true)?;
        let folded = folded_pattern(pattern);
        let letters = Letters::of(&folded)?;
        Self::build(pattern, &letters.narrow_pattern(&folded), Some(letters))
    }

    /// Compiles a pattern for host names, where case does not matter.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn host(pattern: &str) -> Result<Self, String> {
        Self::build(pattern, pattern, None)
    }

    fn build(pattern: &str, compiled: &str, letters: Option<Letters>) -> Result<Self, String> {
        // A name is no path: `*` matches slashes too.
        let glob = GlobBuilder::new(compiled)
            .literal_separator(false)
            .case_insensitive(true)
            .build()
            .map_err(|error| error.kind().to_string())?;
        Ok(Self { pattern: pattern.to_owned(), letters, matcher: glob.compile_matcher() })
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole name matches. Names that are not UTF-8 match byte for byte.
    pub fn matches(&self, name: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let name = match &self.letters {
            None => Cow::Borrowed(name),
            Some(letters) => Cow::Owned(letters.narrow(&folded(name))),
        };
        self.matcher.is_match(std::ffi::OsStr::from_bytes(&name))
    }
}

/// One rule; every condition that is there must hold, and within a condition any entry.
#[derive(Debug, Clone)]
pub struct Route {
    /// User names.
    pub user: Option<Vec<Glob>>,
    /// The name in TLS's SNI or in HOST.
    pub host: Option<Vec<Glob>>,
    /// Networks of clients.
    pub clients: Option<Vec<IpNet>>,
    /// A listener's name.
    pub listener: Option<String>,
    /// The backend's name.
    pub backend: String,
}

/// Who wants to be sent somewhere.
#[derive(Debug, Clone, Copy)]
pub struct Traveller<'a> {
    /// The argument of USER.
    pub user: &'a [u8],
    /// SNI, or HOST where there was none.
    pub host: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// The listener's name.
    pub listener: &'a str,
}

/// All routes in their order.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// Takes the routes in the order they are tried.
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    /// The backend for this traveller; none means: it shall look like a wrong password.
    pub fn choose(&self, traveller: &Traveller<'_>) -> Option<&str> {
        self.routes.iter().find(|route| route.matches(traveller)).map(|route| route.backend.as_str())
    }

    /// Whether users can have different fates, so that replies during login must not tell which.
    pub fn tell_users_apart(&self) -> bool {
        self.routes.iter().any(|route| route.user.is_some())
    }

    /// Whether a route asks for a listener.
    pub fn name_listeners(&self) -> bool {
        self.routes.iter().any(|route| route.listener.is_some())
    }

    /// All of them, in the order they are tried.
    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// The host patterns of all routes.
    pub fn hosts(&self) -> impl Iterator<Item = &Glob> {
        self.routes.iter().flat_map(|route| route.host.iter().flatten())
    }

    /// The backends that a client may still be sent to whose user nobody knows yet (FEAT before login), and whose host
    /// neither, where the traveller has none.
    pub fn possible(&self, traveller: &Traveller<'_>) -> Vec<&str> {
        let mut found = Vec::new();
        for route in &self.routes {
            let host_open = traveller.host.is_none() && route.host.is_some();
            if !(route.leads_in(traveller) && (host_open || route.is_asked_for(traveller))) {
                continue;
            }
            if !found.contains(&route.backend.as_str()) {
                found.push(&route.backend);
            }
            if route.user.is_none() && !host_open {
                break;
            }
        }
        found
    }
}

impl Route {
    fn matches(&self, traveller: &Traveller<'_>) -> bool {
        let user = self.user.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(traveller.user)));
        user && self.is_asked_for(traveller) && self.leads_in(traveller)
    }

    /// By its name.
    fn is_asked_for(&self, traveller: &Traveller<'_>) -> bool {
        self.host.as_ref().is_none_or(|globs| {
            traveller.host.is_some_and(|host| globs.iter().any(|glob| glob.matches(host.as_bytes())))
        })
    }

    /// By where the client comes from and to.
    fn leads_in(&self, traveller: &Traveller<'_>) -> bool {
        let client = traveller.client.to_canonical();
        let client = self.clients.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&client)));
        client && self.listener.as_ref().is_none_or(|name| name == traveller.listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(backend: &str) -> Route {
        Route { user: None, host: None, clients: None, listener: None, backend: backend.into() }
    }

    fn traveller<'a>(user: &'a str, host: Option<&'a str>, client: &str, listener: &'a str) -> Traveller<'a> {
        Traveller { user: user.as_bytes(), host, client: client.parse().unwrap(), listener }
    }

    #[test]
    fn the_first_route_whose_conditions_all_hold_wins() {
        let routes = Routes::new(vec![
            Route { user: Some(vec![Glob::new("acme-*").unwrap()]), ..route("acme") },
            Route {
                host: Some(vec![Glob::host("ftp.beta.example").unwrap()]),
                clients: Some(vec!["198.51.100.0/24".parse().unwrap()]),
                listener: Some("public".into()),
                ..route("beta")
            },
            Route { clients: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..route("inside") },
        ]);
        let choose = |user, host, client, listener| routes.choose(&traveller(user, host, client, listener));
        assert_eq!(choose("acme-1", None, "192.0.2.1", "x"), Some("acme"));
        assert_eq!(choose(" ACME-1 ", None, "192.0.2.1", "x"), Some("acme"));
        assert_eq!(choose("acme", None, "192.0.2.1", "x"), None);
        assert_eq!(choose("u", Some("FTP.beta.example"), "198.51.100.9", "public"), Some("beta"));
        assert_eq!(choose("u", Some("ftp.beta.example"), "198.51.100.9", "other"), None);
        assert_eq!(choose("u", None, "::ffff:10.1.2.3", "other"), Some("inside"));
    }

    #[test]
    fn before_a_name_is_given_all_are_possible_that_could_be_chosen() {
        let user = || Some(vec![Glob::new("acme-*").unwrap()]);
        let host = || Some(vec![Glob::host("ftp.beta.example").unwrap()]);
        let routes = Routes::new(vec![
            Route { listener: Some("inner".into()), ..route("inner") },
            Route { user: user(), ..route("acme") },
            Route { host: host(), ..route("beta") },
            Route { user: user(), clients: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..route("ten") },
            route("rest"),
            Route { user: user(), ..route("never") },
        ]);
        let possible = |host, client, listener| routes.possible(&traveller("", host, client, listener));
        assert_eq!(possible(None, "192.0.2.1", "inner"), ["inner"]);
        assert_eq!(possible(None, "192.0.2.1", "x"), ["acme", "beta", "rest"]);
        assert_eq!(possible(None, "10.1.2.3", "x"), ["acme", "beta", "ten", "rest"]);
        assert_eq!(possible(Some("ftp.beta.example"), "10.1.2.3", "x"), ["acme", "beta"]);
        assert_eq!(possible(Some("other"), "192.0.2.1", "x"), ["acme", "rest"]);
        assert_eq!(Routes::default().possible(&traveller("", None, "192.0.2.1", "x")), [] as [&str; 0]);
    }

    #[test]
    fn no_other_spelling_walks_past_a_pattern() {
        for (pattern, name) in
            [("bob", "BOB"), ("Bob", " bob"), (" bob ", "bob"), ("[A-C]nna", "anna"), ("MÜ*", "müller")]
        {
            assert!(Glob::new(pattern).unwrap().matches(name.as_bytes()), "{pattern} {name}");
        }
        assert!(!Glob::new("[!a-z]*").unwrap().matches(b"Bob"));
        assert!(!Glob::new("bob").unwrap().matches(b"bo b"));
    }

    #[test]
    fn a_letter_beyond_ascii_is_one_letter() {
        for (pattern, matched, others) in [
            ("m?ller", &["müller", "MÜLLER", "muller", "m大ller"][..], &["mller", "müüller", "müxller"][..]),
            ("M[ÜÖ]ller", &["müller", "MÖLLER"], &["muller", "mäller", "m\u{fc}\u{fc}ller"]),
            ("m[!ü]ller", &["muller", "mäller"], &["müller", "MÜLLER"]),
            ("[ü]*", &["übel", "Ü"], &["édith", "ubel", "ýx"]),
            ("{ä,ö}?", &["äü", "Öx"], &["ä", "üx"]),
            ("straße", &["STRASSE", "Straße"], &["strase"]),
        ] {
            let pattern = Glob::new(pattern).unwrap();
            for name in matched {
                assert!(pattern.matches(name.as_bytes()), "{} {name}", pattern.pattern());
            }
            for name in others {
                assert!(!pattern.matches(name.as_bytes()), "{} {name}", pattern.pattern());
            }
        }
        // What stands for a letter within is nobody's name.
        assert!(!Glob::new("ü").unwrap().matches(b"\x01"));
        assert!(Glob::new("[ä-ü]*").is_err() && Glob::new("\u{1}").is_err());
    }

    #[test]
    fn names_that_are_not_utf8_match_byte_for_byte() {
        assert!(Glob::new("m*").unwrap().matches(b"m\xfcller/x"));
        assert!(Glob::new("m?ller").unwrap().matches(b"M\xfcLLER"));
        assert!(!Glob::new("ü*").unwrap().matches(b"\x01\xfc"));
        assert!(Glob::new("a[").is_err());
    }
}
