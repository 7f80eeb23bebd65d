//! Stripe, to which keys may be known and still not read.

use serde_json::{Value, json};
use shared::providers::{Cause, Provider};

use super::{Fault, Subject, hexadecimal};
use crate::fake::{Reply, Seen};

pub fn secret() -> Subject {
    let limited =
        Reply::With(429, vec![("retry-after", "7".to_owned())], error("rate_limit", "Too many requests"));
    let named = Reply::Json(200, json!({"business_profile": {"name": format!("Acme {}", secret_key())}}));
    Subject {
        name: "stripe",
        provider: Provider::Stripe,
        endpoint: "stripe",
        credential: json!({"api_key": secret_key()}),
        secrets: vec![secret_key()],
        good: |seen| {
            assert_eq!(seen.path, "/v1/account");
            asked(seen, &secret_key());
            let settings = json!({"dashboard": {"display_name": "Acme Ltd"}});
            Reply::Json(200, json!({"id": "acct_1", "object": "account", "settings": settings}))
        },
        calls: 1,
        answer: json!({"accountName": "Acme Ltd", "livemode": true}),
        scopes: vec!["account"],
        complains: |_, message| Reply::Json(401, error("api_key_expired", message)),
        faults: vec![
            Fault::new(
                "rolled key",
                0,
                Reply::Json(401, error("api_key_expired", "Expired API Key")),
                Cause::Auth,
                "Expired",
            ),
            Fault::new("a name that is the key", 0, named, Cause::Provider, "repeats the credential"),
            Fault::new("too many calls", 0, limited, Cause::RateLimited, "Too many").after(7),
            Fault::new(
                "a list for an account",
                0,
                Reply::Json(200, json!([])),
                Cause::Provider,
                "the account",
            ),
        ],
    }
}

pub fn restricted() -> Subject {
    let other_mode = Reply::Json(200, json!({"object": "balance", "livemode": true}));
    Subject {
        name: "stripe by a restricted key",
        credential: json!({"api_key": restricted_key()}),
        secrets: vec![restricted_key()],
        good: |seen| {
            asked(seen, &restricted_key());
            match seen.path.as_str() {
                "/v1/account" => Reply::Json(403, error("more_permissions_required", "needs more")),
                "/v1/balance" => Reply::Json(200, json!({"object": "balance", "livemode": false})),
                path => panic!("called {path}"),
            }
        },
        calls: 2,
        answer: json!({"accountName": null, "livemode": false}),
        scopes: vec!["balance"],
        faults: vec![
            Fault::new(
                "nothing may be read",
                1,
                Reply::Json(403, error("more_permissions_required", "needs rak_balance_read")),
                Cause::Scope,
                "rak_balance_read",
            ),
            Fault::new("the other mode", 1, other_mode, Cause::Provider, "mode"),
        ],
        ..secret()
    }
}

fn asked(seen: &Seen, key: &str) {
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.header("authorization"), format!("Bearer {key}"));
    assert_eq!(seen.header("stripe-version"), "2026-10-28.endive");
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"type": "invalid_request_error", "code": code, "message": message}})
}

fn secret_key() -> String {
    format!("sk_{}_{}", "live", hexadecimal(10))
}

fn restricted_key() -> String {
    format!("rk_{}_{}", "test", hexadecimal(11))
}
