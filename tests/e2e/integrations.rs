//! `/api/integrations`

use serde_json::{Value, json};
use tests::Workspace;

const INTEGRATIONS: &str = "/api/integrations";
/// None that was ever given out.
const NOBODY: &str = "int_00000000000000000000";

fn order() -> Value {
    json!({"type": "custom", "provider": "acme-erp", "name": "ERP", "configuration": {"region": "eu"}})
}

async fn create(workspace: &Workspace, more: Value) -> Value {
    let mut body = order();
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    workspace.admin("POST", INTEGRATIONS).json(&body).send().await.json(201)
}

async fn listed(workspace: &Workspace) -> Vec<Value> {
    let list = workspace.member("GET", INTEGRATIONS).send().await.json(200);
    list["integrations"].as_array().expect("a list of integrations").clone()
}

fn path(integration: &Value) -> String {
    format!("{INTEGRATIONS}/{}", integration["id"].as_str().expect("an id"))
}

/// Saves a Stripe credential of test mode; `kind` says how the stand-in for Stripe takes it.
async fn credential(workspace: &Workspace, kind: &str) -> String {
    let key = format!("sk_{}_{kind}_{}_{}", "test", tests::SEALED, tests::random());
    let body = json!({"provider": "stripe", "name": "key", "credential": {"api_key": key}});
    let saved = workspace.admin("POST", "/api/credentials/save").json(&body).send().await.json(201);
    saved["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_integration_gets_the_documented_defaults_and_reads_back() {
    let workspace = Workspace::new().await;
    let body = json!({"type": "custom", "provider": "acme-erp", "name": "ERP"});
    let made = workspace.admin("POST", INTEGRATIONS).json(&body).send().await.json(201);
    assert_eq!((&made["environment"], &made["active"]), (&json!("live"), &json!(true)), "{made}");
    assert_eq!((&made["version"], &made["configuration"]), (&json!(1), &json!({})), "{made}");
    assert_eq!(
        (&made["credential_id"], &made["health"]["state"]),
        (&Value::Null, &json!("untested")),
        "{made}"
    );
    assert_eq!(workspace.member("GET", &path(&made)).send().await.json(200), made);
    let mut summary = made.clone();
    summary.as_object_mut().expect("an object").remove("configuration");
    assert_eq!(listed(&workspace).await, [summary], "a list shows all but the configuration");
}

#[tokio::test]
async fn a_bad_order_names_every_field_and_makes_nothing() {
    let workspace = Workspace::new().await;
    for (case, body, fields) in [
        ("empty", json!({}), vec!["type", "provider", "name"]),
        (
            "all of it",
            json!({
                "type": "erp", "provider": "A B", "name": "", "environment": "prod", "credential_id": "#",
                "active": "yes", "note": "", "require_test": 1, "configuration": [], "enabled": true,
            }),
            vec![
                "type",
                "provider",
                "name",
                "environment",
                "credential_id",
                "active",
                "note",
                "require_test",
                "enabled",
                "configuration",
            ],
        ),
        (
            "another's provider",
            json!({"type": "billing", "provider": "paypal", "name": "x"}),
            vec!["provider"],
        ),
        (
            "a field that the provider lacks",
            json!({"type": "analytics", "provider": "ga4", "name": "x", "configuration": {"property": "1"}}),
            vec!["configuration.property"],
        ),
        (
            "secrets",
            json!({
                "type": "custom", "provider": "x", "name": "x",
                "configuration": {"api_key": "x", "deep": {"password": "x"}, "region": "eu"},
            }),
            vec!["configuration.api_key", "configuration.deep.password"],
        ),
        (
            "a credential that is not there",
            json!({"type": "billing", "provider": "stripe", "name": "x", "credential_id": "cred_x"}),
            vec!["credential_id"],
        ),
    ] {
        let answer = workspace.admin("POST", INTEGRATIONS).json(&body).send().await;
        assert_eq!(answer.problem(422, "invalid"), fields, "{case}");
    }
    workspace.admin("POST", INTEGRATIONS).body("{").send().await.problem(400, "malformed");
    assert_eq!(listed(&workspace).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_change_is_a_version_and_rolling_back_restores_exactly() {
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({"note": "first"})).await;
    let path = path(&made);
    let change = json!({
        "version": 1, "name": "ERP 2", "configuration": {"region": "us", "lines": [1, 2]}, "note": "moved",
    });
    let changed = workspace.admin("PUT", &path).json(&change).send().await.json(200);
    assert_eq!((&changed["version"], &changed["name"]), (&json!(2), &json!("ERP 2")), "{changed}");
    assert_eq!(changed["environment"], "live", "what is left out stays");

    let differs = workspace.member("GET", &format!("{path}/versions/2/diff")).send().await.json(200);
    let expected = json!([
        {"change": "added", "path": "/configuration/lines", "to": [1, 2]},
        {"change": "changed", "path": "/configuration/region", "from": "eu", "to": "us"},
        {"change": "changed", "path": "/name", "from": "ERP", "to": "ERP 2"},
    ]);
    assert_eq!(differs, json!({"from": 1, "to": 2, "differences": expected}));
    let back = workspace.member("GET", &format!("{path}/versions/1/diff?against=2")).send().await.json(200);
    assert_eq!(back["differences"].as_array().map(Vec::len), Some(3), "{back}");

    let body = json!({"version": 1, "note": "back"});
    let restored = workspace.admin("POST", &format!("{path}/rollback")).json(&body).send().await.json(200);
    assert_eq!(restored["version"], 3);
    assert_eq!(restored["configuration"], json!({"region": "eu"}));
    assert_eq!(restored["name"], "ERP 2", "the name stays");

    let versions = workspace.member("GET", &format!("{path}/versions?limit=2")).send().await.json(200);
    let notes: Vec<_> = versions["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| (version["version"].clone(), version["note"].clone()))
        .collect();
    assert_eq!(notes, [(json!(3), json!("back")), (json!(2), json!("moved"))]);
    assert_eq!(versions["versions"][0]["restored_from"], 1);
    let cursor = versions["next_cursor"].as_str().expect("there is more");
    let rest =
        workspace.member("GET", &format!("{path}/versions?limit=2&cursor={cursor}")).send().await.json(200);
    assert_eq!(
        (&rest["versions"][0]["note"], &rest["next_cursor"]),
        (&json!("first"), &Value::Null),
        "{rest}"
    );
}

#[tokio::test]
async fn of_those_who_change_one_version_one_wins_and_the_others_see_the_newer() {
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({})).await;
    let path = path(&made);
    let change = |number: u64| {
        let body = json!({"version": 1, "configuration": {"author": number}});
        workspace.admin("PUT", &path).json(&body).send()
    };
    let answers = futures::future::join_all((0..6).map(change)).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    let winner = workspace.member("GET", &path).send().await.json(200);
    assert_eq!(winner["version"], 2);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(409, "superseded");
        let problem: Value = serde_json::from_str(&answer.text).expect("a problem is JSON");
        assert_eq!(problem["current"], winner);
    }
    // Who saw the newest version may change it; who sends the same again loses nothing.
    for _ in 0..2 {
        let body = json!({"version": 2, "active": false});
        let answer = workspace.admin("PUT", &path).json(&body).send().await.json(200);
        assert_eq!((&answer["version"], &answer["active"]), (&json!(3), &json!(false)));
    }
}

#[tokio::test]
async fn a_bad_change_names_every_field_and_changes_nothing() {
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({})).await;
    let path = path(&made);
    for (case, method, path, body, fields) in [
        ("empty", "PUT", path.clone(), json!({}), vec!["version"]),
        ("nothing to change", "PUT", path.clone(), json!({"version": 1}), vec!["configuration"]),
        (
            "all of it",
            "PUT",
            path.clone(),
            json!({"version": 0, "name": "", "type": "sms", "configuration": {"token": "x"}}),
            vec!["version", "name", "type", "configuration.token"],
        ),
        ("no version", "POST", format!("{path}/rollback"), json!({}), vec!["version"]),
        (
            "a bad rollback",
            "POST",
            format!("{path}/rollback"),
            json!({"version": "1", "note": 7, "to": 1}),
            vec!["version", "note", "to"],
        ),
        (
            "a bad candidate",
            "POST",
            format!("{path}/test"),
            json!({"environment": "x", "configuration": {"secret": 1}, "name": "x"}),
            vec!["environment", "name", "configuration.secret"],
        ),
    ] {
        let answer = workspace.admin(method, &path).json(&body).send().await;
        assert_eq!(answer.problem(422, "invalid"), fields, "{case}");
    }
    let rollback = workspace.admin("POST", &format!("{path}/rollback")).json(&json!({"version": 7}));
    rollback.send().await.problem(404, "not-found");
    for (query, field) in [
        (format!("{INTEGRATIONS}?limit=0"), "limit"),
        (format!("{INTEGRATIONS}?cursor=junk"), "cursor"),
        (format!("{path}/versions?limit=51"), "limit"),
        (format!("{path}/versions?cursor=junk"), "cursor"),
        (format!("{path}/versions/1/diff?against=x"), "against"),
        (format!("{path}?full=1"), "full"),
    ] {
        let answer = workspace.admin("GET", &query).send().await;
        assert_eq!(answer.problem(422, "invalid"), [field], "{query}");
    }
    assert_eq!(workspace.member("GET", &path).send().await.json(200), made);
}

