//! The store of events: each once, with its body, as the truth of what became of it.
//!
//! [`Webhooks::accept`] takes one in; reading is by id, or newest first ([`list`]).

mod body;
mod erase;
mod figures;
pub mod list;
pub(super) mod mark;
pub(super) mod pending;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{put_item::PutItemError, update_item::UpdateItemError},
    types::{
        AttributeValue, KeysAndAttributes, PutRequest, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, WriteRequest,
    },
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

pub use erase::ERASED;
pub use list::{Filter, Page};

use super::{
    Event, Source, Status,
    event::{Via, event_id},
};
use crate::{
    Error,
    fields::is_id,
    id,
    identity::Workspace,
    lambda::{Env, EnvError},
    store::{
        self, Item, Table, b,
        key::{
            Key,
            webhooks::{body_pieces, events_of, pending_of},
        },
        n, number, s, unavailable,
    },
    word::words,
};
use body::{Packed, Place};

pub use crate::store::key::webhooks::PENDING_BUCKETS;

/// After this long the sweep wakes an event up that its own message did not.
pub const GRACE: TimeDelta = TimeDelta::minutes(5);
/// Rows of one `BatchWriteItem`, and of one `BatchGetItem`.
const WRITES_MAX: usize = 25;
const READS_MAX: usize = 100;
/// Days for which an event is kept, unless told.
const RETENTION_DAYS: i64 = 90;

/// The store of events.
#[derive(Clone)]
pub struct Webhooks {
    pub(super) table: Table,
    retention: TimeDelta,
}

/// A delivery to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Whose it is.
    pub source: Source,
    /// The endpoint that took it; none for a source's own route.
    pub endpoint: Option<String>,
    /// What happened, in the provider's words; empty if it does not say.
    pub kind: String,
    /// The provider's own id of it, or what stands for one.
    pub provider_id: String,
    /// How it came.
    pub via: Via,
    /// Headers without secrets.
    pub headers: Vec<(String, String)>,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl NewEvent {
    /// Who took it in: the endpoint's id, or the source's word.
    #[must_use]
    pub fn taker(&self) -> &str {
        self.endpoint.as_deref().unwrap_or_else(|| self.source.word())
    }
}

words! {
    /// What was done with a delivery.
    Outcome {
        /// It is to be processed: it is new, or it came again after processing it had failed.
        Accepted = "accepted",
        /// It is there already.
        Duplicate = "duplicate",
    }
}

/// A delivery that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The event's id.
    pub id: String,
    /// What was done with it.
    pub outcome: Outcome,
}

/// Which events go back to the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopen {
    /// Those that failed, for good or for the time being.
    Failed,
    /// All, those that were processed too.
    Any,
}

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// All but its body.
    pub event: Event,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
    /// Counts the changes of its row: who changes it names the one that was read.
    pub revision: u64,
    /// How often the sweep woke it up since it was attempted last.
    pub wakes: u32,
}

/// How an event stands.
#[derive(Debug, Clone, Deserialize)]
pub struct Head {
    /// Its id.
    pub id: String,
    /// What became of it.
    pub status: Status,
    /// How it came.
    pub via: Via,
}

/// The row of an event, without its keys.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    event: Event,
    #[serde(flatten)]
    place: Place,
    revision: u64,
    #[serde(default)]
    wakes: u32,
    /// When the row ends, in unix seconds.
    expires_at: i64,
    /// Random: by it one knows one's own write.
    delivery: String,
}

/// The row with its places in the indexes.
#[derive(Serialize)]
struct Indexed<'a> {
    #[serde(flatten)]
    row: &'a Row,
    gsi1pk: String,
    gsi1sk: String,
    gsi2pk: String,
    gsi2sk: i64,
}

