//! Receiving: what is verified is stored once and queued, what is not is refused and counted.

use aws_sdk_dynamodb::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::{Body, Request, http::HeaderMap};
use secrecy::SecretString;
use serde_json::json;
use shared::{
    Error,
    identity::Workspace,
    lambda::Env,
    secrets::SecretName,
    time,
    webhooks::{
        Scheme, Webhooks,
        operations::Report,
        receive::{BODY_MAX, Platform},
        refusals::Refusals,
        scheme::{Cause, Hint},
        store::{Accepted, Filter, Outcome},
    },
};
use tidegate::embedded::Embedded;

use crate::wire::Wire;

struct World {
    embedded: Embedded,
    wire: Wire,
    platform: Platform,
    webhooks: Webhooks,
}

fn acme() -> Workspace {
    "acme".parse().unwrap()
}

/// A secret of the form that Stripe gives, new each time.
fn stripe_secret() -> SecretString {
    format!("whsec_{:032x}", u128::from(getrandom::u64().unwrap())).into()
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        Self::with(embedded, &[])
    }

    /// With some variables of `webhook-stripe` replaced.
    fn with(embedded: Embedded, replaced: &[(&str, &str)]) -> Self {
        let (sdk, wire) = Wire::tap(embedded.sdk());
        let mut variables = embedded.variables("webhook-stripe");
        for (name, value) in replaced {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        let env = Env::of(variables);
        let platform = Platform::load(&env, &sdk).unwrap();
        let webhooks = Webhooks::load(&env, &embedded.sdk()).unwrap();
        Self { embedded, wire, platform, webhooks }
    }

    async fn set(&self, name: SecretName, value: &SecretString) {
        use secrecy::ExposeSecret;
        let client = aws_sdk_secretsmanager::Client::new(&self.embedded.sdk());
        let id = format!("tidegate/{name}");
        let value = value.expose_secret();
        if client.put_secret_value().secret_id(&id).secret_string(value).send().await.is_err() {
            client.create_secret().name(&id).secret_string(value).send().await.unwrap();
        }
    }

    async fn receive(&self, request: &Request, now: DateTime<Utc>) -> Result<Accepted, Error> {
        self.platform.receive(&Scheme::Stripe, SecretName::StripeWebhookSecret, request, now).await
    }

    /// Messages that are visible in the queue.
    async fn queued(&self) -> u32 {
        let client = aws_sdk_sqs::Client::new(&self.embedded.sdk());
        let url = self.embedded.variables("webhook-stripe")["WEBHOOKS_QUEUE_URL"].clone();
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let read = client.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await;
        read.unwrap().attributes().unwrap()[&name].parse().unwrap()
    }
}

fn signed(scheme: &Scheme, secret: &SecretString, body: impl AsRef<[u8]>, now: DateTime<Utc>) -> Request {
    let headers = scheme.sign("", body.as_ref(), "", secret, now).unwrap();
    request(headers, body)
}

fn request(headers: HeaderMap, body: impl AsRef<[u8]>) -> Request {
    let mut request = Request::new(Body::Binary(body.as_ref().to_vec()));
    *request.headers_mut() = headers;
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    request
}

const BODY: &str = r#"{"id":"evt_1","type":"invoice.paid"}"#;

#[tokio::test]
async fn a_delivery_costs_one_write_and_one_message_and_nothing_else() {
    let (world, now, secret) = (World::new().await, time::now(), stripe_secret());
    world.set(SecretName::StripeWebhookSecret, &secret).await;
    let first = world.receive(&signed(&Scheme::Stripe, &secret, BODY, now), now).await.unwrap();
    assert_eq!(first.outcome, Outcome::Accepted);
    // That was the first call: it read the secret.
    world.wire.seen();
    let second = signed(&Scheme::Stripe, &secret, BODY.replace("evt_1", "evt_2"), now);
    assert_eq!(world.receive(&second, now).await.unwrap().outcome, Outcome::Accepted);
    assert_eq!(world.wire.seen().calls, ["PutItem", "SendMessage"]);
    assert_eq!(world.receive(&second, now).await.unwrap().outcome, Outcome::Duplicate);
    assert_eq!(world.wire.seen().calls, ["PutItem"], "a duplicate wakes nobody up");
    assert_eq!(world.queued().await, 2);

    let stored = world.webhooks.get(&acme(), &first.id, now).await.unwrap();
    assert_eq!((stored.event.kind.as_str(), stored.event.provider_id.as_str()), ("invoice.paid", "evt_1"));
    assert_eq!(stored.body, BODY.as_bytes());
    let signature = stored.event.headers.iter().find(|(name, _)| name == "stripe-signature").unwrap();
    assert_eq!(signature.1, "[redacted]");
}

