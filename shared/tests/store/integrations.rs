//! Integrations: one of two changes wins, versions stay, rolling back is exact, tests tell.

mod narrowed;
mod scheduled;

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use axum::{Json, Router, http::StatusCode, routing::get};
use chrono::{DateTime, Duration, Utc};
use futures::future::join_all;
use lambda_runtime::Context;
use serde_json::{Value, json, value::RawValue};
use shared::{
    Error,
    activity::{Activity, Actor, Filter},
    credentials::{self, Credentials},
    fields::Fields,
    identity::Person,
    integrations::{
        Change, Due, Integrations, Loaded, Order, Rollback, TEST_BUCKETS, TestResult, Tester, differences,
    },
    lambda::{Env, Invoke},
};
use tidegate::embedded::Embedded;

use crate::{admin, wire::Wire};

/// Stripe as it answers about its account: with a status that the test sets.
#[derive(Clone, Default)]
struct FakeStripe(Arc<AtomicU16>);

impl FakeStripe {
    /// Serves on loopback; returns the value for `PROVIDER_ENDPOINTS`.
    async fn serve(&self) -> String {
        let status = Arc::clone(&self.0);
        let account = move || {
            let status = StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap_or(StatusCode::OK);
            let body = if status.is_success() {
                json!({"object": "account", "id": "acct_1", "business_profile": {"name": "Acme"}})
            } else {
                json!({"error": {"type": "invalid_request_error", "message": "refused"}})
            };
            async move { (status, Json(body)) }
        };
        let router = Router::new().route("/v1/account", get(account));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("stripe=http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    fn answers(&self, status: u16) {
        self.0.store(status, Ordering::SeqCst);
    }
}

struct World {
    embedded: Embedded,
    env: Env,
    integrations: Integrations,
    credentials: Credentials,
    tester: Tester,
    activity: Activity,
    stripe: FakeStripe,
    function: Invoke,
    person: Person,
}

impl World {
    async fn new() -> Self {
        let stripe = FakeStripe::default();
        let endpoints = stripe.serve().await;
        Self { stripe, ..Self::among(endpoints).await }
    }

    /// With the providers that stand at these places.
    async fn among(endpoints: String) -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let of_function = |name: &str, variables: &[&'static str]| {
            let env = embedded.env(name);
            variables
                .iter()
                .map(|variable| (*variable, env.required::<String>(variable).unwrap()))
                .collect::<Vec<_>>()
        };
        let mut variables = of_function(
            "integrations",
            &["INTEGRATIONS_TABLE", "VAULT_TABLE", "VAULT_KEY_ID", "VAULT_CACHE_SECONDS", "ACTIVITY_TABLE"],
        );
        variables.push(("PROVIDER_ENDPOINTS", endpoints));
        let (env, sdk) = (Env::of(variables), embedded.sdk());
        Self {
            integrations: Integrations::load(&env, &sdk).unwrap(),
            credentials: Credentials::load(&env, &sdk).unwrap(),
            tester: Tester::load(&env, &sdk).unwrap(),
            activity: Activity::reader(&env, &sdk).unwrap(),
            stripe: FakeStripe::default(),
            function: tidegate::functions::registry()["integrations"].load(&env, &sdk).unwrap(),
            person: admin("acme"),
            embedded,
            env,
        }
    }

    /// A credential of Stripe's test mode.
    async fn credential(&self) -> String {
        let key = format!("sk_{}_{}", "test", "x".repeat(24));
        self.credential_of("stripe", json!({"api_key": key})).await
    }

    async fn credential_of(&self, provider: &str, fields: Value) -> String {
        let body = json!({"provider": provider, "name": "key", "credential": fields});
        let order = credentials::Order::parse(Fields::of("", body).unwrap()).unwrap();
        let saved = self.credentials.save(&self.person, order, now()).await.unwrap();
        serde_json::to_value(saved).unwrap()["id"].as_str().unwrap().to_owned()
    }

