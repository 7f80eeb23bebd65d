//! A service account and the endpoint that sells tokens to it.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode, jwk::Jwk};
use serde_json::{Value, json};

use super::{Fault, hexadecimal};
use crate::fake::{Reply, Seen};
use shared::providers::Cause;

pub const EMAIL: &str = "tidegate@project.iam.gserviceaccount.example";

static PRIVATE_KEY: LazyLock<String> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = STANDARD.encode(pair.as_der().unwrap().as_ref());
    let lines: Vec<_> = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let kind = "PRIVATE KEY";
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
});

/// The key file, with URLs that must not be called.
pub fn key_file() -> Value {
    json!({
        "type": "service_account", "project_id": "project", "private_key_id": hexadecimal(1),
        "private_key": *PRIVATE_KEY, "client_email": EMAIL, "client_id": "1",
        "token_uri": "http://169.254.169.254/latest/meta-data",
        "auth_uri": "https://evil.example", "universe_domain": "evil.example",
    })
}

/// The lines of the private key, and the token that it buys.
pub fn secrets() -> Vec<String> {
    PRIVATE_KEY.lines().map(str::to_owned).filter(|line| line.len() == 64).chain([token()]).collect()
}

pub fn token() -> String {
    format!("ya29.{}", hexadecimal(2))
}

/// Sells a token to a proper assertion.
pub fn sell(seen: &Seen, scope: &str) -> Reply {
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.form("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let key = EncodingKey::from_rsa_pem(PRIVATE_KEY.as_bytes()).unwrap();
    let public = DecodingKey::from_jwk(&Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["https://oauth2.googleapis.com/token"]);
    validation.set_issuer(&[EMAIL]);
    let assertion = decode::<Value>(&seen.form("assertion"), &public, &validation).unwrap();
    assert_eq!(assertion.header.kid, Some(hexadecimal(1)));
    let claims = assertion.claims;
    assert_eq!(claims["scope"], scope);
    assert!(claims["exp"].as_i64().unwrap() <= claims["iat"].as_i64().unwrap() + 3600, "{claims}");
    Reply::Json(200, json!({"access_token": token(), "expires_in": 3599, "token_type": "Bearer"}))
}

/// An error of the token endpoint at the first call, of an API at the others.
pub fn complains(call: usize, message: &str) -> Reply {
    if call == 0 {
        Reply::Json(400, json!({"error": "invalid_grant", "error_description": message}))
    } else {
        api_error(401, "UNAUTHENTICATED", "authError", message)
    }
}

/// An error as Google's APIs word it.
pub fn api_error(code: u16, status: &str, reason: &str, message: &str) -> Reply {
    let errors = json!([{"message": message, "domain": "global", "reason": reason}]);
    Reply::Json(
        code,
        json!({"error": {"code": code, "message": message, "status": status, "errors": errors}}),
    )
}

/// What can go wrong with tokens.
pub fn faults() -> Vec<Fault> {
    let refused =
        |error: &str, says: &str| Reply::Json(400, json!({"error": error, "error_description": says}));
    let token = |token: Value| Reply::Json(200, token);
    vec![
        Fault::new(
            "deleted key",
            0,
            refused("invalid_grant", "Invalid JWT Signature."),
            Cause::Auth,
            "Signature",
        ),
        Fault::new("disabled account", 0, refused("invalid_client", "gone"), Cause::Auth, "gone"),
        Fault::new("scope not granted", 0, refused("invalid_scope", "bad scope"), Cause::Scope, "bad scope"),
        Fault::new(
            "token that is a number",
            0,
            token(json!({"access_token": 1, "expires_in": 1})),
            Cause::Provider,
            "a token",
        ),
        Fault::new(
            "token without an end",
            0,
            token(json!({"access_token": "x", "expires_in": u64::MAX})),
            Cause::Provider,
            "a token",
        ),
        Fault::new(
            "expired token",
            1,
            api_error(401, "UNAUTHENTICATED", "authError", "expired"),
            Cause::Auth,
            "expired",
        ),
    ]
}
