//! Meta's Marketing API: proven by who the token belongs to and which ad accounts it reads.

use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    Adapter, Answer, Cause, Client, Proof, Refusal, Service,
    field::{Field, secret},
};
use crate::{fields::Fields, id};

/// Errors come as `{error: {message, code, error_subcode}}`, mostly with status 400.
static META: Service = Service {
    name: "Meta",
    endpoint: "meta",
    owns: |host| host == "graph.facebook.com",
    cause,
    detail: |body| body.pointer("/error/message").and_then(Value::as_str),
    retry_after,
};

const GRAPH: &str = "https://graph.facebook.com";
/// The version's fields and errors were taken from the SDK `facebook_business` 26.0.3.
const ME: &str = "/v26.0/me";
const AD_ACCOUNTS: &str = "/v26.0/me/adaccounts";
/// What reading ad accounts proves.
const SCOPE: &str = "ads_read";

/// Meta's error codes say more than its statuses.
fn cause(answer: &Answer) -> Option<Cause> {
    let code = answer.body.pointer("/error/code")?.as_i64()?;
    Some(match code {
        102 | 190 => Cause::Auth,
        10 | 200..=299 => Cause::Scope,
        4 | 17 | 32 | 613 | 80_000..=80_014 => Cause::RateLimited,
        _ => Cause::Provider,
    })
}

/// `X-Business-Use-Case-Usage` is JSON, `{id: [{estimated_time_to_regain_access: minutes}]}`.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let usage: Value = serde_json::from_str(answer.header("x-business-use-case-usage")?).ok()?;
    let minutes = usage
        .as_object()?
        .values()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|usage| usage.get("estimated_time_to_regain_access")?.as_u64())
        .max()?;
    (minutes > 0).then(|| Duration::from_secs(minutes.saturating_mul(60)))
}

/// A credential for Meta's Marketing API.
pub struct Meta {
    access_token: SecretString,
    app_secret: Option<SecretString>,
}

impl Adapter for Meta {
    fn read(fields: &mut Fields) -> Option<Self> {
        let access_token = fields.required("access_token", secret(20, 1024, access_token));
        let app_secret = fields.optional("app_secret", secret(32, 32, app_secret)).flatten();
        Some(Self { access_token: access_token?, app_secret })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        let mut fields = vec![("access_token", Field::Secret(&self.access_token))];
        fields.extend(self.app_secret.as_ref().map(|secret| ("app_secret", Field::Secret(secret))));
        fields
    }

    async fn verify(&self, client: &Client, _: DateTime<Utc>) -> Result<Proof, Refusal> {
        let me = self.ask(client, ME, "id,name").await?;
        let name = me.text(&META, "/name")?;
        // The token's owner says nothing of its permissions. No ad account at all is no fault.
        self.ask(client, AD_ACCOUNTS, "account_id,name").await?.list(&META, "/data")?;
        let answer = [("accountName".to_owned(), Value::from(name))].into_iter().collect();
        Ok(Proof { answer, scopes: vec![SCOPE.to_owned()] })
    }
}

impl Meta {
    async fn ask(&self, client: &Client, path: &str, fields: &str) -> Result<Answer, Refusal> {
        let mut call = client.get(&META, GRAPH, path).query("fields", fields).bearer(&self.access_token);
        if let Some(secret) = &self.app_secret {
            let proof = SecretString::from(self.proof(secret));
            call = call.query("appsecret_proof", proof.expose_secret()).hide(&proof).hide(secret);
        }
        call.send().await
    }

    /// HMAC-SHA-256 of the token under the app's secret, in hexadecimal.
    fn proof(&self, secret: &SecretString) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let tag = hmac::sign(&key, self.access_token.expose_secret().as_bytes());
        id::hex(tag.as_ref())
    }
}

fn access_token(text: &str) -> Result<(), String> {
    if text.contains('|') {
        return Err("is an app's token, which reads no ads: give a user's or system user's".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        Ok(())
    } else {
        Err("must be letters, digits, _ and - alone".to_owned())
    }
}

fn app_secret(text: &str) -> Result<(), String> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err("must be 32 hexadecimal digits".to_owned())
    }
}
