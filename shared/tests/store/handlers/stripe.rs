//! Stripe's events.

use std::collections::VecDeque;

use futures::future::join_all;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use shared::{
    Error,
    webhooks::{Source, handle::Failed},
};

use super::{
    World,
    history::{History, Shape},
    stripe_event,
};

/// Workers at a time.
const WORKERS: usize = 4;

fn history() -> History {
    let mut history = History::default();
    history.subscriber("old", Shape::Old);
    history.subscriber("newer", Shape::New);
    history.others();
    history
}

impl World {
    /// Handles all of them, some at a time; what fails for now comes again after the others.
    async fn take_all(&self, events: Vec<(String, Vec<u8>)>) {
        let mut waiting = VecDeque::from(events);
        let mut patience = 20 * waiting.len();
        while !waiting.is_empty() {
            let batch: Vec<_> = waiting.drain(..WORKERS.min(waiting.len())).collect();
            let taken =
                join_all(batch.iter().map(|(kind, body)| self.take(Source::Stripe, kind, body))).await;
            for (event, taken) in batch.into_iter().zip(taken) {
                match taken {
                    Ok(_) => {}
                    Err(Failed::Transient(error)) => {
                        patience = patience.checked_sub(1).unwrap_or_else(|| panic!("{}: {error}", event.0));
                        waiting.push_back(event);
                    }
                    Err(Failed::Permanent(message)) => panic!("{}: {message}", event.0),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_and_any_duplication_end_as_stripe_has_it() {
    let history = history();
    let mut world = World::new(&[]).await;
    let count = history.events.len();
    let indices: Vec<_> = (0..count).collect();
    let order = (
        Just(indices.clone()).prop_shuffle(),
        proptest::sample::subsequence(indices, 0..=count / 2).prop_shuffle(),
    );
    let mut runner = TestRunner::default();
    for case in 0..10 {
        let (first, again) = order.new_tree(&mut runner).unwrap().current();
        world.workspace = format!("case{case}").parse().unwrap();
        // Some come again while others have not come yet.
        let order: Vec<_> = if case == 0 {
            (0..count).collect()
        } else {
            first
                .iter()
                .zip(again.iter().map(Some).chain(std::iter::repeat(None)))
                .flat_map(|(one, two)| [Some(one), two])
                .flatten()
                .copied()
                .collect()
        };
        world.take_all(order.iter().map(|at| history.events[*at].clone()).collect()).await;
        let entities = world.entities().await;
        assert_eq!(entities, history.truth, "{order:?}");
        world.is_exact().await;
    }
}

/// Reads one event of a workspace that had none.
async fn only(kind: &str, object: &Value) -> Result<Value, Failed> {
    let world = World::new(&[]).await;
    let (kind, body) = stripe_event(kind, 1_770_000_000, object);
    world.take(Source::Stripe, &kind, &body).await?;
    Ok(world.entities().await.into_values().next().unwrap_or_default())
}

#[tokio::test]
async fn what_cannot_be_known_without_asking_stripe_says_how_to_let_us() {
    let subscription = |change: Value| {
        let mut object = json!({"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "active", "currency": "usd", "start_date": 1_770_000_000, "items": {"data": [{"quantity": 1, "price": {"id": "price_1", "unit_amount": 5, "recurring": {"interval": "month"}}}]}});
        object.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        object
    };
    let many = json!({"items": {"has_more": true, "data": [{"quantity": 1, "price": {"id": "price_1", "unit_amount": 5, "recurring": {"interval": "month"}}}]}});
    let unlinked = json!({"id": "in_1", "object": "invoice", "status": "paid", "currency": "usd", "customer": "cus_1", "amount_paid": 5, "lines": {"data": []}});
    for (case, kind, object) in [
        ("discounts by id", "customer.subscription.updated", subscription(json!({"discounts": ["di_1"]}))),
        ("more than ten items", "customer.subscription.updated", subscription(many.clone())),
        ("an invoice whose payment is not known", "invoice.paid", unlinked),
    ] {
        let Err(Failed::Transient(error)) = only(kind, &object).await else { panic!("{case}") };
        assert!(
            matches!(error, Error::NotConfigured { .. }) && error.to_string().contains("STRIPE_API_KEY"),
            "{case}: {error}"
        );
    }
    // What has ended costs nothing: nothing has to be known.
    let mut ended = subscription(many);
    ended["status"] = json!("canceled");
    ended["discounts"] = json!(["di_1"]);
    assert_eq!(only("customer.subscription.deleted", &ended).await.unwrap()["status"], json!("canceled"));
}

#[tokio::test]
async fn what_the_ledger_cannot_take_is_refused_by_name() {
    let charge = |change: Value| {
        let mut object = json!({"id": "ch_1", "object": "charge", "status": "succeeded", "amount": 5, "amount_captured": 5, "amount_refunded": 0, "currency": "usd", "created": 1_770_000_000, "customer": null});
        object.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        object
    };
    for (case, object, named) in [
        ("currency", charge(json!({"currency": "xyz"})), "currency"),
        ("amount", charge(json!({"amount": -1})), "amount"),
        ("no id", charge(json!({"id": null})), "id"),
        ("another object", json!({"object": "customer"}), "object"),
        ("no object", json!(null), "data.object"),
    ] {
        let failed = only("charge.succeeded", &object).await.unwrap_err();
        let Failed::Permanent(message) = failed else { panic!("{case}: {failed:?}") };
        assert!(
            message.contains(&format!("`{named}")) || message.contains(&format!(".{named}`")),
            "{case}: {message}"
        );
    }
}

#[tokio::test]
async fn only_the_mode_that_counts_counts() {
    let charge = json!({"id": "ch_1", "object": "charge", "status": "succeeded", "amount": 5, "currency": "usd", "created": 1_770_000_000, "customer": null});
    for (mode, counted) in [("live", 0), ("test", 1), ("any", 1)] {
        let world = World::new(&[("STRIPE_MODE", mode)]).await;
        let (kind, body) = stripe_event("charge.succeeded", 1_770_000_000, &charge);
        world.take(Source::Stripe, &kind, &body).await.unwrap();
        assert_eq!(world.entities().await.len(), counted, "{mode}");
    }
}

#[tokio::test]
async fn types_that_nobody_handles_change_nothing() {
    let world = World::new(&[]).await;
    for (kind, body) in [
        stripe_event("customer.created", 1_770_000_000, &json!({"id": "cus_1", "object": "customer"})),
        ("v1.billing.meter.error_report_triggered".to_owned(), br#"{"object":"v2.core.event"}"#.to_vec()),
        (String::new(), b"{}".to_vec()),
    ] {
        let effects = world.take(Source::Stripe, &kind, &body).await.unwrap();
        assert!(effects.transactions.is_empty() && effects.subscriptions.is_empty(), "{kind}");
    }
}
