//! `/api/credentials`

use serde_json::{Value, json};
use tests::{Workspace, random};

const SAVE: &str = "/api/credentials/save";
const LIST: &str = "/api/credentials/list";

/// A key as Stripe makes them. The stand-in for Stripe goes by the word in it; after the run
/// `tests/run.py` looks for [`tests::SEALED`] in all that the servers left behind.
fn stripe_key(word: &str) -> String {
    format!("sk_{}_{word}_{}_{}", "test", tests::SEALED, random())
}

fn path(id: &Value) -> String {
    format!("/api/credentials/{}", id.as_str().expect("an id"))
}

async fn save(workspace: &Workspace, name: &str, key: &str) -> Value {
    let body = json!({"provider": "stripe", "name": name, "credential": {"api_key": key}});
    let answer = workspace.admin("POST", SAVE).json(&body).send().await;
    assert!(!answer.text.contains(tests::SEALED), "{}", answer.text);
    answer.json(201)
}

async fn listed(workspace: &Workspace, query: &str) -> Vec<Value> {
    let answer = workspace.admin("GET", &format!("{LIST}{query}")).send().await;
    assert!(!answer.text.contains(tests::SEALED), "{}", answer.text);
    answer.json(200)["credentials"].as_array().expect("a list").clone()
}

async fn verify(workspace: &Workspace, id: &Value) -> Value {
    let answer = workspace.admin("POST", &format!("{}/verify", path(id))).send().await;
    assert!(!answer.text.contains(tests::SEALED), "{}", answer.text);
    answer.json(200)
}

