//! Places: in all, for an address, for a user; and that they are given back.

use std::time::{Duration, Instant};

use crate::stage::{End, Scene, Setup, Stage};

#[tokio::test]
async fn sessions_in_all() {
    let stage = Stage::start(Setup::new().with("limits", "sessions: 2")).await;
    let mut one = stage.client().await;
    let _two = stage.implicit_client().await;
    let mut three = stage.connects("three").await;
    three.refused(421, "too_many_sessions").await;
    assert_eq!(three.ends().await, End::Fin);
    let refused = "connections_refused_total{listener=\"explicit\",reason=\"too_many_sessions\"}";
    stage.counts(refused, 1).await;
    // A place that is given back is there again.
    one.says_and_hears("QUIT", "221 ").await;
    stage.counts("sessions_active{listener=\"explicit\"}", 0).await;
    stage.client().await;
}

#[tokio::test]
async fn an_implicit_listener_closes_without_a_word() {
    let stage = Stage::start(Setup::new().with("limits", "sessions: 1")).await;
    let _one = stage.client().await;
    let mut two = stage.connects_implicitly().await;
    assert_eq!(two.ends().await, End::Fin);
    let refused = "connections_refused_total{listener=\"implicit\",reason=\"too_many_sessions\"}";
    stage.counts(refused, 1).await;
}

#[tokio::test]
async fn sessions_of_an_address() {
    let stage = Stage::start(Setup::new().with("limits", "sessions_per_address: 2")).await;
    let _one = stage.client().await;
    let mut two = stage.client().await;
    let mut three = stage.connects("three").await;
    three.refused(421, "too_many_sessions_from_address").await;
    let _other = stage.client_from("other", "127.0.0.2").await;
    two.talk.resets();
    stage.counts("sessions_active{listener=\"explicit\"}", 2).await;
    stage.client().await;
}

#[tokio::test]
async fn sessions_of_a_user() {
    let stage = Stage::start(Setup::new().with("limits", "sessions_per_user: 1")).await;
    let mut one = stage.secured_client().await;
    let _backend = stage.logs_in(&mut one).await;
    let mut two = stage.secured_client().await;
    two.says("USER bob").await;
    let mut backend = stage.backend().welcomes().await;
    // Naming the user takes no place: a stranger could shut him out.
    backend.hears_and_says("USER bob", "331 Password").await;
    two.hears("331 ").await;
    two.says("PASS sesame").await;
    backend.hears_and_says("PASS sesame", "230 In").await;
    two.refused(421, "too_many_sessions_of_user").await;
    backend.hears("QUIT").await;
    assert_eq!(two.ends().await, End::CloseNotify);
    stage.counts("logins_total{result=\"user_limit\"}", 1).await;
    // Another user, and the same one later.
    let mut three = stage.secured_client().await;
    three.says("USER eve").await;
    let mut backend = stage.backend().welcomes().await;
    backend.hears_and_says("USER eve", "230 In").await;
    three.hears("230 ").await;
    one.says_and_hears("QUIT", "221 ").await;
    stage.counts("sessions_active{listener=\"explicit\"}", 1).await;
    let mut four = stage.secured_client().await;
    let _backend = stage.logs_in(&mut four).await;
}

#[tokio::test]
async fn a_user_who_begins_anew_gives_his_place_back() {
    let stage = Stage::start(Setup::new().with("limits", "sessions_per_user: 1")).await;
    let mut client = stage.secured_client().await;
    // None of them closes before the gateway does.
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(stage.logs_in(&mut client).await);
    }
}

#[tokio::test]
async fn a_hundred_sessions_leave_nothing_behind() {
    let stage = Stage::start(Setup::new().with("limits", "sessions_per_address: 200")).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(stage.client().await);
    }
    stage.counts("sessions_active{listener=\"explicit\"}", 100).await;
    drop(clients);
    stage.is_empty().await;
}

/// Bytes are paid for before the end is passed on, so a transfer is not faster than its limit and what was saved up, 400 ms
/// at most.
#[tokio::test]
async fn bandwidth_of_a_session_of_a_user_and_in_all() {
    let content: Vec<u8> = (0..629_146u32).map(|number| (number % 251) as u8).collect();
    for limit in ["session", "user", "total"] {
        for upload in [false, true] {
            let setup = Setup::new().with("limits", format!("bandwidth: {{ {limit}: 1MiB }}"));
            let mut scene = Scene::open(setup).await;
            let mut transfer = scene.begins(if upload { "STOR file" } else { "RETR file" }).await;
            let began = Instant::now();
            let received = if upload {
                let client = async {
                    transfer.client.sends(&content).await;
                    transfer.client.finishes().await;
                };
                let (_, received) = tokio::join!(client, transfer.backend.receives_all());
                scene.backend.says("226 Done").await;
                received
            } else {
                let backend = async {
                    transfer.backend.sends(&content).await;
                    transfer.backend.finishes().await;
                    scene.backend.says("226 Done").await;
                };
                tokio::join!(backend, transfer.client.receives_all()).1
            };
            assert!(received.0 == content);
            assert!(began.elapsed() > Duration::from_millis(150), "{limit}: {:?}", began.elapsed());
            scene.client.hears("226 Done").await;
        }
    }
}
