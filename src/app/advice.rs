//! What is better done otherwise, said by `check`, and in the log at a start and at each reload: what the configuration
//! says, and what this machine has beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::privilege::is_root;
use crate::config::Settings;
use crate::tls::{expired_certificates, outdated_lists, unlisted_authorities};

/// Everybody else on the machine.
const OTHERS: u32 = 0o007;

/// One line each: the key, what is unwise, what to do.
pub(super) fn advice(settings: &Settings) -> Vec<String> {
    let mut advice: Vec<String> = settings.advice().iter().map(ToString::to_string).collect();
    if is_root() && settings.run_as.user.is_none() {
        advice.push("user: is not set and the gateway runs as root. Write the user that it shall become".to_owned());
    }
    let kept = settings.tls.state_dir.as_deref().map(|folder| folder.join("self-signed.key"));
    let keys = settings.tls.certificates.iter().map(|files| ("tls.certificates", files.private_key.as_path()));
    let own = kept.iter().filter(|_| settings.tls.certificates.is_empty()).map(|key| ("state_dir", key.as_path()));
    advice.extend(keys.chain(own).filter_map(|(key, path)| open_to_all(key, path)));
    advice.extend(expired_certificates(&settings.tls).map(expired));
    advice.extend(settings.tls.client_certificates.iter().flat_map(outdated_lists).map(outdated));
    advice.extend(settings.tls.client_certificates.iter().flat_map(unlisted_authorities).map(unlisted));
    advice
}

/// What is said at a start by whoever serves the pages, for a check.
pub(super) fn admin_pages(settings: &Settings) -> Option<String> {
    let address = settings.admin?.address;
    (!address.ip().to_canonical().is_loopback()).then(|| {
        format!(
            "admin.address: the admin pages are not on loopback: whoever reaches {address} can read them. Write an address \
             that only the inside reaches"
        )
    })
}

/// A key that is not there, or in a folder that cannot be looked into, is somebody else's to complain about.
fn open_to_all(key: &str, path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & OTHERS != 0)
        .then(|| format!("{key}: everybody on this machine may use the key {shown} (mode {mode:o}). chmod o= {shown}"))
}

fn outdated(path: &Path) -> String {
    format!(
        "tls.client_certificates.revocation_lists: {} is out of date, and clients of its authority are refused. Fetch the \
         new one, and reload",
        path.display()
    )
}

fn expired(path: &Path) -> String {
    format!("tls.certificates: {} has expired, and clients that verify turn away. Renew it, and reload", path.display())
}

fn unlisted(authority: String) -> String {
    format!(
        "tls.client_certificates.revocation_lists: there is none of {authority}, and clients of this authority are refused. \
         Add it, and reload"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn authority() -> rcgen::Issuer<'static, rcgen::KeyPair> {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::Issuer::new(authority, rcgen::KeyPair::generate().unwrap())
    }

    fn list(days: i64) -> String {
        let now = time::OffsetDateTime::now_utc();
        let list = rcgen::CertificateRevocationListParams {
            this_update: now - time::Duration::days(9),
            next_update: now + time::Duration::days(days),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&authority()).unwrap().pem().unwrap()
    }

    #[test]
    fn a_revocation_list_that_is_out_of_date_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked.pem");
        let place = path.display();
        let text = format!(
            "listeners: [{{ address: \"192.0.2.1:21\" }}]\nbackends: {{ old: {{ servers: [\"192.0.2.2:21\"] }} }}\nuser: nobody\n\
             tls: {{ client_certificates: {{ mode: require, authorities: \"{place}\", revocation_lists: \"{place}\" }} }}"
        );
        std::fs::write(&path, list(1)).unwrap();
        let settings = parse(&text, "gateway.yaml").unwrap();
        let said = || advice(&settings).iter().filter(|line| line.contains("revocation_lists")).count();
        assert_eq!(said(), 0);
        std::fs::write(&path, list(-1)).unwrap();
        assert_eq!(said(), 1);
        std::fs::write(&path, list(1) + &list(-1)).unwrap();
        assert_eq!(said(), 1);
        // Not to be read: that is said as a problem.
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(said(), 0);
    }

    fn said(more: &str, what: &str) -> usize {
        let text = format!(
            "listeners: [{{ address: \"192.0.2.1:21\" }}]\nbackends: {{ old: {{ servers: [\"192.0.2.2:21\"] }} }}\n\
             user: nobody\n{more}"
        );
        let settings = parse(&text, "gateway.yaml").unwrap();
        advice(&settings).iter().filter(|line| line.contains(what)).count()
    }

    /// `check` called it good, and all clients of the authority were locked out.
    #[test]
    fn an_authority_without_a_revocation_list_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let authority = |name: &str| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().unwrap();
            let pem = parameters.self_signed(&key).unwrap().pem();
            (pem, rcgen::Issuer::new(parameters, key))
        };
        let ((one, one_signs), (two, _)) = (authority("one"), authority("two"));
        let now = time::OffsetDateTime::now_utc();
        let list = rcgen::CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(9),
            crl_number: rcgen::SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let (authorities, lists) = (folder.path().join("authorities.pem"), folder.path().join("lists.pem"));
        std::fs::write(&lists, list.signed_by(&one_signs).unwrap().pem().unwrap()).unwrap();
        let section = |more: &str| {
            format!("tls: {{ client_certificates: {{ mode: require, authorities: {} {more}}} }}", authorities.display())
        };
        let listed = section(&format!(", revocation_lists: {} ", lists.display()));
        std::fs::write(&authorities, &one).unwrap();
        assert_eq!(said(&listed, "revocation_lists"), 0);
        std::fs::write(&authorities, one + &two).unwrap();
        assert_eq!(said(&listed, "there is none of CN=two"), 1);
        assert_eq!(said(&listed, "revocation_lists"), 1);
        assert_eq!(said(&section(""), "revocation_lists"), 0);
    }

    #[test]
    fn admin_pages_that_others_can_reach_are_said() {
        let said = |address: &str| {
            let text = format!(
                "listeners: [{{ address: \"192.0.2.1:21\" }}]\nbackends: {{ old: {{ servers: [\"192.0.2.2:21\"] }} }}\n\
                 admin: {{ address: \"{address}\" }}"
            );
            admin_pages(&parse(&text, "gateway.yaml").unwrap()).is_some()
        };
        assert!(said("0.0.0.0:9921") && said("10.0.0.5:9921") && said("[::]:9921"));
        assert!(!said("127.0.0.1:9921") && !said("[::1]:9921") && !said("none"));
    }

    #[test]
    fn a_certificate_that_has_expired_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let (certificate, private_key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&private_key, key.serialize_pem()).unwrap();
        for (days, times) in [(1, 0), (-1, 1)] {
            let mut parameters = rcgen::CertificateParams::new(vec!["ftp.example.com".to_owned()]).unwrap();
            parameters.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
            std::fs::write(&certificate, parameters.self_signed(&key).unwrap().pem()).unwrap();
            let section = format!(
                "tls: {{ certificates: [ {{ certificate: {}, private_key: {} }} ] }}",
                certificate.display(),
                private_key.display()
            );
            assert_eq!(said(&section, "has expired"), times, "{days}");
        }
    }
}
