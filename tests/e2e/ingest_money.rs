//! `PUT /api/ingest/{subscriptions|transactions|commissions}`

use serde_json::{Value, json};
use tests::Workspace;

const KINDS: [&str; 3] = ["subscriptions", "transactions", "commissions"];

/// An item of a kind, as of a minute.
fn item(kind: &str, number: usize, minute: usize) -> Value {
    let mut item = match kind {
        "subscriptions" => json!({
            "customer": "cus_1", "plan": "pro", "status": "active", "currency": "usd",
            "items": [{"unit_amount": 1_000, "interval": "month"}, {"unit_amount": 5, "interval": "week", "quantity": 2}],
            "discounts": [{"percent_off": 12.5, "duration": "forever"}, {"amount_off": 100, "duration": "once"}],
            "started_at": "2026-01-01T00:00:00Z", "trial_ends_at": "2026-01-08T00:00:00Z", "canceled_at": "2999-01-01T00:00:00Z",
        }),
        "transactions" => json!({
            "kind": "subscription", "plan": "pro", "customer": "cus_1", "amount": 1_i64 << 53, "refunded": 100,
            "currency": "JPY", "status": "succeeded", "occurred_at": "2026-01-01T00:00:00Z",
        }),
        _ => json!({
            "username": "Zoë #1", "tier": "gold", "amount": 500, "currency": "KWD", "transaction": "ch_1",
            "occurred_at": "2026-01-01T00:00:00Z",
        }),
    };
    item["id"] = json!(format!("{kind}-{number}"));
    item["updated_at"] = json!(format!("2026-01-02T00:{minute:02}:00Z"));
    item
}

#[tokio::test]
async fn each_outcome_is_told() {
    for kind in KINDS {
        let key = Workspace::new().await.key().await;
        let one = |minute| item(kind, 1, minute);
        for (case, items, outcomes) in [
            ("first", vec![one(2)], vec!["created"]),
            ("same again", vec![one(2), one(2)], vec!["unchanged", "unchanged"]),
            ("later", vec![one(9)], vec!["updated"]),
            ("late, between", vec![one(5), one(5)], vec!["stale", "stale"]),
            ("late, before all", vec![one(1), item(kind, 2, 1)], vec!["stale", "created"]),
            ("all again", vec![one(1), one(2), one(5), one(9)], vec!["stale", "stale", "stale", "unchanged"]),
        ] {
            assert_eq!(key.outcomes_of(kind, &items).await, outcomes, "{kind}: {case}");
        }
    }
}

#[tokio::test]
async fn what_one_workspace_sends_is_new_to_another() {
    for kind in KINDS {
        let (mine, other) = (Workspace::new().await.key().await, Workspace::new().await.key().await);
        for key in [&mine, &other] {
            assert_eq!(key.outcomes_of(kind, &[item(kind, 1, 1)]).await, ["created"], "{kind}");
        }
    }
}

