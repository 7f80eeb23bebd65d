//! `/api/devops/generate-key` and `/api/devops/keys`

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use tests::{Key, Workspace, ledger::user, within_one_hour};

const GENERATE: &str = "/api/devops/generate-key";
const KEYS: &str = "/api/devops/keys";

async fn listed(workspace: &Workspace) -> Vec<Value> {
    let list = workspace.admin("GET", KEYS).send().await.json(200);
    list["keys"].as_array().expect("a list of keys").clone()
}

fn at(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not a time: {value}"))
}

// Generate

#[tokio::test]
async fn a_key_gets_the_documented_defaults() {
    let workspace = Workspace::new().await;
    let key = workspace.admin("POST", GENERATE).json(&json!({"name": "partner"})).send().await.json(201);
    assert_eq!(key["name"], "partner");
    assert_eq!(key["permissions"], json!(["read_metrics", "write_webhooks"]));
    assert_eq!(key["environment"], "live");
    assert_eq!((&key["rate_limit"], &key["sync_rate_limit"]), (&json!(1000), &json!(300)));
    let life = at(&key["expires_at"]) - at(&key["created_at"]);
    assert_eq!(life, Duration::days(365));
    assert!((Utc::now() - at(&key["created_at"])).abs() < Duration::minutes(1));

    let text = key["api_key"].as_str().expect("the key's text");
    assert!(text.len() == 40 && text.starts_with("rr_l"), "{text}");
    assert!(text[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
    assert!(text.starts_with(key["prefix"].as_str().expect("a prefix")));
    assert!(text.ends_with(key["last4"].as_str().expect("its end")));
}

#[tokio::test]
async fn what_was_asked_for_is_given() {
    let workspace = Workspace::new().await;
    let order = json!({
        "name": "n".repeat(100), "permissions": ["write_metrics"], "expires_in_days": 3650,
        "rate_limit": 7, "sync_rate_limit": 5, "user_id": "u-1", "environment": "test",
    });
    let key = workspace.admin("POST", GENERATE).json(&order).send().await.json(201);
    for field in ["name", "permissions", "rate_limit", "sync_rate_limit", "user_id", "environment"] {
        assert_eq!(key[field], order[field], "{field}");
    }
    assert!(key["api_key"].as_str().is_some_and(|text| text.starts_with("rr_t")), "{key}");
    assert_eq!(at(&key["expires_at"]) - at(&key["created_at"]), Duration::days(3650));
}

#[tokio::test]
async fn a_bad_order_names_every_field_and_makes_no_key() {
    let workspace = Workspace::new().await;
    for (case, body, fields) in [
        ("empty", json!({}), vec!["name"]),
        ("name of 300 characters", json!({"name": "x".repeat(300)}), vec!["name"]),
        ("empty name", json!({"name": ""}), vec!["name"]),
        ("name with a control character", json!({"name": "a\u{7}b"}), vec!["name"]),
        ("name that is no text", json!({"name": 7}), vec!["name"]),
        ("unknown field", json!({"name": "x", "admin": true}), vec!["admin"]),
        ("negative expiry", json!({"name": "x", "expires_in_days": -1}), vec!["expires_in_days"]),
        ("expiry of zero", json!({"name": "x", "expires_in_days": 0}), vec!["expires_in_days"]),
        ("expiry of a fraction", json!({"name": "x", "expires_in_days": 1.5}), vec!["expires_in_days"]),
        ("endless expiry", json!({"name": "x", "expires_in_days": 3651}), vec!["expires_in_days"]),
        ("limit of zero", json!({"name": "x", "rate_limit": 0}), vec!["rate_limit"]),
        ("limit as text", json!({"name": "x", "sync_rate_limit": "300"}), vec!["sync_rate_limit"]),
        ("no permission", json!({"name": "x", "permissions": []}), vec!["permissions"]),
        ("unknown permission", json!({"name": "x", "permissions": ["admin"]}), vec!["permissions"]),
        (
            "repeated permission",
            json!({"name": "x", "permissions": ["read_metrics", "read_metrics"]}),
            vec!["permissions"],
        ),
        ("user id with the delimiter", json!({"name": "x", "user_id": "a#b"}), vec!["user_id"]),
        ("unknown environment", json!({"name": "x", "environment": "prod"}), vec!["environment"]),
        (
            "three at once",
            json!({"rate_limit": -1, "environment": 1}),
            vec!["environment", "name", "rate_limit"],
        ),
    ] {
        let answer = workspace.admin("POST", GENERATE).json(&body).send().await;
        let mut named = answer.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{case}");
    }
    for (case, body) in
        [("cut", r#"{"name": "#), ("not JSON", "name=x"), ("two values", "{} {}"), ("not UTF-8", "\u{0}")]
    {
        let answer = workspace.admin("POST", GENERATE).body(body).send().await;
        assert_eq!(answer.problem(400, "malformed"), Vec::<String>::new(), "{case}");
    }
    let answer = workspace.admin("POST", GENERATE).body("[]").send().await;
    answer.problem(422, "invalid");
    assert_eq!(listed(&workspace).await, Vec::<Value>::new());
}

#[tokio::test]
async fn without_a_token_nothing_of_keys_answers() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    for (method, path) in routes(&key.id) {
        workspace.server.request(method, &path).json(&json!({})).send().await.gateway(401);
        // A key is not a person.
        let call = workspace.server.request(method, &path).key(&key.text);
        call.json(&json!({})).send().await.gateway(401);
    }
    assert_eq!(workspace.listed(&key.id).await["status"], "active");
}

fn routes(id: &str) -> [(&'static str, String); 5] {
    [
        ("POST", GENERATE.to_owned()),
        ("GET", KEYS.to_owned()),
        ("DELETE", format!("{KEYS}/{id}")),
        ("POST", format!("{KEYS}/{id}/rotate")),
        ("GET", format!("{KEYS}/{id}/usage")),
    ]
}

#[tokio::test]
async fn members_read_and_change_nothing() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    for (method, path) in routes(&key.id) {
        let body = json!({"name": "x", "reason": "x"});
        if method == "GET" {
            let _ = workspace.member(method, &path).send().await.json(200);
        } else {
            workspace.member(method, &path).json(&body).send().await.problem(403, "forbidden");
        }
    }
    let keys = listed(&workspace).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["status"], "active");
    assert_eq!(keys[0].get("previous_secret"), None);
}

#[tokio::test]
async fn a_key_of_another_workspace_is_not_there() {
    let (mine, other) = (Workspace::new().await, Workspace::new().await);
    let key = other.key().await;
    for id in [key.id.as_str(), "key_00000000000000000000", "key_", "%23", "..."] {
        let revoke = mine.admin("DELETE", &format!("{KEYS}/{id}")).json(&json!({"reason": "x"}));
        revoke.send().await.problem(404, "not-found");
        let rotate = mine.admin("POST", &format!("{KEYS}/{id}/rotate")).json(&json!({"grace_hours": 0}));
        rotate.send().await.problem(404, "not-found");
        mine.admin("GET", &format!("{KEYS}/{id}/usage")).send().await.problem(404, "not-found");
    }
    assert_eq!(listed(&mine).await, Vec::<Value>::new());
    assert_eq!(other.listed(&key.id).await["status"], "active");
    let _ = key.sync("").await.expect(200);
}

// List

#[tokio::test]
async fn the_list_shows_all_but_the_secret() {
    within_one_hour(20).await;
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let entry = workspace.listed(&key.id).await;
    assert_eq!(entry["last_used_at"], Value::Null);
    assert_eq!((&entry["calls_today"], &entry["calls_30_days"]), (&json!(0), &json!(0)));

    for _ in 0..3 {
        let _ = key.sync("").await.expect(200);
    }
    let answer = workspace.admin("GET", KEYS).send().await.expect(200);
    assert!(!answer.text.contains(&key.text), "the secret is not shown again");
    let entry = workspace.listed(&key.id).await;
    assert_eq!(entry["status"], "active");
    assert_eq!((&entry["calls_today"], &entry["calls_30_days"]), (&json!(3), &json!(3)));
    assert!((Utc::now() - at(&entry["last_used_at"])).abs() < Duration::minutes(1));
    assert!(key.text.starts_with(entry["prefix"].as_str().expect("a prefix")));
    assert!(key.text.ends_with(entry["last4"].as_str().expect("its end")));
}

#[tokio::test]
async fn the_list_has_pages_newest_first() {
    let (workspace, other) = (Workspace::new().await, Workspace::new().await);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, workspace.key().await.id);
    }
    let mut ids = Vec::new();
    let mut path = format!("{KEYS}?limit=2");
    for length in [2, 2, 1] {
        let page = workspace.admin("GET", &path).send().await.json(200);
        let keys = page["keys"].as_array().expect("a list of keys");
        assert_eq!(keys.len(), length, "{page}");
        ids.extend(keys.iter().map(|key| key["id"].as_str().expect("an id").to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{KEYS}?limit=2&cursor={cursor}"),
            None => assert_eq!(length, 1, "only the last page has no successor"),
        }
    }
    assert_eq!(ids, made);
    // The last cursor continues this workspace's list only.
    assert_eq!(other.admin("GET", &path).send().await.problem(422, "invalid"), ["cursor"]);
}

#[tokio::test]
async fn a_bad_list_query_is_named() {
    let workspace = Workspace::new().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("cursor=junk", "cursor"),
        ("cursor=", "cursor"),
        ("order=asc", "order"),
    ] {
        let answer = workspace.admin("GET", &format!("{KEYS}?{query}")).send().await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{query}");
    }
}