impl Webhooks {
    /// Reads `WEBHOOKS_TABLE`, and `WEBHOOK_RETENTION_DAYS` if it is there.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let days = env.optional::<u16>("WEBHOOK_RETENTION_DAYS")?;
        Ok(Self {
            table: Table::load(env, &store::client(sdk), "WEBHOOKS_TABLE")?,
            retention: TimeDelta::days(days.map_or(RETENTION_DAYS, i64::from)),
        })
    }

    /// When a row of this time ends, in unix seconds: its `expires_at`.
    #[must_use]
    pub fn expires_at(&self, time: DateTime<Utc>) -> i64 {
        (time + self.retention).timestamp()
    }

    /// Stores a delivery, once however often it comes. One that processing failed for is to be
    /// processed again. One conditional write; a body that does not fit in a row takes one more
    /// before it, and an event that failed one after it.
    pub async fn accept(&self, workspace: &Workspace, new: NewEvent, body: &[u8]) -> Result<Accepted, Error> {
        let id = event_id(workspace, new.taker(), &new.provider_id);
        let packed = Packed::of(body)?;
        let now = new.received_at;
        let delivery = id::random(12);
        let row = Row {
            event: Event {
                id: id.clone(),
                source: new.source,
                endpoint: new.endpoint,
                kind: new.kind,
                provider_id: new.provider_id,
                via: new.via,
                status: Status::Received,
                received_at: now,
                size: u64::try_from(body.len()).map_err(unavailable)?,
                headers: new.headers,
                attempts: 0,
                log: Vec::new(),
                next_attempt_at: None,
                processed_at: None,
            },
            place: packed.place.clone(),
            revision: 1,
            wakes: 0,
            expires_at: self.expires_at(now),
            delivery: delivery.clone(),
        };
        self.put_pieces(workspace, &row, &packed).await?;
        let indexed = Indexed {
            row: &row,
            gsi1pk: events_of(workspace, &id),
            gsi1sk: store::key::by_time(now, &id),
            gsi2pk: pending_of(&id),
            gsi2sk: (now + GRACE).timestamp(),
        };
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(store::item(Key::event(workspace, &id), &indexed)?))
            // A row that ended is deleted some days later.
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", n(now.timestamp()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let held = match put.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => return Ok(Accepted { id, outcome: Outcome::Accepted }),
            Err(PutItemError::ConditionalCheckFailedException(refused)) => refused.item.unwrap_or_default(),
            Err(error) => return Err(unavailable(error)),
        };
        let word = |name: &str| held.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
        let failed = [Status::Failed, Status::Dead].map(|status| Some(status.word()));
        // A write whose answer was lost was repeated by the SDK, and met itself.
        let accepted = word("delivery") == Some(&delivery)
            || (failed.contains(&word("status")) && self.reopen(workspace, &id, Reopen::Failed, now).await?);
        Ok(Accepted { id, outcome: if accepted { Outcome::Accepted } else { Outcome::Duplicate } })
    }

    /// Stores what does not fit in the row of the event, before that: an event that is there is
    /// whole. A piece is named by what it is a piece of, so to repeat one does no harm.
    async fn put_pieces(&self, workspace: &Workspace, row: &Row, packed: &Packed) -> Result<(), Error> {
        let Some(digest) = &packed.place.digest else { return Ok(()) };
        let mut writes = Vec::new();
        for (at, piece) in packed.pieces().enumerate() {
            let mut item = Key::body_piece(workspace, &row.event.id, digest, at).item();
            item.insert("piece".to_owned(), b(piece.to_vec()));
            item.insert("expires_at".to_owned(), n(row.expires_at));
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(unavailable)?;
            writes.push(WriteRequest::builder().put_request(put).build());
        }
        for part in writes.chunks(WRITES_MAX) {
            let mut left = part.to_vec();
            for pause in store::backoff() {
                let request = self.table.client.batch_write_item().request_items(&self.table.name, left);
                let answer = request.send().await.map_err(|error| unavailable(error.into_service_error()))?;
                left =
                    answer.unprocessed_items.unwrap_or_default().remove(&self.table.name).unwrap_or_default();
                if left.is_empty() {
                    break;
                }
                sleep(pause).await;
            }
            if !left.is_empty() {
                return Err(unavailable("the pieces of a body were not taken"));
            }
        }
        Ok(())
    }

    /// Sends an event back to the start, if it is one of those that `which` says; whether it was.
    /// One conditional write.
    pub async fn reopen(
        &self,
        workspace: &Workspace,
        id: &str,
        which: Reopen,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let (change, condition, values) = reopening(id, which, now);
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::event(workspace, id).item()))
            .update_expression(change)
            .condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .set_expression_attribute_values(Some(values));
        match update.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The same as a part of a transaction, which is refused if the event is not one of those.
    pub(crate) fn reopening(
        &self,
        workspace: &Workspace,
        id: &str,
        which: Reopen,
        now: DateTime<Utc>,
    ) -> Result<TransactWriteItem, Error> {
        let (change, condition, values) = reopening(id, which, now);
        store::update(
            self.table
                .update(&Key::event(workspace, id))
                .update_expression(change)
                .condition_expression(condition)
                .expression_attribute_names("#status", "status")
                .set_expression_attribute_values(Some(values)),
        )
    }

    /// An event with its body. One read, and one more for each megabyte of a large body.
    pub async fn get(&self, workspace: &Workspace, id: &str, now: DateTime<Utc>) -> Result<Stored, Error> {
        // What cannot be an id names nothing; DynamoDB would fail on one that is too long.
        if !is_id(id) {
            return Err(Error::NotFound("event"));
        }
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let read = read.set_key(Some(Key::event(workspace, id).item()));
        let found = read.send().await.map_err(|error| unavailable(error.into_service_error()))?;
        let item = found.item.filter(|item| is_kept(item, now)).ok_or(Error::NotFound("event"))?;
        self.whole(workspace, item).await
    }

    /// Those of the events that are there, with their bodies, in no order. One read a hundred, if
    /// they are small, and one for each megabyte of a large body.
    pub async fn batch_get(
        &self,
        workspace: &Workspace,
        ids: &[&str],
        now: DateTime<Utc>,
    ) -> Result<Vec<Stored>, Error> {
        let rows = self.rows(workspace, ids, None).await?;
        let kept = rows.into_iter().filter(|item| is_kept(item, now));
        futures::future::try_join_all(kept.map(|item| self.whole(workspace, item))).await
    }

    /// How those of the events stand that are there. One read a hundred.
    pub async fn heads(
        &self,
        workspace: &Workspace,
        ids: &[&str],
        now: DateTime<Utc>,
    ) -> Result<Vec<Head>, Error> {
        let rows = self.rows(workspace, ids, Some("id, #status, via, expires_at")).await?;
        rows.into_iter().filter(|item| is_kept(item, now)).map(store::entity).collect()
    }

    async fn rows(
        &self,
        workspace: &Workspace,
        ids: &[&str],
        projection: Option<&str>,
    ) -> Result<Vec<Item>, Error> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut rows = Vec::new();
        for part in ids.chunks(READS_MAX) {
            let keys = part.iter().map(|id| Key::event(workspace, id).item()).collect();
            let mut request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            if let Some(projection) = projection {
                request = request.projection_expression(projection);
                request = request.expression_attribute_names("#status", "status");
            }
            let mut left = Some(request.build().map_err(unavailable)?);
            let mut pauses = store::backoff();
            while let Some(request) = left {
                let read = self.table.client.batch_get_item().request_items(&self.table.name, request);
                let mut answer =
                    read.send().await.map_err(|error| unavailable(error.into_service_error()))?;
                let found = answer.responses.as_mut().and_then(|found| found.remove(&self.table.name));
                let found = found.unwrap_or_default();
                let some = !found.is_empty();
                rows.extend(found);
                left = answer.unprocessed_keys.and_then(|mut keys| keys.remove(&self.table.name));
                // What is left is what did not fit, or what was too much at a time.
                if left.is_some() && !some {
                    sleep(pauses.next().ok_or_else(|| unavailable("the table is busy"))?).await;
                }
            }
        }
        Ok(rows)
    }

    async fn whole(&self, workspace: &Workspace, item: Item) -> Result<Stored, Error> {
        let Row { event, place, revision, wakes, .. } = store::entity(item)?;
        let mut pieces = Vec::new();
        if let Some(digest) = &place.digest {
            let query = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
                .expression_attribute_values(":pk", s(Key::event(workspace, &event.id).pk))
                .expression_attribute_values(":sk", s(body_pieces(digest)))
                .consistent_read(true);
            let mut items = query.into_paginator().items().send();
            while let Some(item) = items.next().await {
                let mut item = item.map_err(|error| unavailable(error.into_service_error()))?;
                if let Some(AttributeValue::B(piece)) = item.remove("piece") {
                    pieces.extend_from_slice(piece.as_ref());
                }
            }
        }
        let body = place.unpack(pieces, event.size)?;
        Ok(Stored { event, body, revision, wakes })
    }
}

