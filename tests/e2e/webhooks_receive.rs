//! Deliveries to the deployment's own accounts, and reports of a workspace's own tools.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::webhooks::Scheme;
use tests::{Answer, Call, Workspace, random, variable};

/// The largest body that Lambda's 6 MB let in beside headers and what the gateway adds.
const LARGEST: usize = 6 * 1024 * 1024 - 16 * 1024;

/// One of the providers.
struct Provider {
    name: &'static str,
    path: &'static str,
    scheme: Scheme,
    secret: SecretString,
}

fn providers() -> [Provider; 3] {
    [
        ("stripe", "/v1/billing/webhooks/stripe", Scheme::Stripe, "STRIPE_WEBHOOK_SECRET"),
        ("github", "/v1/github/webhooks", Scheme::Github, "GITHUB_APP_WEBHOOK_SECRET"),
        ("shopify", "/v1/shopify/webhooks", Scheme::Shopify, "SHOPIFY_CLIENT_SECRET"),
    ]
    .map(|(name, path, scheme, secret)| Provider {
        name,
        path,
        scheme,
        secret: variable(&format!("TIDEGATE_{secret}")).into(),
    })
}

impl Provider {
    /// A delivery of `body` that says it is `id`, signed over `over` at a time.
    fn call(&self, id: &str, body: &[u8], over: &[u8], secret: &SecretString, at: DateTime<Utc>) -> Call {
        let call = self.unsigned(id, body);
        let headers = self.scheme.sign("", over, "", secret, at).expect("the provider can sign");
        headers.iter().fold(call, |call, (name, value)| {
            call.header(name.as_str(), value.to_str().expect("a signature is text"))
        })
    }

    fn unsigned(&self, id: &str, body: &[u8]) -> Call {
        let server = tests::Server::named();
        // Not as JSON: gateways hand on bytes only of what is no text.
        let call = server.request("POST", self.path).bytes(body.to_vec(), "application/octet-stream");
        match self.name {
            "github" => call.header("x-github-delivery", id).header("x-github-event", "test"),
            "shopify" => call.header("x-shopify-webhook-id", id).header("x-shopify-topic", "test"),
            _ => call,
        }
    }

    /// A delivery as it should be.
    async fn deliver(&self, id: &str, body: &[u8]) -> Answer {
        self.call(id, body, body, &self.secret, Utc::now()).send().await
    }

    /// An event of no type that changes anything.
    fn event(&self, id: &str) -> Vec<u8> {
        json!({"id": id, "type": "test", "object": "event", "from": self.name}).to_string().into_bytes()
    }
}

fn id_of(told: &Value) -> &str {
    told["id"].as_str().expect("the event's id")
}

/// An event with its whole body.
async fn stored(workspace: &Workspace, id: &str) -> (Value, Vec<u8>) {
    let path = format!("/api/webhooks/events/{id}");
    let event = workspace.member("GET", &path).send().await.json(200);
    let bytes = |told: &Value| match told["body"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD.decode(told["body_base64"].as_str().expect("a body")).expect("base64"),
    };
    let (mut body, mut next) = (bytes(&event), event["next_offset"].as_u64());
    while let Some(offset) = next {
        let part = workspace.member("GET", &format!("{path}?offset={offset}")).send().await.json(200);
        body.extend(bytes(&part));
        next = part["next_offset"].as_u64();
    }
    (event, body)
}

#[tokio::test]
async fn every_provider_is_taken_in_once_by_its_signature() {
    let home = Workspace::home().await;
    for provider in providers() {
        let (name, id) = (provider.name, format!("evt_{}", random()));
        let body = provider.event(&id);
        let first = provider.deliver(&id, &body).await.json(200);
        assert_eq!(first["outcome"], "accepted", "{name}: {first}");
        let again = provider.deliver(&id, &body).await.json(200);
        assert_eq!(again, json!({"id": first["id"], "outcome": "duplicate"}), "{name}");

        let (event, kept) = stored(&home, id_of(&first)).await;
        assert!(kept == body, "{name}: {event}");
        assert_eq!((&event["source"], &event["type"]), (&json!(name), &json!("test")), "{event}");
        for header in event["headers"].as_array().expect("headers") {
            let proof = header[0].as_str().is_some_and(|name| name.contains("sig") || name.contains("hmac"));
            assert!(!proof || header[1] == "[redacted]", "{name}: {header}");
        }
        let foreign = Workspace::new().await;
        let path = format!("/api/webhooks/events/{}", id_of(&first));
        let _ = foreign.admin("GET", &path).send().await.expect(404);
    }
}

