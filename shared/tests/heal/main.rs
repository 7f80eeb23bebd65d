//! Healing against providers that answer as they should and as they should not, and the embedded
//! stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../providers/fake.rs"]
#[expect(dead_code, reason = "not every fault is of interest here")]
mod fake;
mod github;
mod path;
mod stripe;

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use shared::{
    identity::Workspace,
    lambda::Env,
    webhooks::{
        Source, Status, Webhooks,
        event::{Via, event_id},
        heal::{Healer, Outcome, completeness::Completeness},
        store::NewEvent,
    },
};
use tidegate::embedded::Embedded;
use tokio::time::Instant;

use self::fake::Fake;

/// When the first run is.
fn noon() -> DateTime<Utc> {
    "2026-11-20T12:30:00Z".parse().unwrap()
}

fn home() -> Workspace {
    "acme".parse().unwrap()
}

/// A deployment with both providers in one fake.
struct World {
    embedded: Embedded,
    variables: HashMap<String, String>,
    store: Webhooks,
}

impl World {
    async fn new(fake: &Fake) -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let mut variables: HashMap<_, _> = embedded.variables("webhook-heal").into_iter().collect();
        let url = &fake.url;
        variables.insert("PROVIDER_ENDPOINTS".to_owned(), format!("stripe={url},github={url}"));
        variables.insert("OPERATORS_WORKSPACE".to_owned(), home().to_string());
        let store = Webhooks::load(&Env::of(variables.clone()), &embedded.sdk()).unwrap();
        Self { embedded, variables, store }
    }

    async fn with_stripe(fake: &Fake) -> Self {
        let world = Self::new(fake).await;
        world.secret("STRIPE_API_KEY", &format!("rk_{}_{}", "test", "x".repeat(24))).await;
        world
    }

    async fn with_github(fake: &Fake, private_key: &str) -> Self {
        let mut world = Self::new(fake).await;
        world.variables.insert("GITHUB_APP_ID".to_owned(), "7".to_owned());
        world.secret("GITHUB_APP_PRIVATE_KEY", private_key).await;
        world
    }

    async fn secret(&self, name: &str, value: &str) {
        let secrets = aws_sdk_secretsmanager::Client::new(&self.embedded.sdk());
        let id = format!("{}/{name}", self.variables["SECRETS_PREFIX"]);
        secrets.create_secret().name(id).secret_string(value).send().await.unwrap();
    }

    /// A function that was started a moment ago.
    fn healer(&self) -> Healer {
        Healer::load(&Env::of(self.variables.clone()), &self.embedded.sdk()).unwrap()
    }

    /// A run that has all the time it wants; how it ended for a source.
    async fn heal(&self, source: Source, now: DateTime<Utc>) -> Outcome {
        let outcomes = self.healer().heal(now, Instant::now() + Duration::from_mins(5)).await;
        let outcomes = outcomes.into_iter().map(Result::unwrap);
        outcomes.into_iter().find(|outcome| outcome.source == source).unwrap()
    }

    async fn deliver(&self, source: Source, provider_id: &str, now: DateTime<Utc>) {
        let new = NewEvent {
            source,
            endpoint: None,
            kind: "any".to_owned(),
            provider_id: provider_id.to_owned(),
            via: Via::Delivery,
            headers: Vec::new(),
            received_at: now,
        };
        self.store.accept(&home(), new, b"{}").await.unwrap();
    }

    /// The event, if it is held: how it came, and its body.
    async fn held(&self, source: Source, provider_id: &str) -> Option<(Via, Vec<u8>)> {
        let id = event_id(&home(), source.word(), provider_id);
        let stored = self.store.get(&home(), &id, noon()).await.ok()?;
        assert_eq!(stored.event.status, Status::Received);
        Some((stored.event.via, stored.body))
    }

    /// Events that the worker was woken up for.
    async fn woken(&self) -> Vec<String> {
        let queue = aws_sdk_sqs::Client::new(&self.embedded.sdk());
        let mut woken = Vec::new();
        loop {
            let receive = queue.receive_message().queue_url(&self.variables["WEBHOOKS_QUEUE_URL"]);
            let messages =
                receive.max_number_of_messages(10).send().await.unwrap().messages.unwrap_or_default();
            if messages.is_empty() {
                woken.sort();
                return woken;
            }
            woken.extend(messages.iter().map(|message| {
                let wake: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                assert_eq!(wake["workspace"], "acme");
                wake["event"].as_str().unwrap().to_owned()
            }));
        }
    }

    /// What is told of the hours before `now`.
    async fn report(&self, hours: i64, now: DateTime<Utc>) -> Value {
        let completeness =
            Completeness::load(&Env::of(self.variables.clone()), &self.embedded.sdk()).unwrap();
        let window = (now - TimeDelta::hours(hours), now);
        let report = completeness.report(&home(), None, window, now).await.unwrap();
        serde_json::to_value(&report).unwrap()
    }

    /// The same of one source: its state, and its hours by their beginnings.
    async fn told(&self, source: &str, hours: i64, now: DateTime<Utc>) -> (Value, Vec<Value>) {
        let report = self.report(hours, now).await;
        let of = |list: &str| {
            let list = report[list].as_array().unwrap().iter();
            list.filter(|one| one["source"] == source).cloned().collect::<Vec<_>>()
        };
        (of("sources")[0].clone(), of("hours"))
    }
}

/// Insists on what an hour has of some counts.
#[track_caller]
fn counts(hour: &Value, status: &str, expected: [(&str, u64); 3]) {
    assert_eq!(hour["status"], status, "{hour}");
    for (name, count) in expected {
        assert_eq!(hour[name], count, "{name}: {hour}");
    }
}

#[tokio::test]
async fn what_is_not_configured_is_told_and_asks_nobody() {
    let fake = Fake::start(|_, seen| panic!("asked: {}", seen.path)).await;
    let world = World::new(&fake).await;
    for source in [Source::Stripe, Source::Github] {
        let outcome = world.heal(source, noon()).await;
        assert_eq!((outcome.healed, outcome.more), (0, false));
    }
    assert!(fake.seen().is_empty());
    for (source, missing) in
        [("stripe", vec!["STRIPE_API_KEY"]), ("github", vec!["GithubAppId", "GITHUB_APP_PRIVATE_KEY"])]
    {
        let (told, hours) = world.told(source, 24, noon()).await;
        assert_eq!(
            (&told["status"], &told["missing"]),
            (&"not_configured".into(), &missing.into()),
            "{told}"
        );
        assert!(hours.is_empty(), "{hours:?}");
    }
}

#[tokio::test]
async fn before_the_first_run_everything_is_unchecked() {
    let fake = Fake::start(|_, seen| panic!("asked: {}", seen.path)).await;
    let world = World::with_stripe(&fake).await;
    let (told, hours) = world.told("stripe", 5, noon()).await;
    assert_eq!((&told["status"], &told["through"]), (&"unchecked".into(), &Value::Null), "{told}");
    assert_eq!(hours.len(), 6, "the hours of which a part is asked for: {hours:?}");
    assert!(hours.iter().all(|hour| hour["status"] == "unchecked"), "{hours:?}");
}

#[tokio::test]
async fn without_a_home_nothing_is_asked() {
    let fake = Fake::start(|_, seen| panic!("asked: {}", seen.path)).await;
    let mut world = World::with_stripe(&fake).await;
    world.variables.insert("OPERATORS_WORKSPACE".to_owned(), String::new());
    assert!(world.healer().heal(noon(), Instant::now() + Duration::from_mins(1)).await.is_empty());
}
