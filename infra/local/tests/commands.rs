//! The commands for secrets and credentials: what they say, change and never show.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod common;
mod program;

use std::{io::Write, path::Path, process::Stdio};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use base64::prelude::{BASE64_STANDARD, Engine};
use common::send;
use program::{Server, run, text, tidegate, token};
use serde_json::{Value, json};

/// Sets a secret to what standard input holds; whether it was, and all that was said.
fn set(state: &Path, name: &str, value: &str, more: &[&str]) -> (bool, String) {
    let arguments = [&["secrets", "set", name], more].concat();
    let mut command = tidegate(state, &arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // It may refuse without reading.
    let _ = process.stdin.take().unwrap().write_all(value.as_bytes());
    let output = process.wait_with_output().unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// The findings of a check by name, and whether it succeeded.
fn check(state: &Path) -> (bool, Vec<(String, Value)>, String) {
    let output = run(state, &["secrets", "check", "--json"]);
    let said = text(&output.stdout);
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"));
    let found = report["secrets"].as_array().unwrap().iter();
    let found = found.map(|one| (one["name"].as_str().unwrap().to_owned(), one["finding"].clone())).collect();
    (output.status.success(), found, said)
}

/// Values that look right and are nobody's.
fn values() -> [(&'static str, String); 6] {
    let letters = "x".repeat(32);
    [
        ("STRIPE_API_KEY", format!("{}_test_{letters}", "sk")),
        ("STRIPE_WEBHOOK_SECRET", format!("{}_{letters}", "whsec")),
        ("GITHUB_APP_WEBHOOK_SECRET", letters.clone()),
        ("SHOPIFY_CLIENT_SECRET", "0".repeat(32)),
        ("DEVOPS_WEBHOOK_SECRET", letters),
        ("SMTP_PASSWORD", "a password".to_owned()),
    ]
}

#[test]
fn secrets_are_set_and_checked_with_and_without_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (passed, found, _) = check(&state);
    assert!(
        !passed && found.len() == 7 && found.iter().all(|(_, finding)| finding == "missing"),
        "{found:?}"
    );

    let server =
        Server::start(&state, &["--parameter", "RequiredSecrets=STRIPE_API_KEY,DEVOPS_WEBHOOK_SECRET"]);
    for (name, value) in values() {
        let (done, said) = set(&state, name, &format!("{value}\n"), &[]);
        assert!(done && !said.contains(&value), "{name}: {said}");
    }
    let (passed, found, said) = check(&state);
    assert!(passed, "GITHUB_APP_PRIVATE_KEY is not required here: {found:?}");
    assert!(values().iter().all(|(_, value)| !said.contains(value)), "{said}");
    // Stopped: the same secrets and the same parameters.
    server.kill();
    assert!(check(&state).0);
    let (done, said) = set(&state, "DEVOPS_WEBHOOK_SECRET", &"y".repeat(20), &[]);
    assert!(done && said.contains("24 hours"), "{said}");
    let table = run(&state, &["secrets", "check"]);
    assert!(table.status.success() && text(&table.stdout).lines().count() == 8, "{table:?}");
}

#[test]
fn what_does_not_look_right_is_set_by_force_only_and_then_reported() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    for (case, name, value, more, expected) in [
        ("malformed", "STRIPE_API_KEY", "pk_test_wrong", &[][..], "must be a secret or restricted key"),
        ("empty", "STRIPE_API_KEY", "\n", &["--force"], "no value"),
        ("unknown", "STRIPE_KEY", "x", &[], "SMTP_PASSWORD"),
        ("too long", "SMTP_PASSWORD", &"x".repeat(70_000), &["--force"], "65536"),
    ] {
        let (done, said) = set(&state, name, value, more);
        assert!(!done && said.contains(expected), "{case}: {said}");
        assert!(!said.contains("pk_test_wrong"), "{case}: {said}");
    }
    assert!(check(&state).1.iter().all(|(_, finding)| finding == "missing"));
    assert!(set(&state, "STRIPE_API_KEY", "pk_test_wrong", &["--force"]).0);
    let (passed, found, _) = check(&state);
    assert!(!passed && found.contains(&("STRIPE_API_KEY".to_owned(), json!("malformed"))), "{found:?}");
    let list = run(&state, &["secrets", "list"]);
    assert!(list.status.success() && text(&list.stdout).contains("malformed"), "{list:?}");
}

/// As variables hold it: in one line.
fn private_key() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let (der, label) = (BASE64_STANDARD.encode(pair.as_der().unwrap().as_ref()), "PRIVATE KEY");
    format!("-----BEGIN {label}-----\\n{der}\\n-----END {label}-----\\n")
}

