//! Stripe: proven by reading the account, or with a restricted key at least its balance.

mod events;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    Adapter, Answer, Cause, Client, Proof, Refusal, Service,
    answer::{clean, unexpected},
    field::{Field, secret},
};
use crate::fields::Fields;

pub use self::events::{Event, Events, Page};

/// Errors come as `{error: {type, code, message}}` with a status that says it all.
pub(super) static STRIPE: Service = Service {
    name: "Stripe",
    endpoint: "stripe",
    owns: |host| host == "api.stripe.com",
    cause: |_| None,
    detail: |body| body.pointer("/error/message").and_then(Value::as_str),
    retry_after: |_| None,
};

const API: &str = "https://api.stripe.com";
/// What npm's stripe 23.1.0 pins.
const VERSION: &str = "2026-10-28.endive";
const NAME_MAX_CHARS: usize = 256;

/// A credential for one Stripe account.
pub struct Stripe {
    api_key: SecretString,
}

impl Adapter for Stripe {
    fn read(fields: &mut Fields) -> Option<Self> {
        let api_key = fields.required("api_key", secret(20, 255, api_key))?;
        Some(Self { api_key })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![("api_key", Field::Secret(&self.api_key))]
    }

    async fn verify(&self, client: &Client, _: DateTime<Utc>) -> Result<Proof, Refusal> {
        match self.ask(client, "/v1/account").await {
            Ok(account) => {
                let name = name(&account).ok_or_else(|| unexpected(&STRIPE, "the account"))?;
                Ok(self.proof(Some(&name), "account"))
            }
            // Restricted keys rarely read the account. One that reads the balance is what we
            // advise to use; one that reads neither is valid and of no use.
            Err(refusal) if refusal.cause == Cause::Scope => {
                let balance = self.ask(client, "/v1/balance").await?;
                if balance.body["livemode"].as_bool() != Some(self.livemode()) {
                    return Err(unexpected(&STRIPE, "the balance of the key's mode"));
                }
                Ok(self.proof(None, "balance"))
            }
            Err(refusal) => Err(refusal),
        }
    }
}

impl Stripe {
    async fn ask(&self, client: &Client, path: &str) -> Result<Answer, Refusal> {
        client.get(&STRIPE, API, path).header("stripe-version", VERSION).bearer(&self.api_key).send().await
    }

    /// The account itself does not say it; the key does.
    fn livemode(&self) -> bool {
        self.api_key.expose_secret().get(2..).is_some_and(|rest| rest.starts_with("_live_"))
    }

    fn proof(&self, name: Option<&str>, scope: &str) -> Proof {
        let answer = json!({"accountName": name, "livemode": self.livemode()});
        let answer = answer.as_object().cloned().unwrap_or_default();
        Proof { answer, scopes: vec![scope.to_owned()] }
    }
}

/// Reads one thing or one page of a list with the deployment's own key.
pub async fn read(
    client: &Client,
    api_key: &SecretString,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Value, Refusal> {
    let call = client.get(&STRIPE, API, path).header("stripe-version", VERSION).bearer(api_key);
    let call = query.iter().fold(call, |call, (name, value)| call.query(name, value));
    Ok(call.send().await?.body)
}

/// What people call the account; a new one has only its id.
fn name(account: &Answer) -> Option<String> {
    ["/settings/dashboard/display_name", "/business_profile/name", "/id"]
        .iter()
        .filter_map(|pointer| account.body.pointer(pointer)?.as_str())
        .map(|name| clean(name, NAME_MAX_CHARS))
        .find(|name| !name.is_empty())
}

fn api_key(text: &str) -> Result<(), String> {
    if text.starts_with("pk_") {
        return Err("is a publishable key, which reads nothing: give a secret or restricted one".to_owned());
    }
    let body =
        ["sk_live_", "sk_test_", "rk_live_", "rk_test_"].iter().find_map(|kind| text.strip_prefix(kind));
    match body {
        Some(body) if body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => Ok(()),
        _ => Err("must begin with sk_live_, sk_test_, rk_live_ or rk_test_".to_owned()),
    }
}