/// What sends an event back to the start: the change, its condition, and the values of both.
fn reopening(
    id: &str,
    which: Reopen,
    now: DateTime<Utc>,
) -> (&'static str, &'static str, std::collections::HashMap<String, AttributeValue>) {
    const CHANGE: &str = "SET #status = :received, attempts = :none, wakes = :none, gsi2pk = :pending, \
        gsi2sk = :due ADD revision :one REMOVE next_attempt_at";
    let mut values = std::collections::HashMap::from([
        (":received".to_owned(), s(Status::Received.word())),
        (":none".to_owned(), n(0)),
        (":one".to_owned(), n(1)),
        (":pending".to_owned(), s(pending_of(id))),
        (":due".to_owned(), n((now + GRACE).timestamp())),
    ]);
    let condition = match which {
        Reopen::Any => "attribute_exists(pk)",
        Reopen::Failed => {
            values.insert(":failed".to_owned(), s(Status::Failed.word()));
            values.insert(":dead".to_owned(), s(Status::Dead.word()));
            "#status IN (:failed, :dead)"
        }
    };
    (CHANGE, condition, values)
}

/// Whether a row has not ended; DynamoDB deletes it some days later.
pub(crate) fn is_kept(item: &Item, now: DateTime<Utc>) -> bool {
    number::<i64>(item, "expires_at") > now.timestamp()
}