/// Variables that are shown as they are.
const PUBLIC: [&str; 3] = ["SHOPIFY_SHOP", "GITHUB_APP_ID", "GITHUB_APP_INSTALLATION_ID"];

/// Variables that hold credentials, good and not.
fn environment(stripe: &str) -> Vec<(&'static str, String)> {
    vec![
        ("STRIPE_API_KEY", stripe.to_owned()),
        ("META_ACCESS_TOKEN", format!("EAA{}", "m".repeat(60))),
        ("SHOPIFY_SHOP", "acme.example.com".to_owned()),
        ("SHOPIFY_API_TOKEN", format!("{}_{}", "shpat", "0".repeat(32))),
        ("GITHUB_APP_ID", "123456".to_owned()),
        ("GITHUB_APP_INSTALLATION_ID", "7654321".to_owned()),
        ("GITHUB_APP_PRIVATE_KEY", private_key()),
        ("TWILIO_AUTH_TOKEN", "0".repeat(32)),
        ("GOOGLE_ACCESS_TOKEN", "ya29.short-lived".to_owned()),
    ]
}

/// Imports; whether it succeeded, outcomes by provider, and all that was said.
fn import(
    state: &Path,
    variables: &[(&str, String)],
    more: &[&str],
) -> (bool, Vec<(String, String)>, String) {
    let arguments = [&["credentials", "import-env", "--json"], more].concat();
    let mut command = tidegate(state, &arguments);
    let output = command.envs(variables.iter().map(|(name, value)| (name, value))).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| json!({"credentials": []}));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = report["credentials"].as_array().unwrap().iter();
    let lines = lines.map(|line| (word(&line["provider"]), word(&line["outcome"]))).collect();
    (output.status.success(), lines, said)
}

fn outcomes(of_good_ones: &str) -> Vec<(String, String)> {
    let expected = [
        ("meta", of_good_ones),
        ("shopify", "malformed"),
        ("stripe", of_good_ones),
        ("github", of_good_ones),
        ("twilio", "incomplete"),
        ("google", "unusable"),
    ];
    expected.map(|(provider, outcome)| (provider.to_owned(), outcome.to_owned())).to_vec()
}

async fn saved(url: &str, token: &str) -> Vec<Value> {
    let bearer = format!("Authorization: Bearer {token}");
    let answer = send(url, "GET /api/credentials/list", &[&bearer], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["credentials"].as_array().unwrap().clone()
}

#[tokio::test]
async fn variables_are_imported_once_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let stripe = format!("{}_test_{}", "sk", "s".repeat(40));
    let variables = environment(&stripe);
    let here = ["--workspace", "acme"];

    // Without a server, and nothing is kept.
    let (passed, lines, said) = import(&state, &variables, &[&here[..], &["--dry-run"]].concat());
    assert_eq!(lines, outcomes("would_import"), "{said}");
    assert!(!passed, "two of them cannot be imported: {said}");
    let server = Server::start(&state, &[]);
    let token = token(&state, "admin");
    assert_eq!(saved(&server.url, &token).await, Vec::<Value>::new());

    let (_, lines, said) = import(&state, &variables, &here);
    assert_eq!(lines, outcomes("imported"), "{said}");
    assert!(said.contains("SHOPIFY_SHOP") && said.contains("TWILIO_ACCOUNT_SID"), "{said}");
    let credentials = saved(&server.url, &token).await;
    assert_eq!(credentials.len(), 3, "{credentials:?}");
    for (name, value) in &variables {
        assert!(PUBLIC.contains(name) || !said.contains(value), "{name} is shown: {said}");
    }

    // By address and token, as against a system that is deployed.
    let there = ["--url", &server.url, "--token", &token];
    let (_, lines, said) = import(&state, &variables, &there);
    assert_eq!(lines, outcomes("skipped"), "{said}");
    let other = environment(&format!("{}_test_{}", "sk", "t".repeat(40)));
    assert_eq!(import(&state, &other, &here).1, outcomes("skipped"));
    assert_eq!(saved(&server.url, &token).await, credentials, "nothing is overwritten");
    let (passed, lines, said) = import(&state, &variables[..1], &[&here[..], &["--name", "second"]].concat());
    assert!(passed, "{said}");
    assert_eq!(lines, [("stripe".to_owned(), "imported".to_owned())], "{said}");

    // What is meant for a deployed system does not land here.
    let elsewhere = ["--url", "http://127.0.0.1:9"];
    let (passed, _, said) = import(&state, &variables, &[&here[..], &elsewhere].concat());
    assert!(!passed && said.contains("--url"), "{said}");

    let member = program::token(&state, "member");
    let (passed, lines, said) = import(&state, &variables, &["--url", &server.url, "--token", &member]);
    assert!(!passed && lines.is_empty() && said.contains("403"), "{said}");
    server.kill();
}
