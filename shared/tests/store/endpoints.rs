//! Endpoints: a path is one workspace's, secrets are sealed, and a change works at once.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    Error,
    fields::Fields,
    webhooks::{
        Scheme,
        endpoints::{Change, Endpoints, Inbox, Order, Paths, Receiving},
        scheme::{Cause, Hint, Incoming, Refused},
        store::Outcome,
    },
};
use tidegate::embedded::Embedded;

use crate::{admin, wire::Wire};

struct World {
    embedded: Embedded,
    endpoints: Endpoints,
    paths: Paths,
    inbox: Inbox,
    wire: Wire,
}

const BODY: &[u8] = b"{\"id\": 1}";

fn secret() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn order(path: &str, secret: &str) -> Order {
    let body = json!({"name": "Orders", "path": path, "scheme": "github", "secrets": [secret]});
    Order::parse(Fields::of("", body).unwrap(), Utc::now()).unwrap()
}

fn signed(secret: &str) -> HeaderMap {
    Scheme::Github.sign("", BODY, "", &SecretString::from(secret), Utc::now()).unwrap()
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let (sdk, wire) = Wire::tap(embedded.sdk());
        let env = embedded.env("webhook-receive");
        Self {
            endpoints: Endpoints::load(&embedded.env("webhooks"), &sdk).unwrap(),
            paths: Paths::load(&env, &sdk).unwrap(),
            inbox: Inbox::load(&env, &sdk).unwrap(),
            wire,
            embedded,
        }
    }

    async fn create(&self, workspace: &str, path: &str, secret: &str) -> Result<Value, Error> {
        let created = self.endpoints.create(&admin(workspace), order(path, secret), Utc::now()).await;
        created.map(|view| serde_json::to_value(view).unwrap())
    }

    async fn update(&self, endpoint: &Value, body: Value) -> Result<Value, Error> {
        let change = Change::read(Fields::of("", body).unwrap());
        let id = endpoint["id"].as_str().unwrap();
        let updated = self.endpoints.update(&admin("acme"), id, change, Utc::now()).await;
        updated.map(|view| serde_json::to_value(view).unwrap())
    }

    async fn verify(&self, found: &Arc<Receiving>, secret: &str, now: DateTime<Utc>) -> Result<(), Refused> {
        let headers = signed(secret);
        let incoming = Incoming { headers: &headers, url: "", body: BODY };
        self.paths.verify(Arc::clone(found), &incoming, now).await.unwrap().1
    }

    async fn activity(&self) -> Vec<String> {
        let client = Client::new(&self.embedded.sdk());
        let found = client.scan().table_name("ActivityTable").consistent_read(true).send().await.unwrap();
        let action = |item: &std::collections::HashMap<_, aws_sdk_dynamodb::types::AttributeValue>| {
            item["action"].as_s().unwrap().clone()
        };
        let mut actions: Vec<_> = found.items().iter().map(action).collect();
        actions.sort();
        actions
    }
}

