//! What the end-to-end tests share: a server to talk to, people and tools to talk as.
//!
//! The tests know nothing of what serves them. Where it is, and the development issuer's key
//! with which they sign tokens, honest and hostile, they learn from `TIDEGATE_URL`,
//! `TIDEGATE_ISSUER_KEY` (a file) and `TIDEGATE_JWKS_URL`. Each test works in a [`Workspace`] of
//! its own, so all of them run against one server at the same time.

#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

pub mod ledger;
pub mod token;
pub mod webhooks;

use std::{collections::BTreeMap, time::Duration};

use chrono::{Timelike, Utc};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::token::Issuer;

/// In every credential and endpoint's secret that the tests have sealed; `tests/leaks.py` looks for it where nobody may
/// read one.
pub const SEALED: &str = "NobodyMayReadThisOfASealedCredential";

/// A server under test.
#[derive(Clone)]
pub struct Server {
    url: String,
    client: Client,
}

impl Server {
    /// The server that the environment names.
    #[must_use]
    pub fn named() -> Self {
        Self::at(&variable("TIDEGATE_URL"))
    }

    /// The server at a base URL.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let client = Client::builder().no_proxy().timeout(Duration::from_mins(1)).build();
        Self { url: url.trim_end_matches('/').to_owned(), client: client.expect("a client can be built") }
    }

    /// A request to be completed and sent.
    pub fn request(&self, method: &str, path: &str) -> Call {
        let method: Method = method.parse().expect("a method");
        let line = format!("{method} {path}");
        Call { line, request: self.client.request(method, format!("{}{path}", self.url)) }
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Call {
        self.request("GET", path)
    }
}

/// A request being built.
#[must_use = "it is not sent yet"]
pub struct Call {
    line: String,
    request: reqwest::RequestBuilder,
}

impl Call {
    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    /// Calls as the person of a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Calls as the tool of an API key.
    pub fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    /// Adds a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    /// Adds a body as it is, said to be JSON.
    pub fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self { request: self.request.body(body).header("content-type", "application/json"), ..self }
    }

    /// Adds raw bytes of a type.
    pub fn bytes(self, body: impl Into<reqwest::Body>, kind: &str) -> Self {
        Self { request: self.request.body(body).header("content-type", kind), ..self }
    }

    /// Sends it; a connection that fails fails the test.
    pub async fn send(self) -> Answer {
        let line = self.line.clone();
        self.try_send().await.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Sends it to a server that may be gone.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let response = self.request.send().await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        Ok(Answer { line: self.line, status, headers, text: response.text().await? })
    }
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    line: String,
    /// The status.
    pub status: u16,
    headers: BTreeMap<String, String>,
    /// The body.
    pub text: String,
}

impl Answer {
    /// Insists on a status; shows the body otherwise.
    #[track_caller]
    #[must_use = "the status is checked; use `ok` to end there"]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {} {:?}", self.line, self.text, self.headers);
        self
    }

    /// Insists on a status and returns the JSON body.
    #[track_caller]
    #[must_use]
    pub fn json(self, status: u16) -> Value {
        let answer = self.expect(status);
        let kind = answer.header("content-type");
        assert!(kind.starts_with("application/json"), "{}: {kind}", answer.line);
        serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text))
    }

    /// Insists on our own refusal, by its slug; returns the names of the fields it lists.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "most refusals name no field")]
    pub fn problem(&self, status: u16, slug: &str) -> Vec<String> {
        let shown = format!("{}: {} {}", self.line, self.status, self.text);
        assert_eq!(self.status, status, "{shown}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{shown}");
        let problem: Value = serde_json::from_str(&self.text).expect("a problem is JSON");
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{shown}");
        assert_eq!(problem["status"], status, "{shown}");
        for member in ["title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
        }
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .map(|error| {
                assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
                error["field"].as_str().expect("an error names its field").to_owned()
            })
            .collect()
    }

    /// Insists on a refusal by the gateway, before any function ran.
    #[track_caller]
    pub fn gateway(&self, status: u16) {
        let shown = format!("{}: {} {}", self.line, self.status, self.text);
        assert_eq!(self.status, status, "{shown}");
        let message = match status {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            413 => "Request Entity Too Large",
            _ => panic!("{shown}"),
        };
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        assert_eq!(body, json!({"message": message}), "{shown}");
    }

    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A header that holds a number.
    #[track_caller]
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        let value = self.header(name);
        value.parse().unwrap_or_else(|_| panic!("{}: {name}: {value:?} in {:?}", self.line, self.headers))
    }
}

/// A workspace that no other test knows.
#[derive(Clone)]
pub struct Workspace {
    /// Where it is.
    pub server: Server,
    /// Who signs its tokens.
    pub issuer: Issuer,
    /// Its name.
    pub name: String,
    admin: String,
    member: String,
}

/// An API key of a workspace.
#[derive(Clone)]
pub struct Key {
    server: Server,
    /// Its id.
    pub id: String,
    /// Its secret.
    pub text: String,
}

impl Workspace {
    /// A new workspace on the server that the environment names.
    pub async fn new() -> Self {
        let server = Server::named();
        let issuer = Issuer::named(&server).await;
        Self::on(server, issuer)
    }

