//! A GitHub App: its own token, and what that buys in an installation.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode, jwk::Jwk};
use serde_json::{Value, json};
use shared::{
    providers::{Cause, Provider},
    time,
};

use super::{Fault, Subject, hexadecimal};
use crate::fake::{Reply, Seen};

/// The key as GitHub gives it, and as other tools convert it.
pub static KEYS: LazyLock<[String; 2]> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = pair.as_der().unwrap();
    // PKCS#8 wraps the PKCS#1 key behind 26 bytes.
    [pem("RSA PRIVATE KEY", &der.as_ref()[26..]), pem("PRIVATE KEY", der.as_ref())]
});

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

pub fn app() -> Subject {
    Subject {
        name: "github",
        provider: Provider::Github,
        endpoint: "github",
        credential: json!({"app_id": 7, "installation_id": "42", "private_key": KEYS[0]}),
        secrets: secrets(&KEYS[0]),
        good: |seen| github(seen, "7"),
        calls: 4,
        answer: json!({"appName": "Acme Bot", "installations": 203}),
        scopes: vec!["contents:read", "issues:write"],
        complains: |_, message| Reply::Json(401, json!({"message": message})),
        faults: faults(),
    }
}

/// The same by the client id, and a key that other tools wrote and a variable held.
pub fn app_by_client_id() -> Subject {
    let escaped = KEYS[1].replace('\n', "\\n");
    Subject {
        name: "github by client id",
        credential: json!({"app_id": "Iv23liAcmeAcme", "installation_id": 42, "private_key": escaped}),
        secrets: secrets(&KEYS[1]),
        good: |seen| github(seen, "Iv23liAcmeAcme"),
        faults: Vec::new(),
        ..app()
    }
}

fn secrets(key: &str) -> Vec<String> {
    key.lines().map(str::to_owned).filter(|line| line.len() == 64).chain([token()]).collect()
}

fn token() -> String {
    format!("ghs_{}", hexadecimal(20))
}

fn faults() -> Vec<Fault> {
    let error = |status, message: &str| Reply::Json(status, json!({"message": message}));
    let limited = |status, headers: &[(&'static str, String)]| {
        Reply::With(status, headers.to_vec(), json!({"message": "API rate limit exceeded"}))
    };
    let reset = (time::now() - chrono::Duration::seconds(5)).timestamp().to_string();
    let spent = [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset)];
    let told = [("retry-after", "9".to_owned()), ("x-ratelimit-remaining", "0".to_owned())];
    let secondary = error(403, "You have exceeded a secondary rate limit.");
    let endless = linked(&json!([]), &[("next", 2)]);
    vec![
        Fault::new("bad token", 0, error(401, "could not be decoded"), Cause::Auth, "could not be decoded"),
        Fault::new("no such app", 0, error(404, "Integration not found"), Cause::Auth, "Integration"),
        Fault::new("uninstalled", 1, error(404, "Not Found"), Cause::Scope, "installation_id"),
        Fault::new("suspended", 1, error(403, "has been suspended"), Cause::Scope, "suspended"),
        Fault::new("told how long to wait", 1, limited(403, &told), Cause::RateLimited, "limit").after(9),
        Fault::new("allowance spent", 0, limited(403, &spent), Cause::RateLimited, "limit").after(0),
        Fault::new("secondary limit", 2, secondary, Cause::RateLimited, "secondary").after(60),
        Fault::new("limit of no length", 2, error(429, "slow"), Cause::RateLimited, "slow").after(60),
        Fault::new("no token", 1, Reply::Json(201, json!({"token": ""})), Cause::Provider, "a token"),
        Fault::new("no list", 3, Reply::Json(200, json!({})), Cause::Provider, "its installations"),
        Fault::new("an odd link", 3, endless, Cause::Provider, "an end"),
    ]
}

fn github(seen: &Seen, app: &str) -> Reply {
    assert_eq!(seen.header("accept"), "application/vnd.github+json");
    assert_eq!(seen.header("x-github-api-version"), "2022-11-28");
    signed(seen, app);
    let query = |name: &str| seen.query.get(name).map_or("", String::as_str);
    match (seen.method.as_str(), seen.path.as_str(), query("page")) {
        ("GET", "/app", "") => Reply::Json(200, json!({"id": 7, "slug": "acme-bot", "name": "Acme Bot"})),
        ("POST", "/app/installations/42/access_tokens", "") => Reply::Json(
            201,
            json!({
                "token": token(), "expires_at": "2099-01-01T00:00:00Z",
                "permissions": {"contents": "read", "issues": "write"}, "repository_selection": "all",
            }),
        ),
        ("GET", "/app/installations", "1") => {
            assert_eq!(query("per_page"), "100");
            linked(&page(100), &[("next", 2), ("last", 3)])
        }
        ("GET", "/app/installations", "3") => linked(&page(3), &[("first", 1), ("prev", 2)]),
        // A list that has no end goes on by its next pages.
        ("GET", "/app/installations", next) => {
            linked(&page(100), &[("next", next.parse::<u32>().unwrap() + 1)])
        }
        call => panic!("called {call:?}"),
    }
}

fn page(length: usize) -> Value {
    (0..length).map(|id| json!({"id": id})).collect()
}

/// A list with its `Link` header, whose URLs must not be called.
fn linked(list: &Value, links: &[(&str, u32)]) -> Reply {
    let links = links.iter().map(|(relation, page)| {
        format!("<https://evil.example/app/installations?per_page=100&page={page}>; rel=\"{relation}\"")
    });
    Reply::With(200, vec![("link", links.collect::<Vec<_>>().join(", "))], list.clone())
}

/// The call is made with a token that the app has just signed.
fn signed(seen: &Seen, app: &str) {
    let token = seen.header("authorization").strip_prefix("Bearer ").unwrap();
    let key = EncodingKey::from_rsa_pem(KEYS[0].as_bytes()).unwrap();
    let public = DecodingKey::from_jwk(&Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[app]);
    let claims = decode::<Value>(token, &public, &validation).unwrap().claims;
    let now = time::now().timestamp();
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    // Signed a minute back, as clocks differ, and some time ago on a busy machine.
    assert!((now - 120..=now - 60).contains(&iat), "{claims}");
    assert_eq!(exp - iat, 600, "{claims}");
}
