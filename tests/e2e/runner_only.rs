//! What only the embedded runner can show: the emulator takes 50 ms for each call of a function,
//! and does not know API Gateway's limit on a body's size.

use futures::future::join_all;
use tests::{Workspace, ledger::user, within_one_hour};

#[tokio::test]
async fn the_1001st_call_of_an_hour_is_refused() {
    within_one_hour(180).await;
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let items = [user(1)];
    for _ in 0..40 {
        for answer in join_all((0..25).map(|_| key.ingest(&items))).await {
            let _ = answer.expect(200);
        }
    }
    for answer in [key.ingest(&items).await, key.sync("").await] {
        answer.problem(429, "rate-limited");
        assert_eq!(answer.number("ratelimit-limit"), 1000);
        assert_eq!(answer.number("ratelimit-remaining"), 0);
        assert!((1..=3600).contains(&answer.number("retry-after")));
    }
    assert_eq!(workspace.usage(&key.id).await["calls"], 1000);
}

#[tokio::test]
async fn a_body_above_ten_megabytes_is_refused_by_the_gateway() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let call = workspace.server.request("PUT", "/api/ingest/users").key(&key.text);
    call.body("x".repeat(10 * 1024 * 1024 + 1)).send().await.gateway(413);
}
