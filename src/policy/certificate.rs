//! Who a client's certificate is, and whether that is the user it asks for.

/// Which clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Nobody.
    None,
    /// Everybody; who has none comes in without.
    Request,
    /// Everybody, and who has none does not come in.
    Require,
}

/// The name in a certificate that the argument of USER must equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserFrom {
    /// None: a certificate opens the door, and the password says who it is.
    None,
    /// The subject's common name. A certificate with several has none.
    CommonName,
    /// An e-mail address: of the alternative names, or of the subject.
    Email,
    /// A DNS name of the alternative names. Wildcards stand for themselves.
    Dns,
}

/// The names in a certificate that was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// Common names of the subject. `None`: one that cannot be read as text, and counts all the same.
    pub common_names: Vec<Option<String>>,
    /// E-mail addresses.
    pub emails: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
}

impl UserFrom {
    /// Whether a client may be this user, going by its certificate. Letter by letter: to servers names that differ in case
    /// are different users. Who came in without a certificate has only his password to show.
    pub fn allows(self, certificate: Option<&CertificateNames>, user: &[u8]) -> bool {
        let Some(names) = certificate else { return true };
        let names = match self {
            Self::None => return true,
            Self::CommonName => {
                return matches!(&names.common_names[..], [Some(name)] if name.as_bytes() == user);
            }
            Self::Email => &names.emails,
            Self::Dns => &names.dns,
        };
        names.iter().any(|name| name.as_bytes() == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(common: &[Option<&str>]) -> CertificateNames {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        CertificateNames {
            common_names: common.iter().map(|name| name.map(str::to_owned)).collect(),
            emails: owned(&["bob@acme.example"]),
            dns: owned(&["acme.example", "*.acme.example"]),
        }
    }

    #[test]
    fn the_name_must_equal_the_user() {
        let bob = names(&[Some("bob")]);
        for (from, user) in [
            (UserFrom::CommonName, "bob"),
            (UserFrom::Email, "bob@acme.example"),
            (UserFrom::Dns, "acme.example"),
            (UserFrom::Dns, "*.acme.example"),
        ] {
            assert!(from.allows(Some(&bob), user.as_bytes()), "{user}");
            for other in ["Bob", "bob\0", "", "eve", "x.acme.example", "eve@acme.example", "bob@ACME.example"] {
                assert!(!from.allows(Some(&bob), other.as_bytes()), "{from:?} {other}");
            }
        }
        assert!(UserFrom::None.allows(Some(&bob), b"eve"));
        assert!(UserFrom::CommonName.allows(None, b"eve"));
    }

    #[test]
    fn of_several_common_names_none_counts() {
        for common in [&[Some("bob"), Some("eve")][..], &[Some("bob"), None], &[None, Some("bob")], &[None], &[]] {
            for user in ["bob", "eve", ""] {
                assert!(!UserFrom::CommonName.allows(Some(&names(common)), user.as_bytes()), "{common:?} {user}");
            }
        }
    }
}
