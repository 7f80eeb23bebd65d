//! The program itself: what it prints, refuses and survives.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod common;
mod program;

use std::{
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use common::send;
use program::{Server, run, text, token};
use serde_json::{Value, json};

async fn generate(url: &str, token: &str, name: &str) -> common::Answer {
    let bearer = format!("Authorization: Bearer {token}");
    let body = json!({"name": name}).to_string();
    send(url, "POST /api/devops/generate-key", &[&bearer, "Content-Type: application/json"], body.as_bytes())
        .await
}

async fn names(url: &str, token: &str) -> Vec<String> {
    let bearer = format!("Authorization: Bearer {token}");
    let answer = send(url, "GET /api/devops/keys?limit=100", &[&bearer], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_newcomer_gets_a_first_answer_from_what_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    // Without a server, and without a state directory.
    let token = token(&state, "admin");
    let began = Instant::now();
    let mut server = Server::start(&state, &[]);
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?} to serve", began.elapsed());
    assert_eq!(generate(&server.url, &token, "first").await.status, 201);
    assert_eq!(names(&server.url, &token).await, ["first"]);

    let curl = server.greeting.iter().find(|line| line.trim_start().starts_with("curl ")).unwrap();
    let output = Command::new("sh").args(["-c", curl]).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert!(answer["api_key"].as_str().unwrap().starts_with("rr_"), "{answer}");

    let mode = |name: &str| std::fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for name in ["access-key", "dev-issuer.pem", "dynamodb.db", "master-key", "running.json", "services.db"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    assert!(server.signal("TERM").success());
    let log = std::fs::read_to_string(state.with_extension("log")).unwrap();
    assert!(!log.contains(&token) && !log.contains("rr_"), "{log}");
}

#[tokio::test]
async fn a_taken_state_or_port_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut server = Server::start(&state, &[]);
    let port = server.url.rsplit(':').next().unwrap();
    let other = directory.path().join("other");
    for (case, state, arguments, expected) in [
        ("state", &state, vec!["--port", "0"], "--state DIR"),
        ("port", &other, vec!["serve", "--port", port], "--port"),
        ("AWS port", &other, vec!["--port", "0", "--aws-port", port], "--aws-port"),
        ("development elsewhere", &other, vec!["--port", "0", "--bind", "0.0.0.0"], "OidcIssuer"),
        ("unknown parameter", &other, vec!["--port", "0", "--parameter", "Nope=1"], "Nope"),
    ] {
        let output = run(state, &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{case}: {error}");
        assert_eq!(error.lines().count(), 1, "{case}: {error}");
        assert!(error.starts_with("tidegate: ") && error.contains(expected), "{case}: {error}");
    }
    // The first one does not mind.
    assert_eq!(generate(&server.url, &token(&state, "admin"), "still here").await.status, 201);
    assert!(server.signal("INT").success());
    let again = Server::start(&state, &[]);
    again.kill();
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let token = token(&state, "admin");
    let mut acknowledged = Vec::new();
    for round in 0..5_u64 {
        let server = Server::start(&state, &[]);
        let url = server.url.clone();
        let writer = {
            let token = token.clone();
            tokio::spawn(async move {
                let mut done = Vec::new();
                for count in 0.. {
                    let name = format!("{round}-{count}");
                    let Ok(answer) = tokio::spawn({
                        let (url, token, name) = (url.clone(), token.clone(), name.clone());
                        async move { generate(&url, &token, &name).await }
                    })
                    .await
                    else {
                        return done;
                    };
                    assert_eq!(answer.status, 201);
                    done.push(name);
                }
                done
            })
        };
        tokio::time::sleep(Duration::from_millis(150 + 70 * round)).await;
        server.kill();
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());
    let server = Server::start(&state, &[]);
    let mut found = Vec::new();
    let mut path = "GET /api/devops/keys?limit=100".to_owned();
    loop {
        let bearer = format!("Authorization: Bearer {token}");
        let page = send(&server.url, &path, &[&bearer], b"").await.json();
        found.extend(
            page["keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("GET /api/devops/keys?limit=100&cursor={cursor}");
    }
    for name in &acknowledged {
        assert!(found.contains(name), "{name} was acknowledged and is gone");
    }
    server.kill();
}

#[tokio::test]
async fn other_programs_reach_the_running_state_by_what_endpoints_prints() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let nothing = run(&state, &["endpoints"]);
    assert_eq!((nothing.status.code(), text(&nothing.stderr).lines().count()), (Some(1), 1));
    assert!(!state.exists(), "asking makes nothing");

    let server = Server::start(&state, &["--parameter", "TimeZone=Europe/Lisbon"]);
    generate(&server.url, &token(&state, "admin"), "x").await;
    let output = run(&state, &["endpoints"]);
    let text = text(&output.stdout);
    let variables: std::collections::BTreeMap<_, _> =
        text.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(variables["API_KEYS_TABLE"], "ApiKeysTable");
    assert_eq!(variables["TIME_ZONE"], "Europe/Lisbon");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variables["AWS_REGION"].to_owned()))
        .endpoint_url(variables["AWS_ENDPOINT_URL"])
        .credentials_provider(Credentials::new(
            variables["AWS_ACCESS_KEY_ID"],
            variables["AWS_SECRET_ACCESS_KEY"],
            None,
            None,
            "test",
        ))
        .build();
    let scan =
        aws_sdk_dynamodb::Client::from_conf(config).scan().table_name("ApiKeysTable").send().await.unwrap();
    assert!(scan.count() > 0);
    server.kill();
    assert_eq!(run(&state, &["endpoints"]).status.code(), Some(1), "killed, and no longer running");
}

#[tokio::test]
async fn a_function_can_be_invoked_on_the_state_with_and_without_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let event = directory.path().join("event.json");
    let request = json!({
        "version": "2.0", "routeKey": "GET /api/health", "rawPath": "/api/health", "rawQueryString": "",
        "headers": {"host": "localhost"}, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "localhost", "domainPrefix": "localhost",
            "http": {
                "method": "GET", "path": "/api/health", "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": "x",
            },
            "requestId": "1", "routeKey": "GET /api/health", "stage": "$default",
            "time": "20/Nov/2026:00:00:00 +0000", "timeEpoch": 1,
        },
    });
    std::fs::write(&event, request.to_string()).unwrap();
    let event = event.to_str().unwrap();
    let health = || {
        let output = run(&state, &["invoke", "health", event]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(answer["statusCode"], 200, "{answer}");
    };
    health();
    let server = Server::start(&state, &[]);
    health();
    for (case, arguments) in [
        ("unknown function", ["invoke", "nothing", event]),
        ("unreadable event", ["invoke", "health", "/nowhere"]),
    ] {
        let output = run(&state, &arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{case}");
    }
    std::fs::write(event, "[]").unwrap();
    let output = run(&state, &["invoke", "HealthFunction", event]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "a function's error");
    server.kill();
}
