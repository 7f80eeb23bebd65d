//! What only the embedded runner can show: the emulator does not know API Gateway's limit on the
//! size of a body, and commands work on the runner's state.

use std::{path::Path, process::Output, time::Duration};

use serde_json::{Value, json};
use tests::{Workspace, ledger::time, variable};
use tokio::process::Command;

/// Runs a command of the runner on the state of the server under test.
async fn tidegate(arguments: &[&str]) -> Output {
    let mut command = Command::new(Path::new(&variable("TIDEGATE_BINARIES")).join("tidegate"));
    let command = command.args(arguments).args(["--state", &variable("TIDEGATE_STATE")]);
    command.output().await.expect("the command runs")
}

#[tokio::test]
async fn a_trial_that_ends_is_counted_when_the_clock_says_so() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let trial = json!({
        "id": "subscription-1", "customer": "customer-1", "plan": "pro", "status": "trialing", "currency": "USD",
        "items": [{"unit_amount": 1_000, "interval": "month"}], "started_at": "2026-01-01T00:00:00Z",
        "trial_ends_at": time(chrono::Utc::now() + chrono::Duration::seconds(2)),
        "updated_at": "2026-01-01T00:00:00Z",
    });
    let call = workspace.server.request("PUT", "/api/ingest/subscriptions").key(&key.text);
    let _ = call.json(&json!({"items": [trial]})).send().await.expect(200);
    let verify = async || {
        let output = tidegate(&["ledger", "verify", "--json", "--workspace", &workspace.name]).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("a report")
    };
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(verify().await["entities"]["subscriptions"], 1);
    let event = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/ledger-due.json");
    let output = tidegate(&["invoke", "ledger-due", &event.to_string_lossy()]).await;
    assert!(output.status.success(), "{output:?}");
    // The server's own schedule may have come first: what counts is what is read then.
    assert_eq!(verify().await["overdue"], 0);
    let revenue = workspace.server.get("/api/devops/sync/revenue").key(&key.text).send().await.json(200);
    assert_eq!(
        (&revenue["active_subscriptions"], &revenue["monthly_recurring_revenue"]),
        (&json!(1), &json!(10)),
        "{revenue}"
    );
}

#[tokio::test]
async fn a_body_above_ten_megabytes_is_refused_by_the_gateway() {
    let workspace = Workspace::new().await;
    let key = workspace.key().await;
    let call = workspace.server.request("PUT", "/api/ingest/users").key(&key.text);
    call.body("x".repeat(10 * 1024 * 1024 + 1)).send().await.gateway(413);
}