#[tokio::test]
async fn a_delivery_that_is_not_proven_is_refused_and_told_why() {
    let now = Utc::now();
    for provider in providers() {
        let id = format!("evt_{}", random());
        let (body, header) = (provider.event(&id), provider.scheme.signature_headers()[0].to_owned());
        let changed = [&body[..body.len() - 1], b" }"].concat();
        let other: SecretString = format!("other-{}", random()).into();
        let secret = &provider.secret;
        let mut cases = vec![
            ("unsigned", provider.unsigned(&id, &body), "no_signature"),
            ("unreadable", provider.unsigned(&id, &body).header(&header, "t=1,v1=zz"), "malformed_header"),
            ("another body", provider.call(&id, &body, &changed, secret, now), "mismatch"),
            ("another secret", provider.call(&id, &body, &body, &other, now), "mismatch"),
        ];
        if provider.name == "stripe" {
            let far = TimeDelta::seconds(330);
            for (case, at) in [("late", now - far), ("early", now + far)] {
                cases.push((case, provider.call(&id, &body, &body, secret, at), "outside_tolerance"));
            }
        }
        for (case, call, cause) in cases {
            let answer = call.send().await;
            answer.problem(401, "unverified");
            let told: Value = serde_json::from_str(&answer.text).expect("a problem");
            assert_eq!(told["cause"], cause, "{} {case}: {told}", provider.name);
        }
        // Nothing of that was stored: this is the first one.
        assert_eq!(provider.deliver(&id, &body).await.json(200)["outcome"], "accepted");
    }
}

#[tokio::test]
async fn a_delivery_near_the_end_of_its_time_is_taken_and_its_copy_is_a_duplicate() {
    let [stripe, ..] = providers();
    let id = format!("evt_{}", random());
    let body = stripe.event(&id);
    for seconds in [-270, 270] {
        let at = Utc::now() + TimeDelta::seconds(seconds);
        for outcome in [if seconds < 0 { "accepted" } else { "duplicate" }, "duplicate"] {
            let told = stripe.call(&id, &body, &body, &stripe.secret, at).send().await.json(200);
            assert_eq!(told["outcome"], outcome, "{seconds} s: {told}");
        }
    }
}

#[tokio::test]
async fn whatever_is_signed_is_kept_byte_for_byte() {
    let home = Workspace::home().await;
    let [stripe, github, _] = providers();
    let mut random_bytes = vec![0; 1024 * 1024];
    getrandom::fill(&mut random_bytes).expect("random bytes");
    let unique = random();
    let large = format!("{{\"id\":\"evt_{unique}\",\"a\":\"{}\"}}", "ä".repeat(512 * 1024));
    for (case, body) in [
        ("empty", Vec::new()),
        ("one line break", format!("\r\n{unique}").into_bytes()),
        ("not JSON", format!("{{{unique}").into_bytes()),
        ("not UTF-8", [b"\xff\xfe", unique.as_bytes()].concat()),
        ("a megabyte of JSON", large.into_bytes()),
        ("a megabyte of noise", random_bytes),
    ] {
        for provider in [&stripe, &github] {
            let told = provider.deliver(&format!("{case}-{}", random()), &body).await.json(200);
            let (event, kept) = stored(&home, id_of(&told)).await;
            assert!(kept == body, "{case}: {} bytes came back", kept.len());
            assert_eq!(event["size"], body.len(), "{case}");
        }
    }
}

#[tokio::test]
async fn what_the_gateway_lets_in_is_taken_and_what_is_larger_refused() {
    let home = Workspace::home().await;
    let [stripe, ..] = providers();
    let server = tests::Server::named();
    // As JSON, which needs no base64 and so may be the largest.
    let call = |body: &[u8]| {
        let headers = stripe.scheme.sign("", body, "", &stripe.secret, Utc::now()).expect("signed");
        let signature = headers["stripe-signature"].to_str().expect("text").to_owned();
        server.request("POST", stripe.path).body(body.to_vec()).header("stripe-signature", &signature)
    };
    let id = random();
    let body = format!("{{id:'evt_{id}',a:'{}'}}", "x".repeat(LARGEST)).into_bytes();
    let told = call(&body[..LARGEST]).send().await.json(200);
    let (event, kept) = stored(&home, id_of(&told)).await;
    assert!(kept == body[..LARGEST], "{} bytes came back", kept.len());
    assert_eq!(event["size"], LARGEST);
    let _ = call(&vec![b' '; 6 * 1024 * 1024 + 1]).send().await.expect(413);
}

#[tokio::test]
async fn an_event_that_failed_is_processed_again_when_it_is_redelivered() {
    let home = Workspace::home().await;
    let [_, github, _] = providers();
    let id = random();
    let body = format!("{{{id}").into_bytes();
    let told = github.deliver(&id, &body).await.json(200);
    let dead = async |attempts: usize| {
        let is_dead = |event: &Value| {
            event["status"] == "dead" && event["log"].as_array().is_some_and(|log| log.len() > attempts)
        };
        home.event_when(id_of(&told), is_dead).await
    };
    let first = dead(0).await;
    let again = github.deliver(&id, &body).await.json(200);
    assert_eq!(again["outcome"], "accepted", "GitHub repeats a delivery by its id: {again}");
    dead(first["log"].as_array().map_or(0, Vec::len)).await;
}