#[tokio::test]
async fn strangers_and_readers_write_nothing() {
    let workspace = Workspace::new().await;
    for kind in KINDS {
        let path = format!("/api/ingest/{kind}");
        let call = || workspace.server.request("PUT", &path).json(&json!({"items": [item(kind, 1, 1)]}));
        call().send().await.gateway(401);
        let reader = workspace.key_with(json!({"permissions": ["read_metrics"]})).await;
        reader.ingest_kind(kind, &[item(kind, 1, 1)]).await.problem(403, "forbidden");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of faults")]
async fn a_bad_item_is_rejected_by_field_and_keeps_nothing_out() {
    let huge = "x".repeat(300_001);
    let key = Workspace::new().await.key().await;
    let of_all = [
        ("empty id", "id", json!("")),
        ("id that is no text", "id", json!(7)),
        ("unknown currency", "currency", json!("XYZ")),
        ("no currency", "currency", Value::Null),
        ("changed in the future", "updated_at", json!("2999-01-01T00:00:00Z")),
        ("unknown field", "note", json!(huge)),
    ];
    let of_subscriptions = [
        ("unknown status", "status", "status", json!("gone")),
        ("plan of a sentence", "plan", "plan", json!("the best")),
        ("plan of 300 kB", "plan", "plan", json!(huge)),
        ("began in the future", "started_at", "started_at", json!("2999-01-01T00:00:00Z")),
        ("no items", "items", "items", json!([])),
        ("101 items", "items", "items", json!(vec![json!({"unit_amount": 1, "interval": "month"}); 101])),
        (
            "amount with a fraction",
            "items",
            "items[1].unit_amount",
            json!([{"unit_amount": 1, "interval": "day"}, {"unit_amount": 9.99, "interval": "day"}]),
        ),
        (
            "unknown interval",
            "items",
            "items[0].interval",
            json!([{"unit_amount": 1, "interval": "fortnight"}]),
        ),
        (
            "no intervals",
            "items",
            "items[0].interval_count",
            json!([{"unit_amount": 1, "interval": "day", "interval_count": 0}]),
        ),
        (
            "unknown usage",
            "items",
            "items[0].usage_type",
            json!([{"unit_amount": 1, "interval": "day", "usage_type": "free"}]),
        ),
        (
            "item of 300 kB",
            "items",
            "items[0].note",
            json!([{"unit_amount": 1, "interval": "day", "note": huge}]),
        ),
        (
            "more than all off",
            "discounts",
            "discounts[0].percent_off",
            json!([{"percent_off": 100.1, "duration": "once"}]),
        ),
        (
            "five decimals",
            "discounts",
            "discounts[0].percent_off",
            json!([{"percent_off": 0.00001, "duration": "once"}]),
        ),
        ("nothing off", "discounts", "discounts[0].percent_off", json!([{"duration": "once"}])),
        (
            "two kinds off",
            "discounts",
            "discounts[0].amount_off",
            json!([{"percent_off": 5, "amount_off": 5, "duration": "once"}]),
        ),
        (
            "21 discounts",
            "discounts",
            "discounts",
            json!(vec![json!({"percent_off": 5, "duration": "once"}); 21]),
        ),
    ];
    let of_transactions = [
        ("unknown kind", "kind", "kind", json!("gift")),
        ("unknown status", "status", "status", json!("pending")),
        ("amount with a fraction", "amount", "amount", json!(9.99)),
        ("amount as text", "amount", "amount", json!("999")),
        ("negative amount", "amount", "amount", json!(-1)),
        ("beyond 2^53", "amount", "amount", json!((1_i64 << 53) + 1)),
        ("refund with a fraction", "refunded", "refunded", json!(0.5)),
        ("customer with the delimiter", "customer", "customer", json!("a#b")),
        ("in the future", "occurred_at", "occurred_at", json!("2999-01-01T00:00:00Z")),
    ];
    let of_commissions = [
        ("empty name", "username", "username", json!("")),
        ("name of 300 kB", "username", "username", json!(huge)),
        ("tier of a sentence", "tier", "tier", json!("very good")),
        ("negative amount", "amount", "amount", json!(-1)),
        ("no transaction", "transaction", "transaction", Value::Null),
        ("in the future", "occurred_at", "occurred_at", json!("2999-01-01T00:00:00Z")),
    ];
    for (kind, own) in [
        ("subscriptions", &of_subscriptions[..]),
        ("transactions", &of_transactions[..]),
        ("commissions", &of_commissions[..]),
    ] {
        let cases = of_all.iter().map(|(case, field, value)| (*case, *field, *field, value));
        let cases: Vec<_> = cases
            .chain(own.iter().map(|(case, field, named, value)| (*case, *field, *named, value)))
            .collect();
        let mut items: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(number, (_, field, _, value))| {
                let mut item = item(kind, number, 1);
                item[*field] = (*value).clone();
                item
            })
            .collect();
        items.push(item(kind, 999, 1));
        let answer = key.ingest_kind(kind, &items).await.json(200);
        let results = answer["results"].as_array().expect("results");
        for (at, (case, _, named, _)) in cases.iter().enumerate() {
            let errors = results[at]["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
            let fields: Vec<_> =
                errors.iter().map(|error| error["field"].as_str().unwrap_or_default()).collect();
            assert_eq!(fields, [format!("items[{at}].{named}")], "{kind}: {case}: {}", results[at]);
        }
        assert_eq!(results[cases.len()]["outcome"], "created", "{kind}: a good one beside bad ones");
    }
}

#[tokio::test]
async fn refunds_are_at_most_what_was_paid() {
    let key = Workspace::new().await.key().await;
    let refunded = |number, amount: i64, refunded: i64| {
        let mut item = item("transactions", number, 1);
        (item["amount"], item["refunded"]) = (json!(amount), json!(refunded));
        item
    };
    let items = [refunded(1, 100, 100), refunded(2, 100, 101), refunded(3, 0, 0)];
    assert_eq!(key.outcomes_of("transactions", &items).await, ["created", "rejected", "created"]);
}
