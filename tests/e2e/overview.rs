//! `/api/devops/overview`

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Server, Workspace};
use tokio::time::sleep;

const OVERVIEW: &str = "/api/devops/overview";
/// Events are worked off from a queue.
const PATIENCE: Duration = Duration::from_mins(1);

async fn overview(workspace: &Workspace) -> Value {
    workspace.member("GET", OVERVIEW).send().await.json(200)
}

#[tokio::test]
async fn nothing_is_told_before_anything_happened() {
    let told = overview(&Workspace::new().await).await;
    let github = json!({"days": 30, "events": 0, "by_type": {}, "by_action": {}, "by_repository": {}});
    assert_eq!(
        (&told["health"], &told["deployments"], &told["alerts"], &told["github"]),
        (&Value::Null, &json!([]), &json!([]), &github),
        "{told}"
    );
}

#[tokio::test]
async fn only_people_of_the_workspace_read_it_and_parameters_are_refused() {
    Server::named().get(OVERVIEW).send().await.gateway(401);
    let workspace = Workspace::new().await;
    let refused = workspace.member("GET", &format!("{OVERVIEW}?days=7")).send().await;
    assert_eq!(refused.problem(422, "invalid"), ["days"]);
}

#[tokio::test]
async fn what_tools_tell_is_shown_newest_first() {
    let (workspace, other) = (Workspace::new().await, Workspace::new().await);
    let key = workspace.key_with(json!({"permissions": ["write_webhooks"]})).await;
    let deployment = |version: &str, time: &str| json!({"type": "deployment", "data": {"environment": "production", "version": version, "status": "success", "deployTime": 41.5, "timestamp": time}});
    for body in [
        deployment("1.1.0", "2026-01-02T00:00:00Z"),
        deployment("1.2.0", "2026-01-03T00:00:00Z"),
        deployment("1.0.0", "2026-01-01T00:00:00Z"),
        json!({"type": "alert", "data": {"severity": "critical", "message": "the shop is down", "timestamp": "2026-01-03T00:00:00Z"}}),
        json!({"type": "health", "data": {"uptime": 99.95, "response_ms": 120, "error_rate": 0.05, "timestamp": "2026-01-03T00:00:00Z"}}),
    ] {
        let sent = workspace.server.request("POST", "/api/devops/webhook").key(&key.text).json(&body);
        let _ = sent.send().await.json(200);
    }
    let begin = Instant::now();
    let told = loop {
        let told = overview(&workspace).await;
        let all = ["deployments", "alerts"].map(|list| told[list].as_array().map_or(0, Vec::len));
        if all == [3, 1] && !told["health"].is_null() {
            break told;
        }
        assert!(begin.elapsed() < PATIENCE, "{told}");
        sleep(Duration::from_millis(200)).await;
    };
    let deployments = told["deployments"].as_array().expect("a list");
    let versions: Vec<_> = deployments.iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, ["1.2.0", "1.1.0", "1.0.0"], "{told}");
    assert_eq!(
        (&deployments[0]["deployTime"], &deployments[0]["timestamp"]),
        (&json!(41.5), &json!("2026-01-03T00:00:00Z")),
        "{told}"
    );
    assert_eq!(told["alerts"][0]["severity"], "critical", "{told}");
    assert_eq!(told["health"]["uptime"], 99.95, "{told}");
    assert_eq!(overview(&other).await["deployments"], json!([]), "another workspace sees it");
}
