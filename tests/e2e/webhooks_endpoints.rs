//! `/api/webhooks/endpoints` and `/webhooks/receive/{path}`

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{TimeDelta, Utc};
use futures::{StreamExt, stream};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::webhooks::Scheme;
use tests::{Answer, Workspace, random};

const ENDPOINTS: &str = "/api/webhooks/endpoints";
const BODY: &str = "{\"id\": \"1\",\n \"name\": \"Zo\u{eb}\"}\n";

/// After the run `tests/run.py` looks for [`tests::SEALED`] in all that the servers left behind.
fn secret() -> String {
    format!("{}-{}-{}", tests::SEALED, random(), random())
}

fn path(endpoint: &Value) -> String {
    format!("{ENDPOINTS}/{}", endpoint["id"].as_str().expect("an id"))
}

async fn create(workspace: &Workspace, more: Value) -> Value {
    let mut order = json!({"name": "Orders", "scheme": "github"});
    order.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let answer = workspace.admin("POST", ENDPOINTS).json(&order).send().await;
    assert!(!answer.text.contains(tests::SEALED), "{}", answer.text);
    answer.json(201)
}

async fn patch(workspace: &Workspace, endpoint: &Value, change: Value) -> Answer {
    let answer = workspace.admin("PATCH", &path(endpoint)).json(&change).send().await;
    assert!(!answer.text.contains(tests::SEALED), "{}", answer.text);
    answer
}

/// Delivers `body`, with the headers of a signature of `signed`.
async fn deliver(
    workspace: &Workspace,
    url: &str,
    scheme: &Scheme,
    secret: &str,
    signed: &str,
    body: &str,
) -> Answer {
    let headers = scheme.sign(url, signed.as_bytes(), &random(), &SecretString::from(secret), Utc::now());
    let call = workspace.server.request("POST", url).bytes(body.to_owned(), "application/json");
    let headers = headers.expect("it can be signed");
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name.as_str(), value.to_str().expect("text")));
    call.header("x-github-delivery", &random()).send().await
}

fn cause(answer: &Answer) -> Value {
    answer.problem(401, "unverified");
    let problem: Value = serde_json::from_str(&answer.text).expect("a problem is JSON");
    problem["cause"].clone()
}

#[tokio::test]
async fn a_service_delivers_to_an_endpoint_until_it_is_gone() {
    let workspace = Workspace::new().await;
    let secret = secret();
    let made = create(&workspace, json!({"secrets": [secret]})).await;
    let url = made["url"].as_str().expect("a URL");
    assert_eq!(made["secrets"][0]["mask"], json!(format!("…{}", &secret[secret.len() - 4..])));
    let listed = workspace.member("GET", ENDPOINTS).send().await.json(200);
    assert_eq!(listed["endpoints"], json!([made]));

    let github = Scheme::Github;
    let accepted = deliver(&workspace, url, &github, &secret, BODY, BODY).await.json(200);
    assert_eq!(accepted["outcome"], "accepted", "{accepted}");
    for (case, wrong, body, expected) in [
        ("another secret", self::secret(), BODY.to_owned(), "mismatch"),
        ("altered", secret.clone(), BODY.replace('1', "2"), "mismatch"),
    ] {
        let answer = deliver(&workspace, url, &github, &wrong, BODY, &body).await;
        assert_eq!(cause(&answer), expected, "{case}");
    }
    let unsigned = workspace.server.request("POST", url).body(BODY).send().await;
    assert_eq!(cause(&unsigned), "no_signature");
    let sha1 = workspace.server.request("POST", url).body(BODY).header("x-hub-signature-256", "sha1=00");
    assert_eq!(cause(&sha1.send().await), "malformed_header");

    let tested = workspace.admin("POST", &format!("{}/test", path(&made))).send().await.json(200);
    assert_eq!(tested["outcome"], "accepted", "{tested}");
    drop(workspace.admin("DELETE", &path(&made)).send().await.expect(200));
    workspace.admin("DELETE", &path(&made)).send().await.problem(404, "not-found");
    let nowhere = workspace.server.request("POST", &format!("/webhooks/receive/{}", random()));
    nowhere.body(BODY).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_secret_is_replaced_without_losing_a_delivery() {
    let workspace = Workspace::new().await;
    let [old, new] = [secret(), secret()];
    let made = create(&workspace, json!({"secrets": [old]})).await;
    let url = made["url"].as_str().expect("a URL").to_owned();
    let send = async |secret: &str| deliver(&workspace, &url, &Scheme::Github, secret, BODY, BODY).await;
    drop(send(&old).await.expect(200));
    let both = patch(&workspace, &made, json!({"add_secrets": [new], "version": 1})).await.json(200);
    // What a warm function read not long ago, it reads again for a signature it does not know, but
    // not at once for each.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    for secret in [&new, &old] {
        drop(send(secret).await.expect(200));
    }
    let removed = json!({"remove_secrets": [both["secrets"][0]["id"]]});
    let left = patch(&workspace, &made, removed).await.json(200);
    assert_eq!(left["secrets"], json!([both["secrets"][1]]));
    patch(&workspace, &made, json!({"name": "Late", "version": 1})).await.problem(409, "superseded");
}

