//! The verbs of FTP, as a closed set.
//!
//! Invariant: `label()` comes from this file only, so a client cannot grow the number of metric labels.

macro_rules! verbs {
    ($($variant:ident $text:literal $meaning:literal),+ $(,)?) => {
        /// A command's verb. Verbs the gateway does not know are `Other`: they go to the backend as they are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Verb {
            $(#[doc = $meaning] $variant,)+
            /// Any other verb.
            Other,
        }

        impl Verb {
            /// Every verb with a name.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The verb as it is written on the wire; `other` for unknown ones. Fit for a metric's label.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other => "other",
                }
            }
        }
    };
}

verbs! {
    Abor "ABOR" "Abort (RFC 959 §4.1.3).",
    Acct "ACCT" "Account (RFC 959 §4.1.1).",
    Adat "ADAT" "Security data (RFC 2228).",
    Allo "ALLO" "Allocate (RFC 959).",
    Appe "APPE" "Append (RFC 959).",
    Auth "AUTH" "Security mechanism (RFC 2228, RFC 4217 §4).",
    Ccc "CCC" "Clear command channel (RFC 2228, RFC 4217 §12.3).",
    Cdup "CDUP" "To the parent directory (RFC 959).",
    Clnt "CLNT" "The client's name; a custom, without an RFC.",
    Conf "CONF" "Confidentiality-protected command (RFC 2228).",
    Cpsv "CPSV" "Passive, for server-to-server transfers; a custom.",
    Cwd "CWD" "Change directory (RFC 959).",
    Dele "DELE" "Delete (RFC 959).",
    Enc "ENC" "Privacy-protected command (RFC 2228).",
    Eprt "EPRT" "Extended port (RFC 2428 §2).",
    Epsv "EPSV" "Extended passive (RFC 2428 §3).",
    Feat "FEAT" "Features (RFC 2389 §3).",
    Help "HELP" "Help (RFC 959).",
    Host "HOST" "Virtual host (RFC 7151).",
    Lang "LANG" "Language (RFC 2640).",
    List "LIST" "List (RFC 959).",
    Lprt "LPRT" "Long port (RFC 1639).",
    Lpsv "LPSV" "Long passive (RFC 1639).",
    Mdtm "MDTM" "Modification time (RFC 3659).",
    Mfmt "MFMT" "Set the modification time; draft-somers-ftp-mfxx.",
    Mic "MIC" "Integrity-protected command (RFC 2228).",
    Mkd "MKD" "Make directory (RFC 959).",
    Mlsd "MLSD" "Machine listing of a directory (RFC 3659).",
    Mlst "MLST" "Machine listing of one object (RFC 3659).",
    Mode "MODE" "Transfer mode (RFC 959).",
    Nlst "NLST" "Name list (RFC 959).",
    Noop "NOOP" "No operation (RFC 959).",
    Opts "OPTS" "Options (RFC 2389 §4).",
    Pass "PASS" "Password (RFC 959).",
    Pasv "PASV" "Passive (RFC 959).",
    Pbsz "PBSZ" "Protection buffer size (RFC 2228).",
    Port "PORT" "Data port (RFC 959).",
    Prot "PROT" "Data protection (RFC 2228, RFC 4217 §9).",
    Pwd "PWD" "Print the working directory (RFC 959).",
    Quit "QUIT" "Good-bye (RFC 959).",
    Rein "REIN" "Start anew (RFC 959).",
    Rest "REST" "Restart position (RFC 3659 §5).",
    Retr "RETR" "Download (RFC 959).",
    Rmd "RMD" "Remove directory (RFC 959).",
    Rnfr "RNFR" "Rename from (RFC 959).",
    Rnto "RNTO" "Rename to (RFC 959).",
    Site "SITE" "The server's own commands (RFC 959).",
    Size "SIZE" "Size (RFC 3659).",
    Smnt "SMNT" "Mount (RFC 959).",
    Sscn "SSCN" "Secure server-to-server transfers; a custom.",
    Stat "STAT" "Status (RFC 959).",
    Stor "STOR" "Upload (RFC 959).",
    Stou "STOU" "Upload under a new name (RFC 959).",
    Stru "STRU" "File structure (RFC 959).",
    Syst "SYST" "System (RFC 959).",
    Type "TYPE" "Representation type (RFC 959).",
    User "USER" "User (RFC 959).",
    Xcup "XCUP" "CDUP of RFC 775.",
    Xcwd "XCWD" "CWD of RFC 775.",
    Xmkd "XMKD" "MKD of RFC 775.",
    Xpwd "XPWD" "PWD of RFC 775.",
    Xrmd "XRMD" "RMD of RFC 775.",
}

impl Verb {
    /// The verb of these bytes; case does not matter (RFC 959 §5.3).
    pub fn parse(bytes: &[u8]) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|verb| verb.label().as_bytes().eq_ignore_ascii_case(bytes))
            .unwrap_or(Self::Other)
    }

    /// Whether a line is a request of HTTP: by its method, or by the version at its end (RFC 9112 §3), whatever the
    /// method. Whoever sends one first is a browser, or an attacker who uses one (the cross-protocol attack that ALPN
    /// `ftp` is to prevent).
    pub fn is_http(line: &[u8]) -> bool {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let method = words.next().unwrap_or_default();
        let version =
            words.next_back().and_then(|word| word.get(..5)?.eq_ignore_ascii_case(b"HTTP/").then(|| &word[5..]));
        let numbered = matches!(
            version,
            Some([major] | [major, b'.', _]) if major.is_ascii_digit() && version.and_then(<[u8]>::last).is_some_and(u8::is_ascii_digit)
        );
        numbered || is_http_method(method)
    }

    /// The same of a line that has only begun: by its method and the blank behind it. The rest may never come.
    pub fn begins_http(begun: &[u8]) -> bool {
        let method = begun.iter().position(|byte| *byte == b' ').map(|end| &begun[..end]);
        method.is_some_and(is_http_method)
    }
}

fn is_http_method(word: &[u8]) -> bool {
    const METHODS: [&[u8]; 8] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"PRI"];
    METHODS.iter().any(|own| own.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_verbs_are_inverse() {
        for &verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.label().as_bytes()), verb);
            assert_eq!(Verb::parse(verb.label().to_lowercase().as_bytes()), verb);
        }
        assert_eq!(Verb::parse(b"XYZZY"), Verb::Other);
    }

    #[test]
    fn requests_of_http_are_told_by_method_or_version() {
        for line in [
            "GET",
            "post /",
            "PROPFIND / HTTP/1.1",
            "M-SEARCH * HTTP/1.1",
            "x HTTP/2",
            "x /a b http/3.0 ",
            "PRI * HTTP/2.0",
        ] {
            assert!(Verb::is_http(line.as_bytes()), "{line}");
        }
        for line in
            ["", "USER bob", "USER HTTP/x", "HTTP/1.1", "USER a HTTP/1.", "USER HTTP/", "USER HTTP/1.1b", "GETX /"]
        {
            assert!(!Verb::is_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn a_request_of_http_is_told_by_its_method_before_it_ends() {
        for begun in ["GET ", "post /", "CONNECT a"] {
            assert!(Verb::begins_http(begun.as_bytes()), "{begun}");
        }
        for begun in ["", "G", "GET", " GET /", "GETX /", "USER GET "] {
            assert!(!Verb::begins_http(begun.as_bytes()), "{begun}");
        }
    }
}
