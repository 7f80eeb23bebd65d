//! The function that tests what is due: many at once but not too many, each for itself, and what
//! does not fit into its time is left to the next run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use futures::future::join_all;
use lambda_runtime::Context;
use serde_json::{Value, json, value::RawValue};
use shared::lambda::Invoke;

use super::World;

/// What the function runs at the same time.
const CONCURRENCY: usize = 16;
/// What it keeps for the end of a test that has begun.
const PATIENCE: Duration = Duration::from_secs(15);

/// Stripe with many accounts; what it answers is written in the key.
#[derive(Clone, Default)]
struct Crowd {
    calls: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    /// The most calls that were open at the same time.
    most: Arc<AtomicUsize>,
}

impl Crowd {
    /// Serves on loopback, each answer after a pause; returns the value for `PROVIDER_ENDPOINTS`.
    async fn serve(&self, pause: Duration) -> String {
        let crowd = self.clone();
        let account = move |headers: HeaderMap| {
            let crowd = crowd.clone();
            async move {
                crowd.calls.fetch_add(1, Ordering::SeqCst);
                crowd.most.fetch_max(crowd.open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let key = headers["authorization"].to_str().unwrap();
                if key.contains("hangs") {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(pause).await;
                crowd.open.fetch_sub(1, Ordering::SeqCst);
                if key.contains("revoked") {
                    (StatusCode::UNAUTHORIZED, Json(json!({"error": {"message": "Invalid API Key"}})))
                } else {
                    (StatusCode::OK, Json(json!({"object": "account", "id": "acct_1"})))
                }
            }
        };
        let router = Router::new().route("/v1/account", get(account));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("stripe=http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }
}

impl World {
    fn scheduled(&self) -> Invoke {
        let functions = tidegate::functions::registry();
        functions["integrations-test"].load(&self.env, &self.embedded.sdk()).unwrap()
    }

    /// A credential of Stripe's that is answered by this word.
    async fn stripe_key(&self, word: &str) -> String {
        let key = format!("sk_{}_{word}_{}", "test", "x".repeat(24));
        self.credential_of("stripe", json!({"api_key": key})).await
    }

    /// Active integrations with one credential; their ids.
    async fn wired(&self, credential: &str, count: usize) -> Vec<String> {
        let body = json!({
            "type": "billing", "provider": "stripe", "environment": "test", "credential_id": credential,
        });
        let made = join_all((0..count).map(|_| self.create(body.clone()))).await;
        made.into_iter().map(|one| one.integration.id).collect()
    }

    /// Makes it due, as when six hours went by.
    async fn overdue(&self, id: &str) {
        let client = aws_sdk_dynamodb::Client::new(&self.embedded.sdk());
        let text = |value: String| AttributeValue::S(value);
        let update = client
            .update_item()
            .table_name("IntegrationsTable")
            .key("pk", text("WORKSPACE#acme".to_owned()))
            .key("sk", text(format!("INTEGRATION#{id}")))
            .update_expression("SET gsi1sk = :long_ago")
            .condition_expression("attribute_exists(gsi1sk)")
            .expression_attribute_values(":long_ago", text(format!("2026-01-01T00:00:00.000000Z#acme#{id}")));
        update.send().await.unwrap();
    }

    async fn state(&self, id: &str) -> String {
        self.shown(id).await["health"]["state"].as_str().unwrap().to_owned()
    }
}

/// Runs the function until it is done, at most so long.
async fn run(function: &Invoke, time: Duration) -> Result<Value, String> {
    let mut context = Context::default();
    let end = SystemTime::now() + time;
    let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    context.deadline = u64::try_from(end).unwrap();
    let answer = function(RawValue::from_string("{}".to_owned()).unwrap(), context).await;
    answer.map(|answer| serde_json::from_str(answer.get()).unwrap()).map_err(|error| error.to_string())
}

const WHOLE: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_hangs_or_cannot_be_tested_stops_no_other() {
    let crowd = Crowd::default();
    let world = World::among(crowd.serve(Duration::from_millis(50)).await).await;
    let good = world.wired(&world.stripe_key("good").await, 40).await;
    let revoked = world.wired(&world.stripe_key("revoked").await, 2).await;
    let hanging = world.wired(&world.stripe_key("hangs").await, 1).await;
    let broken = world.stripe_key("good").await;
    let unmade = world.wired(&broken, 1).await;
    let gone = world.stripe_key("good").await;
    let orphan = world.wired(&gone, 1).await;
    world.credentials.delete(&world.person, &gone, super::now()).await.unwrap();
    // What is sealed is no longer what the record names.
    let client = aws_sdk_dynamodb::Client::new(&world.embedded.sdk());
    let text = |value: String| AttributeValue::S(value);
    let update = client
        .update_item()
        .table_name("VaultTable")
        .key("pk", text("CREDENTIALS#acme".to_owned()))
        .key("sk", text(format!("CREDENTIAL#{broken}")))
        .update_expression("SET sealed_version = :other")
        .expression_attribute_values(":other", AttributeValue::N("9".to_owned()));
    update.send().await.unwrap();

    let function = world.scheduled();
    let failed = run(&function, WHOLE).await;
    assert_eq!(failed, Err("1 tests could not be made".to_owned()), "so that somebody is told");
    for (case, ids, state) in [
        ("good", &good, "working"),
        ("revoked", &revoked, "failing"),
        // Once may be the network's fault.
        ("hanging", &hanging, "untested"),
        ("not to be opened", &unmade, "untested"),
        ("without its credential", &orphan, "failing"),
    ] {
        for id in ids {
            assert_eq!(world.state(id).await, state, "{case}");
        }
    }
    assert_eq!(world.shown(&hanging[0]).await["health"]["last_test"]["cause"], "network");
    assert_eq!(world.shown(&unmade[0]).await["health"]["last_test"], Value::Null);
    let most = crowd.most.load(Ordering::SeqCst);
    assert!((2..=CONCURRENCY).contains(&most), "{most} at the same time");

    // Only the one that could not be tested is still due.
    let calls = crowd.calls.load(Ordering::SeqCst);
    assert!(run(&function, WHOLE).await.is_err());
    assert_eq!(crowd.calls.load(Ordering::SeqCst), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_a_run_is_tested_by_the_next_and_nothing_twice() {
    const COUNT: usize = 80;
    let crowd = Crowd::default();
    let world = World::among(crowd.serve(Duration::from_millis(800)).await).await;
    let ids = world.wired(&world.stripe_key("good").await, COUNT).await;
    let function = world.scheduled();
    let first = run(&function, PATIENCE + Duration::from_secs(2)).await.unwrap();
    let [passed, left] =
        ["passed", "left"].map(|name| usize::try_from(first[name].as_u64().unwrap()).unwrap());
    assert!(passed >= CONCURRENCY && left > 0 && passed + left == COUNT, "{first}");
    let second = run(&function, WHOLE).await.unwrap();
    assert_eq!((&second["passed"], &second["left"]), (&json!(left), &json!(0)), "{second}");
    assert_eq!(crowd.calls.load(Ordering::SeqCst), COUNT);
    for id in &ids {
        assert_eq!(world.state(id).await, "working");
    }
    // Too late from the start: nothing begins that might not end.
    world.overdue(&ids[0]).await;
    let third = run(&function, PATIENCE / 2).await.unwrap();
    assert_eq!((&third["left"], &third["passed"]), (&json!(1), &json!(0)), "{third}");
    assert_eq!(crowd.calls.load(Ordering::SeqCst), COUNT);
}

#[tokio::test]
async fn the_schedule_tells_of_failing_and_recovering_once_each() {
    let world = World::new().await;
    let (made, _) = world.with_stripe().await;
    let id = made.integration.id;
    let function = world.scheduled();
    for (status, state) in [(401, "failing"), (401, "failing"), (200, "working"), (200, "working")] {
        world.overdue(&id).await;
        world.stripe.answers(status);
        let ran = run(&function, WHOLE).await.unwrap();
        let tested = ran["passed"].as_u64().unwrap() + ran["failed"].as_u64().unwrap();
        assert_eq!(tested, 1, "{ran}");
        assert_eq!(world.state(&id).await, state, "{status}");
    }
    let told = world.told(&id).await;
    let told: Vec<_> = told.iter().map(|(action, actor, _)| (action.as_str(), actor.as_str())).collect();
    let by = "integrations-test";
    let expected =
        [("integration.created", "user_1"), ("integration.failing", by), ("integration.recovered", by)];
    assert_eq!(told, expected);
}
