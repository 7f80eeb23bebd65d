//! Partners' words make counters; there are only so many, and no row of them outgrows DynamoDB.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::Duration;
use futures::future::join_all;
use serde_json::json;
use shared::{
    lambda::Env,
    ledger::{COUNTERS_MAX, Entity, Ledger, Outcome, subscriptions::Subscription, transactions::Transaction},
};
use tidegate::embedded::Embedded;

use crate::{
    at,
    ledger::{NOW, acme},
};

/// A transaction for a plan with as long a name as can be.
fn paid(number: usize, plan: usize, minute: i64) -> Transaction {
    let item = json!({
        "id": format!("t{number}"), "kind": "subscription", "plan": format!("{plan:x>64}"), "customer": "c",
        "amount": 1_i64 << 53, "refunded": 0, "currency": "USD", "status": "succeeded",
        "occurred_at": "2026-05-01T00:00:00Z",
        "updated_at": at("2026-05-02T00:00:00Z") + Duration::minutes(minute),
    });
    Transaction::parse("items[0]", item, at(NOW)).unwrap()
}

fn subscribed(id: &str, plan: usize) -> Subscription {
    let item = json!({
        "id": id, "customer": "c", "plan": format!("{plan:x>64}"), "status": "active", "currency": "USD",
        "items": [{"unit_amount": 1, "interval": "month"}], "started_at": "2026-05-01T00:00:00Z",
        "updated_at": "2026-05-01T00:00:00Z",
    });
    Subscription::parse("items[0]", item, at(NOW)).unwrap()
}

/// What the largest row of totals would have in bytes, about as DynamoDB counts them, if one shard
/// held all that its book's shards hold between them.
async fn largest(embedded: &Embedded) -> usize {
    let client = Client::new(&embedded.sdk());
    let mut rows = client.scan().table_name("LedgerTable").into_paginator().items().send();
    let mut books = BTreeMap::<String, BTreeMap<String, usize>>::new();
    while let Some(row) = rows.next().await {
        let row = row.unwrap();
        let text = |name: &str| row[name].as_s().unwrap().as_str();
        if !text("pk").starts_with("TOTALS#acme#") {
            continue;
        }
        let book = books.entry(text("sk").to_owned()).or_default();
        for (name, value) in &row {
            let size = match value {
                AttributeValue::N(number) => number.len() / 2 + 2,
                _ => 20,
            };
            let held = book.entry(name.clone()).or_default();
            *held = size.max(*held);
        }
    }
    let sizes = books.values().map(|row| row.iter().map(|(name, size)| name.len() + size).sum());
    sizes.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_needs_too_many_counters_is_rejected_alone() {
    use Outcome::{Created, Rejected, Unchanged, Updated};
    let embedded = Embedded::memory().await.unwrap();
    let env = || Env::of([("LEDGER_TABLE", "LedgerTable"), ("TIME_ZONE", "UTC")]);
    let ledger = Ledger::load(&env(), &embedded.sdk()).unwrap();
    let (mut outcomes, workspace) = (Vec::new(), acme());
    for calls in (0..=COUNTERS_MAX / 100).collect::<Vec<_>>().chunks(4) {
        let calls = calls.iter().map(|call| {
            let versions = (0..100).map(|n| paid(call * 100 + n, call * 100 + n, 0)).collect();
            ledger.put(&workspace, versions, at(NOW))
        });
        outcomes.extend(join_all(calls).await.into_iter().flat_map(Result::unwrap));
    }
    let count = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
    assert_eq!(count(Created) + count(Rejected), outcomes.len());
    assert!((COUNTERS_MAX - 50..COUNTERS_MAX).contains(&count(Created)), "{} created", count(Created));
    let size = largest(&embedded).await;
    assert!((300_000..380_000).contains(&size), "{size} bytes");

    // Another instance, which knows no name yet.
    let ledger = Ledger::load(&env(), &embedded.sdk()).unwrap();
    let known = outcomes.iter().position(|outcome| *outcome == Created).unwrap();
    let other = outcomes.iter().rposition(|outcome| *outcome == Created).unwrap();
    let one = |plan, minute| paid(90_000, plan, minute);
    for (case, versions, expected) in [
        (
            "known plans beside a new one",
            vec![paid(90_001, known, 0), paid(90_002, 90_000, 0), paid(90_003, other, 0)],
            vec![Created, Rejected, Created],
        ),
        (
            "of the versions of one entity only those of a new plan",
            vec![one(known, 1), one(90_000, 2), one(other, 3), one(90_001, 4)],
            vec![Created, Rejected, Updated, Rejected],
        ),
        ("again", vec![one(other, 3), one(90_001, 4)], vec![Unchanged, Rejected]),
    ] {
        assert_eq!(ledger.put(&acme(), versions, at(NOW)).await.unwrap(), expected, "{case}");
    }
    let subscription = ledger.put(&acme(), vec![subscribed("s", known)], at(NOW)).await.unwrap();
    assert_eq!(subscription, [Rejected], "it would be counted by its status");
    let elsewhere = "other".parse().unwrap();
    let ledger = Ledger::load(&env(), &embedded.sdk()).unwrap();
    assert_eq!(ledger.put(&elsewhere, vec![paid(1, 90_000, 0)], at(NOW)).await.unwrap(), [Created]);
}
