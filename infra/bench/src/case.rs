//! What is measured: for each function one event as API Gateway sends it, against state that the
//! functions themselves have made.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use shared::webhooks::Scheme;
use tidegate::embedded::Embedded;

use crate::{Error, bootstrap::Bootstrap};

/// One function with one kind of event.
pub struct Case {
    /// Name of the function and of its bootstrap.
    pub function: &'static str,
    /// The floor to compare with.
    pub floor: &'static str,
    /// What it may call on `DynamoDB` for one event when it is warm; anything else fails the bench.
    pub calls: &'static [&'static str],
    /// Whether a call of it is a request to the HTTP API, which costs.
    pub is_route: bool,
    /// The event of the given number.
    pub event: Box<dyn Fn(usize) -> String>,
}

/// Where the bootstraps are and what they are started with.
pub struct Stage {
    pub bootstraps: PathBuf,
    pub logs: PathBuf,
    pub memory_mb: u32,
    /// Of every function.
    pub variables: HashMap<String, String>,
    /// The template, which has the other ones.
    pub embedded: Embedded,
}

impl Stage {
    /// Starts a bootstrap; `extra` variables are added to those of every function.
    pub async fn start(&self, name: &str, extra: &[(&str, &str)]) -> Result<Bootstrap, Error> {
        let mut variables: HashMap<_, _> = self.embedded.variables(name).into_iter().collect();
        variables.extend(self.variables.clone());
        variables.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Bootstrap::start(&self.binary(name), self.memory_mb, &variables, &self.logs).await
    }

    /// Where the bootstrap of this name is.
    pub fn binary(&self, name: &str) -> PathBuf {
        Path::new(&self.bootstraps).join(name)
    }

    async fn call(&self, name: &str, event: &Value) -> Result<Value, Error> {
        let answer = self.start(name, &[]).await?.invoke(&event.to_string()).await?.answer;
        check(name, &answer)?;
        Ok(answer)
    }

    /// What API Gateway passes on to a function when the authorizer has let the caller through.
    async fn authorize(&self, name: &str, event: &Value) -> Result<Value, Error> {
        Ok(self.call(name, event).await?["context"].clone())
    }
}

/// Fails unless the function did what it was asked to.
pub fn check(function: &str, answer: &Value) -> Result<(), Error> {
    let done = match answer["statusCode"].as_u64() {
        Some(status) => status < 300,
        None => answer["isAuthorized"] == true,
    };
    if done { Ok(()) } else { Err(format!("{function} answered {answer}").into()) }
}

/// Signs people in: the only thing the functions leave to somebody else.
pub struct Issuer {
    key: KeyPair,
}

const ISSUER: &str = "https://localhost/issuer";
const AUDIENCE: &str = "bench";

impl Issuer {
    pub fn new() -> Result<Self, Error> {
        Ok(Self { key: KeyPair::generate()? })
    }

    /// The signing keys as the issuer publishes them.
    pub fn keys(&self) -> String {
        // An uncompressed point: a mark, then both coordinates.
        let (x, y) = self.key.public_key_raw()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": x, "y": y},
        ]})
        .to_string()
    }

    fn token(&self) -> Result<String, Error> {
        let now = Utc::now().timestamp();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("bench".into());
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "user_bench", "org": "org_bench", "role": "admin",
            "iat": now, "exp": now + 3600,
        });
        Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&self.key.serialize_der()))?)
    }

    /// The variables by which functions know the issuer.
    pub fn variables(endpoint: &str) -> [(String, String); 3] {
        [
            ("OIDC_ISSUER".into(), ISSUER.into()),
            ("OIDC_AUDIENCES".into(), AUDIENCE.into()),
            ("OIDC_JWKS_URL".into(), format!("{endpoint}/jwks.json")),
        ]
    }
}

