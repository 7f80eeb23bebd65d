//! Credentials: sealed, shown masked, changed by one person at a time, proven as what they are.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use shared::{
    Error,
    activity::Actor,
    credentials::{Change, Credentials, Order, Status},
    fields::Fields,
    identity::Person,
    lambda::Env,
    providers::{Cause, Proof, Provider, Refusal},
};
use tidegate::embedded::Embedded;

use crate::{admin, wire::Wire};

struct World {
    embedded: Embedded,
    client: Client,
    credentials: Credentials,
    wire: Wire,
    person: Person,
}

/// Letters as a provider makes them.
fn letters(length: usize) -> String {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn stripe_key() -> String {
    format!("sk_{}_{}", "test", letters(40))
}

fn order(body: Value) -> Result<Order, Error> {
    Order::parse(Fields::of("", body).unwrap())
}

fn stripe(name: &str, key: &str) -> Order {
    order(json!({"provider": "stripe", "name": name, "credential": {"api_key": key}})).unwrap()
}

fn change(body: Value) -> Change {
    Change::read(Fields::of("", body).unwrap())
}

fn shown(view: impl serde::Serialize) -> Value {
    serde_json::to_value(view).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "one of the results that a verification has")]
fn proof() -> Result<Proof, Refusal> {
    Ok(Proof { answer: serde_json::Map::new(), scopes: vec!["account".to_owned()] })
}

fn refusal() -> Result<Proof, Refusal> {
    Err(Refusal { cause: Cause::Auth, message: "it was revoked".to_owned(), retry_after: None })
}

impl World {
    async fn new() -> Self {
        let embedded = Embedded::memory().await.unwrap();
        let (sdk, wire) = Wire::tap(embedded.sdk());
        let credentials = Credentials::load(&embedded.env("credentials"), &sdk).unwrap();
        Self { client: Client::new(&embedded.sdk()), credentials, wire, person: admin("acme"), embedded }
    }

    async fn save(&self, order: Order) -> Value {
        shown(self.credentials.save(&self.person, order, now()).await.unwrap())
    }

    async fn update(&self, id: &str, body: Value) -> Result<Value, Error> {
        self.credentials.update(&self.person, id, change(body), now()).await.map(shown)
    }

    async fn list(&self, provider: Option<Provider>, limit: u64, cursor: Option<&str>) -> Value {
        shown(self.credentials.list(&self.person.workspace, provider, limit, cursor).await.unwrap())
    }

    /// The credential's secret fields, as a function would use them.
    async fn secret(&self, id: &str) -> Value {
        let opened = self.credentials.open(&self.person.workspace, id).await.unwrap();
        serde_json::from_slice(&opened.credential.expose()).unwrap()
    }

    /// Every row of the tables that credentials write, by its key.
    async fn rows(&self) -> BTreeMap<String, Row> {
        let mut rows = BTreeMap::new();
        for table in ["VaultTable", "ActivityTable"] {
            let found = self.client.scan().table_name(table).consistent_read(true).send().await.unwrap();
            for item in found.items.unwrap() {
                rows.insert(format!("{table} {:?} {:?}", item["pk"], item["sk"]), item);
            }
        }
        rows
    }

    async fn activity(&self) -> Vec<String> {
        let rows = self.rows().await;
        rows.values().filter_map(|row| Some(row.get("action")?.as_s().unwrap().clone())).collect()
    }
}

type Row = HashMap<String, AttributeValue>;

/// All that a row holds, its bytes as far as they are text.
fn text(row: &Row) -> String {
    let bytes = row.values().filter_map(|value| value.as_b().ok());
    let bytes: Vec<_> = bytes.map(|blob| String::from_utf8_lossy(blob.as_ref()).into_owned()).collect();
    format!("{row:?} {}", bytes.join(" "))
}

fn now() -> DateTime<Utc> {
    shared::time::now()
}

