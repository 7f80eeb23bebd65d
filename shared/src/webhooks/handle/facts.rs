//! Facts: what several events tell of one thing, joined in a row of its own.
//!
//! Events of one payment come in any order and at the same time. Each adds what it tells to the
//! row, on condition that the row is as it was read; so of two that come at once, the second one
//! sees what the first one told. Adding is such that the order does not matter and repeating
//! changes nothing.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{error::SdkError, operation::put_item::PutItemError};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use crate::{
    Error,
    identity::Workspace,
    lambda::{Env, EnvError},
    store::{self, Table, key::Key, n, unavailable},
    webhooks::Source,
};

/// The store of facts.
#[derive(Clone)]
pub(super) struct Facts {
    table: Table,
}

/// What is known, and how often it changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known<T> {
    /// Counts the changes.
    pub(super) revision: u32,
    /// The time of the latest event that told something, in seconds since 1970.
    pub(super) latest: i64,
    /// What was told.
    pub(super) facts: T,
}

impl<T: Clone + PartialEq> Known<T> {
    /// What is known after an event of this time adds to it; `None` where it tells nothing new.
    pub(super) fn told(&self, at: i64, add: impl FnOnce(&mut T)) -> Option<Self> {
        let mut facts = self.facts.clone();
        add(&mut facts);
        let latest = self.latest.max(at);
        (facts != self.facts).then_some(Self { revision: self.revision + 1, latest, facts })
    }

    /// A time for what follows from the facts that is later with each change of them: an event of
    /// an earlier time that comes later adds to them too.
    pub(super) fn updated_at(&self) -> DateTime<Utc> {
        let time = DateTime::from_timestamp(self.latest, 0).unwrap_or_default();
        time + TimeDelta::microseconds(self.revision.into())
    }
}

impl Facts {
    /// Reads `WEBHOOKS_TABLE`.
    pub(super) fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { table: Table::load(env, &store::client(sdk), "WEBHOOKS_TABLE")? })
    }

    /// What is known of one thing. One read.
    pub(super) async fn read<T: Default + DeserializeOwned>(
        &self,
        workspace: &Workspace,
        source: Source,
        of: &str,
    ) -> Result<Known<T>, Error> {
        let key = Key::facts(workspace, source.word(), of).item();
        let read = self.table.client.get_item().table_name(&self.table.name).set_key(Some(key));
        let found = read.consistent_read(true).send().await.map_err(unavailable)?;
        found.item.map_or_else(|| Ok(Known::default()), store::entity)
    }

    /// Adds what an event of this time tells, and answers all that is then known. One read and,
    /// if that is news, one write.
    pub(super) async fn tell<T>(
        &self,
        workspace: &Workspace,
        source: Source,
        of: &str,
        at: i64,
        add: impl Fn(&mut T),
    ) -> Result<Known<T>, Error>
    where
        T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
    {
        let mut pauses = store::backoff();
        loop {
            let known: Known<T> = self.read(workspace, source, of).await?;
            let Some(told) = known.told(at, &add) else { return Ok(known) };
            let put = self.table.client.put_item().table_name(&self.table.name);
            let put = put.set_item(Some(store::item(Key::facts(workspace, source.word(), of), &told)?));
            let put = match known.revision {
                0 => put.condition_expression("attribute_not_exists(pk)"),
                revision => put
                    .condition_expression("revision = :revision")
                    .expression_attribute_values(":revision", n(revision)),
            };
            match put.send().await.map_err(SdkError::into_service_error) {
                Ok(_) => return Ok(told),
                Err(PutItemError::ConditionalCheckFailedException(_)) => {
                    sleep(pauses.next().ok_or_else(|| unavailable("too many writers at once"))?).await;
                }
                Err(error) => return Err(unavailable(error)),
            }
        }
    }
}
