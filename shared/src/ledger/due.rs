//! What time alone changes: finding it, and counting it again.

use chrono::{DateTime, Utc};

use super::{Ledger, group::Pending, subscriptions::Subscription};
use crate::{
    Error,
    identity::Workspace,
    store::{
        key::{self, BUCKETS},
        n, s, unavailable,
    },
};

/// A subscription whose totals time changes, or has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Whose it is.
    pub workspace: Workspace,
    /// Its id.
    pub id: String,
}

impl Ledger {
    /// Where [`Ledger::due`] has to look.
    pub fn due_buckets() -> impl Iterator<Item = u8> {
        0..BUCKETS
    }

    /// At most `limit` subscriptions of any workspace that are due in a bucket, longest first.
    /// One query of an index, which follows a write within moments.
    pub async fn due(&self, bucket: u8, now: DateTime<Utc>, limit: i32) -> Result<Vec<Due>, Error> {
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi2")
            .key_condition_expression("gsi2pk = :pk AND gsi2sk <= :now")
            .expression_attribute_values(":pk", s(key::due(bucket)))
            .expression_attribute_values(":now", n(now.timestamp()))
            .limit(limit);
        let found = query.send().await.map_err(unavailable)?;
        let due = found.items.unwrap_or_default().into_iter().filter_map(|row| {
            let text = |name: &str| row.get(name)?.as_s().ok();
            let (workspace, id) = key::entity_of(text("pk")?, text("sk")?)?;
            Some(Due { workspace, id })
        });
        Ok(due.collect())
    }

    /// Counts at most 100 subscriptions again as of `now`, where time changed them. May be
    /// repeated, and meets other writers as any change does.
    pub async fn recount(
        &self,
        workspace: &Workspace,
        ids: impl IntoIterator<Item = String>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let pending = ids.into_iter().map(Pending::<Subscription>::of_due).collect();
        self.settle(workspace, pending, &mut [], now).await
    }
}
