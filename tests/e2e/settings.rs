//! `/api/services`

use serde_json::{Value, json};
use tests::Workspace;

const SERVICES: &str = "/api/services";
const META: &str = "/api/services/meta";

async fn credential(workspace: &Workspace) -> String {
    let token = format!("EAA{}{}", tests::random(), tests::random());
    let body = json!({"provider": "meta", "name": "ads", "credential": {"access_token": token}});
    let saved = workspace.admin("POST", "/api/credentials/save").json(&body).send().await.json(201);
    saved["id"].as_str().expect("an id").to_owned()
}

async fn read(workspace: &Workspace, path: &str) -> Value {
    workspace.member("GET", path).send().await.json(200)
}

#[tokio::test]
async fn a_service_is_set_and_tells_what_it_lacks() {
    let workspace = Workspace::new().await;
    let initial = read(&workspace, META).await;
    assert_eq!((&initial["enabled"], &initial["version"]), (&json!(false), &json!(0)));
    assert_eq!(initial["missing"], json!(["credential", "account"]));

    let id = credential(&workspace).await;
    let order = json!({
        "enabled": true, "account": "1234567890", "metrics": ["clicks", "spend"], "credential_id": id,
        "version": 0,
    });
    let set = workspace.admin("PUT", META).json(&order).send().await.json(200);
    assert_eq!((&set["account"], &set["metrics"]), (&json!("act_1234567890"), &json!(["spend", "clicks"])));
    assert_eq!((&set["ready"], &set["missing"], &set["version"]), (&json!(true), &json!([]), &json!(1)));
    assert_eq!(read(&workspace, META).await, set);

    let list = read(&workspace, SERVICES).await;
    let services = list["services"].as_array().expect("a list");
    let names: Vec<_> = services.iter().map(|service| service["service"].as_str().expect("a name")).collect();
    assert_eq!(names, ["stripe", "shopify", "meta", "ga4", "supabase", "github"]);
    assert_eq!(services[2], set);
    assert!(services.iter().filter(|one| one["service"] != "meta").all(|one| one["version"] == 0), "{list}");

    let _ = workspace.admin("DELETE", &format!("/api/credentials/{id}")).send().await.json(200);
    let lacking = read(&workspace, META).await;
    assert_eq!((&lacking["ready"], &lacking["missing"]), (&json!(false), &json!(["credential"])));
}

#[tokio::test]
async fn a_bad_order_names_every_field_and_sets_nothing() {
    let workspace = Workspace::new().await;
    for (case, body, fields) in [
        ("empty", json!({}), vec!["enabled", "version"]),
        (
            "all wrong",
            json!({"enabled": "yes", "account": "me", "metrics": ["orders"], "credential_id": "a#b", "version": -1, "x": 1}),
            vec!["account", "credential_id", "enabled", "metrics", "version", "x"],
        ),
        (
            "no such credential",
            json!({"enabled": true, "credential_id": "cred_00000000000000000000", "version": 0}),
            vec!["credential_id"],
        ),
    ] {
        let answer = workspace.admin("PUT", META).json(&body).send().await;
        let mut named = answer.problem(422, "invalid");
        named.sort();
        assert_eq!(named, fields, "{case}: {}", answer.text);
    }
    workspace.admin("PUT", META).body("{").send().await.problem(400, "malformed");
    assert_eq!(
        workspace.member("GET", &format!("{SERVICES}?x=1")).send().await.problem(422, "invalid"),
        ["x"]
    );
    assert_eq!(read(&workspace, META).await["version"], 0);
}

#[tokio::test]
async fn the_second_of_two_changes_is_shown_the_first() {
    let workspace = Workspace::new().await;
    let order = |enabled: bool| json!({"enabled": enabled, "version": 0});
    let first = workspace.admin("PUT", META).json(&order(true)).send().await.json(200);
    let second = workspace.admin("PUT", META).json(&order(false)).send().await;
    second.problem(409, "superseded");
    let problem: Value = serde_json::from_str(&second.text).expect("a problem is JSON");
    assert_eq!(problem["current"], first, "{}", second.text);
    assert_eq!(read(&workspace, META).await, first);
}

#[tokio::test]
async fn members_read_and_admins_of_the_workspace_change() {
    let (workspace, other) = (Workspace::new().await, Workspace::new().await);
    let foreign = credential(&other).await;
    let order = json!({"enabled": true, "version": 0});
    workspace.member("PUT", META).json(&order).send().await.problem(403, "forbidden");
    for (method, path) in [("GET", SERVICES), ("GET", META), ("PUT", META)] {
        workspace.server.request(method, path).send().await.gateway(401);
    }
    workspace.admin("GET", "/api/services/nothing").send().await.problem(404, "not-found");
    workspace.admin("PUT", "/api/services/nothing").json(&order).send().await.problem(404, "not-found");

    let stolen = json!({"enabled": true, "credential_id": foreign, "version": 0});
    let answer = workspace.admin("PUT", META).json(&stolen).send().await;
    assert_eq!(answer.problem(422, "invalid"), ["credential_id"], "another workspace's credential");
    let _ = workspace.admin("PUT", META).json(&order).send().await.json(200);
    assert_eq!(read(&other, META).await["version"], 0, "another workspace's settings");
}

#[tokio::test]
async fn a_change_is_in_the_activity_log() {
    let workspace = Workspace::new().await;
    let order = json!({"enabled": true, "account": "acme/shop", "version": 0});
    let _ = workspace.admin("PUT", "/api/services/github").json(&order).send().await.json(200);
    let log = read(&workspace, "/api/activity?target=github").await;
    let entries = log["entries"].as_array().unwrap_or_else(|| panic!("{log}"));
    assert_eq!(entries.len(), 1, "{log}");
    assert_eq!(entries[0]["action"], "service.changed", "{log}");
    assert_eq!(entries[0]["detail"]["account"], "acme/shop", "{log}");
}
