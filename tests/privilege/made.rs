//! What the gateway makes for itself where it is not there.

use super::*;

/// Whoever is not root, and without `user`, makes for himself what is not there; where he cannot, it is missed by both.
pub(super) fn what_a_user_could_not_make_himself_is_missed_by_a_check_as_by_a_start() {
    let site = Site::anywhere();
    let certificate = certificate(&site.path("tls"));
    let mine = site.path("mine");
    std::fs::create_dir(&mine).unwrap();
    std::os::unix::fs::chown(&mine, Some(NOBODY.parse().unwrap()), None).unwrap();
    std::fs::create_dir(site.path("closed")).unwrap();
    mode(&site.path("closed"), 0o700);
    let as_nobody = |command: &str| {
        let own = gateway(&[command, "--config", site.path("gateway.yaml").to_str().unwrap()]);
        let mut unprivileged = Command::new("setpriv");
        let ids = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"];
        unprivileged.args(ids).arg(own.get_program()).args(own.get_args());
        Process::start(unprivileged, Output::Error)
    };
    for place in ["roots", "closed", "/proc/gateway"] {
        let state = site.configuration(&certificate).replace("state_dir: state", &format!("state_dir: {place}/state"));
        site.writes(&state);
        for command in ["check", "run"] {
            let (status, said) = as_nobody(command).ends();
            assert_eq!(status, Some(78), "{command} {place}: {said}");
            assert!(said.contains("gateway.yaml:5: state_dir: "), "{command} {place}: {said}");
        }
    }
    let audit = |place: &str| format!("{certificate}\naudit_log: {{ path: {place}/logs/audit.jsonl }}\n");
    for place in ["roots", "closed"] {
        site.writes(&site.configuration(&audit(place)).replace("state_dir: state", "state_dir: mine/state"));
        for command in ["check", "run"] {
            let (status, said) = as_nobody(command).ends();
            assert_eq!(status, Some(78), "{command} {place}: {said}");
            assert!(said.contains("gateway.yaml:7: audit_log.path: "), "{command} {place}: {said}");
        }
    }
    // What a unit would make for it.
    let units = format!("ftps-gateway-{}", std::process::id());
    let text = site.configuration(&audit(&format!("/var/log/{units}")));
    site.writes(&text.replace("state_dir: state", &format!("state_dir: /var/lib/{units}")));
    let (status, said) = as_nobody("check").ends();
    assert_eq!((status, said.matches("Let the unit make it").count()), (Some(0), 2), "{said}");
    assert_eq!(as_nobody("run").ends().0, Some(78));
    site.writes(&site.configuration(&audit("mine")).replace("state_dir: state", "state_dir: mine/new/state"));
    let (status, said) = as_nobody("check").ends();
    assert!(status == Some(0) && !said.contains("state_dir") && !said.contains("audit_log"), "{said}");
    assert!(!mine.join("logs").exists() && !mine.join("new").exists());
    let gateway = as_nobody("run");
    let said = gateway.lines_until("listening listener=");
    assert!(!said.iter().any(|line| line.contains("audit_log") || line.contains("state_dir")), "{said:?}");
    assert!(mine.join("logs/audit.jsonl").exists() && mine.join("new/state").exists());
}
