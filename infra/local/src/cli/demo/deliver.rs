//! Sending: signed as each service signs, and repeated until it is taken.

use std::{path::Path, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    Error,
    secrets::{PlatformSecrets, SecretName},
    time,
    webhooks::scheme::Scheme,
};
use tokio::time::sleep;

use super::company::{Delivery, Via};
use crate::{
    cli::secrets,
    dev_issuer, random,
    runner::{self, Attached, StartError},
    state::State,
};

/// How long the token of the demo itself is valid.
const TOKEN_LIFE: Duration = Duration::from_hours(2);
/// Attempts at one call. A server that lacked a secret looks for it again after a minute.
const ATTEMPTS: u32 = 40;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);
/// More than a demo calls in an hour.
const RATE_LIMIT: u32 = 1_000_000;

/// Where to send, as whom.
pub(super) struct Access {
    url: String,
    token: String,
    stripe: SecretString,
    github: SecretString,
    shopify: SecretString,
    /// If the server has one.
    devops: Option<SecretString>,
}

impl Access {
    /// The server on a state directory. Secrets that it lacks are made.
    pub(super) async fn local(state: &Path, workspace: Option<&str>) -> Result<Self, StartError> {
        let running = State::existing(state).map(|state| state.running()).transpose()?.flatten();
        if running.is_none() {
            return Err(
                format!("no server runs on {}; start one with tidegate serve", state.display()).into()
            );
        }
        let attached = Attached::to(state).await?;
        let access = Self::attached(&attached, state, workspace).await;
        attached.leave().await;
        access
    }

    async fn attached(
        attached: &Attached,
        state: &Path,
        workspace: Option<&str>,
    ) -> Result<Self, StartError> {
        let running = attached.running();
        if !running.development {
            let how = "give --url, --token and the webhook secrets";
            return Err(format!("the server does not trust the development issuer; {how}").into());
        }
        let home = running.parameters.get("OperatorsWorkspace").map_or(dev_issuer::WORKSPACE, String::as_str);
        if workspace.is_some_and(|workspace| workspace != home) {
            let why = format!("the routes of Stripe, GitHub and Shopify take events for {home}");
            return Err(format!("{why}; serve with --parameter OperatorsWorkspace=… for another").into());
        }
        let issuer = runner::dev_issuer(&State::open(state)?)?;
        let known = PlatformSecrets::load(&attached.env("webhook-stripe")?, attached.sdk());
        let known = known.map_err(|error| error.to_string())?;
        let letters = || random::letters(32);
        let hex = || format!("{:032x}", u128::from_be_bytes(random::bytes()));
        Ok(Self {
            url: running.url.clone(),
            token: issuer.person(home, "admin", "demo", TOKEN_LIFE)?,
            stripe: secret(attached, &known, SecretName::StripeWebhookSecret, format!("whsec_{}", letters()))
                .await?,
            github: secret(attached, &known, SecretName::GithubAppWebhookSecret, letters()).await?,
            shopify: secret(attached, &known, SecretName::ShopifyClientSecret, hex()).await?,
            devops: held(&known, SecretName::DevopsWebhookSecret).await?,
        })
    }

    /// A system that is deployed, whose secrets the environment has.
    pub(super) fn remote(url: &str, token: &str) -> Result<Self, StartError> {
        let variable = |name: SecretName| {
            let value = std::env::var(name.as_str()).ok().filter(|value| !value.is_empty());
            value.map(SecretString::from)
        };
        let required = |name| {
            let missing = || format!("the environment has no {name}, with which deliveries are signed");
            variable(name).ok_or_else(missing)
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
            stripe: required(SecretName::StripeWebhookSecret)?,
            github: required(SecretName::GithubAppWebhookSecret)?,
            shopify: required(SecretName::ShopifyClientSecret)?,
            devops: variable(SecretName::DevopsWebhookSecret),
        })
    }
}

/// The secret that is set, or a new one.
async fn secret(
    attached: &Attached,
    known: &PlatformSecrets,
    name: SecretName,
    new: String,
) -> Result<SecretString, StartError> {
    if let Some(held) = held(known, name).await? {
        return Ok(held);
    }
    let new = SecretString::from(new);
    secrets::put(attached, name, &new).await?;
    Ok(new)
}

async fn held(known: &PlatformSecrets, name: SecretName) -> Result<Option<SecretString>, StartError> {
    match known.get(name, time::now()).await {
        Ok(held) => Ok(Some(held.current().clone())),
        Err(Error::NotConfigured { .. }) => Ok(None),
        Err(error) => Err(format!("{name} cannot be read: {error}").into()),
    }
}

/// Sends what happens in the company.
pub(super) struct Sender {
    client: Client,
    access: Access,
    key_id: String,
    key: String,
}

