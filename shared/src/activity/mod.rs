//! The activity log: who changed what and when, append-only, one entry a change.
//!
//! An entry is written in the transaction of the change it tells of, so neither exists alone.
//! Whoever writes one gives ids and plain facts as its detail; whatever in it looks like a secret
//! or an e-mail address all the same, as a reason that a person typed may, is taken out here.

mod list;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{Client, types::TransactWriteItem};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use list::{Filter, Page};

use crate::{
    Error, id,
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    redact,
    store::{
        self, Table,
        key::{self, Key},
    },
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

    fn kind(self) -> ActorKind {
        match self {
            Self::Person(_) => ActorKind::Person,
            Self::System { .. } => ActorKind::System,
        }
    }
}

/// What kind of actor a name is of: a subject may be spelt like a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActorKind {
    Person,
    System,
}

/// One change. Never holds a secret, an e-mail address or a body.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Prefixed `act_`.
    id: String,
    at: String,
    actor: String,
    actor_kind: ActorKind,
    /// Noun and verb, such as `api_key.revoked`.
    action: String,
    /// Id of what was changed.
    target: String,
    /// What a reader wants to know beside it.
    detail: Value,
}

/// The activity log's store.
#[derive(Clone)]
pub struct Activity {
    table: Table,
}

impl Activity {
    /// Reads `ACTIVITY_TABLE`. For those who record.
    pub(crate) fn load(env: &Env, client: &Client) -> Result<Self, EnvError> {
        Ok(Self { table: Table::load(env, client, "ACTIVITY_TABLE")? })
    }

    /// Reads `ACTIVITY_TABLE`. For those who read the log and have no other store.
    pub fn reader(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Self::load(env, &store::client(sdk))
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
        #[derive(Serialize)]
        struct Indexed<'a> {
            #[serde(flatten)]
            entry: &'a Entry,
            gsi1pk: String,
            gsi1sk: &'a str,
            gsi2pk: String,
            gsi2sk: &'a str,
        }
        let actor = actor.into();
        let workspace = actor.workspace();
        let entry = Entry {
            id: id::generate("act", now),
            at: crate::time::rfc3339(now),
            actor: actor.name().to_owned(),
            actor_kind: actor.kind(),
            action: action.to_owned(),
            target: target.to_owned(),
            detail: redact::scrub(detail),
        };
        let key = Key::activity(workspace, now, &entry.id);
        let row = Indexed {
            entry: &entry,
            gsi1pk: key::activity_of_target(workspace, target),
            gsi1sk: &key.sk.clone(),
            gsi2pk: key::activity_of_actor(workspace, actor.name()),
            gsi2sk: &key.sk.clone(),
        };
        let put = self.table.put(key, &row)?;
        store::put(put.condition_expression("attribute_not_exists(pk)"))
    }
}