    /// A new workspace on a server.
    #[must_use]
    pub fn on(server: Server, issuer: Issuer) -> Self {
        Self::called(format!("test-{}", random()), server, issuer)
    }

    /// The workspace of those who operate the deployment, which all tests share.
    pub async fn home() -> Self {
        let server = Server::named();
        let issuer = Issuer::named(&server).await;
        // What the runner takes unless told.
        let name = std::env::var("TIDEGATE_HOME_WORKSPACE").unwrap_or_else(|_| "acme".to_owned());
        Self::called(name, server, issuer)
    }

    fn called(name: String, server: Server, issuer: Issuer) -> Self {
        let admin = issuer.token(&name, "admin");
        let member = issuer.token(&name, "member");
        Self { server, issuer, name, admin, member }
    }

    /// A request by an admin.
    pub fn admin(&self, method: &str, path: &str) -> Call {
        self.server.request(method, path).bearer(&self.admin)
    }

    /// A request by a member.
    pub fn member(&self, method: &str, path: &str) -> Call {
        self.server.request(method, path).bearer(&self.member)
    }

    /// A key that may do everything, `more` being merged into what is asked for.
    pub async fn key_with(&self, more: Value) -> Key {
        let mut order = json!({"name": "partner", "permissions": ["read_metrics", "write_metrics"]});
        for (name, value) in more.as_object().expect("an object") {
            order[name] = value.clone();
        }
        let answer = self.admin("POST", "/api/devops/generate-key").json(&order).send().await;
        Key::of(&self.server, &answer.json(201))
    }

    /// A key that may do everything.
    pub async fn key(&self) -> Key {
        self.key_with(json!({})).await
    }

    /// The key as the list shows it.
    pub async fn listed(&self, id: &str) -> Value {
        let list = self.member("GET", "/api/devops/keys").send().await.json(200);
        let keys = list["keys"].as_array().expect("a list of keys");
        keys.iter().find(|key| key["id"] == id).expect("the key is listed").clone()
    }

    /// Revokes a key.
    pub async fn revoke(&self, id: &str) -> Value {
        let body = json!({"reason": "test"});
        self.admin("DELETE", &format!("/api/devops/keys/{id}")).json(&body).send().await.json(200)
    }

    /// Rotates a key.
    pub async fn rotate(&self, id: &str, grace_hours: u64) -> (Key, Value) {
        let body = json!({"grace_hours": grace_hours});
        let answer =
            self.admin("POST", &format!("/api/devops/keys/{id}/rotate")).json(&body).send().await.json(201);
        (Key::of(&self.server, &answer), answer)
    }

    /// The one day of usage that a key has in a test; all of it happened today.
    pub async fn usage(&self, id: &str) -> Value {
        let path = format!("/api/devops/keys/{id}/usage");
        let usage = self.member("GET", &path).send().await.json(200);
        let days = usage["days"].as_array().expect("a list of days");
        assert!(days.len() <= 1, "{usage}");
        days.first().cloned().unwrap_or_else(|| json!({"calls": 0, "routes": {}, "denials": {}}))
    }
}

impl Key {
    /// The key in an answer that shows one.
    #[must_use]
    pub fn of(server: &Server, answer: &Value) -> Self {
        let text = |name: &str| answer[name].as_str().expect("an issued key").to_owned();
        Self { server: server.clone(), id: text("id"), text: text("api_key") }
    }

    /// Where it is good.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Reads users; `query` begins with `?` or is empty.
    pub async fn sync(&self, query: &str) -> Answer {
        self.server.get(&format!("/api/devops/sync/users{query}")).key(&self.text).send().await
    }

    /// Sends users.
    pub async fn ingest(&self, items: &[Value]) -> Answer {
        self.ingest_kind("users", items).await
    }

    /// Sends entities of a kind, such as `transactions`.
    pub async fn ingest_kind(&self, kind: &str, items: &[Value]) -> Answer {
        let call = self.server.request("PUT", &format!("/api/ingest/{kind}")).key(&self.text);
        call.json(&json!({"items": items})).send().await
    }

    /// Sends users and returns the outcome of each.
    pub async fn outcomes(&self, items: &[Value]) -> Vec<String> {
        self.outcomes_of("users", items).await
    }

    /// Sends entities of a kind and returns the outcome of each.
    pub async fn outcomes_of(&self, kind: &str, items: &[Value]) -> Vec<String> {
        let answer = self.ingest_kind(kind, items).await.json(200);
        let results = answer["results"].as_array().expect("results");
        for (item, result) in items.iter().zip(results) {
            assert_eq!(item["id"], result["id"], "results come in order");
        }
        results.iter().map(|result| result["outcome"].as_str().expect("an outcome").to_owned()).collect()
    }
}

/// Waits until the clock hour has `seconds` left. Limits and usage count by the hour and the day:
/// a test that spans the end of one would see two of them.
pub async fn within_one_hour(seconds: u32) {
    let now = Utc::now();
    let left = 3600 - (now.minute() * 60 + now.second());
    if left <= seconds {
        tokio::time::sleep(Duration::from_secs(u64::from(left) + 1)).await;
    }
}

/// Letters that no other test has.
#[must_use]
pub fn random() -> String {
    let number = getrandom::u64().expect("the system gives random numbers");
    format!("{number:016x}")
}

/// A variable without which the tests cannot run.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; `make test` sets it"))
}
