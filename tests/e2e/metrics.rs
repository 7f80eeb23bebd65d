//! `/api/metrics`: what tools read, for people.

use chrono::{Duration, Utc};
use serde_json::{Value, json};
use tests::{
    Workspace,
    ledger::{example, user},
};

async fn read(workspace: &Workspace, path: &str) -> Value {
    workspace.member("GET", &format!("/api/metrics/{path}")).send().await.json(200)
}

fn subscription(id: &str, status: &str, amount: i64) -> Value {
    json!({
        "id": id, "customer": "c1", "plan": "pro", "status": status, "currency": "USD",
        "items": [{"unit_amount": amount, "interval": "week"}],
        "discounts": [{"percent_off": 10, "duration": "once"}],
        "started_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    })
}

#[tokio::test]
async fn people_see_what_tools_read() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    for (kind, items) in example() {
        for chunk in items.chunks(100) {
            key.outcomes_of(kind, chunk).await;
        }
    }
    key.outcomes(&[user(1), user(2)]).await;
    for (metric, query) in [
        ("revenue", ""),
        ("revenue", "?from=2024-01-01&to=2024-02-01&policy=chartmogul"),
        ("commissions", ""),
        ("users", "?limit=1"),
    ] {
        let path = format!("/api/devops/sync/{metric}{query}");
        let tools = key.server().get(&path).key(&key.text).send().await.json(200);
        let people = read(&workspace, &format!("{metric}{query}")).await;
        for (name, value) in
            tools.as_object().expect("an object").iter().filter(|(name, _)| *name != "timestamp")
        {
            assert_eq!(&people[name], value, "{metric}{query}: {name}");
        }
    }
    let answer = read(&workspace, "revenue").await;
    assert_eq!(answer["payment_success_rate"], 1, "{answer}");
    // 135 payments: 85 of subscriptions, 50 one-time offers.
    assert_eq!(answer["average_transaction_value"], json!(116.67), "{answer}");
}

#[tokio::test]
async fn two_policies_are_explained_line_by_line() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let items = [subscription("s1", "active", 999), subscription("s2", "unpaid", 1_000)];
    key.outcomes_of("subscriptions", &items).await;
    for (policy, mrr) in
        [("default", json!(43.29)), ("chartmogul", json!(77.96)), ("profitwell", json!(38.96))]
    {
        let answer = read(&workspace, &format!("revenue?policy={policy}")).await;
        assert_eq!(answer["monthly_recurring_revenue"], mrr, "{policy}: {answer}");
    }
    let answer = read(&workspace, "revenue/explain?policy=chartmogul").await;
    let difference = &answer["monthly_recurring_revenue"];
    assert_eq!(difference["value"], json!(77.961), "{answer}");
    assert_eq!(difference["difference"], json!(34.671), "{answer}");
    let lines = answer["lines"].as_array().expect("lines");
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["metric"] == "monthly_recurring_revenue")
        .map(|line| json!([line["status"], line["part"], line["amount"], line["counted_by"]]))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["active", "once", -4.329, "chartmogul"],
            ["unpaid", "gross", 43.333_333_33, "chartmogul"],
            ["unpaid", "once", -4.333_333_33, "chartmogul"],
        ]),
        "{answer}"
    );
    for line in lines {
        for rule in ["rule", "against"] {
            assert!(line[rule]["source"].as_str().is_some_and(|source| source.starts_with("http")), "{line}");
        }
    }
}

#[tokio::test]
async fn a_past_day_is_told_again_as_it_was() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    key.outcomes_of("subscriptions", &[subscription("s1", "active", 999)]).await;
    let then = |day: &'static str| {
        let workspace = workspace.clone();
        async move {
            let mut answer = read(&workspace, &format!("revenue?as_of={day}")).await;
            answer.as_object_mut().map(|answer| answer.remove("timestamp"));
            answer
        }
    };
    let (march, june) = (then("2026-03-31").await, then("2026-06-30").await);
    assert_eq!((&march["monthly_recurring_revenue"], &march["as_of"]), (&json!(43.29), &json!("2026-03-31")));
    assert_eq!(march, then("2026-03-31").await, "the same digest twice");
    let mut ended = subscription("s1", "canceled", 999);
    ended["updated_at"] = json!("2026-05-01T00:00:00Z");
    key.outcomes_of("subscriptions", &[ended]).await;
    assert_eq!(march, then("2026-03-31").await, "what came later is not of that day");
    let now = then("2026-06-30").await;
    assert_eq!(now["monthly_recurring_revenue"], 0, "{now}");
    assert_ne!(now["digest"], june["digest"]);
    for metric in ["users", "commissions"] {
        let answer = read(&workspace, &format!("{metric}?as_of=2026-03-31")).await;
        assert_eq!(answer["digest"].as_str().map(str::len), Some(64), "{answer}");
    }
}

#[tokio::test]
async fn a_series_has_every_day() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    key.outcomes_of("subscriptions", &[subscription("s1", "active", 999)]).await;
    let answer = read(&workspace, "history?metric=revenue&from=2025-12-31&to=2026-01-03").await;
    let days: Vec<_> = answer["days"]
        .as_array()
        .expect("days")
        .iter()
        .map(|day| json!([day["date"], day["new_subscriptions"], day["monthly_recurring_revenue"]]))
        .collect();
    assert_eq!(
        json!(days),
        json!([["2025-12-31", 0, 0], ["2026-01-01", 1, 43.29], ["2026-01-02", 0, 43.29]]),
        "{answer}"
    );
    for metric in ["users", "commissions"] {
        let answer = read(&workspace, &format!("history?metric={metric}")).await;
        assert_eq!(answer["days"].as_array().map(Vec::len), Some(30), "{answer}");
    }
}

#[tokio::test]
async fn what_is_wrong_or_not_yours_is_refused() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    key.outcomes_of("subscriptions", &[subscription("s1", "active", 999)]).await;
    let later = (Utc::now() + Duration::days(3)).date_naive();
    for (path, fields) in [
        (format!("revenue?as_of={later}"), vec!["as_of"]),
        ("revenue?as_of=2026-01-01&from=2026-01-01&limit=5".to_owned(), vec!["from", "limit"]),
        ("commissions?policy=mine&currency=gold".to_owned(), vec!["currency", "policy"]),
        ("users?as_of=soon&limit=0".to_owned(), vec!["as_of", "limit"]),
        ("history".to_owned(), vec!["metric"]),
        (format!("history?metric=all&from=2026-01-01&to={later}&policy=x"), vec!["metric", "policy", "to"]),
        ("revenue/explain?against=x".to_owned(), vec!["against", "policy"]),
    ] {
        let answer = workspace.member("GET", &format!("/api/metrics/{path}")).send().await;
        let mut named = answer.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{path}");
    }
    for path in ["users", "revenue", "commissions", "history?metric=users", "revenue/explain?policy=default"]
    {
        let path = format!("/api/metrics/{path}");
        workspace.server.get(&path).send().await.gateway(401);
        let first = workspace.member("GET", &path).send().await.expect(200);
        let known = workspace.member("GET", &path).header("if-none-match", first.header("etag"));
        assert!(known.send().await.expect(304).text.is_empty(), "{path}");
    }
    let other = Workspace::new().await;
    assert_eq!(read(&other, "revenue").await["active_subscriptions"], 0);
    assert_eq!(read(&other, "revenue/explain?policy=chartmogul").await["lines"], json!([]));
}
