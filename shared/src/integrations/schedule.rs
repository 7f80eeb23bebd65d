//! Tests over time: which are due, and what they said.

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Integration, Integrations, Loaded,
    health::{TestResult, Turn},
    order::known_provider,
};
use crate::{
    Error,
    activity::Actor,
    identity::Workspace,
    store::{self, Transacted, key, s, unavailable},
};

pub use crate::store::key::TEST_BUCKETS;

/// An integration whose test is due.
#[derive(Debug)]
pub struct Due {
    /// Whose it is.
    pub workspace: Workspace,
    /// Its id.
    pub id: String,
}

impl Integration {
    /// Its place among those to be tested: only what is active and can be tested has one.
    pub(super) fn test_due(&self) -> Option<DateTime<Utc>> {
        let testable =
            self.active && self.credential_id.is_some() && known_provider(&self.provider).is_some();
        testable.then_some(self.health.next_test_at)
    }
}

impl Integrations {
    /// Integrations of all workspaces whose test is due, the longest overdue first. `bucket` is
    /// below [`TEST_BUCKETS`]. One query. The index may be a moment late: what it names may have
    /// been tested or deleted just now.
    pub async fn due(&self, bucket: u8, now: DateTime<Utc>, limit: u64) -> Result<Vec<Due>, Error> {
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("gsi1")
            .key_condition_expression("gsi1pk = :pk AND gsi1sk < :now")
            .expression_attribute_values(":pk", s(key::tests(bucket)))
            // Keys go on with `#` after the time.
            .expression_attribute_values(":now", s(format!("{}~", key::sortable(now))))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(unavailable)?;
        let place = |row: &store::Item| {
            let (workspace, id) = key::test_of(row.get("gsi1sk")?.as_s().ok()?)?;
            Some(Due { workspace: workspace.parse().ok()?, id: id.to_owned() })
        };
        Ok(found.items.unwrap_or_default().iter().filter_map(place).collect())
    }

    /// Records how a test of the newest version ended; that it fails or works again is told in
    /// the activity log, in the same transaction. A test of a version that was replaced meanwhile
    /// says nothing of the integration and is left away, as is one of an integration that is
    /// gone. Returns the integration as it is now, if it is.
    pub async fn record_test(
        &self,
        actor: Actor<'_>,
        tested: &Loaded,
        result: &TestResult,
        now: DateTime<Utc>,
    ) -> Result<Option<Integration>, Error> {
        let workspace = actor.workspace();
        let mut stored = tested.integration.clone();
        for pause in store::backoff() {
            let mut new = stored.clone();
            new.revision += 1;
            let turn;
            (new.health, turn) = stored.health.after(result, stored.version, now);
            let mut writes = vec![self.put(workspace, &new, Some(stored.revision))?];
            if let Some(turn) = turn {
                writes.push(self.told(actor, &new, turn, result, now)?);
            }
            if self.table.transact(writes).await? == Transacted::Done {
                return Ok(Some(new));
            }
            sleep(pause).await;
            stored = match self.row(workspace, &stored.id).await {
                Ok(row) if row.version == tested.integration.version => row,
                Ok(newer) => return Ok(Some(newer)),
                Err(Error::NotFound(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        Err(unavailable("too many tests of one integration at once"))
    }

    /// The activity entry of a turn.
    pub(super) fn told(
        &self,
        actor: Actor<'_>,
        integration: &Integration,
        turn: Turn,
        result: &TestResult,
        now: DateTime<Utc>,
    ) -> Result<aws_sdk_dynamodb::types::TransactWriteItem, Error> {
        let Integration { id, name, provider, version, .. } = integration;
        let detail = json!({"name": name, "provider": provider, "version": version});
        match (turn, result) {
            (Turn::Failing, Err(failure)) => {
                let mut detail = detail;
                detail["cause"] = failure.cause.word().into();
                self.activity.record(actor, "integration.failing", id, detail, now)
            }
            _ => self.activity.record(actor, "integration.recovered", id, detail, now),
        }
    }
}
