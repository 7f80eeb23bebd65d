//! A runner on a small template of its own, whose functions do what their events tell them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use shared::lambda::{Env, EnvError, Error, Function};
use tidegate::{
    functions::Registry,
    runner::{Config, Runner},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What each run's functions were invoked with, in order.
static SEEN: LazyLock<Mutex<HashMap<String, Vec<Value>>>> = LazyLock::new(Mutex::default);

pub struct Deps {
    run: String,
}

fn load(env: &Env, _sdk: &aws_config::SdkConfig) -> Result<Deps, EnvError> {
    Ok(Deps { run: env.optional("RUN")?.unwrap_or_default() })
}

fn record(deps: &Deps, kind: &str, event: &Value) -> usize {
    let mut seen = SEEN.lock().unwrap();
    let seen = seen.entry(deps.run.clone() + kind).or_default();
    seen.push(event.clone());
    seen.len()
}

/// What the function `kind` of the run was invoked with so far.
pub fn seen(run: &str, kind: &str) -> Vec<Value> {
    SEEN.lock().unwrap().get(&(run.to_owned() + kind)).cloned().unwrap_or_default()
}

async fn authorize(deps: Arc<Deps>, event: Value) -> Result<Value, Error> {
    let calls = record(&deps, "authorize", &event);
    match event["identitySource"][0].as_str().unwrap_or_default() {
        "fail" => Err("asked to fail".into()),
        "panic" => panic!("asked to panic"),
        "junk" => Ok(json!({"allowed": true})),
        "slow" => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(json!({"isAuthorized": true}))
        }
        token => {
            Ok(json!({"isAuthorized": token.starts_with("yes"), "context": {"token": token, "calls": calls}}))
        }
    }
}

async fn echo(deps: Arc<Deps>, event: Value) -> Result<Value, Error> {
    record(&deps, "echo", &event);
    Ok(json!({
        "statusCode": 200,
        "headers": {"content-type": "application/json", "access-control-allow-origin": "*"},
        "body": event.to_string(),
    }))
}

/// Answers with the request's own body, taken as the function's answer.
async fn answer(_deps: Arc<Deps>, event: Value) -> Result<Value, Error> {
    match event["body"].as_str().unwrap_or_default() {
        "fail" => Err("asked to fail".into()),
        "panic" => panic!("asked to panic"),
        "slow" => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(json!({}))
        }
        "long" => Ok(json!({"statusCode": 200, "body": "x".repeat(7 * 1024 * 1024)})),
        body => Ok(serde_json::from_str(body)?),
    }
}

async fn work(deps: Arc<Deps>, event: Value) -> Result<Value, Error> {
    record(&deps, "work", &event);
    let records = event["Records"].as_array().unwrap();
    if records.iter().any(|record| record["body"] == "all fail") {
        return Err("asked to fail".into());
    }
    let failed = records.iter().filter(|record| record["body"].as_str().unwrap().starts_with("poison"));
    let failed: Vec<_> = failed.map(|record| json!({"itemIdentifier": record["messageId"]})).collect();
    Ok(json!({"batchItemFailures": failed}))
}

async fn tick(deps: Arc<Deps>, event: Value) -> Result<Value, Error> {
    record(&deps, "tick", &event);
    Ok(Value::Null)
}

pub fn registry() -> Registry {
    BTreeMap::from([
        ("authorize", Function::event(load, authorize)),
        ("echo", Function::event(load, echo)),
        ("answer", Function::event(load, answer)),
        ("work", Function::event(load, work)),
        ("tick", Function::event(load, tick)),
    ])
}

pub fn config(state: &Path, parameters: &[(&str, &str)]) -> Config {
    Config {
        template: include_str!("template.yaml").to_owned(),
        functions: registry(),
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        state: state.to_owned(),
        bind: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        aws_port: 0,
        workers: true,
    }
}

/// A runner with a state directory of its own.
pub struct Running {
    pub runner: Runner,
    pub state: tempfile::TempDir,
}

/// `run` tells apart what this runner's functions saw.
pub async fn start(run: &str) -> Running {
    let state = tempfile::tempdir().unwrap();
    let runner = Runner::start(config(state.path(), &[("Run", run)])).await.unwrap();
    Running { runner, state }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

/// Sends exactly these bytes; the head must ask to close the connection.
pub async fn raw(url: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    // The other side may answer, and close, before it has read everything.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: bytes[at + 4..].to_vec() }
}

/// A request with a body and extra header lines.
pub async fn send(url: &str, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let length = format!("Content-Length: {}", body.len());
    for header in headers.iter().copied().chain((!body.is_empty()).then_some(length.as_str())) {
        request.extend([header, "\r\n"]);
    }
    let mut request = request.into_bytes();
    request.extend(b"\r\n");
    request.extend(body);
    raw(url, &request).await
}

/// Waits until `done`, for at most 15 seconds.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..300 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never happened: {what}");
}
