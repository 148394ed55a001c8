//! What is better done otherwise, said by `check`, and in the log at a start and at each reload: what the configuration
//! says, and what this machine has beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::privilege::is_root;
use crate::config::Settings;
use crate::tls::outdated_lists;

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
    advice.extend(settings.tls.client_certificates.iter().flat_map(outdated_lists).map(outdated));
    advice
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
}