fn conflict(error: &Error) -> &str {
    match error {
        Error::Conflict(message) => message,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_path_is_one_endpoint_of_all_workspaces_until_it_is_given_up() {
    let world = World::new().await;
    let ours = world.create("acme", "orders", &secret()).await.unwrap();
    for workspace in ["acme", "other"] {
        let error = world.create(workspace, "orders", &secret()).await.unwrap_err();
        assert_eq!(conflict(&error), "the path orders is another endpoint's", "{workspace}");
    }
    let second = world.create("acme", "refunds", &secret()).await.unwrap();
    let error = world.update(&second, json!({"path": "orders"})).await.unwrap_err();
    assert_eq!(conflict(&error), "the path orders is another endpoint's", "moved onto it");

    world.update(&ours, json!({"path": "sales"})).await.unwrap();
    assert!(world.update(&second, json!({"path": "orders"})).await.is_ok(), "given up by moving");
    let id = ours["id"].as_str().unwrap();
    world.endpoints.delete(&admin("acme"), id, Utc::now()).await.unwrap();
    assert!(world.create("other", "sales", &secret()).await.is_ok(), "given up by deleting");
    let gone = world.endpoints.delete(&admin("acme"), id, Utc::now()).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    let another = world.endpoints.read(&"other".parse().unwrap(), second["id"].as_str().unwrap()).await;
    assert!(matches!(another, Err(Error::NotFound(_))), "of another workspace");
    let created = ["webhook_endpoint.created"; 3];
    let expected = [&created[..], &["webhook_endpoint.deleted"], &["webhook_endpoint.updated"; 2]].concat();
    assert_eq!(world.activity().await, expected);
}

#[tokio::test]
async fn secrets_leave_us_sealed_only() {
    let world = World::new().await;
    let (first, second) = (secret(), secret());
    let made = world.create("acme", "orders", &first).await.unwrap();
    let changed = world.update(&made, json!({"add_secrets": [second]})).await.unwrap();
    let listed = world.endpoints.list(&"acme".parse().unwrap(), 10, None).await.unwrap();
    let listed = serde_json::to_string(&listed).unwrap();
    let sent = world.wire.seen().sent;
    for secret in [&first, &second] {
        for (place, text) in [("sent", &sent), ("made", &made.to_string()), ("listed", &listed)] {
            assert!(!text.contains(&secret[..20]), "{place}");
        }
        assert!(changed["secrets"].to_string().contains(&secret[20..]), "the end is shown: {changed}");
    }
}

#[tokio::test]
async fn a_new_secret_works_at_once_and_a_removed_one_says_what_it_is() {
    let world = World::new().await;
    let [old, new, foreign] = [(); 3].map(|()| secret());
    let made = world.create("acme", "orders", &old).await.unwrap();
    world.create("acme", "refunds", &foreign).await.unwrap();
    let now = Utc::now();
    let found = world.paths.find("orders", now).await.unwrap();
    assert_eq!(world.verify(&found, &old, now).await, Ok(()));

    let old_id = &made["secrets"][0]["id"];
    world.update(&made, json!({"add_secrets": [new], "remove_secrets": [old_id]})).await.unwrap();
    let mismatch = |hint| Err(Refused { cause: Cause::Mismatch, hint });
    let later = now + TimeDelta::seconds(6);
    let held = world.paths.find("orders", later).await.unwrap();
    assert!(Arc::ptr_eq(&held, &found), "read not long ago");
    assert_eq!(world.verify(&held, &new, later).await, Ok(()), "new");
    let held = world.paths.find("orders", later).await.unwrap();
    assert_eq!(world.verify(&held, &old, later).await, mismatch(Some(Hint::PreviousSecret)), "removed");
    assert_eq!(world.verify(&held, &foreign, later).await, mismatch(Some(Hint::AnotherEndpoint)), "another");
    world.wire.seen();
    for _ in 0..10 {
        assert_eq!(world.verify(&held, &secret(), later).await, mismatch(None), "forged");
    }
    assert_eq!(world.wire.seen().calls, [""; 0], "forged deliveries cost nothing");
}

#[tokio::test]
async fn a_delivery_to_a_warm_endpoint_is_one_write_and_one_message() {
    let world = World::new().await;
    let secret = secret();
    let made = world.create("acme", "orders", &secret).await.unwrap();
    let deliver = async |delivery: &str| {
        let mut headers = signed(&secret);
        headers.insert("x-github-delivery", delivery.parse().unwrap());
        let incoming = Incoming { headers: &headers, url: "", body: BODY };
        world.inbox.receive("orders", incoming, Utc::now()).await.unwrap()
    };
    world.wire.seen();
    let first = deliver("1").await;
    assert_eq!(world.wire.seen().calls, ["GetItem", "GetItem", "Decrypt", "PutItem", "SendMessage"], "cold");
    assert_eq!(deliver("1").await.outcome, Outcome::Duplicate);
    assert_eq!(deliver("1").await.id, first.id);
    world.wire.seen();
    assert_eq!(deliver("2").await.outcome, Outcome::Accepted);
    assert_eq!(world.wire.seen().calls, ["PutItem", "SendMessage"], "warm");
    assert!(made["url"] == "/webhooks/receive/orders", "{made}");
}

#[tokio::test]
async fn while_kms_is_away_what_was_read_serves_on() {
    let world = World::new().await;
    let [old, new] = [(); 2].map(|()| secret());
    let made = world.create("acme", "orders", &old).await.unwrap();
    let now = Utc::now();
    world.paths.find("orders", now).await.unwrap();
    world.update(&made, json!({"add_secrets": [new]})).await.unwrap();
    world.wire.deny_kms(true);
    let found = world.paths.find("orders", now + TimeDelta::minutes(10)).await.unwrap();
    assert_eq!(world.verify(&found, &old, now).await, Ok(()));
    let late = world.paths.find("orders", now + TimeDelta::hours(2)).await;
    assert!(matches!(late, Err(Error::Unavailable(..))), "not for ever");
    world.wire.deny_kms(false);
    assert!(world.paths.find("orders", now + TimeDelta::hours(2)).await.is_ok());
}

#[tokio::test]
async fn what_is_not_there_or_not_active_is_not_found() {
    let world = World::new().await;
    let made = world.create("acme", "orders", &secret()).await.unwrap();
    world.update(&made, json!({"active": false})).await.unwrap();
    for path in ["orders", "nothing", "", &"x".repeat(5000), "a#b"] {
        let found = world.paths.find(path, Utc::now()).await.err();
        assert!(matches!(found, Some(Error::NotFound(_))), "{path:.20}: {found:?}");
    }
    world.update(&made, json!({"active": true})).await.unwrap();
    assert!(world.paths.find("orders", Utc::now()).await.is_ok(), "at once");
}

#[tokio::test]
async fn of_two_people_who_change_the_same_one_wins_and_the_other_sees_it() {
    let world = World::new().await;
    let made = world.create("acme", "orders", &secret()).await.unwrap();
    let names = ["a", "b", "c", "d"];
    let changes = names.map(|name| world.update(&made, json!({"name": name, "version": 1})));
    let ended = futures::future::join_all(changes).await;
    let won: Vec<_> = ended.iter().filter_map(|one| one.as_ref().ok()).collect();
    assert_eq!(won.len(), 1, "{ended:?}");
    for lost in ended.iter().filter_map(|one| one.as_ref().err()) {
        let Error::Superseded(current) = lost else { panic!("{lost}") };
        assert_eq!(current["name"], won[0]["name"]);
    }
}

#[tokio::test]
async fn a_change_that_would_leave_nothing_to_verify_with_is_refused() {
    let world = World::new().await;
    let made = world.create("acme", "orders", &secret()).await.unwrap();
    let id = &made["secrets"][0]["id"];
    for (case, body, field) in [
        ("last secret", json!({"remove_secrets": [id]}), "remove_secrets"),
        ("unknown secret", json!({"remove_secrets": ["whs_1"]}), "remove_secrets[0]"),
        ("another scheme", json!({"scheme": "standard-webhooks"}), "scheme"),
        ("nothing", json!({}), "name"),
        ("unknown field", json!({"secrets": ["12345678"]}), "secrets"),
        (
            "too many",
            json!({"add_secrets": ["12345678", "22345678", "32345678", "42345678", "52345678"]}),
            "add_secrets",
        ),
    ] {
        let error = world.update(&made, body).await.unwrap_err();
        let Error::Invalid(faults) = error else { panic!("{case}: {error}") };
        assert_eq!(faults.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), [field], "{case}");
    }
    let key = format!("whsec_{}", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz");
    let body = json!({"scheme": "standard-webhooks", "add_secrets": [key], "remove_secrets": [id]});
    assert_eq!(world.update(&made, body).await.unwrap()["version"], 2, "all in one change");
}

#[tokio::test]
async fn a_test_event_of_every_scheme_goes_the_way_of_a_delivery() {
    let world = World::new().await;
    let workspace = "acme".parse().unwrap();
    let key = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
    let public = {
        use aws_lc_rs::{
            encoding::{AsDer, PublicKeyX509Der},
            signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
        };
        use base64::prelude::{BASE64_STANDARD, Engine};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        BASE64_STANDARD.encode(der.as_ref())
    };
    for (scheme, secret, options, accepted) in [
        ("stripe", key, json!({}), true),
        ("github", key, json!({}), true),
        ("shopify", key, json!({}), true),
        ("twilio", key, json!({"algorithm": "sha256"}), true),
        ("standard-webhooks", key, json!({}), true),
        (
            "hmac",
            key,
            json!({"signature_header": "x-sig", "timestamp_header": "x-time", "event_id_header": "x-id"}),
            true,
        ),
        ("token", key, json!({"signature_header": "x-token"}), true),
        ("sendgrid", public.as_str(), json!({}), false),
        ("sendgrid", public.as_str(), json!({"verify_signature": false}), true),
    ] {
        let mut body = json!({"name": scheme, "scheme": scheme, "secrets": [secret]});
        body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let order = Order::parse(Fields::of("", body).unwrap(), Utc::now()).unwrap();
        let view = world.endpoints.create(&admin("acme"), order, Utc::now()).await.unwrap();
        let view = serde_json::to_value(view).unwrap();
        let endpoint = world.endpoints.read(&workspace, view["id"].as_str().unwrap()).await.unwrap();
        let sent = world.inbox.test(&workspace, &endpoint, Utc::now()).await;
        match sent {
            Ok(sent) => assert!(accepted && sent.outcome == Outcome::Accepted, "{scheme}"),
            Err(error) => {
                assert!(!accepted && conflict(&error).contains("only SendGrid"), "{scheme}: {error}");
            }
        }
    }
}
