//! Events that are to be processed and were not: finding them, and noting that they were woken.

use aws_sdk_dynamodb::{error::SdkError, operation::update_item::UpdateItemError};
use chrono::{DateTime, Utc};

use super::Webhooks;
use crate::{
    Error,
    store::{
        Item,
        key::{Key, webhooks::pending},
        n, number, s, unavailable,
    },
    webhooks::queue::Wake,
};

/// Events that are found in one go.
const PAGE: i32 = 100;

/// An event that should have been processed.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) wake: Wake,
    /// How often it was woken since it was attempted last.
    pub(crate) wakes: u32,
    /// When it is due, in unix seconds.
    pub(crate) due: i64,
    key: Key,
}

/// Where to read on in one bucket of what is pending.
#[derive(Debug, Default)]
pub(crate) struct Place {
    start: Option<Item>,
    is_done: bool,
}

impl Webhooks {
    /// The next events of a bucket that were due at `before`, of all workspaces, longest first;
    /// none when there are no more. One query of an index, which follows a write within moments.
    pub(crate) async fn pending(
        &self,
        bucket: u8,
        before: DateTime<Utc>,
        place: &mut Place,
    ) -> Result<Option<Vec<Pending>>, Error> {
        if place.is_done {
            return Ok(None);
        }
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi2")
            .key_condition_expression("gsi2pk = :pk AND gsi2sk <= :before")
            .expression_attribute_values(":pk", s(pending(bucket)))
            .expression_attribute_values(":before", n(before.timestamp()))
            .limit(PAGE)
            .set_exclusive_start_key(place.start.take());
        let found = query.send().await.map_err(|error| unavailable(error.into_service_error()))?;
        place.start = found.last_evaluated_key;
        place.is_done = place.start.is_none();
        Ok(Some(found.items.unwrap_or_default().iter().filter_map(read).collect()))
    }

    /// Notes that an event was woken, which lets a worker try it now, and when to look at it
    /// again. Whether it was still pending as it was found. One conditional write.
    pub(crate) async fn woken(
        &self,
        pending: &Pending,
        again_at: DateTime<Utc>,
        counts: bool,
    ) -> Result<bool, Error> {
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(pending.key.item()))
            .update_expression("SET gsi2sk = :again ADD wakes :by REMOVE next_attempt_at")
            .condition_expression("gsi2sk = :due")
            .expression_attribute_values(":again", n(again_at.timestamp()))
            .expression_attribute_values(":by", n(u8::from(counts)))
            .expression_attribute_values(":due", n(pending.due));
        match update.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn read(row: &Item) -> Option<Pending> {
    let text = |name: &str| row.get(name)?.as_s().ok().cloned();
    let key = Key { pk: text("pk")?, sk: text("sk")? };
    let (workspace, id) = key.of_event()?;
    let wake = Wake::of(&workspace, id);
    Some(Pending { wake, wakes: number(row, "wakes"), due: number(row, "gsi2sk"), key })
}
