//! What time alone changes: finding it, and counting it again.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use chrono::{DateTime, Duration, Utc};
use futures::{StreamExt, stream};

use super::{Ledger, group::Pending, subscriptions::Subscription};
use crate::{
    Error,
    identity::Workspace,
    store::{
        Item,
        key::{self, BUCKETS, Key, Kind},
        n, s, unavailable,
    },
};

/// Subscriptions that are found and counted again in one go.
const PAGE: i32 = 100;
/// Workspaces of a page that are worked on at the same time.
const CONCURRENT: usize = 4;
/// For how long a subscription that cannot be counted is left alone, so that it does not stand
/// before others every time.
const POSTPONED: Duration = Duration::minutes(15);

/// What is due in one bucket: a page at a time, longest first.
pub struct Due {
    bucket: u8,
    now: DateTime<Utc>,
    /// Where the next page starts; `None` before the first.
    start: Option<Item>,
    is_done: bool,
}

/// What became of a page of what was due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Recounted {
    /// Subscriptions that are as of now.
    pub done: u64,
    /// Subscriptions that could not be counted. They are tried again later.
    pub failed: u64,
}

impl Due {
    /// What is due at a time, by bucket.
    pub fn at(now: DateTime<Utc>) -> impl Iterator<Item = Self> {
        (0..BUCKETS).map(move |bucket| Self { bucket, now, start: None, is_done: false })
    }
}

impl Ledger {
    /// Counts the next subscriptions of a bucket again that time changed, of any workspace; `None`
    /// if there are no more. They are found by one query of an index, which follows a write within
    /// moments. All of it may be repeated and broken off, and meets other writers as any change
    /// does. One subscription that cannot be counted keeps no other from it.
    pub async fn recount_due(&self, due: &mut Due) -> Result<Option<Recounted>, Error> {
        if due.is_done {
            return Ok(None);
        }
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi2")
            .key_condition_expression("gsi2pk = :pk AND gsi2sk <= :now")
            .expression_attribute_values(":pk", s(key::due(due.bucket)))
            .expression_attribute_values(":now", n(due.now.timestamp()))
            .limit(PAGE)
            .set_exclusive_start_key(due.start.take());
        let found = query.send().await.map_err(unavailable)?;
        due.start = found.last_evaluated_key;
        due.is_done = due.start.is_none();
        let mut workspaces = HashMap::<Workspace, Vec<String>>::new();
        for row in found.items.unwrap_or_default() {
            let text = |name: &str| row.get(name)?.as_s().ok();
            let whose = text("pk").zip(text("sk")).and_then(|(pk, sk)| key::entity_of(pk, sk));
            if let Some((workspace, id)) = whose {
                workspaces.entry(workspace).or_default().push(id);
            }
        }
        let recounted = stream::iter(workspaces)
            .map(|(workspace, ids)| self.recount_each(workspace, ids, due.now))
            .buffer_unordered(CONCURRENT)
            .fold(Recounted::default(), async |all, one| Recounted {
                done: all.done + one.done,
                failed: all.failed + one.failed,
            })
            .await;
        Ok(Some(recounted))
    }

    /// Counts subscriptions of a workspace again: together, and if that fails one by one.
    async fn recount_each(&self, workspace: Workspace, ids: Vec<String>, now: DateTime<Utc>) -> Recounted {
        let mut recounted = Recounted::default();
        if self.recount(&workspace, ids.clone(), now).await.is_ok() {
            recounted.done = ids.len() as u64;
            return recounted;
        }
        for id in ids {
            let Err(error) = self.recount(&workspace, [id.clone()], now).await else {
                recounted.done += 1;
                continue;
            };
            recounted.failed += 1;
            tracing::error!(causes = error.causes(), "a subscription cannot be counted: {error}");
            if let Err(error) = self.postpone(&workspace, &id, now).await {
                tracing::error!(causes = error.causes(), "nor be left for later: {error}");
            }
        }
        recounted
    }

    /// Counts at most 100 subscriptions again as of `now`, where time changed them.
    async fn recount(
        &self,
        workspace: &Workspace,
        ids: impl IntoIterator<Item = String>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let pending = ids.into_iter().map(Pending::<Subscription>::of_due).collect();
        self.settle(workspace, pending, &mut [], now).await
    }

    /// Leaves a subscription for later, unless a writer has moved it on meanwhile.
    async fn postpone(&self, workspace: &Workspace, id: &str, now: DateTime<Utc>) -> Result<(), Error> {
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::entity(workspace, Kind::Subscription, id).item()))
            .update_expression("SET gsi2sk = :later")
            .condition_expression("gsi2sk <= :now")
            .expression_attribute_values(":later", n((now + POSTPONED).timestamp()))
            .expression_attribute_values(":now", n(now.timestamp()));
        match update.send().await.map_err(aws_sdk_dynamodb::error::SdkError::into_service_error) {
            Ok(_) | Err(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }
}
