//! Refused deliveries: how many an hour, why, and a short record of the last one of each cause.
//!
//! Anybody can be refused, so an hour of a taker is one row, however many there are, and nothing
//! that was sent is kept but what can be an id.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use lambda_http::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    Webhooks,
    scheme::{Cause, Hint, Incoming, Refused},
    store::is_kept,
};
use crate::{
    Error,
    fields::is_id,
    identity::Workspace,
    store::{
        self, Item,
        key::{Key, webhooks::hour},
        n, number, s, unavailable,
    },
};

/// Hours of one request at most: some five weeks.
pub const HOURS_MAX: i32 = 840;

/// Where a sender names a delivery.
const NAMES: &[&str] = &["x-github-delivery", "x-shopify-webhook-id", "webhook-id", "svix-id"];

/// The store of refusals.
#[derive(Clone)]
pub struct Refusals {
    webhooks: Webhooks,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: DateTime<Utc>,
    /// What is probably wrong, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Bytes of the body.
    pub size: u64,
    /// How its sender named the delivery; nobody verified that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// Refusals of one cause in an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// How many.
    pub count: u64,
    /// The last one.
    pub last: Record,
}

/// The refusals of an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hour {
    /// When it began.
    pub hour: DateTime<Utc>,
    /// By the word of their cause.
    pub causes: BTreeMap<&'static str, Refusal>,
}

impl Refusals {
    /// In the table of the events.
    #[must_use]
    pub fn of(webhooks: &Webhooks) -> Self {
        Self { webhooks: webhooks.clone() }
    }

    /// Counts a refusal. One write.
    pub(super) async fn record(
        &self,
        workspace: &Workspace,
        taker: &str,
        incoming: &Incoming<'_>,
        refused: Refused,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let record = Record {
            at: now,
            hint: refused.hint,
            size: u64::try_from(incoming.body.len()).unwrap_or(u64::MAX),
            delivery: name_of(incoming.headers),
        };
        let table = &self.webhooks.table;
        let cause = refused.cause.word();
        let update = table
            .client
            .update_item()
            .table_name(&table.name)
            .set_key(Some(Key::refusals(workspace, taker, now).item()))
            .update_expression("SET #last = :record, expires_at = :expires_at ADD #count :one")
            .expression_attribute_names("#last", format!("last_{cause}"))
            .expression_attribute_names("#count", format!("count_{cause}"))
            .expression_attribute_values(
                ":record",
                AttributeValue::M(serde_dynamo::to_item(record).map_err(unavailable)?),
            )
            .expression_attribute_values(":expires_at", n(self.webhooks.expires_at(now)))
            .expression_attribute_values(":one", n(1));
        update.send().await.map(drop).map_err(|error| unavailable(error.into_service_error()))
    }

    /// The refusals of a taker in the hours from that of `from` until before `to`, the newest
    /// first; at most [`HOURS_MAX`]. One query.
    pub async fn hours(
        &self,
        workspace: &Workspace,
        taker: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Hour>, Error> {
        let (first, last) = (hour(from), hour(to - chrono::TimeDelta::microseconds(1)));
        // What cannot be a taker took nothing in; DynamoDB would fail on one that is too long.
        if !is_id(taker) || first > last {
            return Ok(Vec::new());
        }
        let table = &self.webhooks.table;
        let query = table
            .client
            .query()
            .table_name(&table.name)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(Key::refusals(workspace, taker, now).pk))
            .expression_attribute_values(":from", s(first))
            .expression_attribute_values(":to", s(last))
            .scan_index_forward(false)
            .limit(HOURS_MAX);
        let found = query.send().await.map_err(|error| unavailable(error.into_service_error()))?;
        let rows = found.items.unwrap_or_default().into_iter().filter(|row| is_kept(row, now));
        rows.map(|row| of_row(&row)).collect()
    }
}

fn of_row(row: &Item) -> Result<Hour, Error> {
    let begins = row.get("sk").and_then(|sk| sk.as_s().ok()).and_then(|sk| sk.strip_prefix("HOUR#"));
    let begins = begins.and_then(|hour| format!("{hour}:00:00Z").parse().ok());
    let hour = begins.ok_or_else(|| unavailable("a row of refusals has no hour"))?;
    let mut causes = BTreeMap::new();
    for (cause, _) in Cause::WORDS {
        if let Some(AttributeValue::M(last)) = row.get(&format!("last_{cause}")) {
            let last = store::entity(last.clone())?;
            causes.insert(*cause, Refusal { count: number(row, &format!("count_{cause}")), last });
        }
    }
    Ok(Hour { hour, causes })
}

fn name_of(headers: &HeaderMap) -> Option<String> {
    let named = NAMES.iter().find_map(|name| headers.get(*name)?.to_str().ok());
    named.filter(|name| is_id(name)).map(str::to_owned)
}
