//! The audit file and its disk: nothing is lost, and nothing begins which could not be recorded.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::metrics::get;
use crate::stage::{Desk, End, Scene, Setup, Stage, asks, audited, holds, is_over};

/// Where the disk is, for the play that runs in namespaces of its own.
const SMALL_DISK: &str = "FTPS_GATEWAY_SMALL_DISK";

/// The writer runs beside the sessions, so what it has found out is waited for.
async fn is_writable(stage: &Stage, writable: u32) {
    stage.counts("audit_writable", writable).await;
}

#[tokio::test]
async fn on_a_full_disk_nothing_begins_and_nothing_is_lost() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup().with("admin", "address: \"127.0.0.1:0\"")).await;
    scene.goes_on().await;
    let mut running = scene.begins("RETR running").await;
    // Every write to it is told that no space is left.
    scene.stage.reloads(&audited(Path::new("/dev/full"), "json")).await;
    is_writable(&scene.stage, 0).await;
    // A balancer that asks sends clients elsewhere.
    let page = get(&scene.stage, "/readyz").await;
    assert!(page.starts_with("HTTP/1.1 503 ") && page.ends_with("audit_unavailable\n"), "{page}");

    // What runs goes on to its end.
    running.backend.sends("content").await;
    running.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(running.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent").await;

    let (address, _door) = scene.goes_passive().await;
    let _data = scene.client.opens(address).await;
    for command in ["RETR new", "DELE x", "RNFR x", "MKD x", "SITE CHMOD 1 x"] {
        scene.client.says(command).await;
        scene.client.refused(451, "audit_unavailable").await;
    }
    scene.goes_on().await;
    let mut late = scene.stage.secured_client().await;
    late.says("USER eve").await;
    late.refused(451, "audit_unavailable").await;
    scene.stage.backend().is_not_dialled().await;
    scene.stage.counts("commands_refused_total{reason=\"audit_unavailable\"}", 6).await;

    // Another file is named, and there it all is.
    scene.stage.reloads(&desk.setup()).await;
    is_writable(&scene.stage, 1).await;
    assert!(get(&scene.stage, "/readyz").await.starts_with("HTTP/1.1 200 "));
    scene.downloads().await;
    let backend = scene.stage.logs_in(&mut late).await;
    drop((late, backend));
    scene.stage.counts("sessions_active{listener=\"explicit\"}", 1).await;
    assert_eq!(scene.stage.number("audit_lines_lost_total"), Some(0.0));
    is_over(scene).await;
    let paths: Vec<_> = desk.lines("transfer").into_iter().map(|line| line["path"].clone()).collect();
    assert_eq!(paths, ["running", "small"]);
    let refused: Vec<_> = desk.lines("command_refused").into_iter().map(|line| line["verb"].clone()).collect();
    assert_eq!(refused, ["RETR", "DELE", "RNFR", "MKD", "SITE"]);
    assert_eq!(desk.lines("reloaded").len(), 2);
    assert_eq!(desk.lines("session_started").len(), 2);
}

/// A real disk of 128 KiB. Being root within a namespace takes no root; where the system has none for this user, the play
/// says so, and `/dev/full` above is all that is shown.
#[test]
fn on_a_small_disk_a_line_goes_on_where_it_stopped() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(fills_and_frees(Path::new(&disk)));
    }
    let namespaces = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    if !namespaces().arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("LEFT OUT: this user may make no namespaces, so there is no small disk");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let script = "mount -t tmpfs -o size=128k none \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let played = namespaces()
        .args(["sh", "-c", script, "sh"])
        .args([folder.path(), &own])
        .arg("audit_disk::on_a_small_disk_a_line_goes_on_where_it_stopped")
        .env(SMALL_DISK, folder.path())
        .output()
        .unwrap();
    let said = [played.stdout, played.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(played.status.success() && said.contains("1 passed"), "{said}");
}

