//! Hostile backends whose replies have no end. What the client hears is held up by the client; what it does not hear is
//! bounded, in bytes and in time. Each bound is counted, and a good client goes on.

use std::time::Duration;

use tokio::time::timeout;

use crate::stage::{Actor, Client, End, Scene, Setup, Stage};

const NONSENSE: &str = "backend_failures_total{backend=\"legacy\",reason=\"nonsense\"}";
/// How long nothing must be taken from a writer before it counts as held up.
const HELD_UP: Duration = Duration::from_millis(300);

/// Another client, whose backend behaves.
struct Good {
    client: Client,
    backend: Actor,
}

impl Good {
    async fn comes(stage: &Stage) -> Self {
        let mut client = stage.client_from("good", "127.0.0.67").await;
        client.secures().await;
        let backend = stage.logs_in(&mut client).await;
        Self { client, backend }
    }

    async fn goes_on(&mut self) {
        self.client.says("PWD").await;
        self.backend.hears_and_says("PWD", "257 \"/\"").await;
        self.client.hears("257 ").await;
    }
}

/// A line of a reply, again and again, for as long as somebody takes it.
async fn goes_on_for_ever(backend: &mut Actor, line: &str) {
    let lines = format!("{line}\r\n").repeat(1000);
    while backend.talk.wire.write(lines.as_bytes()).await.is_ok() {}
}

async fn ends_with_nonsense(scene: &mut Scene, line: &str) {
    ends_with_nonsense_behind(scene, line, line).await;
}

/// A line, and behind it another, again and again.
async fn ends_with_nonsense_behind(scene: &mut Scene, first: &str, line: &str) {
    scene.backend.says(first).await;
    let Scene { stage, client, backend } = scene;
    let mut good = Good::comes(stage).await;
    let heard = async {
        client.refused(421, "backend_nonsense").await;
        assert_eq!(client.ends().await, End::CloseNotify);
    };
    tokio::join!(goes_on_for_ever(backend, line), heard, good.goes_on());
    stage.counts(NONSENSE, 1).await;
    stage.counts("sessions_total{listener=\"explicit\",outcome=\"backend_nonsense\"}", 1).await;
    good.goes_on().await;
}

#[tokio::test]
async fn features_have_an_end() {
    let mut scene = Scene::plain().await;
    scene.client.says("FEAT").await;
    scene.backend.hears("FEAT").await;
    ends_with_nonsense(&mut scene, "211-Features").await;
}

#[tokio::test]
async fn the_reply_to_pasv_has_an_end() {
    let mut scene = Scene::plain().await;
    scene.client.says("PASV").await;
    scene.backend.hears("PASV").await;
    ends_with_nonsense(&mut scene, "227-Entering").await;
}

#[tokio::test]
async fn the_reply_to_the_gateways_own_question_has_an_end() {
    let rules = Setup::new().with("access", "commands: [{ clients: [127.0.0.1], deny: [delete], paths: [\"/x/**\"] }]");
    let mut scene = Scene::open(rules).await;
    scene.client.says("DELE x").await;
    scene.backend.hears("PWD").await;
    ends_with_nonsense(&mut scene, "257-You are").await;
}

#[tokio::test]
async fn what_follows_a_transfer_has_an_end() {
    let mut scene = Scene::plain().await;
    scene.downloads().await;
    ends_with_nonsense(&mut scene, "226 By the way").await;
}

/// A line of nothing takes memory, too.
#[tokio::test]
async fn lines_of_nothing_have_an_end() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.ends().await, End::Fin);
    ends_with_nonsense_behind(&mut scene, "226-Stored, and", "").await;
    let mut scene = Scene::plain().await;
    scene.client.says("PASV").await;
    scene.backend.hears("PASV").await;
    ends_with_nonsense_behind(&mut scene, "227-Entering", "").await;
}

#[tokio::test]
async fn a_final_reply_has_an_end() {
    let mut scene = Scene::plain().await;
    let mut transfer = scene.begins("STOR file").await;
    transfer.client.finishes().await;
    assert_eq!(transfer.backend.ends().await, End::Fin);
    ends_with_nonsense(&mut scene, "226-Stored, and").await;
    scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_gone\"}", 1).await;
}

/// While the bytes are on their way nothing is cut; behind them it ends.
#[tokio::test]
async fn final_replies_have_an_end() {
    let mut scene = Scene::plain().await;
    let mut good = Good::comes(&scene.stage).await;
    let mut transfer = scene.begins("RETR file").await;
    transfer.backend.sends("content").await;
    scene.backend.says("226 Sent").await;
    scene.backend.talk.say_raw("226 Sent once more\r\n".repeat(10_000)).await;
    good.goes_on().await;
    transfer.backend.finishes().await;
    assert_eq!(transfer.client.receives_all().await, (b"content".to_vec(), End::CloseNotify));
    scene.client.hears("226 Sent\r\n").await;
    scene.client.refused(421, "backend_nonsense").await;
    scene.stage.counts(NONSENSE, 1).await;
    scene.stage.counts("transfers_total{direction=\"download\",result=\"completed\"}", 1).await;
    good.goes_on().await;
}