#[tokio::test]
async fn what_cannot_be_proven_is_told_and_not_stored() {
    let workspace = Workspace::new().await;
    let custom = path(&create(&workspace, json!({})).await);
    workspace.admin("POST", &format!("{custom}/test")).json(&json!({})).send().await.problem(409, "conflict");

    let made =
        create(&workspace, json!({"type": "billing", "provider": "stripe", "configuration": {}})).await;
    let path = path(&made);
    let tested = workspace.admin("POST", &format!("{path}/test")).send().await.json(200);
    assert_eq!(
        (&tested["verified"], &tested["cause"]),
        (&json!(false), &json!("credential_missing")),
        "{tested}"
    );
    let change = json!({"version": 1, "configuration": {"account_id": "acct_1"}, "require_test": true});
    let refused = workspace.admin("PUT", &path).json(&change).send().await;
    refused.problem(409, "unproven");
    let problem: Value = serde_json::from_str(&refused.text).expect("a problem is JSON");
    assert_eq!(problem["cause"], "credential_missing");
    assert_eq!(workspace.member("GET", &path).send().await.json(200)["version"], 1);
}

#[tokio::test]
async fn a_candidate_is_tested_before_it_is_stored() {
    let workspace = Workspace::new().await;
    let (good, bad) = (credential(&workspace, "good").await, credential(&workspace, "revoked").await);
    let body = json!({
        "type": "billing", "provider": "stripe", "environment": "test", "configuration": {},
        "credential_id": good, "require_test": true,
    });
    let made = create(&workspace, body).await;
    assert_eq!(made["health"]["state"], "working", "{made}");
    let path = path(&made);
    let test = |body: Value| workspace.admin("POST", &format!("{path}/test")).json(&body).send();
    let proven = json!({"verified": true, "accountName": "Stand-in", "livemode": false});
    assert_eq!(test(json!({})).await.json(200), proven);
    for (case, candidate, cause) in [
        ("another credential", json!({"credential_id": bad}), "auth"),
        ("a key of test mode for real data", json!({"environment": "live"}), "scope"),
        ("none", json!({"credential_id": ""}), "credential_missing"),
    ] {
        let tested = test(candidate.clone()).await.json(200);
        assert_eq!(
            (&tested["verified"], &tested["cause"]),
            (&json!(false), &json!(cause)),
            "{case}: {tested}"
        );
        let mut change = candidate;
        change["version"] = json!(1);
        change["require_test"] = json!(true);
        let refused = workspace.admin("PUT", &path).json(&change).send().await;
        refused.problem(409, "unproven");
        let problem: Value = serde_json::from_str(&refused.text).expect("a problem is JSON");
        assert_eq!(problem["cause"], cause, "{case}: {problem}");
    }
    let kept = workspace.member("GET", &path).send().await.json(200);
    assert_eq!((&kept["version"], &kept["health"]["state"]), (&json!(1), &json!("working")), "{kept}");

    // Without the test it is stored; then it fails, and mending it is seen.
    let body = json!({"version": 1, "credential_id": bad});
    let changed = workspace.admin("PUT", &path).json(&body).send().await.json(200);
    assert_eq!(changed["health"]["state"], "untested", "{changed}");
    assert_eq!(test(json!({})).await.json(200)["verified"], false);
    let body = json!({"version": 1, "require_test": true});
    let back = workspace.admin("POST", &format!("{path}/rollback")).json(&body).send().await.json(200);
    assert_eq!(
        (&back["credential_id"], &back["health"]["state"]),
        (&json!(good), &json!("working")),
        "{back}"
    );
    let target = made["id"].as_str().expect("an id");
    let told = workspace.member("GET", &format!("/api/activity?target={target}")).send().await.json(200);
    let mut actions: Vec<_> = told["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["action"].as_str()?.strip_prefix("integration."))
        .collect();
    // Two entries of one transaction have one time.
    actions[..2].sort_unstable();
    assert_eq!(actions, ["recovered", "rolled_back", "failing", "updated", "created"]);
}

#[tokio::test]
async fn a_credential_that_was_deleted_shows_and_can_be_replaced() {
    let workspace = Workspace::new().await;
    let (first, second) = (credential(&workspace, "good").await, credential(&workspace, "good").await);
    let body = json!({"type": "billing", "provider": "stripe", "configuration": {}, "credential_id": first});
    let made = create(&workspace, body).await;
    let path = path(&made);
    let state = |integration: &Value| integration["health"]["state"].clone();
    assert_eq!(state(&made), "untested");

    let _ = workspace.admin("DELETE", &format!("/api/credentials/{first}")).send().await.json(200);
    assert_eq!(state(&workspace.member("GET", &path).send().await.json(200)), "credential_missing");
    assert_eq!(state(&listed(&workspace).await[0]), "credential_missing");
    let tested = workspace.admin("POST", &format!("{path}/test")).send().await.json(200);
    assert_eq!(
        (&tested["verified"], &tested["cause"]),
        (&json!(false), &json!("credential_missing")),
        "{tested}"
    );

    // A change of something else leaves it; another one may be named, or none.
    let renamed =
        workspace.admin("PUT", &path).json(&json!({"version": 1, "name": "x"})).send().await.json(200);
    assert_eq!(state(&renamed), "credential_missing");
    let body = json!({"version": 2, "credential_id": second});
    let replaced = workspace.admin("PUT", &path).json(&body).send().await.json(200);
    assert_eq!(
        (&replaced["credential_id"], state(&replaced)),
        (&json!(second), json!("failing")),
        "{replaced}"
    );
    let body = json!({"version": 3, "credential_id": ""});
    let none = workspace.admin("PUT", &path).json(&body).send().await.json(200);
    assert_eq!(none["credential_id"], Value::Null, "{none}");

    let other = Workspace::new().await;
    let theirs = credential(&other, "good").await;
    let stolen = json!({"version": 4, "credential_id": theirs});
    let answer = workspace.admin("PUT", &path).json(&stolen).send().await;
    assert_eq!(answer.problem(422, "invalid"), ["credential_id"], "another workspace's is not there");
}

#[tokio::test]
async fn deleting_leaves_versions_and_activity() {
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({})).await;
    let path = path(&made);
    let deleted = workspace.admin("DELETE", &path).send().await.json(200);
    assert_eq!(deleted, made);
    workspace.member("GET", &path).send().await.problem(404, "not-found");
    workspace.admin("DELETE", &path).send().await.problem(404, "not-found");
    assert_eq!(listed(&workspace).await, Vec::<Value>::new());
    let versions = workspace.member("GET", &format!("{path}/versions")).send().await.json(200);
    assert_eq!(versions["versions"][0]["configuration"], json!({"region": "eu"}));
    let target = made["id"].as_str().expect("an id");
    let told = workspace.member("GET", &format!("/api/activity?target={target}")).send().await.json(200);
    let actions: Vec<_> =
        told["entries"].as_array().expect("entries").iter().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, ["integration.deleted", "integration.created"]);
}

