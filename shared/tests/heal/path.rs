//! The whole path: what Stripe signs and delivers, what it does not, and what the ledger says.

use std::{collections::HashSet, time::Duration};

use chrono::{TimeDelta, Utc};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use shared::{
    lambda::Env,
    ledger::{Ledger, Query, money::Currency},
    secrets::SecretName,
    time,
    webhooks::{Scheme, Source, process::Processor, queue::Wake, receive::Platform},
};
use tokio::time::Instant;

use crate::{
    World,
    fake::{Fake, Reply},
    home,
};

/// Payments, some failed and some refunded in part, an event each.
fn events() -> Vec<Value> {
    let newest = Utc::now() - TimeDelta::minutes(11);
    let event = |number: u32| {
        let created = (newest - TimeDelta::minutes(1) * i32::try_from(number).unwrap()).timestamp();
        let (kind, status, captured) = match number % 10 {
            7 => ("charge.failed", "failed", 0),
            _ => ("charge.succeeded", "succeeded", 1_000 + number),
        };
        json!({
            "id": format!("evt_{number:03}"), "object": "event", "type": kind, "created": created,
            "livemode": false,
            "data": {"object": {
                "id": format!("ch_{number}"), "object": "charge", "amount": 1_000 + number,
                "amount_captured": captured, "amount_refunded": if number.is_multiple_of(4) { captured / 2 } else { 0 },
                "currency": "usd", "status": status, "created": created, "customer": format!("cus_{number}"),
                "payment_intent": null, "metadata": {}, "livemode": false,
            }},
        })
    };
    (0..100).map(event).collect()
}

impl World {
    /// As Stripe delivers.
    async fn signed(&self, event: &Value) {
        let env = Env::of(self.variables.clone());
        let platform = Platform::load(&env, &self.embedded.sdk()).unwrap();
        let (body, secret) = (event.to_string().into_bytes(), signing_secret().into());
        let headers = Scheme::Stripe.sign("", &body, "", &secret, Utc::now()).unwrap();
        let mut request = Request::new(Body::Binary(body));
        *request.headers_mut() = headers;
        let name = SecretName::StripeWebhookSecret;
        platform.receive(&Scheme::Stripe, name, &request, time::now()).await.unwrap();
    }

    /// What the worker does with all that it was woken up for.
    async fn work(&self) {
        let env = self.embedded.env("webhook-process");
        let worker = Processor::load(&env, &self.embedded.sdk()).unwrap();
        let woken: Vec<_> = self.woken().await.into_iter().map(|event| Wake::of(&home(), event)).collect();
        for batch in woken.chunks(10) {
            let batch: HashSet<_> = batch.iter().cloned().collect();
            let left = worker.process(batch, time::now(), Instant::now() + Duration::from_mins(1)).await;
            assert!(left.is_empty(), "{left:?}");
        }
    }

    async fn revenue(&self) -> Value {
        let env = self.embedded.env("webhook-process");
        let ledger = Ledger::load(&env, &self.embedded.sdk()).unwrap();
        let fields = shared::fields::Fields::default();
        let usd: Currency = "USD".parse().unwrap();
        let query = Query::parse(fields, Utc::now().date_naive(), usd).unwrap();
        let revenue = ledger.revenue_in_detail(&home(), &query, time::now()).await.unwrap();
        serde_json::to_value(&revenue).unwrap()
    }
}

fn signing_secret() -> String {
    format!("whsec_{}", "a1".repeat(16))
}

#[tokio::test]
async fn a_gap_that_was_healed_leaves_no_trace_in_the_ledger() {
    let events = events();
    let listed: Vec<_> = events.clone();
    let fake = Fake::start(move |_, seen| {
        assert_eq!(seen.path, "/v1/events");
        Reply::Json(200, json!({"object": "list", "data": listed, "has_more": false}))
    })
    .await;
    let mut told = Vec::new();
    for dropped in [false, true] {
        let world = World::with_stripe(&fake).await;
        world.secret("STRIPE_WEBHOOK_SECRET", &signing_secret()).await;
        for (number, event) in events.iter().enumerate() {
            if !(dropped && number % 10 == 4) {
                world.signed(event).await;
            }
        }
        world.work().await;
        let before = world.revenue().await;
        let now = time::now();
        let outcome = world.heal(Source::Stripe, now).await;
        assert_eq!(outcome.healed, if dropped { 10 } else { 0 });
        world.work().await;
        let after = world.revenue().await;
        assert_eq!(before == after, !dropped, "what was missing counts: {before} {after}");
        let (_, hours) = world.told("stripe", 10, now).await;
        let sum = |name: &str| hours.iter().map(|hour| hour[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!(["listed", "held", "missing", "dead"].map(sum), [100, 100, 0, 0], "{hours:?}");
        told.push(after);
    }
    assert_eq!(told[0], told[1]);
}
