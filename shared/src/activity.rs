//! The activity log: who changed what and when, append-only, one entry a change.
//!
//! An entry is written in the transaction of the change it tells of, so neither exists alone.

use aws_sdk_dynamodb::{Client, types::TransactWriteItem};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Error, id,
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    store::{self, Table, key::Key},
};

/// One change. Never holds a secret, an e-mail address or a body.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// Prefixed `act_`.
    id: String,
    at: String,
    /// Subject of the person who did it.
    actor: &'a str,
    /// Noun and verb, such as `api_key.revoked`.
    action: &'static str,
    /// Id of what was changed.
    target: &'a str,
    /// What a reader wants to know beside it.
    detail: Value,
}

/// The activity log's store.
#[derive(Clone)]
pub struct Activity {
    table: Table,
}

impl Activity {
    /// Reads `ACTIVITY_TABLE`.
    pub(crate) fn load(env: &Env, client: &Client) -> Result<Self, EnvError> {
        Ok(Self { table: Table::load(env, client, "ACTIVITY_TABLE")? })
    }

    /// The entry as a part of its change's transaction.
    pub(crate) fn record(
        &self,
        person: &Person,
        action: &'static str,
        target: &str,
        detail: Value,
        now: DateTime<Utc>,
    ) -> Result<TransactWriteItem, Error> {
        let workspace: &Workspace = &person.workspace;
        let entry = Entry {
            id: id::generate("act", now),
            at: crate::time::rfc3339(now),
            actor: &person.subject,
            action,
            target,
            detail,
        };
        let put = self.table.put(Key::activity(workspace, now, &entry.id), &entry)?;
        store::put(put.condition_expression("attribute_not_exists(pk)"))
    }
}
