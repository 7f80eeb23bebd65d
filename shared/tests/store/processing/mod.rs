//! Processing events: whoever does it, however often and in whatever order, each has its effect
//! once; and whatever fails, none is lost.

mod faults;
mod kill;
mod order;
mod races;
mod states;
mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use shared::{
    identity::Workspace,
    webhooks::{
        Event, Source, Status, Webhooks,
        event::Via,
        process::Processor,
        queue::Wake,
        store::{NewEvent, Reopen},
        sweep::{Bucket, Sweep, Swept},
    },
};
use tidegate::embedded::Embedded;
use tokio::time::{Duration, Instant};

use crate::{at, ledger::acme};

/// When all events come.
const NOW: &str = "2026-05-31T12:00:00Z";

fn now() -> DateTime<Utc> {
    at(NOW)
}

fn later(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

/// All of the system that processing touches.
struct System {
    embedded: Embedded,
    events: Webhooks,
    processor: Processor,
    sweep: Sweep,
}

impl System {
    async fn new() -> Self {
        Self::over(|sdk| sdk).await
    }

    /// One whose worker and sweep reach AWS in another way.
    async fn over(line: impl Fn(SdkConfig) -> SdkConfig) -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let (plain, sdk) = (embedded.sdk(), line(embedded.sdk()));
        let env = embedded.env("webhook-process");
        Self {
            events: Webhooks::load(&env, &plain).unwrap(),
            processor: Processor::load(&env, &sdk).unwrap(),
            sweep: Sweep::load(&embedded.env("webhook-sweep"), &sdk).unwrap(),
            embedded,
        }
    }

    /// Accepts an event without waking anybody.
    async fn accept(&self, source: Source, kind: &str, body: &[u8]) -> Wake {
        self.accept_in(&acme(), source, kind, body).await
    }

    async fn accept_in(&self, workspace: &Workspace, source: Source, kind: &str, body: &[u8]) -> Wake {
        accept(&self.events, workspace, source, kind, body).await
    }

    /// Accepts Stripe's events.
    async fn stripe(&self, events: &[Value]) -> Vec<Wake> {
        let mut wakes = Vec::new();
        for event in events {
            let kind = event["type"].as_str().unwrap();
            wakes.push(self.accept(Source::Stripe, kind, event.to_string().as_bytes()).await);
        }
        wakes
    }

    /// Accepts a deployment.
    async fn deployment(&self, id: &str) -> Wake {
        let data = json!({"environment": "production", "version": id, "status": "success"});
        let body = json!({"type": "deployment", "id": id, "data": data, "timestamp": "2026-05-31T11:00:00Z"});
        self.accept(Source::Devops, "deployment", body.to_string().as_bytes()).await
    }

    /// Processes events; those that must come again.
    async fn process(&self, wakes: &[Wake], now: DateTime<Utc>) -> HashSet<Wake> {
        let end = Instant::now() + Duration::from_secs(25);
        self.processor.process(wakes.iter().cloned().collect(), now, end).await
    }

    async fn event(&self, wake: &Wake) -> Event {
        let workspace: Workspace = wake.workspace.parse().unwrap();
        self.events.get(&workspace, &wake.event, now()).await.unwrap().event
    }

    async fn reopen(&self, wake: &Wake) -> bool {
        let workspace: Workspace = wake.workspace.parse().unwrap();
        self.events.reopen(&workspace, &wake.event, Reopen::Any, now()).await.unwrap()
    }

    /// Insists that all are processed, and were processed once.
    async fn insist_processed(&self, wakes: &[Wake], case: &str) {
        for wake in wakes {
            let event = self.event(wake).await;
            assert_eq!(event.status, Status::Processed, "{case}: {event:?}");
            assert!(event.processed_at.is_some() && event.next_attempt_at.is_none(), "{case}: {event:?}");
        }
        let distinct = wakes.iter().collect::<HashSet<_>>().len();
        assert_eq!(self.figures().await.get("processed"), Some(&distinct), "{case}: each counts once");
        assert_eq!(self.pending().await, 0, "{case}: nothing waits");
    }

    /// Does what the sweep does when it fires.
    async fn sweep(&self, before: DateTime<Utc>, now: DateTime<Utc>) -> Swept {
        let mut all = Swept::default();
        for mut bucket in Bucket::all(before, now) {
            while let Some(page) = self.sweep.sweep(&mut bucket).await.unwrap() {
                all += page;
            }
        }
        all
    }

    /// Texts of the messages that a queue holds, visible or not yet.
    async fn messages(&self, variable: &str) -> Vec<Value> {
        let client = aws_sdk_sqs::Client::new(&self.embedded.sdk());
        let url = self.embedded.variables("webhook-process")[variable].clone();
        let mut texts = Vec::new();
        loop {
            let receive = client.receive_message().queue_url(&url).max_number_of_messages(10);
            let found = receive.send().await.unwrap().messages.unwrap_or_default();
            if found.is_empty() {
                return texts;
            }
            texts.extend(found.iter().map(|message| serde_json::from_str(message.body().unwrap()).unwrap()));
        }
    }

    /// What is in the dead-letter queue.
    async fn dead(&self) -> Vec<Value> {
        self.messages("WEBHOOKS_DEAD_QUEUE_URL").await
    }

    /// What the queue shows to a worker now.
    async fn woken(&self) -> Vec<Wake> {
        let texts = self.messages("WEBHOOKS_QUEUE_URL").await;
        texts.into_iter().map(|text| serde_json::from_value(text).unwrap()).collect()
    }

    /// How many messages the queue shows later only.
    async fn delayed(&self) -> usize {
        let client = aws_sdk_sqs::Client::new(&self.embedded.sdk());
        let url = self.embedded.variables("webhook-process")["WEBHOOKS_QUEUE_URL"].clone();
        let name = aws_sdk_sqs::types::QueueAttributeName::ApproximateNumberOfMessagesDelayed;
        let read = client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        read.send().await.unwrap().attributes.unwrap()[&name].parse().unwrap()
    }

    /// All figures of all hours, summed up.
    async fn figures(&self) -> BTreeMap<String, usize> {
        let mut figures = BTreeMap::new();
        for row in self.rows("STATS#").await {
            for (name, value) in row {
                if let AttributeValue::N(number) = value {
                    *figures.entry(name).or_default() += number.parse::<usize>().unwrap();
                }
            }
        }
        figures.remove("expires_at");
        figures
    }

    /// Rows of the table of webhooks whose partition key begins so.
    async fn rows(&self, begin: &str) -> Vec<HashMap<String, AttributeValue>> {
        let client = Client::new(&self.embedded.sdk());
        let mut pages = client.scan().table_name("WebhooksTable").into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(row) = pages.next().await {
            let row = row.unwrap();
            if row["pk"].as_s().unwrap().starts_with(begin) {
                rows.push(row);
            }
        }
        rows
    }

    /// How many events wait to be processed.
    async fn pending(&self) -> usize {
        self.rows("EVENT#").await.iter().filter(|row| row.contains_key("gsi2pk")).count()
    }
}

