//! The list of a workspace's events, newest first: a few partitions, merged as they are read.
//!
//! Events are picked out as they are read, and a request reads a bounded number of them: a page
//! may end early, even empty, with a cursor that goes on where it stopped.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use serde::Serialize;

use super::{Event, Source, Status, Webhooks};
use crate::{
    Error,
    identity::Workspace,
    store::{
        self, Item, cursor,
        key::webhooks::{EVENT_SHARDS, event_times, events},
        n, s, unavailable,
    },
};

/// What a cursor is bound to.
const LIST: &str = "webhook-events";
/// How often a request reads on while its page is not full.
const ROUNDS: usize = 4;
/// Events that one query reads when some may be left out.
const READ_AT_ONCE: usize = 250;

/// Which events are asked for; all of what is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub source: Option<Source>,
    /// What happened, in the provider's words.
    pub kind: Option<String>,
    /// What became of them.
    pub status: Option<Status>,
    /// Id of the endpoint that took them.
    pub endpoint: Option<String>,
    /// The first moment.
    pub from: Option<DateTime<Utc>>,
    /// The first moment that is too late.
    pub to: Option<DateTime<Utc>>,
}

/// A page of events, newest first; without their headers and attempts.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The events.
    pub events: Vec<Event>,
    /// What continues the list.
    pub next_cursor: Option<String>,
}

/// What one partition gave.
struct Read {
    items: Vec<Item>,
    /// Up to where it was read, if there is more.
    end: Option<String>,
}

impl Webhooks {
    /// A page of the list. At most 4 rounds of one query a partition; an event that came a moment
    /// ago may not be there yet.
    pub async fn list(
        &self,
        workspace: &Workspace,
        filter: &Filter,
        limit: usize,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Page, Error> {
        let (low, high) = event_times(filter.from, filter.to);
        let mut after = cursor.map(|cursor| cursor::decode(workspace, LIST, cursor)).transpose()?;
        if after.as_ref().is_some_and(|after| *after < low || *after > high) {
            return Err(cursor::foreign());
        }
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            let most = if filter.picks() { READ_AT_ONCE } else { limit + 1 - found.len() };
            let read = try_join_all((0..EVENT_SHARDS).map(|shard| {
                let high = after.as_deref().unwrap_or(&high);
                self.read(events(workspace, shard), filter, (&low, high), most, now)
            }));
            let read = read.await?;
            // Only down to here does every partition say what it has.
            let end = read.iter().filter_map(|read| read.end.clone()).max();
            let mut items: Vec<_> = read.into_iter().flat_map(|read| read.items).collect();
            items.retain(|item| {
                let at = Some(position(item));
                at >= end.as_deref() && after.as_deref().is_none_or(|after| at < Some(after))
            });
            items.sort_by(|one, other| position(other).cmp(position(one)));
            found.extend(items);
            if found.len() > limit {
                found.truncate(limit);
                after = found.last().map(|last| position(last).to_owned());
                return page(workspace, found, after);
            }
            after = end;
            if after.is_none() {
                break;
            }
        }
        page(workspace, found, after)
    }

    async fn read(
        &self,
        partition: String,
        filter: &Filter,
        (low, high): (&str, &str),
        most: usize,
        now: DateTime<Utc>,
    ) -> Result<Read, Error> {
        let mut query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi1")
            .key_condition_expression("gsi1pk = :pk AND gsi1sk BETWEEN :low AND :high")
            .expression_attribute_values(":pk", s(partition))
            .expression_attribute_values(":low", s(low))
            .expression_attribute_values(":high", s(high))
            .scan_index_forward(false)
            // One more, as the last one of the page before is read again.
            .limit(i32::try_from(most + 1).unwrap_or(i32::MAX));
        let mut conditions = vec!["expires_at > :now".to_owned()];
        query = query.expression_attribute_values(":now", n(now.timestamp()));
        for (name, value) in filter.equal() {
            conditions.push(format!("#{name} = :{name}"));
            query = query.expression_attribute_names(format!("#{name}"), name);
            query = query.expression_attribute_values(format!(":{name}"), value);
        }
        let answer = query.filter_expression(conditions.join(" AND ")).send().await;
        let answer = answer.map_err(|error| unavailable(error.into_service_error()))?;
        let end = answer.last_evaluated_key.as_ref().map(|item| position(item).to_owned());
        Ok(Read { items: answer.items.unwrap_or_default(), end })
    }
}

impl Filter {
    /// Whether events of the time that is asked for may be left out.
    fn picks(&self) -> bool {
        self.equal().next().is_some()
    }

    fn equal(&self) -> impl Iterator<Item = (&'static str, AttributeValue)> {
        [
            ("source", self.source.map(|source| s(source.word()))),
            ("type", self.kind.as_deref().map(s)),
            ("status", self.status.map(|status| s(status.word()))),
            ("endpoint", self.endpoint.as_deref().map(s)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Sort key in `gsi1`.
fn position(item: &Item) -> &str {
    item.get("gsi1sk").and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

fn page(workspace: &Workspace, found: Vec<Item>, after: Option<String>) -> Result<Page, Error> {
    let events = found.into_iter().map(store::entity).collect::<Result<_, _>>()?;
    Ok(Page { events, next_cursor: after.map(|after| cursor::encode(workspace, LIST, &after)) })
}
