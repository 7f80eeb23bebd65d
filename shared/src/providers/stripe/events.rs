//! The events of a Stripe account, which Stripe keeps for 30 days.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;

use super::{API, STRIPE, VERSION};
use crate::{
    fields,
    providers::{Cause, Client, Refusal, Service, answer::unexpected},
};

/// The same where a query names an event.
static EVENTS: Service = Service {
    cause: |answer| matches!(answer.status.as_u16(), 400 | 404).then_some(Cause::Format),
    ..STRIPE
};

/// The most that a page holds.
const PAGE: &str = "100";

/// Which events are asked for.
pub struct Events<'a> {
    /// A key that may read events.
    pub api_key: &'a SecretString,
    /// Their types, at most 20.
    pub types: &'a [&'static str],
    /// The first second in which they were made.
    pub from: DateTime<Utc>,
    /// The first second that is too late.
    pub to: DateTime<Utc>,
}

/// A page of them, newest first.
pub struct Page {
    /// The events; `None` stands for a row that is no event.
    pub events: Vec<Option<Event>>,
    /// Whether more follow, after the last one.
    pub has_more: bool,
}

/// An event as Stripe keeps it.
pub struct Event {
    /// `evt_…`
    pub id: String,
    /// Such as `invoice.paid`.
    pub kind: String,
    /// When it was made, to the second.
    pub created: DateTime<Utc>,
    /// All of it, as a delivery would have it.
    pub body: Value,
}

impl Events<'_> {
    /// The page after the event of this id, or the first one. [`Cause::Format`] if Stripe no longer
    /// has that event.
    pub async fn page(&self, client: &Client, after: Option<&str>) -> Result<Page, Refusal> {
        let call = client.get(&EVENTS, API, "/v1/events").header("stripe-version", VERSION);
        let mut call = call.bearer(self.api_key).large().query("limit", PAGE);
        for kind in self.types {
            call = call.query("types[]", kind);
        }
        call = call.query("created[gte]", &self.from.timestamp().to_string());
        call = call.query("created[lt]", &self.to.timestamp().to_string());
        if let Some(after) = after {
            call = call.query("starting_after", after);
        }
        let mut answer = call.send().await?;
        let Some(Value::Array(rows)) = answer.body.pointer_mut("/data").map(Value::take) else {
            return Err(unexpected(&EVENTS, "a list of events"));
        };
        let events = rows.into_iter().map(Event::read).collect();
        Ok(Page { events, has_more: answer.body["has_more"] == true })
    }
}

impl Event {
    fn read(row: Value) -> Option<Self> {
        let text = |name: &str| row[name].as_str().filter(|text| fields::is_id(text)).map(str::to_owned);
        Some(Self {
            id: text("id")?,
            kind: text("type")?,
            created: DateTime::from_timestamp(row["created"].as_i64()?, 0)?,
            body: row["data"]["object"].is_object().then_some(row)?,
        })
    }
}
