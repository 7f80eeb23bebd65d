//! Shopify: proven by the shop's name and the scopes of the app as it is installed there.
//!
//! A shop is reached with a permanent token, as apps made before 2026 have one, or with an app's
//! id and secret, which buy a token for a day.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    Adapter, Answer, Cause, Client, Proof, Refusal, Service,
    answer::unexpected,
    field::{Field, secret},
};
use crate::fields::Fields;

/// GraphQL answers errors with status 200, `{errors: [{message, extensions: {code}}]}`; before it
/// comes to that, `errors` is text. The token endpoint answers as RFC 6749 has it.
static SHOPIFY: Service = Service {
    name: "Shopify",
    endpoint: "shopify",
    owns: is_shop,
    cause,
    detail: |body| {
        let errors = body.get("errors").filter(|errors| errors.is_string());
        let of_token = body.get("error_description").or_else(|| body.get("error"));
        body.pointer("/errors/0/message").or(errors).or(of_token).and_then(Value::as_str)
    },
    retry_after,
};

/// The newest that npm's @shopify/shopify-api 15.0.0 knows. When its year is over Shopify answers
/// with the oldest version that it still serves; what is asked for here is in all of them.
const VERSION: &str = "2026-10";
const TOKEN: &str = "/admin/oauth/access_token";
const QUERY: &str = "{ shop { name myshopifyDomain } currentAppInstallation { accessScopes { handle } } }";
/// Either lets orders be read, without which a shop is of no use here.
const ORDERS: [&str; 2] = ["read_orders", "write_orders"];
const SCOPES_MAX: usize = 200;

fn is_shop(host: &str) -> bool {
    let name = host.strip_suffix(".myshopify.com").unwrap_or_default();
    let bytes = name.as_bytes();
    bytes.len() <= 60
        && bytes.first().is_some_and(|byte| *byte != b'-')
        && bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn cause(answer: &Answer) -> Option<Cause> {
    if let Some(errors) = answer.body.get("errors").and_then(Value::as_array) {
        let code = errors.iter().find_map(|error| error.pointer("/extensions/code")?.as_str());
        return Some(match code {
            Some("THROTTLED") => Cause::RateLimited,
            Some("ACCESS_DENIED") => Cause::Scope,
            _ => Cause::Provider,
        });
    }
    match (answer.status.as_u16(), answer.body.get("error").and_then(Value::as_str)) {
        (400, Some("invalid_client" | "invalid_request" | "application_cannot_be_found")) => {
            Some(Cause::Auth)
        }
        (400, Some("app_not_installed" | "shop_not_permitted")) => Some(Cause::Scope),
        // There is no shop of this name.
        (404, _) => Some(Cause::Format),
        _ => None,
    }
}

/// A query waits until its cost has been restored.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let cost = answer.body.pointer("/extensions/cost")?;
    let status = cost.get("throttleStatus")?;
    let needed = cost.get("requestedQueryCost")?.as_f64()?;
    let available = status.get("currentlyAvailable")?.as_f64()?;
    let rate = status.get("restoreRate")?.as_f64()?;
    Duration::try_from_secs_f64(((needed - available) / rate).ceil().max(1.0)).ok()
}

/// A credential for one shop.
pub struct Shopify {
    shop: String,
    access: Access,
}

enum Access {
    /// A token that does not end.
    Token(SecretString),
    /// What buys a token for a day.
    App { client_id: String, client_secret: SecretString },
}