#[tokio::test]
async fn a_secret_is_nowhere_to_be_read() {
    let world = World::new().await;
    let (first, second, third) = (stripe_key(), stripe_key(), letters(40));
    let saved = world.save(stripe("Billing", &first)).await;
    let id = saved["id"].as_str().unwrap();
    let updated = world.update(id, json!({"credential": {"api_key": second}})).await.unwrap();
    let service_key = format!("EAA{third}");
    let meta = json!({"provider": "meta", "name": "Ads", "credential": {"access_token": service_key}});
    let meta = world.save(order(meta).unwrap()).await;
    let opened = world.credentials.open(&world.person.workspace, id).await.unwrap();
    world.credentials.record_proof((&world.person).into(), &opened, &proof(), now()).await.unwrap();
    let listed = world.list(None, 10, None).await;
    world.credentials.delete(&world.person, meta["id"].as_str().unwrap(), now()).await.unwrap();

    let rows: String = world.rows().await.values().map(text).collect();
    let answers = format!("{saved} {updated} {meta} {listed}");
    let sent = world.wire.seen().sent;
    assert!(sent.contains("ciphertext") && rows.contains("ciphertext"));
    for secret in [&first, &second, &service_key] {
        // A few characters of its end are shown on purpose; what begins it tells its kind.
        let inner = &secret[8..secret.len() - 4];
        let encoded = BASE64_STANDARD.encode(secret);
        for (place, text) in [("rows", &rows), ("answers", &answers), ("requests", &sent)] {
            for part in [&inner[..12], &inner[inner.len() - 12..], &encoded[..16]] {
                assert!(!text.contains(part), "{place}: {part} of {secret}");
            }
        }
    }
}

#[tokio::test]
async fn each_call_makes_the_round_trips_it_says() {
    let world = World::new().await;
    let calls = || world.wire.seen().calls;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    assert_eq!(calls(), ["GenerateDataKey", "TransactWriteItems"], "save");
    let id = saved["id"].as_str().unwrap();
    world.update(id, json!({"name": "Payments"})).await.unwrap();
    assert_eq!(calls(), ["GetItem", "TransactWriteItems"], "rename");
    world.update(id, json!({"credential": {"api_key": stripe_key()}})).await.unwrap();
    let expected = ["GetItem", "GetItem", "Decrypt", "GenerateDataKey", "TransactWriteItems"];
    assert_eq!(calls(), expected, "another secret");
    world.list(None, 50, None).await;
    world.list(Some(Provider::Stripe), 50, None).await;
    assert_eq!(calls(), ["Query", "Query"], "lists");
    let opened = world.credentials.open(&world.person.workspace, id).await.unwrap();
    assert_eq!(calls(), ["GetItem", "GetItem", "Decrypt"], "open");
    world.credentials.record_proof((&world.person).into(), &opened, &proof(), now()).await.unwrap();
    assert_eq!(calls(), ["TransactWriteItems"], "proof");
    world.credentials.delete(&world.person, id, now()).await.unwrap();
    assert_eq!(calls(), ["GetItem", "TransactWriteItems"], "delete");
}