#[tokio::test]
async fn a_refusal_says_why_is_counted_and_changes_nothing() {
    let (world, now) = (World::new().await, time::now());
    let (old, secret, other) = (stripe_secret(), stripe_secret(), stripe_secret());
    world.set(SecretName::StripeWebhookSecret, &old).await;
    world.set(SecretName::StripeWebhookSecret, &secret).await;
    // The older one is good for a day.
    let rolled = now + TimeDelta::hours(25);
    let sign = |secret: &SecretString, now| signed(&Scheme::Stripe, secret, BODY, now);
    let mut unreadable = HeaderMap::new();
    unreadable.insert("stripe-signature", "t=now".parse().unwrap());
    let mut altered = sign(&secret, rolled);
    *altered.body_mut() = Body::Text(format!("{BODY}\n"));
    let large = signed(&Scheme::Stripe, &secret, vec![b' '; BODY_MAX + 1], rolled);
    let skewed = Some(Hint::ClockSkew);
    for (case, request, cause, hint) in [
        ("unsigned", request(HeaderMap::new(), BODY), Cause::NoSignature, None),
        ("unreadable", request(unreadable, BODY), Cause::MalformedHeader, None),
        ("late", sign(&secret, rolled - TimeDelta::seconds(301)), Cause::OutsideTolerance, skewed),
        ("early", sign(&secret, rolled + TimeDelta::seconds(301)), Cause::OutsideTolerance, skewed),
        ("another secret", sign(&other, rolled), Cause::Mismatch, None),
        ("altered", altered, Cause::Mismatch, Some(Hint::AlteredBody)),
        ("the secret before", sign(&old, rolled), Cause::Mismatch, Some(Hint::PreviousSecret)),
        ("too large", large, Cause::TooLarge, None),
    ] {
        match world.receive(&request, rolled).await {
            Err(Error::Unverified { cause: told, .. }) => assert_eq!(told, cause.word(), "{case}"),
            Err(Error::TooLarge(BODY_MAX)) => assert_eq!(cause, Cause::TooLarge, "{case}"),
            other => panic!("{case}: {other:?}"),
        }
        let refusals = Refusals::of(&world.webhooks);
        let hour = TimeDelta::hours(1);
        let hours = refusals.hours(&acme(), "stripe", rolled - hour, rolled + hour, rolled).await.unwrap();
        let last = &hours[0].causes[cause.word()].last;
        assert_eq!((last.at, last.hint), (rolled, hint), "{case}");
    }
    let refusals = Refusals::of(&world.webhooks);
    let hours =
        refusals.hours(&acme(), "stripe", rolled, rolled + TimeDelta::hours(1), rolled).await.unwrap();
    let counts: Vec<_> = hours[0].causes.iter().map(|(cause, refusal)| (*cause, refusal.count)).collect();
    let expected = [
        ("malformed_header", 1),
        ("mismatch", 3),
        ("no_signature", 1),
        ("outside_tolerance", 2),
        ("too_large", 1),
    ];
    assert_eq!((hours.len(), counts), (1, expected.to_vec()));
    let other: Workspace = "other".parse().unwrap();
    for (case, workspace, taker) in
        [("another workspace", &other, "stripe"), ("another taker", &acme(), "github")]
    {
        let none = refusals.hours(workspace, taker, now, rolled + TimeDelta::hours(1), rolled).await.unwrap();
        assert!(none.is_empty(), "{case}");
    }
    assert_eq!(world.queued().await, 0);
    let page = world.webhooks.list(&acme(), &Filter::default(), 10, None, rolled).await.unwrap();
    assert!(page.events.is_empty());
}

#[tokio::test]
async fn both_secrets_are_good_while_one_is_rolled() {
    let (world, now, old, new) = (World::new().await, time::now(), stripe_secret(), stripe_secret());
    world.set(SecretName::StripeWebhookSecret, &old).await;
    world.set(SecretName::StripeWebhookSecret, &new).await;
    for (number, secret) in [&old, &new].into_iter().enumerate() {
        let body = json!({"id": format!("evt_{number}")}).to_string();
        let accepted = world.receive(&signed(&Scheme::Stripe, secret, body, now), now).await.unwrap();
        assert_eq!(accepted.outcome, Outcome::Accepted);
    }
}

