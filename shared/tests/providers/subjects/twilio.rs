//! Twilio, whose accounts can be known and still not work.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use shared::providers::{Cause, Provider};

use super::{Fault, Subject, hexadecimal};
use crate::fake::Reply;

pub fn account() -> Subject {
    let with = |status: &str| Reply::Json(200, shown(&sid(), status));
    let limited = Reply::With(429, vec![("retry-after", "2".to_owned())], error(20429, "Too Many Requests"));
    let other = format!("AC{}", hexadecimal(32));
    Subject {
        name: "twilio",
        provider: Provider::Twilio,
        endpoint: "twilio",
        credential: json!({"account_sid": sid(), "auth_token": auth_token()}),
        secrets: vec![auth_token(), STANDARD.encode(format!("{}:{}", sid(), auth_token()))],
        good: |seen| {
            assert_eq!(seen.method, "GET");
            assert_eq!(seen.path, format!("/2010-04-01/Accounts/{}.json", sid()));
            let basic = STANDARD.encode(format!("{}:{}", sid(), auth_token()));
            assert_eq!(seen.header("authorization"), format!("Basic {basic}"));
            Reply::Json(200, shown(&sid(), "active"))
        },
        calls: 1,
        answer: json!({"accountName": "Acme Ltd", "status": "active"}),
        scopes: vec!["account"],
        complains: |_, message| Reply::Json(401, error(20003, message)),
        faults: vec![
            Fault::new(
                "wrong token",
                0,
                Reply::Json(401, error(20003, "Authenticate")),
                Cause::Auth,
                "Authen",
            ),
            Fault::new(
                "not active",
                0,
                Reply::Json(401, error(20005, "not active")),
                Cause::Scope,
                "not active",
            ),
            Fault::new("suspended", 0, with("suspended"), Cause::Scope, "suspended"),
            Fault::new("closed", 0, with("closed"), Cause::Scope, "closed"),
            Fault::new("too many calls", 0, limited, Cause::RateLimited, "Too Many").after(2),
            Fault::new(
                "another account",
                0,
                Reply::Json(200, shown(&other, "active")),
                Cause::Provider,
                "account",
            ),
        ],
    }
}

fn shown(sid: &str, status: &str) -> Value {
    json!({"sid": sid, "friendly_name": "Acme Ltd", "status": status, "type": "Full"})
}

fn error(code: u32, message: &str) -> Value {
    json!({"code": code, "message": message, "more_info": "", "status": 401})
}

fn sid() -> String {
    format!("AC{}", hexadecimal(30))
}

fn auth_token() -> String {
    hexadecimal(31)
}
