//! Stripe's list of events. It has their bodies, so nothing is fetched one by one.
//!
//! Only the types that have an effect are asked for. Stripe makes many more, of which a deployment
//! subscribes to some: that others were not delivered is no gap.

use chrono::TimeDelta;
use lambda_http::http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;

use super::{Fetched, List, Listed, Page, Window};
use crate::{
    providers::{self, Cause, Refusal},
    webhooks::{Source, handle::STRIPE_TYPES},
};

pub(super) struct Events<'a> {
    pub(super) client: &'a providers::Client,
    pub(super) api_key: &'a SecretString,
}

impl List for Events<'_> {
    /// The whole event.
    type Kept = Value;
    const SOURCE: Source = Source::Stripe;
    const KEPT: TimeDelta = TimeDelta::days(30);

    async fn page(&self, window: Window, position: Option<&str>) -> Result<Page<Value>, Refusal> {
        let Window { from, to } = window;
        let events = providers::stripe::Events { api_key: self.api_key, types: &STRIPE_TYPES, from, to };
        let page = events.page(self.client, position).await?;
        let last = page.events.iter().rev().flatten().next().map(|event| event.id.clone());
        if page.has_more && last.is_none() {
            return Err(Refusal {
                cause: Cause::Provider,
                message: "Stripe answered with a page of which nothing can be read".to_owned(),
                retry_after: None,
            });
        }
        let rows = page.events.into_iter().map(|event| {
            let providers::stripe::Event { id, kind, created, body } = event?;
            Some(Listed { provider_id: id, kind, at: created, kept: body })
        });
        Ok(Page { rows: rows.collect(), next: last.filter(|_| page.has_more) })
    }

    async fn fetch(&self, event: &Value) -> Result<Fetched, Refusal> {
        Ok(Fetched { headers: HeaderMap::new(), body: event.to_string().into_bytes() })
    }
}
