//! Supabase: a project with a key that row rules do not bind, proven by a page of its users.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    Adapter, Client, Proof, Refusal, Service,
    field::{Field, secret},
};
use crate::fields::Fields;

/// The data API tells errors as `{code, message, details, hint}`, the gateway before it as
/// `{message, hint}`, sign-in as `{code, error_code, msg}`.
pub(super) static SUPABASE: Service = Service {
    name: "Supabase",
    endpoint: "supabase",
    owns: |host| host.strip_suffix(DOMAIN).is_some_and(is_reference),
    cause: |_| None,
    detail: |body| body.get("message").or_else(|| body.get("msg")).and_then(Value::as_str),
    retry_after: |_| None,
};

const DOMAIN: &str = ".supabase.co";
const REFERENCE_CHARS: usize = 20;
/// The newer keys that may do everything. They are no tokens.
const SECRET_KIND: &str = "sb_secret_";
/// The newer keys that browsers have.
const PUBLISHABLE_KIND: &str = "sb_publishable_";
/// The role of an older key that may do everything.
const SERVICE_ROLE: &str = "service_role";

/// A Supabase project.
pub struct Supabase {
    /// What the project's URL begins with.
    reference: String,
    service_key: SecretString,
}

impl Adapter for Supabase {
    fn read(fields: &mut Fields) -> Option<Self> {
        let reference = fields.required("url", reference);
        let service_key = fields.required("service_key", secret(20, 4096, service_key))?;
        let claimed =
            claims(service_key.expose_secret()).and_then(|claims| Some(claims["ref"].as_str()?.to_owned()));
        if claimed.is_some_and(|claimed| !reference.is_empty() && claimed != reference) {
            fields.refuse("service_key", "is of another project than `url`");
        }
        Some(Self { reference, service_key })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![("url", Field::plain(self.url())), ("service_key", Field::Secret(&self.service_key))]
    }

    async fn verify(&self, client: &Client, _: DateTime<Utc>) -> Result<Proof, Refusal> {
        // The data API itself has nothing of a known size that only such a key may read: its root
        // describes every table.
        let call = client.get(&SUPABASE, &self.url(), "/auth/v1/admin/users");
        let call = call.query("page", "1").query("per_page", "1");
        let call = call.secret_header("apikey", &self.service_key);
        let call = if self.service_key.expose_secret().starts_with(SECRET_KIND) {
            call
        } else {
            call.bearer(&self.service_key)
        };
        call.send().await?.list(&SUPABASE, "/users")?;
        let answer = json!({"projectRef": self.reference});
        let answer = answer.as_object().cloned().unwrap_or_default();
        Ok(Proof { answer, scopes: vec![SERVICE_ROLE.to_owned()] })
    }
}

impl Supabase {
    fn url(&self) -> String {
        format!("https://{}{DOMAIN}", self.reference)
    }
}

fn is_reference(text: &str) -> bool {
    text.len() == REFERENCE_CHARS && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// A project's reference, from its URL.
fn reference(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(|text| text.trim().trim_end_matches('/'))
        .and_then(|text| text.strip_prefix("https://")?.strip_suffix(DOMAIN))
        .filter(|reference| is_reference(reference))
        .map(str::to_owned)
        .ok_or_else(|| format!("must be the project's URL, https://<reference>{DOMAIN}"))
}

/// What an older key, which is a token, says of itself. Whether it is true the server tells.
fn claims(key: &str) -> Option<Value> {
    let [_, claims, _] = key.split('.').collect::<Vec<_>>().try_into().ok()?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn service_key(text: &str) -> Result<(), String> {
    if text.starts_with(PUBLISHABLE_KIND) {
        return Err("is a publishable key, which row rules bind: give a secret one".to_owned());
    }
    if text.starts_with(SECRET_KIND) {
        return Ok(());
    }
    match claims(text).as_ref().and_then(|claims| claims["role"].as_str()) {
        Some(SERVICE_ROLE) => Ok(()),
        Some(_) => Err("is of a role that row rules bind: give the service_role key".to_owned()),
        None => Err(format!("must begin with {SECRET_KIND} or be the service_role key")),
    }
}
