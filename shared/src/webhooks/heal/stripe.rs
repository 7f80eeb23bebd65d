//! Stripe's list of events. It has their bodies, so nothing is fetched one by one.

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::Value;

use super::{Fetched, List, Listed, Page, Window};
use crate::{
    providers::{self, Cause, Refusal},
    webhooks::Source,
};

/// The types that are asked for: those that have an effect. Stripe makes many more, of which an
/// endpoint subscribes to some; that others were not delivered is not a gap.
const TYPES: [&str; 12] = [
    "charge.failed",
    "charge.refunded",
    "charge.succeeded",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
];

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
        let events = providers::stripe::Events { api_key: self.api_key, types: &TYPES, from, to };
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
        Ok(Fetched { headers: Vec::new(), body: event.to_string().into_bytes() })
    }
}