/// The cases that need no caller.
pub fn open() -> Vec<Case> {
    let always = |event: Value| Box::new(move |_| event.to_string()) as Box<dyn Fn(usize) -> String>;
    vec![
        Case {
            function: "health",
            floor: "floor-calls",
            calls: &["GetItem", "GetItem", "GetItem"],
            is_route: true,
            event: always(request("GET", "/api/health", None, &Value::Null)),
        },
        Case {
            function: "docs",
            floor: "floor-none",
            calls: &[],
            is_route: true,
            event: always(request("GET", "/api/openapi.json", None, &Value::Null)),
        },
        Case {
            function: "webhook-stripe",
            floor: "floor-put-send",
            calls: &["PutItem", "SendMessage"],
            is_route: true,
            event: Box::new(|number| {
                let body = charge(number);
                let mut event = request("POST", STRIPE_PATH, None, &Value::Null);
                for (name, value) in &stripe_headers(&body) {
                    event["headers"][name.as_str()] = json!(value.to_str().unwrap_or_default());
                }
                event["headers"]["content-type"] = json!("application/json");
                event["body"] = json!(body);
                event.to_string()
            }),
        },
    ]
}

/// The cases that need a caller: generates a key, and takes in 250 users with it.
#[expect(clippy::too_many_lines, reason = "one list of cases")]
pub async fn called(stage: &Stage, issuer: &Issuer) -> Result<Vec<Case>, Error> {
    let always = |event: Value| Box::new(move |_| event.to_string()) as Box<dyn Fn(usize) -> String>;
    let token = issuer.token()?;
    let user_event = authorization("authorization", &format!("Bearer {token}"));
    let person = stage.authorize("authorize-user", &user_event).await?;

    let wanted = json!({
        "name": "bench", "permissions": ["read_metrics", "write_metrics"],
        "rate_limit": 1_000_000, "sync_rate_limit": 1_000_000,
    });
    let generate = request("POST", "/api/devops/generate-key", Some(&person), &wanted);
    let made: Value = body(&stage.call("key-generate", &generate).await?)?;
    let key = made["api_key"].as_str().ok_or("no key was generated")?;
    let key_event = authorization("x-api-key", key);
    let tool = stage.authorize("authorize-key", &key_event).await?;

    let today = Utc::now();
    let ingest = {
        let tool = tool.clone();
        move |first: usize, count: usize, version: usize| {
            let items: Vec<_> = (first..first + count).map(|number| user(number, version, today)).collect();
            request("PUT", "/api/ingest/users", Some(&tool), &json!({"items": items}))
        }
    };
    let mut batches: Vec<_> =
        [(0, 100), (100, 100), (200, 50)].map(|(first, count)| ingest(first, count, 0)).into();
    for (kind, entity) in ENTITIES {
        let items: Vec<_> = (0..100).map(|number| entity(number, today)).collect();
        let path = format!("/api/ingest/{kind}");
        batches.push(request("PUT", &path, Some(&tool), &json!({"items": items})));
    }
    for batch in batches {
        let outcome: Value = body(&stage.call("ingest", &batch).await?)?;
        let results = outcome["results"].as_array().ok_or("no results")?;
        if !results.iter().all(|result| result["outcome"] == "created") {
            return Err(format!("ingest did not take all: {outcome}").into());
        }
    }

    Ok(vec![
        Case {
            function: "authorize-key",
            floor: "floor-get",
            calls: &["GetItem"],
            is_route: false,
            event: always(key_event),
        },
        Case {
            function: "authorize-user",
            floor: "floor-token",
            calls: &[],
            is_route: false,
            event: always(user_event),
        },
        Case {
            function: "sync-users",
            floor: "floor-update-query",
            calls: &["UpdateItem", "Query"],
            is_route: true,
            event: always(request("GET", "/api/devops/sync/users", Some(&tool), &Value::Null)),
        },
        Case {
            function: "sync-revenue",
            floor: "floor-calls",
            calls: &["UpdateItem", "BatchGetItem", "Query", "Query", "Query", "Query"],
            is_route: true,
            event: always(request("GET", "/api/devops/sync/revenue", Some(&tool), &Value::Null)),
        },
        Case {
            function: "sync-commissions",
            floor: "floor-calls",
            calls: &["UpdateItem", "BatchGetItem", "Query", "Query", "Query", "Query", "Query"],
            is_route: true,
            event: always(request("GET", "/api/devops/sync/commissions", Some(&tool), &Value::Null)),
        },
        Case {
            function: "credentials",
            floor: "floor-calls",
            calls: &["Query"],
            is_route: true,
            event: always(request("GET", "/api/credentials/list", Some(&person), &Value::Null)),
        },
        Case {
            function: "integrations",
            floor: "floor-calls",
            calls: &["Query"],
            is_route: true,
            event: always(request("GET", "/api/integrations", Some(&person), &Value::Null)),
        },
        Case {
            function: "settings",
            floor: "floor-calls",
            calls: &["Query"],
            is_route: true,
            event: always(request("GET", "/api/services", Some(&person), &Value::Null)),
        },
        Case {
            function: "activity",
            floor: "floor-calls",
            // A quiet workspace: each month of the window is looked at.
            calls: &["Query"; 13],
            is_route: true,
            event: always(request("GET", "/api/activity", Some(&person), &Value::Null)),
        },
        Case {
            function: "keys",
            floor: "floor-calls",
            calls: &["Query", "Query"],
            is_route: true,
            event: always(request("GET", "/api/devops/keys", Some(&person), &Value::Null)),
        },
        Case {
            function: "ingest",
            floor: "floor-calls",
            calls: &["UpdateItem", "BatchGetItem", "TransactWriteItems"],
            is_route: true,
            event: Box::new(move |number| ingest(number % 250, 1, 1 + number).to_string()),
        },
        Case {
            function: "key-generate",
            floor: "floor-calls",
            calls: &["TransactWriteItems"],
            is_route: true,
            event: always(generate),
        },
    ])
}