    async fn create(&self, more: Value) -> Loaded {
        let mut body = json!({"type": "custom", "provider": "acme-erp", "name": "ERP"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let order = Order::parse(Fields::of("", body).unwrap()).unwrap();
        self.integrations.create(&self.person, order, None, now()).await.unwrap()
    }

    /// An integration with Stripe's test mode, and its credential.
    async fn with_stripe(&self) -> (Loaded, String) {
        let credential = self.credential().await;
        let body = json!({
            "type": "billing", "provider": "stripe", "environment": "test", "credential_id": credential,
        });
        (self.create(body).await, credential)
    }

    async fn update(&self, person: &Person, id: &str, body: Value) -> Result<Loaded, Error> {
        let stored = self.integrations.get(&self.person.workspace, id).await?;
        let revision = Change::read(Fields::of("", body).unwrap()).apply(&stored)?;
        self.integrations.revise(person, &stored, revision, None, now()).await
    }

    async fn roll_back(&self, id: &str, body: Value) -> Result<Loaded, Error> {
        let workspace = &self.person.workspace;
        let rollback = Rollback::parse(Fields::of("", body).unwrap()).unwrap();
        let stored = self.integrations.get(workspace, id).await?;
        let old = self.integrations.version(workspace, id, rollback.version).await?;
        let revision = rollback.apply(&stored, &old.content)?;
        self.integrations.revise(&self.person, &stored, revision, None, now()).await
    }

    async fn shown(&self, id: &str) -> Value {
        let loaded = self.integrations.get(&self.person.workspace, id).await.unwrap();
        serde_json::to_value(loaded.view(false)).unwrap()
    }

    /// All versions as they are shown, the oldest first.
    async fn versions(&self, id: &str) -> Vec<Value> {
        let (mut versions, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page =
                self.integrations.versions(&self.person.workspace, id, 7, cursor.as_deref()).await.unwrap();
            let page = serde_json::to_value(page).unwrap();
            versions.extend(page["versions"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        versions.reverse();
        versions
    }

    /// What the log tells of an integration, the oldest first: action, actor, detail.
    async fn told(&self, id: &str) -> Vec<(String, String, Value)> {
        let filter = Filter { target: Some(id.to_owned()), ..Filter::default() };
        let later = Utc::now() + Duration::days(3650);
        let page = self.activity.list(&self.person.workspace, &filter, 100, None, later).await.unwrap();
        let page = serde_json::to_value(page).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let entries = page["entries"].as_array().unwrap().iter().rev();
        entries
            .map(|entry| (text(&entry["action"]), text(&entry["actor"]), entry["detail"].clone()))
            .collect()
    }

    /// Tests an integration as the schedule does.
    async fn test(&self, id: &str, now: DateTime<Utc>) -> TestResult {
        let workspace = &self.person.workspace;
        let Loaded { integration, content } = self.integrations.get(workspace, id).await.unwrap();
        let result = self.tester.test(workspace, &integration.provider, &content, now).await.unwrap();
        let actor = Actor::System { workspace, function: "integrations-test" };
        let loaded = Loaded { integration, content };
        self.integrations.record_test(actor, &loaded, &result, now).await.unwrap().unwrap();
        result
    }

    async fn due(&self, now: DateTime<Utc>) -> Vec<String> {
        let mut ids = Vec::new();
        for bucket in 0..TEST_BUCKETS {
            let due = self.integrations.due(bucket, now, 100).await.unwrap();
            ids.extend(due.into_iter().map(|Due { workspace, id }| format!("{workspace}/{id}")));
        }
        ids
    }

    /// Calls the function as the gateway does.
    async fn call(&self, route: &str, id: &str, body: &Value) -> (u64, Value) {
        let (method, path) = route.split_once(' ').unwrap();
        let event = json!({
            "version": "2.0", "routeKey": route, "rawPath": path.replace("{id}", id), "rawQueryString": "",
            "headers": {"content-type": "application/json"}, "pathParameters": {"id": id},
            "requestContext": {
                "accountId": "1", "apiId": "1", "domainName": "x", "domainPrefix": "x", "requestId": "x",
                "routeKey": route, "stage": "$default", "time": "x", "timeEpoch": 0,
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "::1", "userAgent": "x"},
                "authorizer": {"lambda": {
                    "workspace": "acme", "subject": "user_1", "role": "admin", "expires_at": "4102444800",
                }},
            },
            "body": body.to_string(), "isBase64Encoded": false,
        });
        let event = RawValue::from_string(event.to_string()).unwrap();
        let answer = (self.function)(event, Context::default()).await.unwrap();
        let answer: Value = serde_json::from_str(answer.get()).unwrap();
        let body = answer["body"].as_str().unwrap();
        (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }
}

/// The present, as the log's entries of the tests stand in one window with those of the function.
fn now() -> DateTime<Utc> {
    shared::time::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_who_change_one_version_exactly_one_wins_and_the_others_see_it() {
    let world = World::new().await;
    let id = world.create(json!({})).await.integration.id;
    for round in 1..=3_u64 {
        let people: Vec<_> = (0..20)
            .map(|number| Person { subject: format!("user_{number}"), ..world.person.clone() })
            .collect();
        let change = |number: usize| {
            let body = json!({"version": round, "configuration": {"round": round, "author": number}});
            world.update(&people[number], &id, body)
        };
        let answers = join_all((0..20).map(change)).await;
        let winners: Vec<_> = (0..20).filter(|number| answers[*number].is_ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let winner = winners[0];
        for (number, answer) in answers.into_iter().enumerate().filter(|(number, _)| *number != winner) {
            let Err(Error::Superseded(current)) = answer else { panic!("{number}: {answer:?}") };
            assert_eq!(current["version"], round + 1);
            assert_eq!(current["configuration"], json!({"round": round, "author": winner}));
            assert_eq!(current["updated_by"], format!("user_{winner}"));
        }
    }
    let versions = world.versions(&id).await;
    let numbers: Vec<_> = versions.iter().map(|version| version["version"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "without a gap");
    let told = world.told(&id).await;
    let actions: Vec<_> = told.iter().map(|(action, ..)| action.as_str()).collect();
    assert_eq!(
        actions,
        ["integration.created", "integration.updated", "integration.updated", "integration.updated"]
    );
    assert_eq!(told[1].2["changed"], json!(["/configuration/author", "/configuration/round"]));
}

#[tokio::test]
async fn rolling_back_restores_exactly_and_is_a_version_of_its_own() {
    let world = World::new().await;
    let odd: Value = serde_json::from_str(
        r#"{"a/b~c": [0.1, 1e300, 18446744073709551615, -0.5, null, true, ""], "ü": {"e": {}}}"#,
    )
    .unwrap();
    let (first, second) = (world.credential().await, world.credential().await);
    let made =
        world.create(json!({"configuration": odd, "credential_id": first, "provider": "stripe"})).await;
    let id = made.integration.id;
    let body = json!({
        "version": 1, "configuration": {"a": 1}, "credential_id": second, "environment": "test",
        "name": "renamed", "active": false, "note": "trying",
    });
    world.update(&world.person, &id, body).await.unwrap();
    world.update(&world.person, &id, json!({"version": 2, "credential_id": ""})).await.unwrap();
    assert_eq!(world.shown(&id).await["credential_id"], Value::Null);

    world.roll_back(&id, json!({"version": 1, "note": "back"})).await.unwrap();
    let shown = world.shown(&id).await;
    assert_eq!(shown["configuration"], odd);
    assert_eq!((&shown["credential_id"], &shown["environment"]), (&json!(first), &json!("live")));
    assert_eq!((&shown["name"], &shown["active"]), (&json!("renamed"), &json!(false)), "these stay");
    assert_eq!(shown["version"], 4);

    let versions = world.versions(&id).await;
    assert_eq!(versions.len(), 4);
    assert_eq!((&versions[3]["restored_from"], &versions[3]["note"]), (&json!(1), &json!("back")));
    assert_eq!(versions[1]["note"], "trying");
    assert_eq!(versions[1]["configuration"], json!({"a": 1}), "a version never changes");
    assert_eq!(world.told(&id).await[3].0, "integration.rolled_back");

    // Once more changes nothing, and a version that never was is not there.
    world.roll_back(&id, json!({"version": 1})).await.unwrap();
    assert_eq!(world.versions(&id).await.len(), 4);
    assert!(matches!(world.roll_back(&id, json!({"version": 9})).await, Err(Error::NotFound(_))));
    let stale = world.roll_back(&id, json!({"version": 2, "current": 3})).await;
    assert!(matches!(stale, Err(Error::Superseded(_))), "{stale:?}");
}

#[tokio::test]
async fn the_same_change_again_is_no_new_version() {
    let world = World::new().await;
    let id = world.create(json!({})).await.integration.id;
    let body = json!({"version": 1, "configuration": {"a": 1}});
    for _ in 0..3 {
        let same = world.update(&world.person, &id, body.clone()).await.unwrap();
        assert_eq!(same.integration.version, 2);
    }
    assert_eq!(world.versions(&id).await.len(), 2);
    assert_eq!(world.told(&id).await.len(), 2);
}

#[tokio::test]
async fn the_difference_between_two_versions_is_told_by_field() {
    let world = World::new().await;
    let id = world.create(json!({"configuration": {"a": {"b": 1}, "gone": true}})).await.integration.id;
    let body = json!({"version": 1, "name": "CRM", "configuration": {"a": {"b": 2}, "new": [1]}});
    world.update(&world.person, &id, body).await.unwrap();
    let version = |number| world.integrations.version(&world.person.workspace, &id, number);
    let (old, new) = (version(1).await.unwrap(), version(2).await.unwrap());
    let told = serde_json::to_value(differences(&old.content, &new.content)).unwrap();
    assert_eq!(
        told,
        json!([
            {"change": "changed", "path": "/configuration/a/b", "from": 1, "to": 2},
            {"change": "removed", "path": "/configuration/gone", "from": true},
            {"change": "added", "path": "/configuration/new", "to": [1]},
            {"change": "changed", "path": "/name", "from": "ERP", "to": "CRM"},
        ])
    );
}

#[tokio::test]
async fn what_is_deleted_leaves_its_versions_and_its_activity() {
    let world = World::new().await;
    let id = world.create(json!({"configuration": {"a": 1}})).await.integration.id;
    world.integrations.delete(&world.person, &id, now()).await.unwrap();
    let workspace = &world.person.workspace;
    for missing in [
        world.integrations.get(workspace, &id).await.err(),
        world.integrations.delete(&world.person, &id, now()).await.err(),
        world.update(&world.person, &id, json!({"version": 1, "name": "x"})).await.err(),
    ] {
        assert!(matches!(missing, Some(Error::NotFound(_))), "{missing:?}");
    }
    assert_eq!(world.versions(&id).await[0]["configuration"], json!({"a": 1}));
    let told: Vec<_> = world.told(&id).await.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(told, ["integration.created", "integration.deleted"]);
    assert!(world.integrations.list(workspace, 10, None).await.unwrap().integrations.is_empty());
}

#[tokio::test]
async fn another_workspace_sees_and_changes_nothing() {
    let world = World::new().await;
    let id = world.create(json!({})).await.integration.id;
    let other = admin("other");
    let missing = |error: Option<Error>| matches!(error, Some(Error::NotFound(_)));
    assert!(missing(world.integrations.get(&other.workspace, &id).await.err()));
    assert!(missing(world.integrations.version(&other.workspace, &id, 1).await.err()));
    assert!(missing(world.integrations.versions(&other.workspace, &id, 10, None).await.err()));
    assert!(missing(world.integrations.delete(&other, &id, now()).await.err()));
    assert!(world.integrations.list(&other.workspace, 10, None).await.unwrap().integrations.is_empty());
    // Nor does a credential of one serve the other.
    let credential = world.credential().await;
    let gone = world.tester.missing(&other.workspace, [credential.as_str()]).await.unwrap();
    assert_eq!(gone.len(), 1);
    assert!(world.tester.missing(&world.person.workspace, [credential.as_str()]).await.unwrap().is_empty());
}

#[tokio::test]
async fn failing_and_recovering_are_told_in_the_log_once_each() {
    let world = World::new().await;
    let (made, _) = world.with_stripe().await;
    let (id, start) = (made.integration.id, now());
    let hours = |hours| start + Duration::hours(hours);
    for (hour, status, state) in [
        (1, 200, "working"),
        (2, 503, "working"),
        (3, 200, "working"),
        (4, 401, "failing"),
        (5, 401, "failing"),
        (6, 503, "failing"),
        (7, 200, "working"),
    ] {
        world.stripe.answers(status);
        assert_eq!(world.test(&id, hours(hour)).await.is_ok(), status == 200, "hour {hour}");
        let health = world.shown(&id).await["health"].clone();
        assert_eq!(health["state"], state, "hour {hour}: {health}");
        assert_eq!(health["last_test"]["verified"], status == 200, "hour {hour}: {health}");
        let cause = match status {
            401 => json!("auth"),
            503 => json!("provider"),
            _ => Value::Null,
        };
        assert_eq!(health["last_test"]["cause"], cause, "hour {hour}: {health}");
    }
    let told = world.told(&id).await;
    let told: Vec<_> = told.iter().map(|(action, actor, _)| (action.as_str(), actor.as_str())).collect();
    assert_eq!(
        told,
        [
            ("integration.created", "user_1"),
            ("integration.failing", "integrations-test"),
            ("integration.recovered", "integrations-test"),
        ]
    );
    let since: DateTime<Utc> = world.shown(&id).await["health"]["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(since, hours(7));
}

#[tokio::test]
async fn a_test_of_a_version_that_was_replaced_says_nothing() {
    let world = World::new().await;
    let (made, _) = world.with_stripe().await;
    let id = made.integration.id.clone();
    world.stripe.answers(401);
    let workspace = &world.person.workspace;
    let result = world.tester.test(workspace, "stripe", &made.content, now()).await.unwrap();
    world
        .update(&world.person, &id, json!({"version": 1, "configuration": {"account_id": "acct_1"}}))
        .await
        .unwrap();
    let actor = Actor::System { workspace, function: "integrations-test" };
    world.integrations.record_test(actor, &made, &result, now()).await.unwrap();
    assert_eq!(world.shown(&id).await["health"]["state"], "untested");
    world.integrations.delete(&world.person, &id, now()).await.unwrap();
    assert!(world.integrations.record_test(actor, &made, &result, now()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_under_way_does_not_make_a_change_fail() {
    let world = World::new().await;
    let (made, _) = world.with_stripe().await;
    let id = made.integration.id.clone();
    let workspace = &world.person.workspace;
    let actor = Actor::System { workspace, function: "integrations-test" };
    let result = world.tester.test(workspace, "stripe", &made.content, now()).await.unwrap();
    let tests = join_all((0..10).map(|_| world.integrations.record_test(actor, &made, &result, now())));
    let change = world.update(&world.person, &id, json!({"version": 1, "name": "renamed"}));
    let (tests, changed) = tokio::join!(tests, change);
    assert_eq!(changed.unwrap().integration.version, 2);
    assert!(tests.into_iter().all(|test| test.is_ok()));
}

#[tokio::test]
async fn what_is_due_is_found_across_workspaces_and_what_is_off_is_not() {
    let world = World::new().await;
    let (active, credential) = world.with_stripe().await;
    let body = json!({"type": "billing", "provider": "stripe", "credential_id": credential, "active": false});
    let off = world.create(body).await;
    world.create(json!({"type": "billing", "provider": "stripe"})).await;
    world.create(json!({})).await;
    let id = active.integration.id;
    let found = |id: &str| vec![format!("acme/{id}")];
    let start = now();
    assert_eq!(world.due(start - Duration::hours(1)).await, Vec::<String>::new());
    assert_eq!(world.due(start).await, found(&id), "a new one at once");
    world.stripe.answers(200);
    world.test(&id, start).await.unwrap();
    assert_eq!(world.due(start + Duration::hours(5)).await, Vec::<String>::new());
    assert_eq!(world.due(start + Duration::hours(6)).await, found(&id));
    world.update(&world.person, &id, json!({"version": 1, "active": false})).await.unwrap();
    assert_eq!(world.due(start + Duration::hours(7)).await, Vec::<String>::new());
    world.update(&world.person, &off.integration.id, json!({"version": 1, "active": true})).await.unwrap();
    assert_eq!(world.due(now()).await, found(&off.integration.id), "one that is switched on at once");
}

#[tokio::test]
async fn a_credential_that_was_deleted_is_told_as_the_cause() {
    let world = World::new().await;
    let (made, credential) = world.with_stripe().await;
    world.credentials.delete(&world.person, &credential, now()).await.unwrap();
    let route = "POST /api/integrations/{id}/test";
    let (status, answer) = world.call(route, &made.integration.id, &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["verified"], &answer["cause"]), (&json!(false), &json!("credential_missing")));
    let (_, shown) = world.call("GET /api/integrations/{id}", &made.integration.id, &json!({})).await;
    assert_eq!(shown["health"]["state"], "credential_missing", "{shown}");
    assert_eq!(shown["health"]["last_test"]["cause"], "credential_missing");
    let (_, list) = world.call("GET /api/integrations", "", &json!({})).await;
    assert_eq!(list["integrations"][0]["health"]["state"], "credential_missing", "{list}");
    assert_eq!(world.told(&made.integration.id).await[1].0, "integration.failing");
}

#[tokio::test]
async fn a_candidate_is_tested_without_changing_anything() {
    let world = World::new().await;
    let (made, _) = world.with_stripe().await;
    let (id, route) = (made.integration.id.as_str(), "POST /api/integrations/{id}/test");
    world.stripe.answers(200);
    let before = world.shown(id).await;
    // The key is of test mode.
    let (status, answer) = world.call(route, id, &json!({"environment": "live"})).await;
    assert_eq!(
        (status, &answer["verified"], &answer["cause"]),
        (200, &json!(false), &json!("scope")),
        "{answer}"
    );
    let other = world.credential().await;
    let (_, answer) = world.call(route, id, &json!({"credential_id": other})).await;
    assert_eq!(answer, json!({"verified": true, "accountName": "Acme", "livemode": false}));
    assert_eq!(world.shown(id).await, before, "neither is recorded");

    let (_, answer) = world.call(route, id, &json!({})).await;
    assert_eq!(answer["verified"], true);
    let health = world.shown(id).await["health"].clone();
    assert_eq!(
        (&health["state"], &health["last_test"]["version"]),
        (&json!("working"), &json!(1)),
        "{health}"
    );
}

#[tokio::test]
async fn a_change_that_must_pass_a_test_is_stored_only_if_it_does() {
    let world = World::new().await;
    let (made, credential) = world.with_stripe().await;
    let id = made.integration.id.as_str();
    let put = "PUT /api/integrations/{id}";
    world.stripe.answers(401);
    let body = json!({"version": 1, "configuration": {"account_id": "acct_1"}, "require_test": true});
    let (status, answer) = world.call(put, id, &body).await;
    assert_eq!(
        (status, &answer["type"], &answer["cause"]),
        (409, &json!("/problems/unproven"), &json!("auth")),
        "{answer}"
    );
    assert_eq!(world.shown(id).await["version"], 1);
    let order = json!({
        "type": "billing", "provider": "stripe", "environment": "test", "name": "second",
        "credential_id": credential, "require_test": true,
    });
    let (status, answer) = world.call("POST /api/integrations", "", &order).await;
    assert_eq!((status, &answer["cause"]), (409, &json!("auth")), "{answer}");
    assert_eq!(
        world.integrations.list(&world.person.workspace, 10, None).await.unwrap().integrations.len(),
        1
    );

    world.stripe.answers(200);
    let (status, answer) = world.call(put, id, &body).await;
    assert_eq!(
        (status, &answer["version"], &answer["health"]["state"]),
        (200, &json!(2), &json!("working")),
        "{answer}"
    );
    let (status, answer) = world.call("POST /api/integrations", "", &order).await;
    assert_eq!((status, &answer["health"]["state"]), (201, &json!("working")), "{answer}");
}

#[tokio::test]
async fn a_list_does_not_read_configurations() {
    let world = World::new().await;
    let large = json!({"configuration": {"text": "x".repeat(15_000)}});
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, world.create(large.clone()).await.integration.id);
    }
    let (mut listed, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = world.integrations.list(&world.person.workspace, 2, cursor.as_deref()).await.unwrap();
        for one in page.integrations {
            listed.push(one.id.clone());
            let shown = serde_json::to_string(&one.summary(false)).unwrap();
            assert!(shown.len() < 1000, "{shown}");
        }
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, ids, "newest first");
    let foreign = world.integrations.list(&admin("other").workspace, 2, Some("AAAA")).await;
    assert!(matches!(foreign, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn a_page_costs_the_same_among_ten_and_ten_thousand() {
    let world = World::new().await;
    let (sdk, wire) = Wire::tap(world.embedded.sdk());
    let integrations = Integrations::load(&world.env, &sdk).unwrap();
    let mut made = Vec::new();
    for _ in 0..10 {
        made.insert(0, world.create(json!({})).await.integration.id);
    }
    let cost = async || {
        wire.seen();
        let page = integrations.list(&world.person.workspace, 10, None).await.unwrap();
        let listed: Vec<_> = page.integrations.into_iter().map(|one| one.id).collect();
        assert_eq!(listed, made, "newest first");
        let seen = wire.seen();
        (seen.calls, seen.received)
    };
    let few = cost().await;

    // As the store writes them.
    let client = aws_sdk_dynamodb::Client::new(&world.embedded.sdk());
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let read = client.get_item().table_name("IntegrationsTable").key("pk", text("WORKSPACE#acme"));
    let read = read.key("sk", text(&format!("INTEGRATION#{}", made[0]))).send().await.unwrap();
    let row = read.item.unwrap();
    let copies: Vec<_> = (0..10_000)
        .map(|number| {
            let (mut row, id) = (row.clone(), format!("int_000{number:08}"));
            row.insert("sk".to_owned(), text(&format!("INTEGRATION#{id}")));
            row.insert("id".to_owned(), text(&id));
            let put = PutRequest::builder().set_item(Some(row)).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        })
        .collect();
    for batch in copies.chunks(25) {
        let write = client.batch_write_item().request_items("IntegrationsTable", batch.to_vec());
        let written = write.send().await.unwrap();
        assert!(written.unprocessed_items.is_none_or(|left| left.is_empty()));
    }
    let many = cost().await;
    assert_eq!(few.0, many.0, "round trips");
    // The answer tells where the page ends, once there is more.
    assert!(many.1 < few.1 + 512, "{} bytes read, {} before", many.1, few.1);

    let (mut count, mut cursor) = (0, None::<String>);
    loop {
        let page = integrations.list(&world.person.workspace, 100, cursor.as_deref()).await.unwrap();
        count += page.integrations.len();
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(count, 10_010, "each one, once");
}
