//! Google's service accounts: the key file that a person uploads, and the tokens it buys.
//!
//! Of the file only what identifies and signs is kept. Its URLs are ignored: the file is input,
//! and calls go to Google's own hosts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Cause, Client, Refusal, Service, answer::unexpected, field::Field};

/// Google's APIs tell an error as `{error: {code, message, status, errors: [{reason}]}}`, its token
/// endpoint as RFC 6749 has it, `{error, error_description}`.
pub(super) static GOOGLE: Service = Service {
    name: "Google",
    endpoint: "google",
    owns: |host| {
        matches!(host, "oauth2.googleapis.com" | "www.googleapis.com" | "analyticsdata.googleapis.com")
    },
    cause,
    detail: |body| {
        let of_token = body.get("error_description").or_else(|| body.get("error"));
        body.pointer("/error/message").or(of_token).and_then(Value::as_str)
    },
    retry_after: |_| None,
};

const TOKEN_BASE: &str = "https://oauth2.googleapis.com";
const TOKEN_PATH: &str = "/token";
/// Whom an assertion is meant for: always Google, even where calls go through a proxy.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// The longest life that Google accepts of an assertion.
const ASSERTION_SECONDS: i64 = 3600;
/// RFC 7523.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// A key file's private key is an RSA key of 2048 bits: 1.7 kB.
const PRIVATE_KEY_MAX_CHARS: usize = 8 * 1024;

fn cause(answer: &Answer) -> Option<Cause> {
    if answer.status.is_success() {
        return None;
    }
    let body = &answer.body;
    let reason = body.pointer("/error/errors/0/reason").and_then(Value::as_str).unwrap_or_default();
    match (body.get("error").and_then(Value::as_str), answer.status.as_u16()) {
        (Some("invalid_grant" | "invalid_client" | "unauthorized_client"), _) => Some(Cause::Auth),
        (Some("invalid_scope" | "access_denied"), _) => Some(Cause::Scope),
        // Drive tells some of its limits so.
        (_, 403) if reason.ends_with("imitExceeded") => Some(Cause::RateLimited),
        // Of all that is asked for, only a property is named by a person.
        (_, 400 | 404) if body.pointer("/error/status").is_some() => Some(Cause::Format),
        _ => None,
    }
}

/// A service account's key.
pub struct ServiceAccount {
    client_email: String,
    project_id: Option<String>,
    key_id: Option<String>,
    private_key: SecretString,
}

/// What Google's APIs are called with for an hour at most.
pub struct Token {
    /// Goes into `Authorization: Bearer`.
    pub text: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// RFC 7523, section 3, as Google reads it.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'static str,
    iat: i64,
    exp: i64,
}

impl ServiceAccount {
    /// Reads the key file, as JSON or as the text of it. The message names all that is wrong.
    pub(super) fn read(value: &Value) -> Result<Option<Self>, String> {
        let parsed;
        let value = match value.as_str() {
            Some(text) => {
                parsed = serde_json::from_str(text).unwrap_or_default();
                &parsed
            }
            None => value,
        };
        if !value.is_object() {
            return Err("must be the JSON of a service account's key file".to_owned());
        }
        let mut faults = Vec::new();
        if value.get("type").and_then(Value::as_str) != Some("service_account") {
            faults.push("type must be service_account");
        }
        let text = |name: &str, max: usize| {
            let text = value.get(name).and_then(Value::as_str).filter(|text| text.len() <= max);
            text.filter(|text| !text.is_empty() && !text.chars().any(char::is_control)).map(str::to_owned)
        };
        let client_email = text("client_email", 320).filter(|email| email.contains('@'));
        if client_email.is_none() {
            faults.push("client_email must be the account's e-mail address");
        }
        let private_key = value.get("private_key").and_then(Value::as_str).unwrap_or_default();
        // Environment variables and forms turn line breaks into two characters.
        let private_key = private_key.replace("\\n", "\n");
        if private_key.len() > PRIVATE_KEY_MAX_CHARS || !signs(&private_key) {
            faults.push("private_key must be an RSA private key in PEM");
        }
        match (client_email, faults.is_empty()) {
            (Some(client_email), true) => Ok(Some(Self {
                client_email,
                project_id: text("project_id", 128),
                key_id: text("private_key_id", 128),
                private_key: SecretString::from(private_key),
            })),
            _ => Err(faults.join("; ")),
        }
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        let mut fields = vec![("type", Field::plain("service_account"))];
        let optional = [("project_id", &self.project_id), ("private_key_id", &self.key_id)];
        let given = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        fields.extend(given.map(|(name, value)| (name, Field::plain(value))));
        fields.push(("private_key", Field::Hidden(&self.private_key)));
        fields.push(("client_email", Field::plain(self.client_email.as_str())));
        fields
    }

    /// Buys a token for `scopes`, which are URLs.
    pub async fn token(
        &self,
        client: &Client,
        scopes: &[&str],
        now: DateTime<Utc>,
    ) -> Result<Token, Refusal> {
        let unusable = |_| Refusal::new(Cause::Format, "the service account's private key cannot sign");
        let key = EncodingKey::from_rsa_pem(self.private_key.expose_secret().as_bytes()).map_err(unusable)?;
        let iat = now.timestamp();
        let scope = scopes.join(" ");
        let claims = Claims {
            iss: &self.client_email,
            scope: &scope,
            aud: AUDIENCE,
            iat,
            exp: iat + ASSERTION_SECONDS,
        };
        let header = Header { kid: self.key_id.clone(), ..Header::new(Algorithm::RS256) };
        let assertion = SecretString::from(encode(&header, &claims, &key).map_err(unusable)?);
        let form = [("grant_type", GRANT_TYPE), ("assertion", assertion.expose_secret())];
        let call = client.post(&GOOGLE, TOKEN_BASE, TOKEN_PATH).form(&form).hide(&assertion);
        let answer = call.send().await?;
        let text = answer.body["access_token"].as_str().filter(|text| !text.is_empty());
        let seconds = answer.body["expires_in"].as_u64().filter(|seconds| *seconds <= 86_400);
        let (Some(text), Some(seconds)) = (text, seconds) else {
            return Err(unexpected(&GOOGLE, "a token"));
        };
        Ok(Token { text: SecretString::from(text), expires_at: now + Duration::from_secs(seconds) })
    }
}

/// Whether a private key can do what it is for.
fn signs(pem: &str) -> bool {
    EncodingKey::from_rsa_pem(pem.as_bytes())
        .and_then(|key| encode(&Header::new(Algorithm::RS256), &json!({}), &key))
        .is_ok()
}
