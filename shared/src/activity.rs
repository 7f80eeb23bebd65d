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

/// Who changed something.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// A person, in their own workspace.
    Person(&'a Person),
    /// The system by itself.
    System {
        /// Whose thing it changed.
        workspace: &'a Workspace,
        /// The function that did it, such as `integrations-test`.
        function: &'static str,
    },
}

impl<'a> From<&'a Person> for Actor<'a> {
    fn from(person: &'a Person) -> Self {
        Self::Person(person)
    }
}

impl<'a> Actor<'a> {
    /// Whose activity log tells of it.
    #[must_use]
    pub fn workspace(self) -> &'a Workspace {
        match self {
            Self::Person(person) => &person.workspace,
            Self::System { workspace, .. } => workspace,
        }
    }

    /// The subject of the person, or the name of the function.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Person(person) => &person.subject,
            Self::System { function, .. } => function,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::System { .. } => "system",
        }
    }
}

/// One change. Never holds a secret, an e-mail address or a body.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// Prefixed `act_`.
    id: String,
    at: String,
    /// Subject of the person or name of the function that did it.
    actor: &'a str,
    /// `person` or `system`: a subject may be spelt like a function.
    actor_kind: &'static str,
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
    pub(crate) fn record<'a>(
        &self,
        actor: impl Into<Actor<'a>>,
        action: &'static str,
        target: &str,
        detail: Value,
        now: DateTime<Utc>,
    ) -> Result<TransactWriteItem, Error> {
        let actor = actor.into();
        let entry = Entry {
            id: id::generate("act", now),
            at: crate::time::rfc3339(now),
            actor: actor.name(),
            actor_kind: actor.kind(),
            action,
            target,
            detail,
        };
        let put = self.table.put(Key::activity(actor.workspace(), now, &entry.id), &entry)?;
        store::put(put.condition_expression("attribute_not_exists(pk)"))
    }
}
