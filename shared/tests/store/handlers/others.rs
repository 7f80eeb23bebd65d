//! Shopify's, GitHub's and our own tools' events.

use serde_json::{Value, json};
use shared::{
    lambda::Env,
    webhooks::{
        Source, Webhooks,
        event::Via,
        operations::Operations,
        store::{ERASED, NewEvent},
    },
};

use super::{World, delivery};
use crate::{at, ledger::NOW};

fn order(status: &str, updated: &str, refunds: &Value) -> Value {
    json!({
        "id": 820_982_911_946_154_508_u64, "test": false, "financial_status": status, "currency": "CAD",
        "created_at": "2026-01-05T10:00:00-05:00", "processed_at": null, "updated_at": updated,
        "total_price": "120.00", "total_outstanding": "20.00",
        "total_price_set": {"shop_money": {"amount": "120.00", "currency_code": "CAD"}, "presentment_money": {"amount": "90.00", "currency_code": "USD"}},
        "customer": {"id": 115_310_627_314_723_954_u64, "email": "ann@example.com"}, "refunds": refunds,
    })
}

fn refund(id: u64, amount: &str) -> Value {
    json!({
        "id": id, "order_id": 820_982_911_946_154_508_u64, "created_at": "2026-01-07T10:00:00-05:00",
        "transactions": [{"kind": "refund", "status": "success", "amount": amount, "currency": "CAD"}],
    })
}

#[tokio::test]
async fn orders_and_refunds_in_any_order_end_as_shopify_has_it() {
    let mut world = World::new(&[]).await;
    let events = [
        ("orders/create", order("pending", "2026-01-05T10:00:00-05:00", &json!([]))),
        ("orders/updated", order("partially_paid", "2026-01-05T11:00:00-05:00", &json!([]))),
        ("orders/paid", order("paid", "2026-01-06T10:00:00-05:00", &json!([]))),
        ("refunds/create", refund(1, "30.00")),
        ("refunds/create", refund(2, "10.55")),
        (
            "orders/updated",
            order(
                "partially_refunded",
                "2026-01-07T10:00:01-05:00",
                &json!([refund(1, "30.00"), refund(2, "10.55")]),
            ),
        ),
    ];
    let id = "shopify_820982911946154508";
    let truth = json!({
        "id": id, "kind": "other", "customer": "115310627314723954", "amount": 12_000, "refunded": 4_055,
        "currency": "CAD", "status": "succeeded", "occurred_at": "2026-01-05T15:00:00Z",
    });
    for turn in 0..events.len() {
        for backwards in [false, true] {
            world.workspace = format!("turn{turn}{backwards}").parse().unwrap();
            let mut order: Vec<_> = (0..events.len()).map(|at| (at + turn) % events.len()).collect();
            if backwards {
                order.reverse();
            }
            for at in order.iter().chain(&order[..2]) {
                let (kind, body) = &events[*at];
                world.take(Source::Shopify, kind, body.to_string().as_bytes()).await.unwrap();
            }
            let entities = world.entities().await;
            assert_eq!(entities.get(id), Some(&truth), "{order:?}");
            assert_eq!(entities.len(), 1, "{order:?}");
            world.is_exact().await;
        }
    }
}

#[tokio::test]
async fn trials_and_orders_without_money_count_nothing() {
    let world = World::new(&[]).await;
    let mut trial = order("paid", "2026-01-05T10:00:00Z", &json!([]));
    trial["test"] = json!(true);
    for (case, kind, body) in [
        ("trial", "orders/paid", trial),
        ("authorised", "orders/create", order("authorized", "2026-01-05T10:00:00Z", &json!([]))),
        ("voided", "orders/cancelled", order("voided", "2026-01-05T10:00:00Z", &json!([]))),
        (
            "a refund without money",
            "refunds/create",
            json!({"id": 1, "order_id": 2, "transactions": [], "refund_line_items": []}),
        ),
    ] {
        world.take(Source::Shopify, kind, body.to_string().as_bytes()).await.unwrap();
        assert!(world.entities().await.is_empty(), "{case}");
    }
}