/// Makes the entity of a number, as of a day.
type OneOf = fn(usize, DateTime<Utc>) -> Value;

/// The kinds beside users, and one of each.
const ENTITIES: [(&str, OneOf); 3] =
    [("subscriptions", subscription), ("transactions", transaction), ("commissions", commission)];

fn subscription(number: usize, today: DateTime<Utc>) -> Value {
    json!({
        "id": format!("subscription-{number:04}"), "customer": format!("customer-{number:04}"),
        "plan": "pro", "status": "active", "currency": "USD",
        "items": [{"unit_amount": 4900, "interval": "month"}],
        "started_at": days_ago(number, today), "updated_at": days_ago(number, today),
    })
}

fn transaction(number: usize, today: DateTime<Utc>) -> Value {
    json!({
        "id": format!("payment-{number:04}"), "customer": format!("customer-{number:04}"),
        "kind": "subscription", "plan": "pro", "status": "succeeded",
        "amount": 4900, "currency": "USD",
        "occurred_at": days_ago(number, today), "updated_at": days_ago(number, today),
    })
}

fn commission(number: usize, today: DateTime<Utc>) -> Value {
    json!({
        "id": format!("commission-{number:04}"), "transaction": format!("payment-{number:04}"),
        "username": format!("Partner {}", number % 30), "tier": "gold",
        "amount": 490, "currency": "USD",
        "occurred_at": days_ago(number, today), "updated_at": days_ago(number, today),
    })
}

/// Of the last 20 days.
fn days_ago(number: usize, today: DateTime<Utc>) -> DateTime<Utc> {
    today - TimeDelta::days(i64::try_from(1 + number % 20).unwrap_or_default())
}

