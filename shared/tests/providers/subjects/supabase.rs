//! Supabase, by a key of the newer kind and by one of the older, which is a token.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use shared::providers::{Cause, Provider};

use super::{Fault, Subject, hexadecimal};
use crate::fake::{Reply, Seen};

pub const PROJECT: &str = "abcdefghijklmnopqrst";

pub fn secret_key() -> Subject {
    let gateway = Reply::Json(401, json!({"message": "Invalid API key", "hint": "Double check it."}));
    let paused = Reply::Json(540, json!({"message": "Project paused"}));
    Subject {
        name: "supabase",
        provider: Provider::Supabase,
        endpoint: "supabase",
        credential: json!({"url": url(), "service_key": secret()}),
        secrets: vec![secret()],
        good: |seen| {
            assert_eq!((seen.header("apikey"), seen.header("authorization")), (secret().as_str(), ""));
            users(seen)
        },
        calls: 1,
        answer: json!({"projectRef": PROJECT}),
        scopes: vec!["service_role"],
        complains: |_, message| Reply::Json(401, json!({"message": message})),
        faults: vec![
            Fault::new("rolled key", 0, gateway, Cause::Auth, "Invalid API key"),
            Fault::new("paused project", 0, paused, Cause::Provider, "paused"),
        ],
    }
}

pub fn service_role() -> Subject {
    let denied = json!({"code": 403, "error_code": "not_admin", "msg": "User not allowed"});
    Subject {
        name: "supabase by an older key",
        credential: json!({"url": format!("{}/", url()), "service_key": token(PROJECT, "service_role")}),
        secrets: vec![token(PROJECT, "service_role")],
        good: |seen| {
            let key = token(PROJECT, "service_role");
            assert_eq!(seen.header("apikey"), key);
            assert_eq!(seen.header("authorization"), format!("Bearer {key}"));
            users(seen)
        },
        complains: |_, message| Reply::Json(403, json!({"error_code": "bad_jwt", "msg": message})),
        faults: vec![Fault::new("not an admin", 0, Reply::Json(403, denied), Cause::Scope, "not allowed")],
        ..secret_key()
    }
}

/// An older key, signed by nobody.
pub fn token(project: &str, role: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "supabase", "ref": project, "role": role, "iat": 1, "exp": 4_000_000_000_u32});
    let header = json!({"alg": "HS256", "typ": "JWT"});
    format!("{}.{}.{}", part(&header), part(&claims), hexadecimal(41))
}

fn users(seen: &Seen) -> Reply {
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/auth/v1/admin/users"));
    assert_eq!(seen.query.get("per_page").map(String::as_str), Some("1"));
    Reply::Json(200, json!({"users": [{"id": "1", "email": "ada@acme.example"}], "aud": "authenticated"}))
}

fn url() -> String {
    format!("https://{PROJECT}.supabase.co")
}

fn secret() -> String {
    format!("sb_secret_{}", hexadecimal(40))
}
