//! `state_dir`: what has to outlast a restart can be kept, or nothing starts.

use super::*;

/// A certificate of its own, so that `state_dir` is there for what is kept alone.
fn with_certificate(folder: &Path, more: &str) {
    let files = ftps_gateway::tls::keep_self_signed(&folder.join("tls"), &["ftp.example".to_owned()]).unwrap();
    let (certificate, key) = (files.certificate.display(), files.private_key.display());
    let tls = format!("tls: {{ certificates: [{{ certificate: {certificate}, private_key: {key} }}] }}\n");
    let text = configuration("info").replace("state_dir: state", "state_dir: place/state");
    std::fs::write(folder.join("gateway.yaml"), text + &tls + more).unwrap();
}

/// Bans would be lifted by a restart, and codes would count again.
#[test]
fn what_has_to_be_kept_and_cannot_be_is_78() {
    let (folder, path) = folder();
    with_certificate(folder.path(), "");
    let place = folder.path().join("place");
    let told = |word: &str| {
        for command in ["check", "run"] {
            let (status, said) = ends(&[command, "--config", path.to_str().unwrap()]);
            assert_eq!(status, Some(78), "{command}: {said}");
            let state = said.lines().find(|line| line.contains("gateway.yaml:5: state_dir: ")).unwrap_or_default();
            assert!(state.contains(word), "{command}: {said}");
        }
    };
    std::fs::write(&place, "").unwrap();
    told("place");
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("state"), "").unwrap();
    told("is not a folder");
    std::fs::remove_file(place.join("state")).unwrap();
    std::fs::create_dir_all(place.join("state/bans.jsonl")).unwrap();
    told("bans.jsonl cannot be read");
    std::fs::rename(place.join("state/bans.jsonl"), place.join("state/used-codes.jsonl")).unwrap();
    listens(&run(&path));
    let secrets = folder.path().join("secrets");
    std::fs::write(&secrets, "bob:MZXW6YTBOI4DAMBQGEZDGNBVGY3TQOJQ\n").unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600)).unwrap();
    with_certificate(folder.path(), "access: { totp: { secrets: secrets } }\n");
    told("used-codes.jsonl cannot be read");
}

#[test]
fn where_nothing_has_to_be_kept_it_serves_and_says_so() {
    let (folder, path) = folder();
    with_certificate(folder.path(), "limits: { failed_logins: off }\n");
    std::fs::write(folder.path().join("place"), "").unwrap();
    let (status, said) = ends(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("gateway.yaml:5: state_dir: nothing is kept over a restart: "), "{said}");
    let (_, said) = listens(&run(&path));
    assert!(
        said.iter().any(|line| line.contains("WARN") && line.contains("state_dir: nothing could be kept")),
        "{said:?}"
    );
}

/// It may come back.
#[test]
fn a_reload_without_the_folder_for_what_is_kept_goes_on_and_says_so() {
    let (folder, path) = folder();
    with_certificate(folder.path(), "");
    let gateway = run(&path);
    listens(&gateway);
    std::fs::remove_dir(folder.path().join("place/state")).unwrap();
    std::fs::write(folder.path().join("place/state"), "").unwrap();
    gateway.signal("HUP");
    let said = gateway.lines_until("configuration reloaded");
    assert!(
        said.iter().any(|line| line.contains("WARN") && line.contains("state_dir: no bans could be kept")),
        "{said:?}"
    );
}