#[tokio::test]
async fn of_a_thousand_deliveries_at_once_each_event_is_stored_once() {
    let [stripe, ..] = providers();
    let run = random();
    // 700 events, 300 of them twice.
    let answers: Vec<_> = stream::iter(0..1000)
        .map(|number| {
            let (stripe, id) = (&stripe, format!("evt_{run}_{}", number % 700));
            async move { stripe.deliver(&id, &stripe.event(&id)).await.json(200) }
        })
        .buffer_unordered(50)
        .collect()
        .await;
    let outcomes = |outcome: &str| answers.iter().filter(|told| told["outcome"] == outcome).count();
    assert_eq!((outcomes("accepted"), outcomes("duplicate")), (700, 300));
    let ids: BTreeSet<_> = answers.iter().map(id_of).collect();
    assert_eq!(ids.len(), 700);
}

#[tokio::test]
async fn a_tool_reports_what_it_does() {
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"permissions": ["write_webhooks"]})).await;
    let report =
        |body: &Value| workspace.server.request("POST", "/api/devops/webhook").key(&key.text).json(body);
    let health = json!({"uptime": 99.9, "response_ms": 80, "error_rate": 0.1});
    for (case, body, again) in [
        (
            "a deployment",
            json!({"type": "deployment", "id": "d-1", "data": {
                "environment": "production", "version": "1.2.3", "status": "succeeded", "deployTime": 12.5,
                "timestamp": "2026-01-01T00:00:00Z",
            }}),
            "duplicate",
        ),
        (
            "an alert",
            json!({"type": "alert", "data": {
                "severity": "critical", "message": "it burns", "details": {"where": "here"},
                "timestamp": "2026-01-01T00:00:00Z",
            }}),
            "duplicate",
        ),
        ("a measurement", json!({"type": "health", "data": health}), "accepted"),
        ("something else", json!({"type": "coffee", "id": "c-1", "data": ["ready"]}), "duplicate"),
    ] {
        let answer = report(&body).send().await;
        assert!(answer.number("ratelimit-remaining") > 0, "{case}");
        let first = answer.json(200);
        assert_eq!(first["outcome"], "accepted", "{case}");
        assert_eq!(report(&body).send().await.json(200)["outcome"], again, "{case}");
        let (event, kept) = stored(&workspace, id_of(&first)).await;
        assert_eq!((&event["source"], &event["type"]), (&json!("devops"), &body["type"]), "{case}");
        assert_eq!(serde_json::from_slice::<Value>(&kept).ok(), Some(body), "{case}");
    }
}

#[tokio::test]
async fn a_report_is_refused_with_everything_that_is_wrong() {
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"permissions": ["write_webhooks"]})).await;
    let call = || workspace.server.request("POST", "/api/devops/webhook");
    let data = json!({"severity": "dire", "message": "", "extra": 1, "timestamp": "soon"});
    for (case, body, fields) in [
        (
            "an alert",
            json!({"type": "alert", "data": data, "timestamp": "x", "more": true}),
            vec!["data.extra", "data.message", "data.severity", "data.timestamp", "more", "timestamp"],
        ),
        ("no data", json!({"type": "health"}), vec!["data"]),
        ("no type", json!({"data": {}}), vec!["type"]),
        ("a list", json!([]), vec![""]),
    ] {
        let mut named = call().key(&key.text).json(&body).send().await.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{case}");
    }
    call().key(&key.text).body("{").send().await.problem(400, "malformed");
    call().body("{}").send().await.gateway(401);
    call().key("rr_lnobody").body("{}").send().await.gateway(403);
    let reader = workspace.key_with(json!({"permissions": ["read_metrics"]})).await;
    call().key(&reader.text).body("{}").send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn workspaces_do_not_see_each_others_reports() {
    let (one, other) = (Workspace::new().await, Workspace::new().await);
    let body = json!({"type": "deployment", "id": "same", "data": {"environment": "e", "version": "1", "status": "ok"}});
    let mut ids = Vec::new();
    for workspace in [&one, &other] {
        let key = workspace.key_with(json!({"permissions": ["write_webhooks"]})).await;
        let call = workspace.server.request("POST", "/api/devops/webhook").key(&key.text).json(&body);
        let told = call.send().await.json(200);
        assert_eq!(told["outcome"], "accepted", "the same id is another's there: {told}");
        ids.push(id_of(&told).to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    let path = format!("/api/webhooks/events/{}", ids[1]);
    let _ = one.admin("GET", &path).send().await.expect(404);
}
