//! The write path of every kind of entity: whoever writes what when, the same rows and counters.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use shared::{
    identity::Workspace,
    lambda::Env,
    ledger::{
        Entity, Ledger, Outcome, commissions::Commission, subscriptions::Subscription,
        transactions::Transaction,
    },
};
use tidegate::embedded::Embedded;

use crate::at;

pub const NOW: &str = "2026-05-31T12:00:00Z";

pub fn ledger(embedded: &Embedded) -> Ledger {
    let env = Env::of([("LEDGER_TABLE", "LedgerTable"), ("TIME_ZONE", "UTC")]);
    Ledger::load(&env, &embedded.sdk()).unwrap()
}

pub fn acme() -> Workspace {
    "acme".parse().unwrap()
}

/// All rows, by key. Shards of counters are summed up; what only tells how often or when a row
/// was written is left away, as are the names of counters, which writers who lost may have noted.
pub async fn rows(embedded: &Embedded) -> BTreeMap<String, BTreeMap<String, String>> {
    let client = Client::new(&embedded.sdk());
    let mut rows = BTreeMap::<_, BTreeMap<String, String>>::new();
    let mut pages = client.scan().table_name("LedgerTable").into_paginator().items().send();
    while let Some(row) = pages.next().await {
        let mut row = row.unwrap();
        let mut text = |name: &str| row.remove(name).unwrap().as_s().unwrap().clone();
        let (mut pk, mut sk) = (text("pk"), text("sk"));
        if pk.starts_with("NAMES#") {
            continue;
        }
        let is_user_counter =
            pk.starts_with("USERS#") && !sk.starts_with("USER#") && !sk.starts_with("HISTORY#");
        if pk.starts_with("TOTALS#") {
            pk = pk.rsplit_once('#').unwrap().0.to_owned();
        } else if is_user_counter {
            sk = sk.rsplit_once('#').unwrap().0.to_owned();
        }
        let sums = is_user_counter || pk.starts_with("TOTALS#");
        let into = rows.entry(format!("{pk} {sk}")).or_default();
        row.retain(|name, _| !["version", "counted_until"].contains(&name.as_str()));
        for (name, value) in row {
            let told = match value {
                AttributeValue::N(number) if sums => {
                    let sum = into.get(&name).map_or(0, |sum| sum.parse::<i128>().unwrap());
                    (sum + number.parse::<i128>().unwrap()).to_string()
                }
                other => serde_dynamo::from_attribute_value::<_, Value>(other).unwrap().to_string(),
            };
            into.insert(name, told);
        }
        into.retain(|_, value| value != "0");
    }
    rows.retain(|_, row| !row.is_empty());
    rows
}

pub(crate) fn day(number: i64) -> DateTime<Utc> {
    at("2026-03-01T10:00:00Z") + Duration::hours(number * 9)
}

