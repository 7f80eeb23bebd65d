//! Meta's Graph API.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use shared::providers::{Cause, Provider};

use super::{Fault, Subject, hexadecimal};
use crate::fake::{Reply, Seen};

pub fn token() -> Subject {
    let usage = json!({"1": [
        {"type": "ads_insights", "call_count": 100, "estimated_time_to_regain_access": 3},
        {"type": "ads_management", "call_count": 10, "estimated_time_to_regain_access": 0},
    ]});
    let header = vec![("x-business-use-case-usage", usage.to_string())];
    let throttled = |code: u32, message: &str| Reply::With(400, header.clone(), error(code, message));
    let expired = json!({"error": {"message": "Session has expired", "code": 190, "error_subcode": 463}});
    let echoed = format!("Malformed access token {}", access_token());
    Subject {
        name: "meta",
        provider: Provider::Meta,
        endpoint: "meta",
        credential: json!({"access_token": access_token()}),
        secrets: vec![access_token()],
        good,
        calls: 2,
        answer: json!({"accountName": "Acme Ads"}),
        scopes: vec!["ads_read"],
        complains: |_, message| Reply::Json(400, error(190, message)),
        faults: vec![
            Fault::new("expired token", 0, Reply::Json(400, expired), Cause::Auth, "expired"),
            Fault::new("token sent back", 0, Reply::Json(400, error(190, &echoed)), Cause::Auth, "not shown"),
            Fault::new(
                "no ads_read",
                1,
                Reply::Json(403, error(200, "needs ads_read")),
                Cause::Scope,
                "ads_read",
            ),
            Fault::new("permission denied", 1, Reply::Json(400, error(10, "denied")), Cause::Scope, "denied"),
            Fault::new(
                "account's limit",
                1,
                throttled(80_004, "too many calls"),
                Cause::RateLimited,
                "too many",
            )
            .after(180),
            Fault::new("app's limit", 0, Reply::Json(400, error(4, "limit")), Cause::RateLimited, "limit"),
            Fault::new("passing fault", 0, Reply::Json(500, error(2, "try later")), Cause::Provider, "later"),
            Fault::new("no list", 1, Reply::Json(200, json!({"data": {}})), Cause::Provider, "/data"),
        ],
    }
}

pub fn token_and_secret() -> Subject {
    Subject {
        name: "meta with the app's secret",
        credential: json!({"access_token": access_token(), "app_secret": hexadecimal(5)}),
        secrets: vec![access_token(), hexadecimal(5), proof()],
        good: |seen| {
            assert_eq!(seen.query["appsecret_proof"], proof());
            good(seen)
        },
        ..token()
    }
}

fn access_token() -> String {
    format!("EAA{}{}", hexadecimal(3), hexadecimal(4))
}

fn proof() -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, hexadecimal(5).as_bytes());
    let tag = hmac::sign(&key, access_token().as_bytes());
    tag.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn good(seen: &Seen) -> Reply {
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.header("authorization"), format!("Bearer {}", access_token()));
    assert!(!seen.query.contains_key("access_token"), "a token in a URL is logged");
    match seen.path.as_str() {
        "/v26.0/me" => Reply::Raw(
            200,
            "text/javascript; charset=UTF-8",
            json!({"id": "1", "name": "Acme Ads"}).to_string(),
        ),
        "/v26.0/me/adaccounts" => Reply::Json(200, json!({"data": []})),
        path => panic!("called {path}"),
    }
}

fn error(code: impl Into<Value>, message: &str) -> Value {
    json!({"error": {"message": message, "type": "OAuthException", "code": code.into(), "fbtrace_id": "A"}})
}