/// Stores an event, under the id that its body has.
async fn accept(events: &Webhooks, workspace: &Workspace, source: Source, kind: &str, body: &[u8]) -> Wake {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let id = parsed["id"].as_str().map_or_else(|| format!("{kind}-{}", body.len()), str::to_owned);
    let new = NewEvent {
        source,
        endpoint: None,
        kind: kind.to_owned(),
        provider_id: id,
        via: Via::Delivery,
        headers: Vec::new(),
        received_at: now(),
    };
    Wake::of(workspace, events.accept(workspace, new, body).await.unwrap().id)
}

/// Seconds since 1970 of a minute of the history.
fn minute(minute: i64) -> i64 {
    at("2026-05-01T00:00:00Z").timestamp() + minute * 60
}

fn stripe_event(id: &str, kind: &str, at: i64, object: &Value) -> Value {
    json!({"id": id, "object": "event", "type": kind, "created": at, "livemode": false, "data": {"object": object}})
}

/// What Stripe tells of one customer: a subscription that begins, changes and may end, a payment
/// that fails, succeeds and is given back in part, and the invoice that it pays.
fn history(customer: usize) -> Vec<Value> {
    let (n, id) = (i64::try_from(customer).unwrap(), |kind: &str| format!("{kind}_{customer}"));
    let subscription = |status: &str, amount: i64| {
        json!({
            "id": id("sub"), "object": "subscription", "customer": id("cus"), "status": status,
            "currency": "usd", "created": minute(0), "start_date": minute(0), "discounts": [],
            "items": {"object": "list", "has_more": false, "data": [{
                "id": id("si"), "quantity": 1, "price": {
                    "id": "price_pro", "lookup_key": "pro", "currency": "usd", "unit_amount": amount,
                    "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
                }}]},
            "ended_at": if status == "canceled" { json!(minute(n + 9)) } else { Value::Null },
        })
    };
    let charge = |status: &str, refunded: i64| {
        json!({
            "id": id("ch"), "object": "charge", "amount": 5_000 + n, "currency": "usd", "customer": id("cus"),
            "amount_captured": if status == "succeeded" { 5_000 + n } else { 0 }, "amount_refunded": refunded,
            "captured": status == "succeeded", "paid": status == "succeeded", "status": status,
            "created": minute(2), "invoice": id("in"), "payment_intent": id("pi"), "metadata": {},
        })
    };
    let invoice = json!({
        "id": id("in"), "object": "invoice", "customer": id("cus"), "currency": "usd", "status": "paid",
        "amount_paid": 5_000 + n, "amount_due": 5_000 + n, "total": 5_000 + n, "paid": true,
        "subscription": id("sub"), "charge": id("ch"), "payment_intent": id("pi"), "created": minute(1),
        "status_transitions": {"paid_at": minute(3)},
        "lines": {"object": "list", "data": [{
            "id": id("il"), "type": "subscription", "proration": false, "amount": 5_000 + n,
            "price": {"id": "price_pro", "lookup_key": "pro", "unit_amount": 5_000 + n, "currency": "usd"},
        }]},
    });
    let mut events = vec![
        ("customer.subscription.created", minute(0), subscription("incomplete", 5_000 + n)),
        ("charge.failed", minute(2), charge("failed", 0)),
        ("charge.succeeded", minute(3), charge("succeeded", 0)),
        ("invoice.paid", minute(3), invoice),
        ("customer.subscription.updated", minute(4), subscription("active", 6_000 + n)),
        ("charge.refunded", minute(5), charge("succeeded", 100 + n)),
    ];
    if n % 2 == 1 {
        events.push(("customer.subscription.deleted", minute(n + 9), subscription("canceled", 6_000 + n)));
    }
    let events = events.into_iter().enumerate();
    events
        .map(|(at, (kind, created, object))| {
            stripe_event(&format!("evt_{customer}_{at}"), kind, created, &object)
        })
        .collect()
}
