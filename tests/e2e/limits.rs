//! How often a key may call.

use futures::future::join_all;
use serde_json::json;
use tests::{Answer, Workspace, ledger::user, within_one_hour};

/// What a refusal for frequency must tell.
fn refused(answer: &Answer, limit: u64) {
    answer.problem(429, "rate-limited");
    assert_eq!(answer.number("ratelimit-limit"), limit);
    assert_eq!(answer.number("ratelimit-remaining"), 0);
    let reset = answer.number("ratelimit-reset");
    assert!((1..=3600).contains(&reset), "{reset}");
    assert!((1..=3600).contains(&answer.number("retry-after")));
}

#[tokio::test]
async fn fifty_parallel_callers_get_exactly_the_allowed_number_through() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"rate_limit": 20})).await;
    let answers = join_all((0..50).map(|_| key.sync(""))).await;
    let (allowed, other): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(allowed.len(), 20);
    for answer in &other {
        refused(answer, 20);
    }
    let mut remaining: Vec<_> = allowed.iter().map(|answer| answer.number("ratelimit-remaining")).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..20).collect::<Vec<_>>(), "each call was counted on its own");
    let usage = workspace.usage(&key.id).await;
    assert_eq!(usage["calls"], 20);
    assert_eq!(usage["denials"], json!({"rate_limited": 30}));
}

#[tokio::test]
async fn the_limit_holds_over_all_routes() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"rate_limit": 3})).await;
    let _ = key.ingest(&[user(1)]).await.expect(200);
    let _ = key.sync("").await.expect(200);
    let last = key.ingest(&[user(2)]).await;
    let _ = last.expect(200);
    refused(&key.sync("").await, 3);
    refused(&key.ingest(&[user(3)]).await, 3);

    let reader = workspace.key().await;
    assert_eq!(reader.sync("").await.json(200)["total_users"], 2, "what was refused is not stored");
}

#[tokio::test]
async fn a_sync_endpoint_has_a_limit_of_its_own() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"sync_rate_limit": 2})).await;
    for remaining in [1, 0] {
        let answer = key.sync("").await.expect(200);
        assert_eq!(answer.number("ratelimit-limit"), 2);
        assert_eq!(answer.number("ratelimit-remaining"), remaining);
    }
    refused(&key.sync("").await, 2);
    let _ = key.ingest(&[user(1)]).await.expect(200);
}

#[tokio::test]
async fn a_rotation_does_not_refill_the_limit() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"rate_limit": 1})).await;
    let _ = key.sync("").await.expect(200);
    let (renewed, _) = workspace.rotate(&key.id, 24).await;
    refused(&renewed.sync("").await, 1);
    refused(&key.sync("").await, 1);
}

#[tokio::test]
async fn one_key_does_not_use_up_anothers_limit() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;
    let busy = workspace.key_with(json!({"rate_limit": 1})).await;
    let other = workspace.key_with(json!({"rate_limit": 1})).await;
    let _ = busy.sync("").await.expect(200);
    refused(&busy.sync("").await, 1);
    let _ = other.sync("").await.expect(200);
}

#[tokio::test]
async fn the_301st_sync_of_an_hour_is_refused() {
    within_one_hour(120).await;
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    for _ in 0..10 {
        for answer in join_all((0..30).map(|_| key.sync("?limit=1"))).await {
            let _ = answer.expect(200);
        }
    }
    refused(&key.sync("").await, 300);
}

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
    refused(&key.ingest(&items).await, 1000);
    refused(&key.sync("").await, 1000);
    assert_eq!(workspace.usage(&key.id).await["calls"], 1000);
}