async fn fills_and_frees(disk: &Path) {
    let (path, ballast) = (disk.join("audit.jsonl"), disk.join("ballast"));
    std::fs::write(&ballast, [0; 64 << 10]).unwrap();
    let mut scene = Scene::open(audited(&path, "json")).await;
    let mut done = Vec::new();
    loop {
        assert!(done.len() < 2000, "nothing is refused on a full disk");
        let name = format!("/{}", done.len());
        scene.client.says(format!("DELE {name}")).await;
        tokio::select! {
            _ = scene.backend.talk.line("DELE") => {
                scene.backend.says("250 Gone").await;
                scene.client.hears("250 ").await;
                done.push(name);
            }
            reply = scene.client.reply("451") => {
                assert!(reply.text().contains("[audit_unavailable]"), "{}", reply.text());
                if path.metadata().unwrap().len() == 64 << 10 {
                    break;
                }
                // The system may say a little early that the disk is full.
                is_writable(&scene.stage, 1).await;
            }
        }
    }
    // Full to the last byte, and so in the middle of a line but for luck.
    is_writable(&scene.stage, 0).await;
    scene.goes_on().await;
    std::fs::remove_file(&ballast).unwrap();
    // As an operator does who has made room. It is the same file, and the writer is in the middle of a line there.
    scene.stage.gateway.reopen_audit().unwrap();
    scene.stage.reloads(&audited(&path, "json")).await;
    is_writable(&scene.stage, 1).await;
    asks(&mut scene, "DELE /last", "250 Gone").await;
    done.push("/last".to_owned());
    assert_eq!(scene.stage.number("audit_lines_lost_total"), Some(0.0));
    is_over(scene).await;
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let deleted = lines.filter(|line| line["event"] == "delete").map(|line| line["path"].as_str().unwrap().to_owned());
    assert_eq!(deleted.collect::<Vec<_>>(), done);
}

/// As logrotate does it: renamed and opened again on SIGHUP, and copied and truncated.
#[tokio::test]
async fn no_line_is_lost_while_the_file_is_rotated_under_load() {
    let desk = Desk::new();
    let owned = Stage::start(desk.setup()).await;
    const ROUNDS: usize = 100;
    let stage = &owned;
    // One after the other: of two at once, nobody could tell whose backend is whose.
    let mut pairs = Vec::new();
    for _ in 0..4 {
        let mut client = stage.secured_client().await;
        let backend = stage.logs_in(&mut client).await;
        pairs.push((client, backend));
    }
    let mut works = |at: usize| {
        let (mut client, mut backend) = pairs.remove(0);
        async move {
            for round in 0..ROUNDS {
                let command = format!("DELE /{at}-{round}");
                client.says(&command).await;
                backend.hears_and_says(&command, "250 Gone").await;
                client.hears("250 ").await;
            }
            client.says_and_hears("QUIT", "221 ").await;
        }
    };
    let rotated = async {
        for at in 0..20 {
            // Between two rotations something is written.
            let before = stage.number("audit_lines_total").unwrap_or_default();
            stage.counts_until("audit_lines_total", |now| now > before || now >= 416.0).await;
            std::fs::rename(desk.path(), desk.folder.path().join(format!("audit.{at:02}"))).unwrap();
            stage.gateway.reopen_audit().unwrap();
        }
    };
    tokio::join!(works(0), works(1), works(2), works(3), rotated);
    stage.is_empty().await;
    owned.gateway.stop().await;
    let mut told = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(desk.folder.path()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            if line["event"] == "delete" {
                assert!(told.insert(line["path"].as_str().unwrap().to_owned()), "twice: {line}");
            }
        }
    }
    let expected = (0..4).flat_map(|at| (0..ROUNDS).map(move |round| format!("/{at}-{round}"))).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_file_that_is_truncated_in_place_begins_anew() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.goes_on().await;
    asks(&mut scene, "DELE a", "250 Gone").await;
    scene.stage.counts("audit_lines_total", 5).await;
    std::fs::OpenOptions::new().write(true).truncate(true).open(desk.path()).unwrap();
    asks(&mut scene, "DELE b", "250 Gone").await;
    is_over(scene).await;
    assert!(desk.text().starts_with("{\"time\":"));
    holds(&desk.line("delete"), &json!({ "path": "b" }));
}

#[tokio::test]
async fn a_reload_begins_and_ends_it_and_a_file_that_cannot_be_had_is_refused() {
    let desk = Desk::new();
    let mut scene = Scene::plain().await;
    assert!(!desk.path().exists());
    scene.stage.reloads(&desk.setup()).await;
    let wrong = audited(&desk.folder.path().join("no/such"), "json");
    let text = wrong.yaml(scene.stage.folder.path(), &scene.stage.backends, &scene.stage.identity, &[]);
    let settings = ftps_gateway::config::parse(&text, "gateway.yaml").unwrap();
    let error = scene.stage.gateway.reload(settings).unwrap_err().to_string();
    assert!(error.contains("audit_log.path: ") && error.contains("Make the folder"), "{error}");
    scene.downloads().await;
    scene.stage.reloads(&Setup::new()).await;
    scene.uploads().await;
    is_over(scene).await;
    let results: Vec<_> = desk.lines("reloaded").into_iter().map(|line| line["result"].clone()).collect();
    assert_eq!(results, ["accepted", "refused"]);
    holds(&desk.line("transfer"), &json!({ "verb": "RETR", "path": "small" }));
    desk.line("audit_stopped");
}
