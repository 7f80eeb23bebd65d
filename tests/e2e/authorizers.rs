//! Who is let in: API keys and bearer tokens, honest and not.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use tests::{
    Workspace,
    ledger::user,
    token::{Signature, claims},
};

const KEYS: &str = "/api/devops/keys";
const SYNC: &str = "/api/devops/sync/users";

#[tokio::test]
async fn what_is_not_a_key_is_refused_by_the_gateway() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let other = |at: usize| {
        let mut text = key.text.clone();
        let with = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        text.replace_range(at..=at, with);
        text
    };
    for (case, text) in [
        ("junk", "junk".to_owned()),
        ("one wrong character at the start", other(0)),
        ("one wrong character in the environment", other(3)),
        ("one wrong character in the middle", other(20)),
        ("one wrong character in the checksum", other(39)),
        ("cut", key.text[..39].to_owned()),
        ("longer", format!("{}0", key.text)),
        ("other case", key.text.to_uppercase()),
        ("bearer", format!("Bearer {}", key.text)),
        ("very long", "x".repeat(4000)),
    ] {
        let answer = workspace.server.get(SYNC).key(&text).send().await;
        assert_eq!(answer.status, 403, "{case}");
        answer.gateway(403);
        let ingest = workspace.server.request("PUT", "/api/ingest/users").key(&text);
        ingest.json(&json!({"items": [user(1)]})).send().await.gateway(403);
    }
    let answer = key.sync("").await.json(200);
    assert_eq!(answer["total_users"], 0, "nothing was stored");
}

#[tokio::test]
async fn without_a_key_tools_are_not_known() {
    let workspace = Workspace::new().await;
    let token = workspace.issuer.token(&workspace.name, "admin");
    for (method, path) in [("GET", SYNC), ("PUT", "/api/ingest/users")] {
        let request = || workspace.server.request(method, path).json(&json!({"items": [user(1)]}));
        request().send().await.gateway(401);
        request().key("").send().await.gateway(401);
        // A person is not a tool.
        request().bearer(&token).send().await.gateway(401);
    }
}

#[tokio::test]
async fn what_a_key_may_not_do_is_named() {
    let workspace = Workspace::new().await;
    let reader = workspace.key_with(json!({"permissions": ["read_metrics"]})).await;
    let writer = workspace.key_with(json!({"permissions": ["write_metrics"]})).await;
    let hook = workspace.key_with(json!({"permissions": ["write_webhooks"]})).await;
    for (case, answer, permission) in [
        ("reader writes", reader.ingest(&[user(1)]).await, "write_metrics"),
        ("writer reads", writer.sync("").await, "read_metrics"),
        ("hook reads", hook.sync("").await, "read_metrics"),
        ("hook writes", hook.ingest(&[user(1)]).await, "write_metrics"),
    ] {
        answer.problem(403, "forbidden");
        assert!(answer.text.contains(permission), "{case}: {}", answer.text);
    }
    assert_eq!(reader.sync("").await.json(200)["total_users"], 0, "nothing was stored");
    let _ = writer.ingest(&[user(1)]).await.json(200);
    assert_eq!(reader.sync("").await.json(200)["total_users"], 1);
}

