//! EPSV ALL (RFC 2428 §4): from then on nothing but EPSV.

use crate::stage::Scene;

#[tokio::test]
async fn after_epsv_all_the_other_ways_are_refused() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("EPSV ALL", "200 ").await;
    for command in ["PASV", "PORT 127,0,0,1,200,10", "EPRT |1|127.0.0.1|51210|"] {
        scene.client.says(command).await;
        scene.client.refused(503, "epsv_all_in_effect").await;
    }
    // The backend has heard nothing of it.
    scene.goes_on().await;
}

#[tokio::test]
async fn after_epsv_all_epsv_works() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("epsv all", "200 ").await;
    scene.client.says("EPSV").await;
    // The backend knows nothing of it and is asked as always.
    let door = scene.backend.goes_passive().await;
    let reply = scene.client.hears("229 ").await;
    let client = scene.client.opens(scene.client.passive_address(&reply)).await;
    scene.commands("RETR file", client, &door).await;
}

#[tokio::test]
async fn rein_ends_epsv_all() {
    let mut scene = Scene::plain().await;
    scene.client.says_and_hears("EPSV ALL", "200 ").await;
    scene.client.says_and_hears("REIN", "220 ").await;
    scene.backend.hears("QUIT").await;
    scene.client.talk.wire.close_notify().await.unwrap();
    assert_eq!(scene.client.ends().await, crate::stage::End::CloseNotify);
    scene.client.talk.wire.plain_again();
    scene.client.secures().await;
    scene.backend = scene.stage.logs_in(&mut scene.client).await;
    scene.client.protects().await;
    scene.goes_passive().await;
}