// Revoke

#[tokio::test]
async fn revocation_holds_at_once_and_its_first_reason_stays() {
    within_one_hour(20).await;
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let _ = key.sync("").await.expect(200);
    let path = format!("{KEYS}/{}", key.id);

    let first = workspace.admin("DELETE", &path).json(&json!({"reason": "leaked"})).send().await.json(200);
    assert_eq!((&first["status"], &first["revoked_reason"]), (&json!("revoked"), &json!("leaked")));
    key.sync("").await.problem(401, "unauthenticated");

    let again = workspace.admin("DELETE", &format!("{path}?reason=other")).send().await.json(200);
    assert_eq!(again["revoked_reason"], "leaked");
    assert_eq!(again["revoked_at"], first["revoked_at"]);
    let entry = workspace.listed(&key.id).await;
    assert_eq!((&entry["status"], &entry["revoked_reason"]), (&json!("revoked"), &json!("leaked")));
    assert_eq!(entry["calls_today"], 1, "a refused call is no call");
}

#[tokio::test]
async fn a_key_that_was_never_used_is_revoked_too() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let path = format!("{KEYS}/{}?reason=unused", key.id);
    let _ = workspace.admin("DELETE", &path).send().await.json(200);
    // No authorizer's answer is remembered: the gateway itself refuses.
    key.sync("").await.gateway(403);
}