#[tokio::test]
async fn a_reply_during_login_has_an_end() {
    for (name, first, line) in [
        ("USER bob", "331-Password", "331-Password"),
        ("PASS sesame", "230-Welcome", "230-Welcome"),
        ("PASS sesame", "230-Welcome", ""),
    ] {
        let stage = Stage::plain().await;
        let mut good = Good::comes(&stage).await;
        let mut client = stage.secured_client().await;
        client.says("USER bob").await;
        let mut backend = stage.backend().welcomes().await;
        backend.hears("USER bob").await;
        if name.starts_with("PASS") {
            backend.says("331 Password please").await;
            client.hears("331 ").await;
            client.says(name).await;
            backend.hears(name).await;
        }
        backend.says(first).await;
        tokio::join!(goes_on_for_ever(&mut backend, line), client.refused(421, "backend_nonsense"), good.goes_on());
        stage.counts(NONSENSE, 1).await;
        good.goes_on().await;
    }
}

/// Each line is news, and none of them is an answer.
#[tokio::test]
async fn a_reply_that_the_client_does_not_hear_has_one_deadline_for_all_its_lines() {
    for (command, line) in [("FEAT", " MDTM"), ("PASV", "227-Entering"), ("EPSV", "150 Wait")] {
        let mut scene = Scene::open(Setup::new().with("timeouts", "backend_reply: 500ms")).await;
        let Scene { stage, client, backend } = &mut scene;
        let mut good = Good::comes(stage).await;
        client.says(command).await;
        backend.talk.line(command).await;
        if command == "FEAT" {
            backend.says("211-Features").await;
        }
        tokio::join!(drips(backend, line), client.refused(421, "backend_timeout"), good.goes_on());
        stage.counts("backend_failures_total{backend=\"legacy\",reason=\"timeout\"}", 1).await;
    }
}

/// Lines of a reply, now and then, for as long as somebody takes them.
async fn drips(backend: &mut Actor, line: &str) {
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    while backend.talk.wire.write(format!("{line}\r\n").as_bytes()).await.is_ok() {
        pace.tick().await;
    }
}

/// The client hears it when it is whole.
#[tokio::test]
async fn a_final_reply_has_one_deadline_for_all_its_lines() {
    for line in ["", " and", "226-and"] {
        let mut scene = Scene::open(Setup::new().with("timeouts", "backend_reply: 500ms")).await;
        let mut transfer = scene.begins("STOR file").await;
        transfer.client.finishes().await;
        assert_eq!(transfer.backend.ends().await, End::Fin);
        scene.backend.says("226-Stored").await;
        tokio::join!(drips(&mut scene.backend, line), scene.client.refused(421, "backend_timeout"));
        scene.stage.counts("transfers_total{direction=\"upload\",result=\"backend_silent\"}", 1).await;
    }
}

#[tokio::test]
async fn what_follows_abor_has_a_deadline() {
    for line in ["", "226-and", "150 Wait"] {
        let mut scene = Scene::open(Setup::new().with("timeouts", "backend_reply: 500ms")).await;
        let _transfer = scene.begins("RETR file").await;
        scene.client.says("ABOR").await;
        scene.client.hears("426 ").await;
        scene.backend.hears_and_says("ABOR", "426 Cut\r\n226-And").await;
        tokio::join!(drips(&mut scene.backend, line), scene.client.refused(421, "backend_timeout"));
    }
}

#[tokio::test]
async fn a_reply_to_a_client_that_does_not_read_waits_in_the_backend_and_then_ends() {
    let mut scene = Scene::plain().await;
    let mut good = Good::comes(&scene.stage).await;
    scene.client.says("STAT /").await;
    scene.backend.hears("STAT /").await;
    let lines = format!(" {}\r\n", "x".repeat(400)).repeat(100);
    scene.backend.says("213-Long").await;
    let (mut taken, mut in_vain) = (0, 0);
    // Once may be a busy machine.
    while in_vain < 4 {
        match timeout(HELD_UP, scene.backend.talk.wire.write(lines.as_bytes())).await {
            Ok(written) => (taken, in_vain) = (taken + lines.len(), usize::from(written.is_err()) * 4),
            Err(_) => in_vain += 1,
        }
        assert!(taken < 256 << 20, "the gateway takes whatever comes");
    }
    good.goes_on().await;
    // The half minute that a client may leave what it is told.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    scene.stage.counts("sessions_total{listener=\"explicit\",outcome=\"client_stalled\"}", 1).await;
    good.goes_on().await;
}