/// A version of an entity of each kind; versions differ in all that counts.
pub(crate) fn item(kind: &str, id: usize, version: i64) -> Value {
    let nth = |words: &[&'static str]| words[usize::try_from(version).unwrap() % words.len()];
    let of_id = |words: &[&'static str]| words[id % words.len()];
    let mut item = match kind {
        "user" => {
            json!({"username": "ann", "role": nth(&["a", "b"]), "status": "active"})
        }
        "subscription" => json!({
            "customer": "c", "plan": of_id(&["basic", "pro"]), "currency": "EUR",
            "status": nth(&["trialing", "active", "past_due", "canceled"]),
            "items": [{"unit_amount": 1_000 + version, "interval": "month"}, {"unit_amount": 5, "interval": "week", "quantity": 3}],
            "discounts": [{"percent_off": 12.5, "duration": "repeating", "ends_at": day(80 + version)}],
            "trial_ends_at": day(40),
        }),
        "transaction" => json!({
            "kind": "subscription", "plan": "pro", "customer": "c", "currency": of_id(&["USD", "JPY"]),
            "amount": (1_i64 << 53) - version, "refunded": version, "status": if version % 3 == 0 { "failed" } else { "succeeded" },
        }),
        _ => json!({
            "username": of_id(&["Zoë #1", "bob"]), "tier": nth(&["gold", "iron"]),
            "amount": 100 + version, "currency": "USD", "transaction": "t",
        }),
    };
    let began = match kind {
        "user" => "signed_up_at",
        "subscription" => "started_at",
        _ => "occurred_at",
    };
    item["id"] = json!(format!("{kind}-{id}"));
    item[began] = json!(day(i64::try_from(id).unwrap() % 7));
    item["updated_at"] = json!(day(3 + version));
    item
}

pub fn entity<E: Entity>(kind: &str, id: usize, version: i64) -> E {
    let parsed = E::parse("items[0]", item(kind, id, version), at(NOW));
    parsed.unwrap_or_else(|errors| panic!("{kind}: {errors:?}"))
}

#[tokio::test]
async fn each_version_has_its_outcome_and_late_ones_stay_known() {
    use Outcome::{Created, Stale, Unchanged, Updated};
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    let one = |version| entity::<Transaction>("transaction", 1, version);
    for (case, versions, expected) in [
        ("within one call", vec![one(4), one(4), one(2), one(6)], vec![Created, Unchanged, Stale, Updated]),
        (
            "another call",
            vec![one(6), one(1), one(5), one(5), one(4)],
            vec![Unchanged, Stale, Stale, Stale, Stale],
        ),
        ("newer", vec![one(7)], vec![Updated]),
    ] {
        assert_eq!(ledger.put(&acme(), versions, at(NOW)).await.unwrap(), expected, "{case}");
    }
    let history = rows(&embedded).await.into_keys().filter(|key| key.contains("HISTORY#")).count();
    assert_eq!(history, 5, "versions 1, 2, 4, 5 and 6");
}

#[tokio::test]
async fn a_call_may_bring_many_versions_of_one_entity_on_many_days() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    let versions = (0..100).map(|version| entity::<Subscription>("subscription", 1, version % 90)).collect();
    let outcomes = ledger.put(&acme(), versions, at("2026-06-30T00:00:00Z")).await.unwrap();
    let count = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
    assert_eq!((count(Outcome::Created), count(Outcome::Updated), count(Outcome::Stale)), (1, 89, 10));
}

#[tokio::test]
async fn the_largest_subscription_that_is_taken_fits_into_its_transaction() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    for version in 0..2_i64 {
        let months = |number: i64| at("2027-01-15T00:00:00Z") + Duration::days(number * 31 + version * 700);
        let mut item = item("subscription", 1, version);
        let discounts =
            (0..20).map(|n| json!({"amount_off": 1, "duration": "repeating", "ends_at": months(n)}));
        item["discounts"] = discounts.collect();
        item["items"] = (0..100).map(|n| json!({"unit_amount": 1 + n, "interval": "month"})).collect();
        (item["trial_ends_at"], item["canceled_at"]) = (json!(months(20)), json!(months(21)));
        let item = Subscription::parse("items[0]", item, at(NOW)).unwrap();
        ledger.put(&acme(), vec![item], at(NOW)).await.unwrap();
    }
}

#[tokio::test]
async fn performers_stand_in_the_order_of_what_they_earned() {
    let embedded = Embedded::memory().await.unwrap();
    let ledger = ledger(&embedded);
    let commissions =
        (0..50).map(|id| entity::<Commission>("commission", id, i64::from(id % 2 == 0))).collect();
    ledger.put(&acme(), commissions, at(NOW)).await.unwrap();
    let client = Client::new(&embedded.sdk());
    let top = client
        .query()
        .table_name("LedgerTable")
        .index_name("gsi2")
        .key_condition_expression("gsi2pk = :top")
        .expression_attribute_values(":top", AttributeValue::S("TOP#acme#USD".to_owned()))
        .scan_index_forward(false)
        .send()
        .await
        .unwrap();
    let told: Vec<_> = top
        .items()
        .iter()
        .map(|row| {
            let text = |name: &str| match &row[name] {
                AttributeValue::S(text) | AttributeValue::N(text) => text.clone(),
                other => format!("{other:?}"),
            };
            [text("sk"), text("gsi2sk"), text("count")].join(" ")
        })
        .collect();
    assert_eq!(told, ["USD#Zoë #1 2525 25", "USD#bob 2500 25"]);
}
