//! AUTH: mechanisms, order, and what stood in clear behind it.

use crate::stage::{Scene, Setup, Stage};

#[tokio::test]
async fn mechanisms_are_tls_and_its_old_names_in_any_case() {
    let stage = Stage::plain().await;
    for mechanism in ["AUTH TLS", "AUTH TLS-C", "AUTH SSL", "AUTH tls", "auth Ssl"] {
        let mut client = stage.client().await;
        client.says_and_hears(mechanism, "234 ").await;
        client.shakes_hands().await;
        client.says_and_hears("NOOP", "200 ").await;
    }
}