#[tokio::test]
async fn the_list_has_pages_newest_first() {
    let (workspace, other) = (Workspace::new().await, Workspace::new().await);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, create(&workspace, json!({})).await["id"].clone());
    }
    let (mut ids, mut path) = (Vec::new(), format!("{INTEGRATIONS}?limit=2"));
    for length in [2, 2, 1] {
        let page = workspace.member("GET", &path).send().await.json(200);
        let read = page["integrations"].as_array().expect("integrations");
        assert_eq!(read.len(), length, "{page}");
        ids.extend(read.iter().map(|one| one["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{INTEGRATIONS}?limit=2&cursor={cursor}"),
            None => assert_eq!(length, 1, "only the last page has no successor"),
        }
    }
    assert_eq!(ids, made);
    assert_eq!(other.admin("GET", &path).send().await.problem(422, "invalid"), ["cursor"]);
}

fn routes(path: &str) -> [(&'static str, String, Value); 9] {
    [
        ("POST", INTEGRATIONS.to_owned(), order()),
        ("GET", INTEGRATIONS.to_owned(), Value::Null),
        ("GET", path.to_owned(), Value::Null),
        ("PUT", path.to_owned(), json!({"version": 1, "name": "x"})),
        ("DELETE", path.to_owned(), Value::Null),
        ("GET", format!("{path}/versions"), Value::Null),
        ("GET", format!("{path}/versions/1/diff"), Value::Null),
        ("POST", format!("{path}/rollback"), json!({"version": 1})),
        ("POST", format!("{path}/test"), json!({})),
    ]
}

#[tokio::test]
async fn without_a_token_nothing_of_integrations_answers() {
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({})).await;
    let key = workspace.key().await;
    for (method, path, body) in routes(&path(&made)) {
        workspace.server.request(method, &path).json(&body).send().await.gateway(401);
        workspace.server.request(method, &path).key(&key.text).json(&body).send().await.gateway(401);
    }
    assert_eq!(listed(&workspace).await.len(), 1);
}

