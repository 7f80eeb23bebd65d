//! What a company does in its first weeks, in one go.

use serde_json::json;
use tests::{
    Key, Workspace,
    ledger::{Totals, read_all, user},
    within_one_hour,
};

#[tokio::test]
async fn from_the_first_key_to_its_revocation() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;

    // An admin gives a partner a key.
    let order = json!({"name": "warehouse", "permissions": ["read_metrics", "write_metrics"]});
    let answer = workspace.admin("POST", "/api/devops/generate-key").json(&order).send().await.json(201);
    let key = Key::of(&workspace.server, &answer);

    // The partner brings 250 users in three calls, and reads them back.
    let users: Vec<_> = (0..250).map(user).collect();
    for batch in users.chunks(100) {
        assert!(key.outcomes(batch).await.iter().all(|outcome| outcome == "created"));
    }
    let (totals, listed) = read_all(&key, 100, "").await;
    assert_eq!(totals, Totals::of(&users));
    assert_eq!(listed, users, "in the order of their ids");

    // The key is rotated; while the partner rolls it out, both secrets work.
    let (renewed, answer) = workspace.rotate(&key.id, 24).await;
    assert_eq!(renewed.id, key.id);
    assert_ne!(renewed.text, key.text);
    assert!(answer["previous_secret"]["expires_at"].is_string(), "{answer}");
    let _ = key.sync("").await.expect(200);
    let _ = renewed.sync("").await.expect(200);

    // It leaks and is revoked: the very next call is refused, though the gateway still remembers
    // that the authorizer let both secrets through.
    workspace.revoke(&key.id).await;
    key.sync("").await.problem(401, "unauthenticated");
    renewed.sync("").await.problem(401, "unauthenticated");
    renewed.ingest(&users[..1]).await.problem(401, "unauthenticated");

    // Three ingests, three pages and two reads; after that, three refusals.
    let usage = workspace.usage(&key.id).await;
    assert_eq!(usage["calls"], 8);
    assert_eq!(usage["routes"], json!({"ingest-users": 3, "sync-users": 5}));
    assert_eq!(usage["denials"], json!({"revoked": 3}));
}
