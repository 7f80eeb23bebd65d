//! Google Analytics 4, by a service account: proven by reading the property's metadata.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Adapter, Cause, Client, Proof, Refusal,
    answer::unexpected,
    field::Field,
    service_account::{GOOGLE, ServiceAccount},
};
use crate::fields::Fields;

const DATA: &str = "https://analyticsdata.googleapis.com";
const SCOPE: &str = "https://www.googleapis.com/auth/analytics.readonly";

/// A credential for one property of Google Analytics.
pub struct Ga4 {
    service_account: ServiceAccount,
    property_id: String,
}

impl Adapter for Ga4 {
    fn read(fields: &mut Fields) -> Option<Self> {
        let service_account = fields.required("service_account", ServiceAccount::read);
        let property_id = fields.required("property_id", property_id);
        Some(Self { service_account: service_account?, property_id })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        vec![
            ("service_account", Field::Group(self.service_account.fields())),
            ("property_id", Field::plain(self.property_id.as_str())),
        ]
    }

    async fn verify(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal> {
        let token = self.service_account.token(client, &[SCOPE], now).await?;
        let property = format!("properties/{}", self.property_id);
        let path = format!("/v1beta/{property}/metadata");
        // The name alone: all dimensions and metrics would be half a megabyte.
        let call = client.get(&GOOGLE, DATA, &path).query("fields", "name").bearer(&token.text);
        let answer = call.send().await.map_err(|refusal| self.explained(refusal))?;
        if answer.text(&GOOGLE, "/name")? != format!("{property}/metadata") {
            return Err(unexpected(&GOOGLE, "the property that was asked for"));
        }
        let answer = [("propertyId".to_owned(), Value::from(self.property_id.as_str()))];
        Ok(Proof { answer: answer.into_iter().collect(), scopes: vec![SCOPE.to_owned()] })
    }
}

impl Ga4 {
    /// Google only says that there is no permission.
    fn explained(&self, refusal: Refusal) -> Refusal {
        if refusal.cause != Cause::Scope {
            return refusal;
        }
        let advice = format!("the service account needs the role Viewer on property {}", self.property_id);
        Refusal { message: format!("{advice}: {}", refusal.message), ..refusal }
    }
}

/// The number of a property, which is neither a measurement id nor a resource name.
fn property_id(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        value => value.as_str().unwrap_or_default().trim().to_owned(),
    };
    let numeric = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && !text.starts_with('0') {
        return Ok(text);
    }
    Err("must be the property's number, such as 123456789, found under Admin, Property details; \
         ids that begin with G-, GA4- or UA- are others"
        .to_owned())
}