#[tokio::test]
async fn replacing_one_field_keeps_the_others() {
    let world = World::new().await;
    let (token, app_secret) = (format!("EAA{}", letters(40)), "0123456789abcdef".repeat(2));
    let body = json!({"access_token": token, "app_secret": app_secret});
    let saved =
        world.save(order(json!({"provider": "meta", "name": "Ads", "credential": body})).unwrap()).await;
    let id = saved["id"].as_str().unwrap();
    assert_eq!((&saved["version"], &saved["status"]), (&json!(1), &json!("unproven")));

    let other = format!("EAA{}", letters(40));
    let updated = world.update(id, json!({"credential": {"access_token": other}})).await.unwrap();
    assert_eq!(updated["version"], 2);
    assert_ne!(updated["fingerprint"], saved["fingerprint"]);
    assert_eq!(updated["name"], "Ads");
    assert_eq!(world.secret(id).await, json!({"access_token": other, "app_secret": app_secret}));

    let renamed = world.update(id, json!({"name": "Ads of spring"})).await.unwrap();
    assert_eq!((&renamed["version"], &renamed["name"]), (&json!(3), &json!("Ads of spring")));
    assert_eq!(renamed["fingerprint"], updated["fingerprint"]);
    assert_eq!(world.secret(id).await["access_token"], other);

    let again = world.update(id, json!({"credential": {"app_secret": null}, "version": 3})).await.unwrap();
    assert_eq!(again["version"], 4);
    assert_eq!(world.secret(id).await, json!({"access_token": other}));
    assert_eq!(
        world.activity().await,
        ["credential.saved", "credential.updated", "credential.updated", "credential.updated"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_once_one_wins_and_the_others_hear_of_the_newer_version() {
    let world = World::new().await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    let keys: Vec<_> = (0..4).map(|_| stripe_key()).collect();
    let changes =
        keys.iter().map(|key| world.update(id, json!({"credential": {"api_key": key}, "version": 1})));
    let (mut winner, mut lost) = (None, 0);
    for (key, answer) in keys.iter().zip(join_all(changes).await) {
        match answer {
            Ok(_) => assert!(winner.replace(key).is_none(), "two won"),
            Err(Error::Superseded(current)) => {
                assert_eq!(*current, world.list(None, 1, None).await["credentials"][0]);
                lost += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(lost, 3);
    assert_eq!(&world.secret(id).await["api_key"], winner.unwrap());
    assert_eq!(world.activity().await.len(), 2, "what lost is not in the log");
    let stale = world.update(id, json!({"name": "x", "version": 1})).await;
    let Err(Error::Superseded(current)) = stale else { panic!("{stale:?}") };
    assert_eq!((&current["version"], &current["name"]), (&json!(2), &json!("Billing")));
    let key = winner.unwrap();
    assert!(!current.to_string().contains(key.as_str()), "{current}");
}

#[tokio::test]
async fn a_proof_belongs_to_the_secret_that_was_proven() {
    let world = World::new().await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    let listed = async || world.list(None, 10, None).await["credentials"][0].clone();
    let record =
        async |opened, result, actor| world.credentials.record_proof(actor, opened, &result, now()).await;
    let person = || Actor::from(&world.person);

    let opened = world.credentials.open(&world.person.workspace, id).await.unwrap();
    assert_eq!(opened.status(), Status::Unproven);
    record(&opened, proof(), person()).await.unwrap();
    let proven = listed().await;
    assert_eq!((&proven["status"], &proven["scopes"]), (&json!("proven"), &json!(["account"])));
    assert_eq!(proven["proven_at"], proven["checked_at"]);

    world.update(id, json!({"name": "Payments"})).await.unwrap();
    assert_eq!(listed().await["status"], "proven", "a name proves nothing and disproves nothing");

    // Renamed since it was opened: still the same secret.
    record(&opened, refusal(), person()).await.unwrap();
    let failing = listed().await;
    assert_eq!((&failing["status"], &failing["name"]), (&json!("failing"), &json!("Payments")));
    assert_eq!(failing["failure"], json!({"cause": "auth", "message": "it was revoked"}));
    assert_eq!(failing["proven_at"], proven["proven_at"], "when it was proven last");

    let opened = world.credentials.open(&world.person.workspace, id).await.unwrap();
    assert_eq!(opened.status(), Status::Failing);
    world.update(id, json!({"credential": {"api_key": stripe_key()}})).await.unwrap();
    for result in [proof(), refusal()] {
        let late = record(&opened, result, person()).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    }
    let fresh = listed().await;
    assert_eq!((&fresh["status"], &fresh["proven_at"]), (&json!("unproven"), &Value::Null));
    assert_eq!(fresh.get("failure"), None);

    world.credentials.delete(&world.person, id, now()).await.unwrap();
    let late = record(&opened, proof(), person()).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    assert_eq!(world.list(None, 10, None).await, json!({"credentials": [], "next_cursor": null}));
}

#[tokio::test]
async fn the_system_tells_of_a_proof_only_when_it_changes_something() {
    let world = World::new().await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    let system = Actor::System { workspace: &world.person.workspace, function: "integrations-test" };
    for (result, entries) in
        [(proof(), 1), (proof(), 1), (refusal(), 2), (refusal(), 2), (proof(), 3), (proof(), 3)]
    {
        let opened = world.credentials.open(&world.person.workspace, id).await.unwrap();
        world.credentials.record_proof(system, &opened, &result, now()).await.unwrap();
        let told = world.activity().await.iter().filter(|action| *action == "credential.verified").count();
        assert_eq!(told, entries);
    }
}

#[tokio::test]
async fn deletion_destroys_both_rows() {
    let world = World::new().await;
    let kept = world.save(stripe("Kept", &stripe_key())).await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    world.credentials.delete(&world.person, id, now()).await.unwrap();
    let rows = world.rows().await;
    assert!(!rows.keys().any(|key| key.starts_with("VaultTable") && key.contains(id)), "{rows:?}");
    assert!(rows.keys().any(|key| key.contains(kept["id"].as_str().unwrap())));
    let missing = |error| matches!(error, Some(Error::NotFound("credential")));
    assert!(missing(world.credentials.open(&world.person.workspace, id).await.err()));
    assert!(missing(world.credentials.delete(&world.person, id, now()).await.err()));
    assert!(missing(world.update(id, json!({"name": "x"})).await.err()));
    assert!(missing(world.update(id, json!({"credential": {"api_key": stripe_key()}})).await.err()));
}

#[tokio::test]
async fn another_workspace_can_do_nothing_with_a_credential() {
    let world = World::new().await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    let before = world.rows().await;
    let other = admin("other");
    let missing = |error| matches!(error, Some(Error::NotFound(_)));
    assert!(missing(world.credentials.open(&other.workspace, id).await.err()));
    assert!(missing(world.credentials.delete(&other, id, now()).await.err()));
    for body in [json!({"name": "mine"}), json!({"credential": {"api_key": stripe_key()}})] {
        assert!(missing(world.credentials.update(&other, id, change(body), now()).await.err()));
    }
    let theirs = world.credentials.list(&other.workspace, None, 10, None).await.unwrap();
    assert_eq!(shown(theirs), json!({"credentials": [], "next_cursor": null}));
    assert_eq!(world.rows().await, before);
}

#[tokio::test]
async fn a_sealed_row_put_back_by_force_does_not_open() {
    let world = World::new().await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    let key = |pk: String| AttributeValue::S(pk);
    let read = world.client.get_item().table_name("VaultTable").key("sk", key("SEALED".to_owned()));
    let old = read.key("pk", key(format!("SEALED#acme#{id}"))).send().await.unwrap().item;
    world.update(id, json!({"credential": {"api_key": stripe_key()}})).await.unwrap();
    world.client.put_item().table_name("VaultTable").set_item(old).send().await.unwrap();
    let refused = world.credentials.open(&world.person.workspace, id).await.err();
    assert!(matches!(refused, Some(Error::Unavailable(..))), "{refused:?}");
}

#[tokio::test]
async fn without_kms_nothing_changes_and_what_needs_no_secret_works() {
    let world = World::new().await;
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    // Nothing listens on the discard port.
    let gone = World { credentials: without_kms(&world.embedded), ..World::new().await };
    for (case, credentials, denied) in
        [("denied", &world.credentials, true), ("unreachable", &gone.credentials, false)]
    {
        world.wire.deny_kms(denied);
        let before = world.rows().await;
        let closed = |error: Option<Error>| match error {
            Some(error @ Error::Unavailable("the vault", _)) => {
                assert_eq!(error.into_response().status(), 503, "{case}");
            }
            other => panic!("{case}: {other:?}"),
        };
        let person = &world.person;
        closed(credentials.save(person, stripe("Another", &stripe_key()), now()).await.err());
        let patch = change(json!({"name": "x", "credential": {"api_key": stripe_key()}}));
        closed(credentials.update(person, id, patch, now()).await.err());
        closed(credentials.open(&person.workspace, id).await.err());
        assert_eq!(world.rows().await, before, "{case}");

        let listed = credentials.list(&person.workspace, None, 10, None).await.unwrap();
        assert_eq!(shown(listed)["credentials"][0]["id"], id, "{case}");
        let rename = change(json!({"name": case}));
        assert_eq!(shown(credentials.update(person, id, rename, now()).await.unwrap())["name"], case);
        world.wire.deny_kms(false);
    }
    assert!(world.credentials.open(&world.person.workspace, id).await.is_ok());
    gone.credentials.delete(&world.person, id, now()).await.unwrap();
}

/// The store on the same tables, with a KMS that is not there.
fn without_kms(embedded: &Embedded) -> Credentials {
    let own = embedded.sdk();
    let env = Env::of([
        ("AWS_REGION", "local"),
        ("AWS_ENDPOINT_URL", own.endpoint_url().unwrap()),
        ("AWS_ENDPOINT_URL_KMS", "http://127.0.0.1:9"),
    ]);
    let sdk = shared::lambda::sdk_config(&env).unwrap().into_builder();
    let sdk = sdk.credentials_provider(own.credentials_provider().unwrap()).build();
    Credentials::load(&embedded.env("credentials"), &sdk).unwrap()
}

#[tokio::test]
async fn one_answer_names_every_bad_field() {
    let world = World::new().await;
    let named = |error: Option<Error>| {
        let Some(Error::Invalid(errors)) = error else { panic!("{error:?}") };
        errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    for (case, body, fields) in [
        ("empty", json!({}), vec!["provider", "name", "credential"]),
        (
            "null",
            json!({"provider": null, "name": null, "credential": null}),
            vec!["provider", "name", "credential"],
        ),
        ("unknown provider", json!({"provider": "myspace", "name": "x", "credential": {}}), vec!["provider"]),
        ("no object", json!({"provider": "stripe", "name": "x", "credential": 7}), vec!["credential"]),
        (
            "all at once",
            json!({"provider": "stripe", "name": "", "credential": {"token": 1}, "id": 1}),
            vec!["name", "id", "credential.api_key", "credential.token"],
        ),
    ] {
        assert_eq!(named(order(body).err()), fields, "{case}");
    }
    let saved = world.save(stripe("Billing", &stripe_key())).await;
    let id = saved["id"].as_str().unwrap();
    for (case, body, fields) in [
        ("nothing to change", json!({}), vec!["name"]),
        ("another provider", json!({"provider": "meta"}), vec!["provider"]),
        ("a version of zero", json!({"version": 0, "name": "x"}), vec!["version"]),
        (
            "all at once",
            json!({"name": "", "id": 1, "credential": {"token": 1, "api_key": "short"}}),
            vec!["name", "id", "credential.api_key", "credential.token"],
        ),
    ] {
        assert_eq!(named(world.update(id, body).await.err()), fields, "{case}");
    }
    assert_eq!(world.list(None, 10, None).await["credentials"], json!([saved]));
}

#[tokio::test]
async fn a_page_costs_the_same_among_ten_and_ten_thousand() {
    let world = World::new().await;
    let mut saved = Vec::new();
    for number in 0..10 {
        saved.push(world.save(stripe(&format!("Billing {number}"), &stripe_key())).await);
        // Ids sort by the millisecond they were made in.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let cost = async |provider| {
        world.wire.seen();
        let page = world.list(provider, 10, None).await;
        let seen = world.wire.seen();
        assert_eq!(page["credentials"].as_array().unwrap().len(), 10);
        (seen.calls, seen.received)
    };
    let few = [cost(None).await, cost(Some(Provider::Stripe)).await];

    // As the store writes them, without sealing ten thousand secrets.
    let key = |pk: &str| AttributeValue::S(pk.to_owned());
    let read = world.client.get_item().table_name("VaultTable").key("pk", key("CREDENTIALS#acme"));
    let id = saved[0]["id"].as_str().unwrap();
    let row = read.key("sk", key(&format!("CREDENTIAL#{id}"))).send().await.unwrap().item.unwrap();
    let copies: Vec<_> = (0..10_000)
        .map(|number| {
            let mut row = row.clone();
            let id = format!("cred_000{number:08}");
            let provider = if number % 2 == 0 { "meta" } else { "stripe" };
            for (name, value) in [
                ("id", id.clone()),
                ("sk", format!("CREDENTIAL#{id}")),
                ("gsi1sk", format!("CREDENTIAL#{id}")),
                ("provider", provider.to_owned()),
                ("gsi1pk", format!("CREDENTIALS#acme#{provider}")),
            ] {
                row.insert(name.to_owned(), AttributeValue::S(value));
            }
            let put = PutRequest::builder().set_item(Some(row)).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        })
        .collect();
    for batch in copies.chunks(25) {
        let write = world.client.batch_write_item().request_items("VaultTable", batch.to_vec());
        let written = write.send().await.unwrap();
        assert!(written.unprocessed_items.is_none_or(|left| left.is_empty()));
    }
    for (few, many) in few.into_iter().zip([cost(None).await, cost(Some(Provider::Stripe)).await]) {
        assert_eq!(few.0, many.0, "round trips");
        // The answer tells where the page ends, once there is more.
        assert!(many.1 < few.1 + 512, "{} bytes read, {} before", many.1, few.1);
    }

    let first = world.list(None, 10, None).await;
    let newest: Vec<_> = saved.iter().rev().cloned().collect();
    assert_eq!(first["credentials"], json!(newest));
    let mut pages = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let page = world.list(Some(Provider::Stripe), 100, cursor.as_deref()).await;
        pages.extend(page["credentials"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(pages.len(), 5010, "each one of the provider, once");
    assert!(pages.iter().all(|one| one["provider"] == "stripe"));
    let meta = world.list(Some(Provider::Meta), 1, None).await;
    let foreign = meta["next_cursor"].as_str().unwrap();
    let refused = world.credentials.list(&world.person.workspace, None, 1, Some(foreign)).await.err();
    assert!(matches!(refused, Some(Error::Invalid(_))), "a cursor of another list: {refused:?}");
}
