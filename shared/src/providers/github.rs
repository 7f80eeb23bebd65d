//! GitHub: an app in one of its installations. The app proves itself by a token that it signs,
//! and buys with it the installation's token for all other calls.

mod deliveries;

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Adapter, Answer, Cause, Client, Proof, Refusal, Service, answer::unexpected, client::Call, field::Field,
};
use crate::fields::{self, Fields};

pub use self::deliveries::{App, Delivery, Page, Sent};

/// Errors come as `{message, documentation_url}`.
pub(super) static GITHUB: Service = Service {
    name: "GitHub",
    endpoint: "github",
    owns: |host| host == "api.github.com",
    cause,
    detail: |body| body.get("message").and_then(Value::as_str),
    retry_after,
};

/// The same where a path names the installation.
static INSTALLATION: Service = Service {
    detail: |body| match body.get("message")?.as_str()? {
        "Not Found" => Some("the app has no installation with this installation_id, or no longer"),
        message => Some(message),
    },
    cause: |answer| match answer.status.as_u16() {
        404 => Some(Cause::Scope),
        _ => cause(answer),
    },
    ..GITHUB
};

const API: &str = "https://api.github.com";
const MEDIA_TYPE: &str = "application/vnd.github+json";
const VERSION: &str = "2022-11-28";
/// Clocks differ, and GitHub takes no token from the future.
const BACKDATED_SECONDS: i64 = 60;
/// GitHub takes 600 at most.
const LIFE_SECONDS: i64 = 540;
/// The most that a page holds.
const PAGE: usize = 100;
/// With the last page's number two do; more are made only where it is not told.
const PAGES_MAX_CALLS: usize = 10;
/// What GitHub asks to wait at least when it limits without saying until when.
const UNTOLD_WAIT: Duration = Duration::from_mins(1);
/// GitHub's keys have 2048 bits: 1.7 kB.
const PRIVATE_KEY_MAX_CHARS: usize = 8 * 1024;

fn cause(answer: &Answer) -> Option<Cause> {
    match answer.status.as_u16() {
        403 | 429 if is_limited(answer) => Some(Cause::RateLimited),
        // There is no such app.
        404 => Some(Cause::Auth),
        _ => None,
    }
}

/// GitHub says 403 to what is forbidden as well as to what comes too often.
fn is_limited(answer: &Answer) -> bool {
    let message = answer.body["message"].as_str().unwrap_or_default();
    answer.status.as_u16() == 429
        || answer.header("retry-after").is_some()
        || answer.header("x-ratelimit-remaining") == Some("0")
        || message.to_ascii_lowercase().contains("rate limit")
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let told = answer.header("retry-after").is_some();
    let limited = matches!(answer.status.as_u16(), 403 | 429) && is_limited(answer);
    match answer.header("x-ratelimit-remaining") {
        _ if told || !limited => None,
        Some("0") => answer.until("x-ratelimit-reset").or(Some(UNTOLD_WAIT)),
        _ => Some(UNTOLD_WAIT),
    }
}

/// An installation of a GitHub App.
pub struct Github {
    /// The app's number, or its client id.
    app_id: String,
    installation_id: u64,
    private_key: SecretString,
}

/// What calls to an installation's repositories are made with, for an hour.
pub struct InstallationToken {
    /// Goes into `Authorization: Bearer`. Of no fixed length or form.
    pub text: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// What it allows, such as `contents:read`.
    pub permissions: Vec<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
    exp: i64,
}

impl Adapter for Github {
    fn read(fields: &mut Fields) -> Option<Self> {
        let app_id = fields.required("app_id", app_id);
        let installation_id = fields.required("installation_id", installation_id);
        let private_key = fields.required("private_key", private_key);
        Some(Self { app_id, installation_id, private_key: private_key? })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![
            ("app_id", Field::plain(self.app_id.as_str())),
            ("installation_id", Field::plain(self.installation_id)),
            ("private_key", Field::Hidden(&self.private_key)),
        ]
    }