#[tokio::test]
async fn revocation_needs_a_reason() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let path = format!("{KEYS}/{}", key.id);
    for (case, body, field) in [
        ("none", json!({}), "reason"),
        ("empty", json!({"reason": ""}), "reason"),
        ("300 characters", json!({"reason": "x".repeat(300)}), "reason"),
        ("unknown field", json!({"reason": "x", "force": true}), "force"),
    ] {
        let answer = workspace.admin("DELETE", &path).json(&body).send().await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{case}");
    }
    assert_eq!(workspace.admin("DELETE", &path).send().await.problem(422, "invalid"), ["reason"]);
    workspace.admin("DELETE", &path).body("{").send().await.problem(400, "malformed");
    let _ = key.sync("").await.expect(200);
}

// Rotate

#[tokio::test]
async fn without_grace_the_old_secret_ends_at_once() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let _ = key.sync("").await.expect(200);
    let (renewed, _) = workspace.rotate(&key.id, 0).await;
    key.sync("").await.problem(401, "unauthenticated");
    let _ = renewed.sync("").await.expect(200);
}

#[tokio::test]
async fn a_second_rotation_ends_the_secret_before_the_last() {
    let workspace = Workspace::new().await;
    let first = workspace.key().await;
    let _ = first.sync("").await.expect(200);
    let (second, _) = workspace.rotate(&first.id, 24).await;
    let _ = second.sync("").await.expect(200);
    let (third, _) = workspace.rotate(&first.id, 24).await;
    first.sync("").await.problem(401, "unauthenticated");
    let _ = second.sync("").await.expect(200);
    let _ = third.sync("").await.expect(200);
}

