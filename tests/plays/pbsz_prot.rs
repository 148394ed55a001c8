//! PBSZ and PROT (RFC 4217 §8, §9).

use crate::stage::{End, Scene, Setup, Stage};

#[tokio::test]
async fn pbsz_and_prot_want_a_secured_control_connection() {
    let stage = Stage::plain().await;
    let mut client = stage.client().await;
    for command in ["PBSZ 0", "PROT P"] {
        client.says(command).await;
        client.refused(503, "secure_first").await;
    }
}

#[tokio::test]
async fn any_buffer_size_is_answered_with_0() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("PBSZ 16384", "200 PBSZ=0\r\n").await;
    for argument in ["PBSZ", "PBSZ x", "PBSZ -1"] {
        client.says(argument).await;
        client.refused(501, "syntax").await;
    }
}

#[tokio::test]
async fn prot_without_pbsz_is_503() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says("PROT P").await;
    client.refused(503, "pbsz_first").await;
    client.protects().await;
}

/// Python's ftplib.
#[tokio::test]
async fn prot_c_needs_no_pbsz() {
    let stage = Stage::start(Setup::new().with("tls", "data: optional")).await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("PROT C", "200 ").await;
    let backend = stage.logs_in(&mut client).await;
    let mut scene = Scene { stage, client, backend };
    let mut transfer = scene.begins_clear("RETR file").await;
    transfer.backend.sends("content").await;
    transfer.client.receives("content").await;
}

#[tokio::test]
async fn prot_e_and_s_are_536_and_others_504() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    client.says_and_hears("PBSZ 0", "200 ").await;
    for (command, code, label) in [
        ("PROT E", 536, "unsupported_protection"),
        ("PROT S", 536, "unsupported_protection"),
        ("PROT X", 504, "unknown_protection"),
        ("PROT", 501, "syntax"),
    ] {
        client.says(command).await;
        client.refused(code, label).await;
    }
}

#[tokio::test]
async fn prot_c_is_534_where_data_must_be_protected() {
    let mut scene = Scene::plain().await;
    scene.client.says("PROT C").await;
    scene.client.refused(534, "clear_data_refused").await;
    // What was in force stays in force.
    scene.downloads().await;
}

#[tokio::test]
async fn prot_c_is_a_clear_transfer_where_it_may_be() {
    let mut scene = Scene::open_clear(Setup::new()).await;
    let mut transfer = scene.begins_clear("RETR small").await;
    transfer.backend.sends("in clear").await;
    transfer.backend.finishes().await;
    scene.backend.says("226 Sent").await;
    assert_eq!(transfer.client.receives_all().await, (b"in clear".to_vec(), End::Fin));
    scene.client.hears("226 Sent").await;
}

#[tokio::test]
async fn without_prot_p_the_transfer_is_521_and_not_the_arrangement() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.says("PASV").await;
    backend.goes_passive().await;
    client.hears("227 ").await;
    client.says("RETR file").await;
    client.refused(521, "data_protection_required").await;
    // The backend has heard nothing of it.
    client.says("PWD").await;
    backend.hears_and_says("PWD", "257 \"/\"").await;
    client.hears("257 ").await;
}

#[tokio::test]
async fn prot_may_come_after_pasv() {
    let stage = Stage::plain().await;
    let mut client = stage.secured_client().await;
    let mut backend = stage.logs_in(&mut client).await;
    client.says("PASV").await;
    let door = backend.goes_passive().await;
    let reply = client.hears("227 ").await;
    let mut data = client.opens(client.passive_address(&reply)).await;
    client.protects().await;
    client.says("RETR file").await;
    let mut back = door.accepts().await;
    backend.hears_and_says("RETR file", "150 Here").await;
    client.hears("150 ").await;
    data.secures(&client.tls).await;
    back.sends("private").await;
    back.finishes().await;
    backend.says("226 Sent").await;
    assert_eq!(data.receives_all().await, (b"private".to_vec(), End::CloseNotify));
    client.hears("226 ").await;
}

#[tokio::test]
async fn an_implicit_listener_protects_data_without_pbsz_and_prot() {
    let stage = Stage::plain().await;
    let mut client = stage.implicit_client().await;
    let backend = stage.logs_in(&mut client).await;
    let mut scene = Scene { stage, client, backend };
    scene.downloads().await;
    scene.client.says_and_hears("PROT P", "200 ").await;
    scene.uploads().await;
}

#[tokio::test]
async fn protection_survives_a_new_user() {
    let mut scene = Scene::plain().await;
    scene.client.says("USER bob").await;
    scene.backend.hears("QUIT").await;
    scene.backend = scene.stage.backend().welcomes().await;
    scene.backend.hears_and_says("USER bob", "230 In").await;
    scene.client.hears("230 In").await;
    scene.downloads().await;
}