    async fn verify(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal> {
        let assertion = self.assertion(now)?;
        let app = call(client.get(&GITHUB, API, "/app"), &assertion).send().await?;
        let name = app.text(&GITHUB, "/name")?;
        let token = self.installation_token(client, now).await?;
        let installations = installations(client, &assertion).await?;
        let answer = json!({"appName": name, "installations": installations});
        let answer = answer.as_object().cloned().unwrap_or_default();
        Ok(Proof { answer, scopes: token.permissions })
    }
}

impl Github {
    /// Buys a token for the installation.
    pub async fn installation_token(
        &self,
        client: &Client,
        now: DateTime<Utc>,
    ) -> Result<InstallationToken, Refusal> {
        let path = format!("/app/installations/{}/access_tokens", self.installation_id);
        let answer = call(client.post(&INSTALLATION, API, &path), &self.assertion(now)?).send().await?;
        let text = answer.body["token"].as_str().filter(|text| !text.is_empty());
        let expires_at = fields::timestamp(&answer.body["expires_at"]).ok();
        let (Some(text), Some(expires_at)) = (text, expires_at) else {
            return Err(unexpected(&INSTALLATION, "a token"));
        };
        let permissions = answer.body["permissions"].as_object().into_iter().flatten();
        let permissions = permissions.filter_map(|(name, level)| Some(format!("{name}:{}", level.as_str()?)));
        Ok(InstallationToken {
            text: SecretString::from(text),
            expires_at,
            permissions: permissions.collect(),
        })
    }

    /// What the app proves itself with, for some minutes.
    fn assertion(&self, now: DateTime<Utc>) -> Result<SecretString, Refusal> {
        assertion(&self.app_id, &self.private_key, now)
    }
}

fn assertion(app_id: &str, private_key: &SecretString, now: DateTime<Utc>) -> Result<SecretString, Refusal> {
    let now = now.timestamp();
    let claims = Claims { iss: app_id, iat: now - BACKDATED_SECONDS, exp: now + LIFE_SECONDS };
    sign(private_key.expose_secret(), &claims)
        .map_err(|_| Refusal::new(Cause::Format, "the app's private key cannot sign"))
}

fn call<'a>(call: Call<'a>, token: &SecretString) -> Call<'a> {
    call.header("accept", MEDIA_TYPE).header("x-github-api-version", VERSION).bearer(token)
}

/// How many installations the app has.
async fn installations(client: &Client, assertion: &SecretString) -> Result<usize, Refusal> {
    let size = PAGE.to_string();
    let mut page = 1;
    for _ in 0..PAGES_MAX_CALLS {
        let listed = client.get(&GITHUB, API, "/app/installations");
        let listed = call(listed.query("per_page", &size).query("page", &page.to_string()), assertion);
        let listed = listed.send().await?;
        let before = (page - 1) * PAGE;
        if linked(&listed, "next").is_none() {
            let list = listed.body.as_array().ok_or_else(|| unexpected(&GITHUB, "its installations"))?;
            return Ok(before + list.len());
        }
        page = linked(&listed, "last").filter(|last| *last > page).unwrap_or(page + 1);
    }
    Err(unexpected(&GITHUB, "an end of its list of installations"))
}

/// The page number behind a relation of the `Link` header (RFC 8288). Its URL is not followed:
/// it would be the server's choice where the token goes.
fn linked(answer: &Answer, relation: &str) -> Option<usize> {
    let relation = format!("rel=\"{relation}\"");
    let link = answer.header("link")?.split(',').find(|link| link.contains(&relation))?;
    let url: Url = link.split_once('<')?.1.split_once('>')?.0.parse().ok()?;
    let page = url.query_pairs().find(|(name, _)| name == "page")?.1.parse().ok()?;
    (1..=1_000_000).contains(&page).then_some(page)
}

fn sign(pem: &str, claims: &impl Serialize) -> jsonwebtoken::errors::Result<SecretString> {
    let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
    encode(&Header::new(Algorithm::RS256), claims, &key).map(SecretString::from)
}

/// The number, or the client id, by which GitHub names an app as well.
fn app_id(value: &Value) -> Result<String, String> {
    let text =
        value.as_u64().map(|number| number.to_string()).or_else(|| Some(value.as_str()?.trim().to_owned()));
    text.filter(|text| (1..=64).contains(&text.len()))
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'))
        .ok_or_else(|| "must be the app's number or its client id".to_owned())
}

fn installation_id(value: &Value) -> Result<u64, String> {
    let number = fields::integer(1, u64::MAX);
    number(value)
        .or_else(|_| fields::digits(number)(value))
        .map_err(|_| "must be the installation's number".to_owned())
}

fn private_key(value: &Value) -> Result<Option<SecretString>, String> {
    // Environment variables and forms turn line breaks into two characters.
    let pem = value.as_str().unwrap_or_default().replace("\\n", "\n");
    if pem.len() > PRIVATE_KEY_MAX_CHARS || sign(&pem, &json!({})).is_err() {
        return Err("must be an RSA private key in PEM".to_owned());
    }
    Ok(Some(SecretString::from(pem)))
}