#[tokio::test]
async fn what_is_stored_and_not_queued_is_accepted_and_found_by_the_sweep() {
    let embedded = Embedded::memory().await.unwrap();
    let url = embedded.variables("webhook-stripe")["WEBHOOKS_QUEUE_URL"].replace("WebhooksQueue", "Gone");
    let world = World::with(embedded, &[("WEBHOOKS_QUEUE_URL", &url)]);
    let (now, secret) = (time::now(), stripe_secret());
    world.set(SecretName::StripeWebhookSecret, &secret).await;
    let accepted = world.receive(&signed(&Scheme::Stripe, &secret, BODY, now), now).await.unwrap();
    assert_eq!(accepted.outcome, Outcome::Accepted);
    let client = Client::new(&world.embedded.sdk());
    let scan = client.scan().table_name("WebhooksTable").index_name("gsi2").send().await.unwrap();
    let due: i64 = scan.items()[0]["gsi2sk"].as_n().unwrap().parse().unwrap();
    assert_eq!((scan.count, due), (1, (now + TimeDelta::minutes(5)).timestamp()));
}

#[tokio::test]
async fn who_has_to_set_something_up_learns_what() {
    let embedded = Embedded::memory().await.unwrap();
    let world = World::with(embedded, &[("OPERATORS_WORKSPACE", "")]);
    let request = signed(&Scheme::Stripe, &stripe_secret(), BODY, time::now());
    let refused = world.receive(&request, time::now()).await;
    let Err(Error::NotConfigured { missing, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, ["OperatorsWorkspace"]);

    let world = World::new().await;
    let refused = world.receive(&request, time::now()).await;
    let Err(Error::NotConfigured { missing, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, ["STRIPE_WEBHOOK_SECRET"]);

    world.wire.deny_secrets(true);
    let later = time::now() + TimeDelta::minutes(2);
    let refused = world.receive(&request, later).await;
    assert!(matches!(refused, Err(Error::Unavailable(..))), "nothing is taken unverified: {refused:?}");
}

#[tokio::test]
async fn no_secret_and_no_signature_is_stored() {
    let (world, now, secret) = (World::new().await, time::now(), stripe_secret());
    world.set(SecretName::StripeWebhookSecret, &secret).await;
    let mut request = signed(&Scheme::Stripe, &secret, BODY, now);
    let signature = request.headers()["stripe-signature"].to_str().unwrap().to_owned();
    for (name, value) in
        [("authorization", "Bearer hidden-1"), ("cookie", "hidden-2"), ("x-api-key", "hidden-3")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    world.receive(&request, now).await.unwrap();
    let client = Client::new(&world.embedded.sdk());
    let rows = format!("{:?}", client.scan().table_name("WebhooksTable").send().await.unwrap().items());
    let (_, digest) = signature.split_once("v1=").unwrap();
    for hidden in [digest, "hidden-"] {
        assert!(!rows.contains(hidden), "{rows}");
    }
}

#[tokio::test]
async fn a_report_is_taken_once_for_each_id_and_signed_where_that_is_asked_for() {
    let (world, now) = (World::new().await, time::now());
    let plain = |body: &serde_json::Value| request(HeaderMap::new(), body.to_string());
    let take = async |request: &Request| {
        let report = Report::parse(shared::http::value(request).unwrap(), now).unwrap();
        world.platform.report(&acme(), &report, request, now).await.unwrap()
    };
    let health = json!({"uptime": 100, "response_ms": 80, "error_rate": 0});
    let (named, timed) = (
        json!({"type": "health", "id": "1", "data": health}),
        json!({"type": "health", "data": health, "timestamp": "2026-01-01T00:00:00Z"}),
    );
    let unnamed = json!({"type": "health", "data": health});
    for (case, body, again) in [
        ("with an id", &named, Outcome::Duplicate),
        ("with a time", &timed, Outcome::Duplicate),
        ("two equal measurements", &unnamed, Outcome::Accepted),
    ] {
        let first = take(&plain(body)).await;
        let second = take(&plain(body)).await;
        assert_eq!((first.outcome, second.outcome), (Outcome::Accepted, again), "{case}");
    }
    let mut keyed = plain(&unnamed);
    keyed.headers_mut().insert("idempotency-key", "k-1".parse().unwrap());
    assert_eq!(take(&keyed).await.outcome, Outcome::Accepted);
    assert_eq!(take(&keyed).await.outcome, Outcome::Duplicate);

    let check = async |request: &Request, now| world.platform.check_report(&acme(), request, now).await;
    assert!(check(&plain(&named), now).await.is_ok(), "nobody asks for a signature");
    let secret: SecretString = format!("{:032x}", u128::from(getrandom::u64().unwrap())).into();
    world.set(SecretName::DevopsWebhookSecret, &secret).await;
    // That there was none is remembered for a minute.
    let later = now + TimeDelta::minutes(2);
    let refused = check(&plain(&named), later).await;
    assert!(matches!(refused, Err(Error::Unverified { cause: "no_signature", .. })), "{refused:?}");
    let request = signed(&Scheme::devops(), &secret, named.to_string(), later);
    assert!(check(&request, later).await.is_ok());
}