#[tokio::test]
async fn members_read_and_change_nothing() {
    let workspace = Workspace::new().await;
    let made = create(&workspace, json!({})).await;
    for (method, path, body) in routes(&path(&made)) {
        if method == "GET" {
            let _ = workspace.member(method, &path).send().await.json(200);
        } else {
            workspace.member(method, &path).json(&body).send().await.problem(403, "forbidden");
        }
    }
    assert_eq!(workspace.member("GET", &path(&made)).send().await.json(200), made);
    assert_eq!(listed(&workspace).await.len(), 1);
}

#[tokio::test]
async fn an_integration_of_another_workspace_is_not_there() {
    let (mine, other) = (Workspace::new().await, Workspace::new().await);
    let made = create(&other, json!({})).await;
    let theirs = made["id"].as_str().expect("an id");
    for id in [theirs, NOBODY, "int_", "%23", "..."] {
        for (method, path, body) in routes(&format!("{INTEGRATIONS}/{id}")).into_iter().skip(2) {
            let call = mine.admin(method, &path);
            let call = if method == "GET" || method == "DELETE" { call } else { call.json(&body) };
            call.send().await.problem(404, "not-found");
        }
    }
    assert_eq!(other.member("GET", &path(&made)).send().await.json(200), made);
    assert_eq!(listed(&mine).await, Vec::<Value>::new());
}