/// What the shop is called with.
pub struct Token {
    /// Goes into `X-Shopify-Access-Token`.
    pub text: SecretString,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Adapter for Shopify {
    fn read(fields: &mut Fields) -> Option<Self> {
        let shop = fields.required("shop", shop);
        let access_token = fields.optional("access_token", secret(16, 255, access_token)).flatten();
        let client_id = fields.optional("client_id", secret(16, 64, word)).flatten();
        let client_secret = fields.optional("client_secret", secret(16, 128, word)).flatten();
        let access = match (access_token, client_id, client_secret) {
            (Some(token), None, None) => Access::Token(token),
            (None, Some(id), Some(client_secret)) => {
                Access::App { client_id: id.expose_secret().to_owned(), client_secret }
            }
            _ => {
                // Where a field is at fault itself, that says enough.
                if ["access_token", "client_id", "client_secret"].iter().all(|name| fields.is_good(name)) {
                    let either = "is required, or client_id and client_secret instead of it";
                    fields.refuse("access_token", either);
                }
                return None;
            }
        };
        Some(Self { shop, access })
    }

    fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
        let mut fields = vec![("shop", Field::plain(self.shop.as_str()))];
        match &self.access {
            Access::Token(token) => fields.push(("access_token", Field::Secret(token))),
            Access::App { client_id, client_secret } => fields.extend([
                ("client_id", Field::plain(client_id.as_str())),
                ("client_secret", Field::Secret(client_secret)),
            ]),
        }
        fields
    }

    async fn verify(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal> {
        let token = self.token(client, now).await?;
        let path = format!("/admin/api/{VERSION}/graphql.json");
        let call = client.post(&SHOPIFY, &self.base(), &path).json(&json!({"query": QUERY}));
        let answer = call.secret_header("x-shopify-access-token", &token.text).send().await?;
        if answer.header("x-shopify-api-version").is_some_and(|served| served != VERSION) {
            tracing::warn!(asked = VERSION, "Shopify serves another version of its API than was asked for");
        }
        let name = answer.text(&SHOPIFY, "/data/shop/name")?;
        if answer.text(&SHOPIFY, "/data/shop/myshopifyDomain")? != self.shop {
            return Err(unexpected(&SHOPIFY, "the shop that was asked for"));
        }
        let scopes = answer.list(&SHOPIFY, "/data/currentAppInstallation/accessScopes")?;
        let scopes: Vec<_> =
            scopes.iter().take(SCOPES_MAX).filter_map(|scope| scope["handle"].as_str()).collect();
        if !scopes.iter().any(|scope| ORDERS.contains(scope)) {
            return Err(Refusal::new(
                Cause::Scope,
                "Shopify knows the credential, but its app lacks read_orders",
            ));
        }
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        let answer = [("storeName".to_owned(), Value::from(name))].into_iter().collect();
        Ok(Proof { answer, scopes })
    }
}

impl Shopify {
    fn base(&self) -> String {
        format!("https://{}", self.shop)
    }

    /// The token to call the shop with: the permanent one, or a new one for a day.
    pub async fn token(&self, client: &Client, now: DateTime<Utc>) -> Result<Token, Refusal> {
        let (client_id, client_secret) = match &self.access {
            Access::Token(token) => return Ok(Token { text: token.clone(), expires_at: None }),
            Access::App { client_id, client_secret } => (client_id, client_secret),
        };
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret.expose_secret()),
        ];
        let call = client.post(&SHOPIFY, &self.base(), TOKEN).form(&form).hide(client_secret);
        let answer = call.send().await?;
        let text = answer.body["access_token"].as_str().filter(|text| !text.is_empty());
        let seconds = answer.body["expires_in"].as_u64().filter(|seconds| *seconds <= 7 * 86_400);
        let (Some(text), Some(seconds)) = (text, seconds) else {
            return Err(unexpected(&SHOPIFY, "a token"));
        };
        let expires_at = Some(now + Duration::from_secs(seconds));
        Ok(Token { text: SecretString::from(text), expires_at })
    }
}

fn shop(value: &Value) -> Result<String, String> {
    value.as_str().map(str::trim).filter(|shop| is_shop(shop)).map(str::to_owned).ok_or_else(|| {
        "must be the shop's own name, such as example.myshopify.com, in small letters and without https://".to_owned()
    })
}

fn access_token(text: &str) -> Result<(), String> {
    if text.starts_with("shpss_") {
        return Err("is an app's secret: give it as client_secret, with the client_id".to_owned());
    }
    word(text)
}

fn word(text: &str) -> Result<(), String> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        Ok(())
    } else {
        Err("must be letters, digits, _ and - alone".to_owned())
    }
}