#[tokio::test]
async fn rotation_keeps_all_but_the_secret() {
    within_one_hour(20).await;
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"expires_in_days": 2, "user_id": "u-1"})).await;
    let _ = key.sync("").await.expect(200);
    let before = workspace.listed(&key.id).await;
    let (renewed, answer) = workspace.rotate(&key.id, 168).await;
    for field in ["id", "name", "permissions", "environment", "user_id", "created_at", "expires_at"] {
        assert_eq!(answer[field], before[field], "{field}");
    }
    assert_eq!(answer["previous_secret"]["last4"], before["last4"]);
    assert_eq!(answer["previous_secret"]["expires_at"], before["expires_at"], "grace never extends a key");
    let _ = renewed.sync("").await.expect(200);
    assert_eq!(workspace.usage(&key.id).await["calls"], 2, "usage goes on under the same id");
}

#[tokio::test]
async fn a_bad_rotation_changes_nothing() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let path = format!("{KEYS}/{}/rotate", key.id);
    for (case, body, field) in [
        ("negative", json!({"grace_hours": -1}), "grace_hours"),
        ("too long", json!({"grace_hours": 169}), "grace_hours"),
        ("text", json!({"grace_hours": "24"}), "grace_hours"),
        ("unknown field", json!({"hours": 1}), "hours"),
    ] {
        let answer = workspace.admin("POST", &path).json(&body).send().await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{case}");
    }
    workspace.admin("POST", &path).body("{").send().await.problem(400, "malformed");
    let _ = key.sync("").await.expect(200);
    assert_eq!(workspace.listed(&key.id).await.get("previous_secret"), None);

    workspace.revoke(&key.id).await;
    workspace.admin("POST", &path).json(&json!({})).send().await.problem(409, "conflict");
}

#[tokio::test]
async fn parallel_rotations_leave_one_current_secret() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let path = format!("{KEYS}/{}/rotate", key.id);
    let rotate = || workspace.admin("POST", &path).json(&json!({"grace_hours": 0})).send();
    let answers = futures::future::join_all((0..6).map(|_| rotate())).await;
    let mut working = 0;
    for answer in answers {
        match answer.status {
            201 => {
                let renewed = Key::of(&workspace.server, &answer.json(201));
                working += u32::from(renewed.sync("").await.status == 200);
            }
            _ => {
                answer.problem(409, "conflict");
            }
        }
    }
    assert_eq!(working, 1);
}

// Usage

#[tokio::test]
async fn every_call_is_counted_once_and_every_denial_by_its_cause() {
    within_one_hour(60).await;
    let workspace = Workspace::new().await;
    let key = workspace.key_with(json!({"permissions": ["read_metrics"], "sync_rate_limit": 4})).await;
    assert_eq!(workspace.usage(&key.id).await["calls"], 0);

    for _ in 0..3 {
        let _ = key.sync("").await.expect(200);
    }
    // A call that asks for nonsense, or for what it has, is a call.
    key.sync("?limit=0").await.problem(422, "invalid");
    for _ in 0..2 {
        key.sync("").await.problem(429, "rate-limited");
    }
    key.ingest(&[user(1)]).await.problem(403, "forbidden");
    workspace.revoke(&key.id).await;
    key.sync("").await.problem(401, "unauthenticated");

    let usage = workspace.usage(&key.id).await;
    assert_eq!(usage["date"], Utc::now().date_naive().to_string());
    assert_eq!(usage["calls"], 4);
    assert_eq!(usage["routes"], json!({"sync-users": 4}));
    assert_eq!(usage["denials"], json!({"rate_limited": 2, "permission": 1, "revoked": 1}));
    assert_eq!(workspace.listed(&key.id).await["calls_today"], 4);
}

#[tokio::test]
async fn a_bad_usage_query_is_named() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    for (query, field) in [("days=0", "days"), ("days=91", "days"), ("days=x", "days"), ("from=x", "from")] {
        let answer = workspace.admin("GET", &format!("{KEYS}/{}/usage?{query}", key.id)).send().await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{query}");
    }
}
