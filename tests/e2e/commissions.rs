//! `GET /api/devops/sync/commissions`

use serde_json::{Value, json};
use tests::{Answer, Key, Workspace};

const SYNC: &str = "/api/devops/sync/commissions";

async fn sync(key: &Key, query: &str) -> Answer {
    key.server().get(&format!("{SYNC}{query}")).key(&key.text).send().await
}

fn earned(id: &str, username: &str, tier: &str, amount: i64, day: &str) -> Value {
    json!({
        "id": id, "username": username, "tier": tier, "amount": amount, "currency": "USD", "transaction": "t1",
        "occurred_at": format!("{day}T12:00:00Z"), "updated_at": format!("{day}T12:00:00Z"),
    })
}

#[tokio::test]
async fn totals_tiers_and_performers_agree() {
    let key = Workspace::new().await.key().await;
    let items = [
        earned("a", "ada", "gold", 10_050, "2026-03-01"),
        earned("b", "ada", "silver", 50, "2026-03-02"),
        earned("c", "bob", "silver", 10_100, "2026-03-02"),
        earned("d", "eve", "gold", 1, "2026-04-01"),
    ];
    key.outcomes_of("commissions", &items).await;
    let mut answer = sync(&key, "?limit=1").await.json(200);
    assert!(answer["next_cursor"].is_string(), "{answer}");
    for name in ["timestamp", "next_cursor"] {
        answer.as_object_mut().map(|answer| answer.remove(name));
    }
    assert_eq!(
        answer,
        json!({
            "currency": "USD",
            "total_commissions": 202.01,
            "total_transactions": 4,
            "commission_by_tier": {"gold": {"count": 2, "total": 100.51}, "silver": {"count": 2, "total": 101.5}},
            "by_currency": {"USD": 202.01},
            "top_performers": [
                {"username": "ada", "total_commission": 101, "transaction_count": 2},
                {"username": "bob", "total_commission": 101, "transaction_count": 1},
                {"username": "eve", "total_commission": 0.01, "transaction_count": 1},
            ],
            "recent_commissions": [{
                "id": "d", "username": "eve", "tier": "gold", "amount": 0.01, "currency": "USD", "transaction": "t1",
                "occurred_at": "2026-04-01T12:00:00Z", "updated_at": "2026-04-01T12:00:00Z",
            }],
        })
    );
    // Who earned it, and in which tier, may change: everything follows.
    let mut moved = earned("a", "bob", "iron", 10_050, "2026-03-01");
    moved["updated_at"] = json!("2026-03-03T00:00:00Z");
    key.outcomes_of("commissions", &[moved]).await;
    for (query, names, total) in [
        ("", vec!["bob", "ada", "eve"], json!(202.01)),
        ("?from=2026-03-01&to=2026-03-02", vec!["bob"], json!(100.5)),
    ] {
        let answer = sync(&key, query).await.json(200);
        let performers = answer["top_performers"].as_array().expect("performers");
        let shown: Vec<_> = performers.iter().map(|one| one["username"].clone()).collect();
        assert_eq!((json!(shown), &answer["total_commissions"]), (json!(names), &total), "{query}: {answer}");
    }
}

#[tokio::test]
async fn what_is_wrong_or_not_yours_is_refused() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    key.outcomes_of("commissions", &[earned("a", "ada", "gold", 1, "2026-03-01")]).await;
    for (query, fields) in [("?limit=0&to=2026-01-01", vec!["from", "limit"]), ("?user=ada", vec!["user"])] {
        let mut named = sync(&key, query).await.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{query}");
    }
    let first = sync(&key, "").await.expect(200);
    let call = key.server().get(SYNC).key(&key.text).header("if-none-match", first.header("etag"));
    assert!(call.send().await.expect(304).text.is_empty());
    let other = Workspace::new().await.key().await;
    let answer = sync(&other, "").await.json(200);
    assert_eq!((&answer["total_commissions"], &answer["top_performers"]), (&json!(0), &json!([])));
    workspace.server.get(SYNC).send().await.gateway(401);
    let writer = workspace.key_with(json!({"permissions": ["write_metrics"]})).await;
    sync(&writer, "").await.problem(403, "forbidden");
}