#[tokio::test]
async fn a_customers_data_is_erased_and_what_they_paid_stays() {
    let world = World::new(&[]).await;
    let env = Env::of([("WEBHOOKS_TABLE", "WebhooksTable")]);
    let events = Webhooks::load(&env, &world.embedded.sdk()).unwrap();
    let mut large = order("paid", "2026-01-05T10:00:00Z", &json!([]));
    let noise: String = (0..900_000_u64)
        .map(|at| char::from(b'!' + u8::try_from(at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58).unwrap()))
        .collect();
    large["note"] = json!(noise);
    let mut ids = Vec::new();
    for (kind, body) in
        [("orders/create", order("pending", "2026-01-05T09:00:00Z", &json!([]))), ("orders/paid", large)]
    {
        let body = body.to_string();
        // As the delivery that `take` makes up, so that the facts name it.
        let new = NewEvent {
            source: Source::Shopify,
            endpoint: None,
            kind: kind.to_owned(),
            provider_id: delivery(kind, body.as_bytes()),
            via: Via::Delivery,
            headers: Vec::new(),
            received_at: at(NOW),
        };
        ids.push(events.accept(&world.workspace, new, body.as_bytes()).await.unwrap().id);
        world.take(Source::Shopify, kind, body.as_bytes()).await.unwrap();
    }
    let held = world.entities().await;
    let request = json!({"shop_domain": "acme.myshopify.com", "customer": {"id": 1, "email": "ann@example.com"}, "orders_to_redact": [820_982_911_946_154_508_u64, 404]});
    for _ in 0..2 {
        let effects =
            world.take(Source::Shopify, "customers/redact", request.to_string().as_bytes()).await.unwrap();
        assert_eq!(effects.activity[0].action, "shopify.customer_redacted");
        assert!(!effects.activity[0].detail.to_string().contains("ann"), "{:?}", effects.activity);
    }
    for id in ids {
        let stored = events.get(&world.workspace, &id, at(NOW)).await.unwrap();
        assert_eq!(stored.body, ERASED, "{id}");
        world.take(Source::Shopify, "orders/paid", &stored.body).await.unwrap();
    }
    assert_eq!(world.entities().await, held);
}

#[tokio::test]
async fn operations_are_shown_newest_first_and_once() {
    let world = World::new(&[]).await;
    let env = Env::of([("WEBHOOKS_TABLE", "WebhooksTable")]);
    let operations = Operations::load(&env, &world.embedded.sdk()).unwrap();
    let client = aws_sdk_dynamodb::Client::new(&world.embedded.sdk());
    for hour in [3, 1, 2, 2] {
        let time = format!("2026-05-31T{hour:02}:00:00Z");
        for (kind, data) in [
            (
                "deployment",
                json!({"environment": "production", "version": format!("1.{hour}"), "status": "success", "deployTime": 12.5, "timestamp": time}),
            ),
            (
                "alert",
                json!({"severity": "warning", "message": "slow", "details": {"api_key": "rr_live_should-not-stay-here"}, "timestamp": time}),
            ),
            (
                "health",
                json!({"uptime": 99.9, "response_ms": 120 + hour, "error_rate": 0.5, "timestamp": time}),
            ),
            ("backup", json!({"ok": true})),
        ] {
            let body = json!({"type": kind, "data": data}).to_string();
            let effects = world.take(Source::Devops, kind, body.as_bytes()).await.unwrap();
            assert_eq!(effects.writes.len(), usize::from(kind != "backup"), "{kind}");
            if !effects.writes.is_empty() {
                client.transact_write_items().set_transact_items(Some(effects.writes)).send().await.unwrap();
            }
        }
    }
    let deployments = operations.deployments(&world.workspace, 20, at(NOW)).await.unwrap();
    let versions: Vec<_> = deployments.iter().map(|told| told.what.version.as_str()).collect();
    assert_eq!(versions, ["1.3", "1.2", "1.1"]);
    assert_eq!(deployments[0].what.deploy_seconds, Some(12.5));
    let alerts = operations.alerts(&world.workspace, 2, at(NOW)).await.unwrap();
    assert_eq!(alerts.len(), 2);
    assert!(!format!("{alerts:?}").contains("should-not-stay"), "{alerts:?}");
    let health = operations.health(&world.workspace, at(NOW)).await.unwrap().unwrap();
    assert_eq!((health.timestamp, health.what.response_ms), (at("2026-05-31T03:00:00Z"), 123.0));
    let other = "other".parse().unwrap();
    assert!(operations.health(&other, at(NOW)).await.unwrap().is_none(), "another workspace sees it");
    let after = at(NOW) + chrono::TimeDelta::days(91);
    assert!(operations.health(&world.workspace, after).await.unwrap().is_none(), "it stays beyond its end");
}
