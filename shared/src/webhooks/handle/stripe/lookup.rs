//! What an event does not say and Stripe does when it is asked, with the deployment's key.

use std::sync::Arc;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Failed, list, reference};
use crate::{
    Error,
    lambda::{Env, EnvError},
    providers::{Client, stripe},
    secrets::{PlatformSecrets, Rolling, SecretName},
};

/// Pages of a list at most: a subscription has 20 items by default, and an invoice fewer payments.
const PAGES_MAX: usize = 10;

/// Asks Stripe.
pub(super) struct Lookup {
    client: Client,
    secrets: PlatformSecrets,
}

impl Lookup {
    /// Reads `PROVIDER_ENDPOINTS` and `SECRETS_PREFIX`.
    pub(super) fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { client: Client::load(env)?, secrets: PlatformSecrets::load(env, sdk)? })
    }

    /// The payments of an invoice.
    pub(super) async fn invoice_payments(
        &self,
        invoice: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Value>, Failed> {
        let query = [("invoice", invoice), ("status", "paid")];
        self.all("/v1/invoice_payments", &query, now).await
    }

    /// All items of a subscription.
    pub(super) async fn subscription_items(
        &self,
        subscription: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Value>, Failed> {
        let query = [("subscription", subscription), ("expand[]", "data.discounts.source.coupon")];
        self.all("/v1/subscription_items", &query, now).await
    }

    /// A subscription with its discounts and their coupons.
    pub(super) async fn discounted(&self, subscription: &str, now: DateTime<Utc>) -> Result<Value, Failed> {
        let expand =
            ["discounts.source.coupon", "items.data.discounts.source.coupon"].map(|path| ("expand[]", path));
        self.ask(&format!("/v1/subscriptions/{}", plain(subscription)?), &expand, now).await
    }

    /// All of a list, page by page.
    async fn all(
        &self,
        path: &str,
        query: &[(&str, &str)],
        now: DateTime<Utc>,
    ) -> Result<Vec<Value>, Failed> {
        let mut all: Vec<Value> = Vec::new();
        for _ in 0..PAGES_MAX {
            let after = all.last().and_then(reference).map(ToOwned::to_owned);
            let mut query = query.to_vec();
            query.push(("limit", "100"));
            query.extend(after.as_deref().map(|after| ("starting_after", after)));
            let page = self.ask(path, &query, now).await?;
            all.extend_from_slice(list(&page));
            if page["has_more"] != Value::Bool(true) || list(&page).is_empty() {
                return Ok(all);
            }
        }
        Err(unavailable("a list of Stripe's does not end"))
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)], now: DateTime<Utc>) -> Result<Value, Failed> {
        let key: Arc<Rolling> = self.secrets.get(SecretName::StripeApiKey, now).await?;
        let answer = stripe::read(&self.client, key.current(), path, query).await;
        answer.map_err(|refusal| unavailable(refusal.message))
    }
}

/// An id that cannot lead elsewhere in a path.
fn plain(id: &str) -> Result<&str, Failed> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain {
        Ok(id)
    } else {
        Err(Failed::Permanent("`data.object.id` must be an id of Stripe's".to_owned()))
    }
}

fn unavailable(message: impl Into<crate::error::Source>) -> Failed {
    Failed::Transient(Error::Unavailable("Stripe", message.into()))
}