#[tokio::test]
async fn a_credential_is_shown_masked_and_never_again_whole() {
    let workspace = Workspace::new().await;
    let key = stripe_key("good");
    let saved = save(&workspace, "Billing", &key).await;
    assert_eq!((&saved["provider"], &saved["name"]), (&json!("stripe"), &json!("Billing")));
    assert_eq!((&saved["version"], &saved["status"]), (&json!(1), &json!("unproven")));
    assert_eq!(saved["mask"], json!({"api_key": format!("sk_test_…{}", &key[key.len() - 4..])}));
    assert_eq!(saved["fingerprint"].as_str().map(str::len), Some(16), "{saved}");
    assert_eq!(listed(&workspace, "").await, std::slice::from_ref(&saved));

    let twin = save(&workspace, "Billing again", &key).await;
    assert_ne!(twin["fingerprint"], saved["fingerprint"], "nothing can be guessed by it");
    assert_eq!(listed(&workspace, "?provider=meta").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_bad_credential_names_every_field_and_is_not_stored() {
    let workspace = Workspace::new().await;
    for (case, body, fields) in [
        ("empty", json!({}), vec!["credential", "name", "provider"]),
        ("unknown provider", json!({"provider": "x", "name": "x", "credential": {}}), vec!["provider"]),
        (
            "all at once",
            json!({"provider": "stripe", "name": "", "id": 1, "credential": {"api_key": "pk_test", "b": 1}}),
            vec!["credential.api_key", "credential.b", "id", "name"],
        ),
        ("no object", json!({"provider": "stripe", "name": "x", "credential": "sk"}), vec!["credential"]),
    ] {
        let mut named = workspace.admin("POST", SAVE).json(&body).send().await.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{case}");
    }
    let large = json!({"provider": "stripe", "name": "x", "credential": {"api_key": "x".repeat(33_000)}});
    workspace.admin("POST", SAVE).json(&large).send().await.problem(413, "too-large");
    workspace.admin("POST", SAVE).body("{").send().await.problem(400, "malformed");
    for query in ["?provider=x", "?limit=0", "?limit=101", "?cursor=x", "?name=x"] {
        let answer = workspace.admin("GET", &format!("{LIST}{query}")).send().await;
        assert_eq!(answer.problem(422, "invalid").len(), 1, "{query}");
    }
    assert_eq!(listed(&workspace, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn only_admins_of_the_workspace_reach_a_credential() {
    let workspace = Workspace::new().await;
    let other = Workspace::on(workspace.server.clone(), workspace.issuer.clone());
    let saved = save(&workspace, "Billing", &stripe_key("good")).await;
    let path = path(&saved["id"]);
    let new = json!({"provider": "stripe", "name": "x", "credential": {"api_key": stripe_key("good")}});
    for (method, path, body) in [
        ("POST", SAVE.to_owned(), new),
        ("GET", LIST.to_owned(), Value::Null),
        ("PUT", path.clone(), json!({"name": "mine"})),
        ("POST", format!("{path}/verify"), json!({})),
        ("DELETE", path.clone(), Value::Null),
    ] {
        let send = |call: tests::Call| if body.is_null() { call } else { call.json(&body) };
        send(workspace.server.request(method, &path)).send().await.gateway(401);
        send(workspace.member(method, &path)).send().await.problem(403, "forbidden");
        if path != SAVE && path != LIST {
            send(other.admin(method, &path)).send().await.problem(404, "not-found");
        }
    }
    assert_eq!(listed(&other, "").await, Vec::<Value>::new());
    assert_eq!(listed(&workspace, "").await, [saved]);
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let workspace = Workspace::new().await;
    let saved = save(&workspace, "Billing", &stripe_key("good")).await;
    let path = path(&saved["id"]);
    let put = async |body: Value| workspace.admin("PUT", &path).json(&body).send().await;

    let renamed = put(json!({"name": "Payments"})).await.json(200);
    assert_eq!((&renamed["version"], &renamed["name"]), (&json!(2), &json!("Payments")));
    assert_eq!(renamed["fingerprint"], saved["fingerprint"]);
    assert_eq!(verify(&workspace, &saved["id"]).await["verified"], true, "the key is still there");

    let other = stripe_key("good");
    let replaced = put(json!({"credential": {"api_key": other}, "version": 2})).await.json(200);
    assert_eq!((&replaced["version"], &replaced["name"]), (&json!(3), &json!("Payments")));
    assert_eq!(replaced["mask"], json!({"api_key": format!("sk_test_…{}", &other[other.len() - 4..])}));
    assert_eq!(replaced["status"], "unproven", "nobody has asked about the new key");

    let late = put(json!({"name": "Late", "version": 2})).await;
    late.problem(409, "superseded");
    let newer: Value = serde_json::from_str(&late.text).expect("a problem is JSON");
    assert_eq!(newer["current"], replaced, "{newer}");
    let mut named =
        put(json!({"name": "", "credential": {"api_key": "x", "b": 1}})).await.problem(422, "invalid");
    named.sort();
    assert_eq!(named, ["credential.api_key", "credential.b", "name"]);
    assert_eq!(put(json!({})).await.problem(422, "invalid"), ["name"]);
    assert_eq!(listed(&workspace, "").await, [replaced]);
}

#[tokio::test]
async fn verification_tells_and_keeps_what_the_provider_said() {
    let workspace = Workspace::new().await;
    for (word, answer) in [
        ("good", json!({"verified": true, "accountName": "Stand-in", "livemode": false})),
        ("revoked", json!({"verified": false, "cause": "auth"})),
        ("unscoped", json!({"verified": false, "cause": "scope"})),
        ("throttled", json!({"verified": false, "cause": "rate_limited"})),
        ("broken", json!({"verified": false, "cause": "provider"})),
    ] {
        let saved = save(&workspace, word, &stripe_key(word)).await;
        let mut said = verify(&workspace, &saved["id"]).await;
        let message = said.as_object_mut().and_then(|said| said.remove("message"));
        assert_eq!(said, answer, "{word}: {message:?}");
        let shown = listed(&workspace, "").await.into_iter().find(|one| one["name"] == word).expect(word);
        let proven = answer["verified"] == true;
        assert_eq!(shown["status"], if proven { "proven" } else { "failing" }, "{shown}");
        assert_eq!(shown["proven_at"].is_string(), proven, "{shown}");
        assert!(shown["checked_at"].is_string(), "{shown}");
        if !proven {
            assert_eq!(shown["failure"], json!({"cause": answer["cause"], "message": message}));
        }
        assert_eq!(shown["version"], saved["version"], "asking changes nothing");
    }
}

#[tokio::test]
async fn a_destroyed_credential_is_gone() {
    let workspace = Workspace::new().await;
    let kept = save(&workspace, "Kept", &stripe_key("good")).await;
    let saved = save(&workspace, "Billing", &stripe_key("good")).await;
    let path = path(&saved["id"]);
    let deleted = workspace.admin("DELETE", &path).send().await.json(200);
    assert_eq!(deleted["id"], saved["id"]);
    for (method, path) in [("DELETE", path.clone()), ("POST", format!("{path}/verify"))] {
        workspace.admin(method, &path).send().await.problem(404, "not-found");
    }
    let change = json!({"name": "x"});
    workspace.admin("PUT", &path).json(&change).send().await.problem(404, "not-found");
    assert_eq!(listed(&workspace, "").await, [kept]);
}

#[tokio::test]
async fn pages_show_each_credential_once_newest_first() {
    let workspace = Workspace::new().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.insert(0, save(&workspace, &format!("{number}"), &stripe_key("good")).await["id"].clone());
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = workspace.admin("GET", &format!("{LIST}?limit=2{cursor}")).send().await.json(200);
        let page_ids = page["credentials"].as_array().expect("a list").iter().map(|one| one["id"].clone());
        seen.extend(page_ids);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}