#[tokio::test]
async fn a_time_is_part_of_what_is_signed() {
    let workspace = Workspace::new().await;
    let secret = secret();
    let options = json!({
        "scheme": "hmac", "signature_header": "X-Signature", "prefix": "v0=", "timestamp_header": "X-Time",
        "signed_content": "v0:{timestamp}:{body}", "secrets": [secret],
    });
    let made = create(&workspace, options).await;
    let scheme: Scheme = serde_json::from_value(made.clone()).expect("its own scheme");
    let url = made["url"].as_str().expect("a URL");
    for (case, minutes, expected) in
        [("now", 0, None), ("late", -6, Some("outside_tolerance")), ("early", 6, Some("outside_tolerance"))]
    {
        let then = Utc::now() + TimeDelta::minutes(minutes);
        let headers =
            scheme.sign("", BODY.as_bytes(), "", &SecretString::from(secret.as_str()), then).expect("signed");
        let call = workspace.server.request("POST", url).bytes(BODY, "application/json");
        let text = |name: &str| headers[name].to_str().expect("text").to_owned();
        let call = call.header("x-signature", &text("x-signature")).header("x-time", &text("x-time"));
        let answer = call.send().await;
        match expected {
            None => drop(answer.expect(200)),
            Some(expected) => assert_eq!(cause(&answer), expected, "{case}"),
        }
    }
}

#[tokio::test]
async fn a_bad_endpoint_names_every_field_and_a_path_is_one_endpoints() {
    let workspace = Workspace::new().await;
    let taken = random().to_ascii_lowercase();
    create(&workspace, json!({"secrets": [secret()], "path": taken})).await;
    for (case, body, fields) in [
        ("empty", json!({}), vec!["name", "scheme"]),
        ("no secret", json!({"name": "n", "scheme": "stripe"}), vec!["secrets"]),
        (
            "weak",
            json!({"name": "n", "scheme": "standard-webhooks", "secrets": ["whsec_YQ=="]}),
            vec!["secrets[0]"],
        ),
        (
            "all",
            json!({"name": 1, "scheme": "hmac", "path": "/", "active": 1, "secrets": ["x"], "more": 1}),
            vec!["active", "more", "name", "path", "secrets[0]", "signature_header"],
        ),
    ] {
        let answer = workspace.admin("POST", ENDPOINTS).json(&body).send().await;
        let mut told = answer.problem(422, "invalid");
        told.sort();
        assert_eq!(told, fields, "{case}");
    }
    let other = Workspace::new().await;
    let order = json!({"name": "n", "scheme": "github", "secrets": [secret()], "path": taken});
    for workspace in [&workspace, &other] {
        workspace.admin("POST", ENDPOINTS).json(&order).send().await.problem(409, "conflict");
    }
}

#[tokio::test]
async fn endpoints_are_changed_by_admins_of_their_own_workspace_only() {
    let (workspace, other) = (Workspace::new().await, Workspace::new().await);
    let made = create(&workspace, json!({"secrets": [secret()]})).await;
    let one = path(&made);
    for (method, path) in [
        ("POST", ENDPOINTS.to_owned()),
        ("PATCH", one.clone()),
        ("DELETE", one.clone()),
        ("POST", format!("{one}/test")),
    ] {
        let body = json!({"name": "Mine"});
        workspace.server.request(method, &path).json(&body).send().await.gateway(401);
        workspace.member(method, &path).json(&body).send().await.problem(403, "forbidden");
        if path != ENDPOINTS {
            let body = if path == one { body } else { json!({}) };
            other.admin(method, &path).json(&body).send().await.problem(404, "not-found");
        }
    }
    workspace.server.get(ENDPOINTS).send().await.gateway(401);
    assert_eq!(other.member("GET", ENDPOINTS).send().await.json(200)["endpoints"], json!([]));
    assert_eq!(workspace.member("GET", ENDPOINTS).send().await.json(200)["endpoints"], json!([made]));
}

#[tokio::test]
async fn all_that_github_publishes_is_accepted_and_kept_byte_for_byte() {
    let Ok(file) = std::env::var("TIDEGATE_GITHUB_EXAMPLES") else {
        println!("skipped: TIDEGATE_GITHUB_EXAMPLES names no file of tests/signatures/examples.mjs");
        return;
    };
    let examples = std::fs::read_to_string(file).expect("the file is there");
    let examples: Vec<Value> =
        examples.lines().map(|line| serde_json::from_str(line).expect("JSON in each line")).collect();
    assert_eq!(examples.len(), 329);
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({"secrets": [examples[0]["secret"]]})).await;
    let url = made["url"].as_str().expect("a URL");
    let each = stream::iter(&examples).map(async |example| {
        let body = STANDARD.decode(example["body"].as_str().expect("text")).expect("base64");
        let mut call = workspace.server.request("POST", url).bytes(body.clone(), "application/json");
        for (name, value) in example["headers"].as_object().expect("headers") {
            if name != "content-type" {
                call = call.header(name, value.as_str().expect("text"));
            }
        }
        let id = call.send().await.json(200)["id"].as_str().expect("an id").to_owned();
        let event = workspace.event_when(&id, |event| event["status"] != "received").await;
        let kept = event["body"].as_str().unwrap_or_default();
        assert!(kept.as_bytes() == body, "{}: another body", example["event"]);
        let told = (&event["status"], &event["type"]);
        assert_eq!(told, (&json!("processed"), &example["event"]), "{}", event["log"]);
    });
    each.buffer_unordered(8).collect::<Vec<()>>().await;
}
