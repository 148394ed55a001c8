//! The audit file and its disk: nothing is lost, and nothing begins which could not be recorded.

use std::path::Path;

use serde_json::{Value, json};

use crate::stage::{Desk, End, Scene, Setup, Stage, asks, audited, holds, is_over};

/// The writer runs beside the sessions, so what it has found out is waited for.
async fn is_writable(stage: &Stage, writable: u32) {
    stage.counts("audit_writable", writable).await;
}

#[tokio::test]
async fn on_a_full_disk_nothing_begins_and_nothing_is_lost() {
    let desk = Desk::new();
    let mut scene = Scene::open(desk.setup()).await;
    scene.goes_on().await;
    let mut running = scene.begins("RETR running").await;
    // Every write to it is told that no space is left.
    scene.stage.reloads(&audited(Path::new("/dev/full"), "json")).await;
    is_writable(&scene.stage, 0).await;

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

/// As logrotate does it: renamed and opened again on SIGHUP, and copied and truncated.
#[tokio::test]
async fn no_line_is_lost_while_the_file_is_rotated_under_load() {
    let desk = Desk::new();
    let owned = Stage::start(desk.setup()).await;
    const ROUNDS: usize = 100;
    let stage = &owned;
    let works = |at: usize| async move {
        let mut client = stage.secured_client().await;
        let mut backend = stage.logs_in(&mut client).await;
        for round in 0..ROUNDS {
            let command = format!("DELE /{at}-{round}");
            client.says(&command).await;
            backend.hears_and_says(&command, "250 Gone").await;
            client.hears("250 ").await;
        }
        client.says_and_hears("QUIT", "221 ").await;
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
