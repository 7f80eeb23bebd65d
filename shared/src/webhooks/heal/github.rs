//! GitHub's list of deliveries. It has no bodies: what is missing is fetched one by one, and may
//! be gone by then. Every attempt at delivering an event has a row, under the event's one guid.

use chrono::TimeDelta;

use super::{Fetched, List, Listed, Page, Window};
use crate::{
    providers::{
        self, Refusal,
        github::{App, Delivery},
    },
    time,
    webhooks::Source,
};

pub(super) struct Deliveries<'a> {
    pub(super) client: &'a providers::Client,
    pub(super) app: App<'a>,
}

impl List for Deliveries<'_> {
    type Kept = Delivery;
    const SOURCE: Source = Source::Github;
    /// GitHub's documents say 3 days, and older ones 30.
    const KEPT: TimeDelta = TimeDelta::days(3);

    /// The list is of all that there is: it cannot be asked for a window.
    async fn page(&self, _: Window, position: Option<&str>) -> Result<Page<Delivery>, Refusal> {
        // A run may take longer than what the app signs is good for.
        let page = self.app.deliveries(self.client, position, time::now()).await?;
        let rows = page.deliveries.into_iter().map(|delivery| {
            let delivery = delivery?;
            let (provider_id, kind) = (delivery.guid.clone(), delivery.event.clone());
            Some(Listed { provider_id, kind, at: delivery.delivered_at, kept: delivery })
        });
        Ok(Page { rows: rows.collect(), next: page.next })
    }

    async fn fetch(&self, delivery: &Delivery) -> Result<Fetched, Refusal> {
        let sent = self.app.sent(self.client, delivery, time::now()).await?;
        Ok(Fetched { headers: sent.headers, body: sent.payload.to_string().into_bytes() })
    }
}