fn user(number: usize, version: usize, today: DateTime<Utc>) -> Value {
    let days = |days: usize| TimeDelta::days(i64::try_from(days).unwrap_or_default());
    let version = i64::try_from(version).unwrap_or_default();
    let signed_up_at = today - days(1 + number % 40);
    let role = if number.is_multiple_of(10) { "admin" } else { "member" };
    json!({
        "id": format!("user-{number:05}"),
        "email": format!("user-{number:05}@example.com"),
        "username": format!("User {number}"),
        "role": role,
        "status": "active",
        // Some lately and some before: the days' counters of the last ones are part of a read.
        "signed_up_at": signed_up_at,
        // Each version is newer than what is stored.
        "updated_at": signed_up_at + TimeDelta::milliseconds(version),
    })
}

/// What the bench has Stripe sign with.
pub const STRIPE_SECRET: &str = "whsec_bench";
/// Where Stripe's deliveries go.
pub const STRIPE_PATH: &str = "/v1/billing/webhooks/stripe";

/// Stripe's event of a charge: one that nobody told of before.
pub fn charge(number: usize) -> String {
    let now = Utc::now().timestamp();
    json!({
        "id": format!("evt_{number:08}_{now}"), "object": "event", "api_version": "2026-10-28.endive",
        "created": now, "livemode": false, "pending_webhooks": 1, "type": "charge.succeeded",
        "request": {"id": null, "idempotency_key": null},
        "data": {"object": {
            "id": format!("ch_{number:08}_{now}"), "object": "charge", "amount": 4900,
            "amount_captured": 4900, "amount_refunded": 0, "captured": true, "created": now,
            "currency": "usd", "customer": format!("cus_{number:08}"), "invoice": null, "livemode": false,
            "metadata": {}, "paid": true, "payment_intent": format!("pi_{number:08}_{now}"),
            "refunded": false, "status": "succeeded",
            "billing_details": {"address": {"city": null, "country": "PT", "line1": null}, "name": null},
            "payment_method_details": {"type": "card", "card": {"brand": "visa", "funding": "credit"}},
        }},
    })
    .to_string()
}

/// The headers that prove such a delivery.
pub fn stripe_headers(body: &str) -> HeaderMap {
    let secret = STRIPE_SECRET.to_owned().into();
    Scheme::Stripe.sign("", body.as_bytes(), "", &secret, Utc::now()).unwrap_or_default()
}

/// What an answer to an HTTP request says.
pub fn body(answer: &Value) -> Result<Value, Error> {
    Ok(serde_json::from_str(answer["body"].as_str().ok_or("an answer without a body")?)?)
}

/// What API Gateway sends to an authorizer.
pub fn authorization(header: &str, value: &str) -> Value {
    let mut event = request("GET", "/api/devops/sync/users", None, &Value::Null);
    event["type"] = json!("REQUEST");
    event["routeArn"] =
        json!("arn:aws:execute-api:us-east-1:123456789012:abcdefghij/$default/GET/api/devops/sync/users");
    event["identitySource"] = json!([value]);
    event["headers"][header] = json!(value);
    event
}

/// What API Gateway sends to a function; `caller` is the authorizer's context.
pub fn request(method: &str, path: &str, caller: Option<&Value>, body: &Value) -> Value {
    let mut event = json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "accept-encoding": "gzip",
            "content-length": "0",
            "host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "user-agent": "bench",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method, "path": path, "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7", "userAgent": "bench",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": format!("{method} {path}"),
            "stage": "$default",
            "time": "20/Nov/2026:10:30:00 +0000",
            "timeEpoch": 1_795_170_600_000_i64,
        },
        "isBase64Encoded": false,
    });
    if let Some(context) = caller {
        event["requestContext"]["authorizer"] = json!({"lambda": context});
    }
    if !body.is_null() {
        let text = body.to_string();
        event["headers"]["content-type"] = json!("application/json");
        event["headers"]["content-length"] = json!(text.len().to_string());
        event["body"] = json!(text);
    }
    event
}
