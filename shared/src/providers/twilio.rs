//! Twilio: proven by reading the account.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Adapter, Answer, Cause, Client, Proof, Refusal, Service,
    answer::unexpected,
    field::{Field, secret},
};
use crate::fields::Fields;

/// Errors come as `{code, message, more_info, status}`.
pub(super) static TWILIO: Service = Service {
    name: "Twilio",
    endpoint: "twilio",
    owns: |host| host == "api.twilio.com",
    cause,
    detail: |body| body.get("message").and_then(Value::as_str),
    retry_after: |_| None,
};

const API: &str = "https://api.twilio.com";
/// Of ids, behind their kind, and of tokens.
const HEX_DIGITS: usize = 32;
/// <https://www.twilio.com/docs/api/errors/20005>
const ACCOUNT_NOT_ACTIVE: u64 = 20005;

fn cause(answer: &Answer) -> Option<Cause> {
    (!answer.status.is_success() && answer.body["code"].as_u64() == Some(ACCOUNT_NOT_ACTIVE))
        .then_some(Cause::Scope)
}

/// A Twilio account.
pub struct Twilio {
    account_sid: String,
    auth_token: SecretString,
}

impl Adapter for Twilio {
    fn read(fields: &mut Fields) -> Option<Self> {
        let account_sid = fields.required("account_sid", account_sid);
        let auth_token = fields.required("auth_token", secret(HEX_DIGITS, HEX_DIGITS, auth_token));
        Some(Self { account_sid, auth_token: auth_token? })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![
            ("account_sid", Field::plain(self.account_sid.as_str())),
            ("auth_token", Field::Secret(&self.auth_token)),
        ]
    }

    async fn verify(&self, client: &Client, _: DateTime<Utc>) -> Result<Proof, Refusal> {
        let path = format!("/2010-04-01/Accounts/{}.json", self.account_sid);
        let account =
            client.get(&TWILIO, API, &path).basic(&self.account_sid, &self.auth_token).send().await?;
        if account.body["sid"] != self.account_sid.as_str() {
            return Err(unexpected(&TWILIO, "the account"));
        }
        let (name, status) = (account.text(&TWILIO, "/friendly_name")?, account.text(&TWILIO, "/status")?);
        if status != "active" {
            return Err(Refusal::new(Cause::Scope, format!("the Twilio account is {status}")));
        }
        let answer = json!({"accountName": name, "status": status});
        let answer = answer.as_object().cloned().unwrap_or_default();
        Ok(Proof { answer, scopes: vec!["account".to_owned()] })
    }
}

fn is_hex(text: &str) -> bool {
    text.len() == HEX_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn account_sid(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).unwrap_or_default();
    if text.starts_with("SK") {
        return Err("is the id of an API key: give the account's, which begins with AC".to_owned());
    }
    text.strip_prefix("AC")
        .filter(|digits| is_hex(digits))
        .map(|_| text.to_owned())
        .ok_or_else(|| "must be AC and 32 hexadecimal digits".to_owned())
}

fn auth_token(text: &str) -> Result<(), String> {
    if is_hex(text) { Ok(()) } else { Err("must be 32 hexadecimal digits".to_owned()) }
}