impl Sender {
    /// With an API key of its own, which [`Sender::revoke`] ends.
    pub(super) async fn new(access: Access) -> Result<Self, StartError> {
        // A redirect would carry secrets to where nobody meant them to go.
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(35));
        let client = client.build().map_err(|error| error.to_string())?;
        let mut sender = Self { client, access, key_id: String::new(), key: String::new() };
        let order = json!({
            "name": "demo", "permissions": ["write_webhooks", "write_metrics"], "expires_in_days": 1,
            "rate_limit": RATE_LIMIT, "sync_rate_limit": RATE_LIMIT,
        });
        let path = "/api/devops/generate-key";
        let issued = sender.call(|| sender.admin(sender.client.post(sender.at(path))).json(&order)).await?;
        let text = |name: &str| issued[name].as_str().unwrap_or_default().to_owned();
        (sender.key_id, sender.key) = (text("id"), text("api_key"));
        Ok(sender)
    }

    pub(super) fn url(&self) -> &str {
        &self.access.url
    }

    /// Delivers an event; whether the server had it already.
    pub(super) async fn deliver(&self, delivery: &Delivery) -> Result<bool, StartError> {
        let Delivery { via, id, body, .. } = delivery;
        let (path, scheme, secret) = match via {
            Via::Stripe => ("/v1/billing/webhooks/stripe", Scheme::Stripe, Some(&self.access.stripe)),
            Via::Github(_) => ("/v1/github/webhooks", Scheme::Github, Some(&self.access.github)),
            Via::Shopify(_) => ("/v1/shopify/webhooks", Scheme::Shopify, Some(&self.access.shopify)),
            Via::Devops => ("/api/devops/webhook", Scheme::devops(), self.access.devops.as_ref()),
        };
        let url = self.at(path);
        let request = || {
            // Signed anew each time: a signature is good for some minutes.
            let signed =
                secret.and_then(|secret| scheme.sign(&url, body.as_bytes(), id, secret, time::now()));
            let request = self.client.post(&url).header("content-type", "application/json");
            let request = request.headers(signed.unwrap_or_default()).body(body.clone());
            match via {
                Via::Stripe => request,
                Via::Github(kind) => request.header("x-github-event", *kind).header("x-github-delivery", id),
                Via::Shopify(topic) => request
                    .header("x-shopify-topic", *topic)
                    .header("x-shopify-webhook-id", id)
                    .header("x-shopify-shop-domain", "demo.myshopify.com"),
                Via::Devops => request.header("x-api-key", &self.key),
            }
        };
        Ok(self.call(request).await?["outcome"] == "duplicate")
    }

    /// Sends entities of a kind.
    pub(super) async fn ingest(&self, kind: &str, items: &[Value]) -> Result<(), StartError> {
        let url = self.at(&format!("/api/ingest/{kind}"));
        let body = json!({"items": items});
        let answer = self.call(|| self.client.put(&url).header("x-api-key", &self.key).json(&body)).await?;
        let results = answer["results"].as_array().cloned().unwrap_or_default();
        match results.iter().find(|result| result["outcome"] == "rejected") {
            Some(rejected) => Err(format!("the server does not take all {kind}: {rejected}").into()),
            None => Ok(()),
        }
    }

    /// The totals that people are shown: of revenue, of users, of commissions.
    pub(super) async fn totals(&self) -> Result<[Value; 3], StartError> {
        let read = async |kind: &str| {
            let url = self.at(&format!("/api/metrics/{kind}"));
            self.call(|| self.admin(self.client.get(&url))).await
        };
        Ok([read("revenue").await?, read("users").await?, read("commissions").await?])
    }

    /// Ends the key.
    pub(super) async fn revoke(&self) -> Result<(), StartError> {
        let url = self.at(&format!("/api/devops/keys/{}", self.key_id));
        let reason = json!({"reason": "the demo is over"});
        self.call(|| self.admin(self.client.delete(&url)).json(&reason)).await.map(drop)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.access.url)
    }

    fn admin(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.access.token)
    }

    /// Sends a request until it is answered; what passes is waited for.
    async fn call(&self, request: impl Fn() -> RequestBuilder) -> Result<Value, StartError> {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match request().send().await {
                Ok(response) if response.status().is_success() => {
                    return response.json().await.map_err(|_| "the server answers no JSON".to_owned().into());
                }
                Ok(response) => {
                    let status = response.status();
                    let path = response.url().path().to_owned();
                    let said: Value = response.json().await.unwrap_or_default();
                    last =
                        format!("{path} answers {status}: {}", said["detail"].as_str().unwrap_or_default());
                    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
                        break;
                    }
                }
                Err(error) => last = format!("{} does not answer: {}", self.access.url, error.without_url()),
            }
            sleep(PAUSE).await;
        }
        Err(last.into())
    }
}