#[tokio::test]
async fn tokens_that_the_issuer_would_not_give_are_refused() {
    let workspace = Workspace::new().await;
    let now = Utc::now().timestamp();
    let with = |name: &str, value: Value| {
        let mut claims = claims(&workspace.name, "admin");
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims(&workspace.name, "admin");
        claims.as_object_mut().map(|claims| claims.remove(name));
        claims
    };
    let honest = || claims(&workspace.name, "admin");
    for (case, claims, signature) in [
        ("alg none", honest(), Signature::Nothing),
        ("HS256 signed with the public key", honest(), Signature::PublicKeyAsSecret),
        ("another key", honest(), Signature::Stranger),
        ("other issuer", with("iss", json!("https://evil.example")), Signature::Issuer),
        (
            "issuer with a slash more",
            with("iss", json!("https://issuer.tidegate.localhost/")),
            Signature::Issuer,
        ),
        ("no issuer", without("iss"), Signature::Issuer),
        ("other audience", with("aud", json!("other")), Signature::Issuer),
        ("other audiences", with("aud", json!(["other", "more"])), Signature::Issuer),
        ("no audience", without("aud"), Signature::Issuer),
        ("expired", with("exp", json!(now - 1)), Signature::Issuer),
        ("no expiry", without("exp"), Signature::Issuer),
        ("not yet valid", with("nbf", json!(now + 600)), Signature::Issuer),
        ("pending session", with("sts", json!("pending")), Signature::Issuer),
        ("no subject", without("sub"), Signature::Issuer),
        ("no workspace", without("org"), Signature::Issuer),
        ("workspace with the delimiter", with("org", json!("a#b")), Signature::Issuer),
        ("workspace that is no text", with("org", json!(7)), Signature::Issuer),
    ] {
        let token = workspace.issuer.sign(&claims, signature);
        let list = workspace.server.get(KEYS).bearer(&token).send().await;
        assert_eq!(list.status, 403, "{case}: {}", list.text);
        list.gateway(403);
        let generate = workspace.server.request("POST", "/api/devops/generate-key").bearer(&token);
        generate.json(&json!({"name": "x"})).send().await.gateway(403);
    }
    let list = workspace.admin("GET", KEYS).send().await.json(200);
    assert_eq!(list["keys"], json!([]), "nothing was made");
}

#[tokio::test]
async fn altered_and_malformed_tokens_are_refused() {
    let workspace = Workspace::new().await;
    let member = workspace.issuer.token(&workspace.name, "member");
    let admin = workspace.issuer.token(&workspace.name, "admin");
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (signed, wanted) = (parts(&member), parts(&admin));
    for (case, header) in [
        ("claims of another token", format!("Bearer {}.{}.{}", signed[0], wanted[1], signed[2])),
        ("no signature", format!("Bearer {}.{}", signed[0], signed[1])),
        ("empty signature", format!("Bearer {}.{}.", signed[0], signed[1])),
        ("junk", "Bearer junk".to_owned()),
        ("nothing", "Bearer".to_owned()),
        ("no scheme", admin.clone()),
        ("other scheme", format!("Basic {admin}")),
    ] {
        let answer = workspace.server.get(KEYS).header("authorization", &header).send().await;
        assert_eq!(answer.status, 403, "{case}: {}", answer.text);
        answer.gateway(403);
    }
}

#[tokio::test]
async fn a_token_may_have_several_audiences() {
    let workspace = Workspace::new().await;
    let mut claims = claims(&workspace.name, "admin");
    claims["aud"] = json!(["other", tests::token::AUDIENCE]);
    let token = workspace.issuer.sign(&claims, Signature::Issuer);
    let _ = workspace.server.get(KEYS).bearer(&token).send().await.json(200);
}

#[tokio::test]
async fn any_role_but_admin_is_a_member() {
    let workspace = Workspace::new().await;
    for role in [json!("owner"), json!("Admin"), json!(["admin"]), json!(true), Value::Null] {
        let mut claims = claims(&workspace.name, "member");
        claims["role"] = role.clone();
        let token = workspace.issuer.sign(&claims, Signature::Issuer);
        let _ = workspace.server.get(KEYS).bearer(&token).send().await.json(200);
        let generate = workspace.server.request("POST", "/api/devops/generate-key").bearer(&token);
        generate.json(&json!({"name": "x"})).send().await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_token_that_expires_while_its_answer_is_remembered_is_refused() {
    let workspace = Workspace::new().await;
    let mut claims = claims(&workspace.name, "admin");
    claims["exp"] = json!(Utc::now().timestamp() + 4);
    let token = workspace.issuer.sign(&claims, Signature::Issuer);
    let _ = workspace.server.get(KEYS).bearer(&token).send().await.json(200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    workspace.server.get(KEYS).bearer(&token).send().await.problem(401, "unauthenticated");
    let generate = workspace.server.request("POST", "/api/devops/generate-key").bearer(&token);
    generate.json(&json!({"name": "x"})).send().await.problem(401, "unauthenticated");
    let list = workspace.admin("GET", KEYS).send().await.json(200);
    assert_eq!(list["keys"], json!([]), "nothing was made");
}
