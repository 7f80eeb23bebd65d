//! `GET /api/devops/sync/revenue`

use serde_json::{Value, json};
use tests::{Answer, Key, Workspace, ledger::example};

const SYNC: &str = "/api/devops/sync/revenue";

async fn sync(key: &Key, query: &str) -> Answer {
    key.server().get(&format!("{SYNC}{query}")).key(&key.text).send().await
}

fn paid(id: &str, amount: i64, currency: &str, more: &Value) -> Value {
    let mut item = json!({
        "id": id, "kind": "other", "customer": "c1", "amount": amount, "currency": currency,
        "status": "succeeded", "occurred_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",
    });
    for (name, value) in more.as_object().expect("an object") {
        item[name] = value.clone();
    }
    item
}

#[tokio::test]
async fn a_new_workspace_has_no_revenue() {
    let key = Workspace::new().await.key().await;
    let mut answer = sync(&key, "").await.json(200);
    assert!(answer["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
    answer.as_object_mut().map(|answer| answer.remove("timestamp"));
    assert_eq!(
        answer,
        json!({
            "currency": "USD", "policy": "default", "total_revenue": 0, "subscription_revenue": 0,
            "tripwire_revenue": 0, "other_revenue": 0, "monthly_recurring_revenue": 0, "active_subscriptions": 0,
            "subscription_breakdown": {}, "by_currency": {}, "recent_transactions": [], "next_cursor": null,
        })
    );
}

#[tokio::test]
async fn a_small_company_is_told_number_for_number() {
    let key = Workspace::new().await.key().await;
    for (kind, items) in example() {
        for chunk in items.chunks(100) {
            key.outcomes_of(kind, chunk).await;
        }
    }
    let answer = sync(&key, "").await.json(200);
    for (name, value) in [
        ("total_revenue", json!(15750)),
        ("subscription_revenue", json!(14500)),
        ("tripwire_revenue", json!(1250)),
        ("monthly_recurring_revenue", json!(8500)),
        ("active_subscriptions", json!(85)),
        (
            "subscription_breakdown",
            json!({
                "membership": {"count": 50, "revenue": 3500},
                "reseller": {"count": 25, "revenue": 3500},
                "pro_reseller": {"count": 10, "revenue": 7500},
            }),
        ),
    ] {
        assert_eq!(answer[name], value, "{name}: {answer}");
    }
    assert_eq!(answer["recent_transactions"].as_array().map(Vec::len), Some(20), "{answer}");
}

#[tokio::test]
async fn each_currency_is_told_exactly_and_by_itself() {
    let key = Workspace::new().await.key().await;
    let none = json!({});
    let items = [
        paid("usd", 1_999, "USD", &none),
        paid("back", 1_000, "usd", &json!({"refunded": 999})),
        paid("failed", 5_000, "USD", &json!({"status": "failed"})),
        paid("jpy", 500, "JPY", &none),
        paid("kwd", 12_345, "KWD", &none),
        paid("isk", 500, "ISK", &none),
        paid("mga", 500, "MGA", &none),
        paid("large", 1 << 53, "EUR", &none),
        paid("larger", 1 << 53, "EUR", &none),
    ];
    key.outcomes_of("transactions", &items).await;
    let answer = sync(&key, "").await.expect(200);
    for exact in [
        r#""currency":"USD","policy":"default","total_revenue":20,"#,
        r#""JPY":{"total_revenue":500,"#,
        r#""KWD":{"total_revenue":12.345,"#,
        r#""ISK":{"total_revenue":5,"#,
        r#""MGA":{"total_revenue":500,"#,
        r#""EUR":{"total_revenue":180143985094819.84,"#,
    ] {
        assert!(answer.text.contains(exact), "{exact}: {}", answer.text);
    }
    let answer = sync(&key, "?currency=kwd").await.json(200);
    assert_eq!((&answer["currency"], &answer["total_revenue"]), (&json!("KWD"), &json!(12.345)));
    // A transaction that is given back later takes the difference along.
    let back = paid("usd", 1_999, "USD", &json!({"refunded": 1_999, "updated_at": "2026-03-02T00:00:00Z"}));
    assert_eq!(key.outcomes_of("transactions", &[back.clone(), back]).await, ["updated", "unchanged"]);
    assert_eq!(sync(&key, "").await.json(200)["total_revenue"], json!(0.01));
}

#[tokio::test]
async fn a_known_answer_is_not_sent_again() {
    let key = Workspace::new().await.key().await;
    let first = sync(&key, "").await.expect(200);
    let again = |tag: String| {
        let call = key.server().get(SYNC).key(&key.text).header("if-none-match", &tag);
        async move { call.send().await }
    };
    let known = again(first.header("etag").to_owned()).await.expect(304);
    assert!(known.text.is_empty());
    assert_eq!(known.number("ratelimit-remaining") + 1, first.number("ratelimit-remaining"), "it is a call");
    key.outcomes_of("transactions", &[paid("one", 1, "USD", &json!({}))]).await;
    assert_eq!(again(first.header("etag").to_owned()).await.json(200)["total_revenue"], json!(0.01));
}

#[tokio::test]
async fn windows_and_pages_are_of_what_was_paid_then() {
    let key = Workspace::new().await.key().await;
    let on = |id: &str, time: &str| paid(id, 100, "USD", &json!({"occurred_at": time}));
    let items = [
        on("a", "2026-03-01T00:00:00Z"),
        on("b", "2026-03-01T23:59:59Z"),
        on("c", "2026-03-02T00:00:00Z"),
        on("d", "2026-04-01T00:00:00Z"),
    ];
    key.outcomes_of("transactions", &items).await;
    let ids = |answer: &Value| -> Vec<String> {
        let list = answer["recent_transactions"].as_array().expect("a list");
        list.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
    };
    for (query, expected) in [
        ("?from=2026-03-01&to=2026-03-02", vec!["b", "a"]),
        ("?from=2026-03-02&to=2026-04-01", vec!["c"]),
        ("?from=2026-03-02", vec!["d", "c"]),
    ] {
        let answer = sync(&key, query).await.json(200);
        assert_eq!(ids(&answer), expected, "{query}");
        assert_eq!(answer["total_revenue"], expected.len(), "{query}: {answer}");
    }
    let mut seen = Vec::new();
    let mut answer = sync(&key, "?limit=3").await.json(200);
    loop {
        seen.extend(ids(&answer));
        let Some(cursor) = answer["next_cursor"].as_str() else { break };
        answer = sync(&key, &format!("?limit=3&cursor={cursor}")).await.json(200);
    }
    assert_eq!(seen, ["d", "c", "b", "a"]);
}

#[tokio::test]
async fn every_parameter_that_is_wrong_is_named() {
    let key = Workspace::new().await.key().await;
    for (query, fields) in [
        ("?from=2026-03-02&to=2026-03-01", vec!["to"]),
        ("?to=2026-03-01", vec!["from"]),
        ("?from=2024-01-01&to=2026-01-01", vec!["from"]),
        ("?limit=101&currency=XYZ&policy=mine", vec!["currency", "limit", "policy"]),
        ("?as_of=2026-01-01", vec!["as_of"]),
        ("?cursor=junk", vec!["cursor"]),
    ] {
        let mut named = sync(&key, query).await.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{query}");
    }
}

#[tokio::test]
async fn nobody_else_sees_it() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    key.outcomes_of("transactions", &[paid("one", 100, "USD", &json!({}))]).await;
    let other = Workspace::new().await.key().await;
    let answer = sync(&other, "").await.json(200);
    assert_eq!((&answer["total_revenue"], &answer["by_currency"]), (&json!(0), &json!({})));
    workspace.server.get(SYNC).send().await.gateway(401);
    let writer = workspace.key_with(json!({"permissions": ["write_metrics"]})).await;
    sync(&writer, "").await.problem(403, "forbidden");
}
