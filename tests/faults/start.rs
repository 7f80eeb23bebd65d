//! Starting and stopping.

use std::time::{Duration, Instant};

use tokio::process::Command;

use super::{Running, State, port, serve, tidegate};

/// Runs a command that must fail; returns what it says.
async fn refusal(mut command: Command) -> String {
    let output = command.output().await.expect("the runner can be started");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test]
async fn a_built_runner_answers_within_a_second() {
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    // The first start makes keys and tables.
    Running::start(&state, free).await.kill().await;
    let begin = Instant::now();
    let _running = Running::start(&state, free).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let state = State::new();
    let (_listener, taken) = port();
    let message = refusal(serve(&state, taken)).await;
    assert!(message.contains(&taken.to_string()) && message.contains("in use"), "{message}");
}

#[tokio::test]
async fn a_taken_state_directory_is_told_and_left_alone() {
    let state = State::new();
    let (listener, first) = port();
    drop(listener);
    let running = Running::start(&state, first).await;
    let (listener, second) = port();
    drop(listener);
    let message = refusal(serve(&state, second)).await;
    assert!(message.contains(&*state.path().to_string_lossy()), "{message}");
    assert!(running.answers().await, "the first one goes on");
}

#[tokio::test]
async fn a_stop_is_graceful_and_the_state_is_free_again() {
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let mut running = Running::start(&state, free).await;
    let id = running.child.id().expect("it runs").to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().await.expect("a signal can be sent");
    assert!(told.success());
    let ended = tokio::time::timeout(Duration::from_secs(20), running.child.wait()).await;
    let ended = ended.expect("it ends soon").expect("it ends");
    assert!(ended.success(), "{ended}");
    let _again = Running::start(&state, free).await;
}

#[tokio::test]
async fn the_token_command_prints_a_token_that_works_and_nothing_else() {
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let running = Running::start(&state, free).await;
    for (role, status) in [("admin", 201), ("member", 403)] {
        let mut command = tidegate();
        command.args(["token", "--role", role, "--workspace", "acme", "--state"]).arg(state.path());
        let output = command.output().await.expect("the command runs");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let token = String::from_utf8(output.stdout).expect("text");
        let token = token.strip_suffix('\n').expect("one line");
        assert!(!token.contains(char::is_whitespace), "{token}");
        let generate = running.server.request("POST", "/api/devops/generate-key").bearer(token);
        let _ = generate.json(&serde_json::json!({"name": "x"})).send().await.expect(status);
    }
}

#[tokio::test]
async fn a_bearer_tokens_issuer_outlives_a_restart() {
    let state = State::new();
    let (listener, free) = port();
    drop(listener);
    let running = Running::start(&state, free).await;
    let workspace = running.workspace(&state).await;
    let key = workspace.key().await;
    let _ = key.sync("").await.expect(200);
    running.kill().await;
    let _running = Running::start(&state, free).await;
    assert_eq!(workspace.listed(&key.id).await["calls_today"], 1);
    let _ = key.sync("").await.expect(200);
}
