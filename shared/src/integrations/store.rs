//! Integrations on behalf of people: made, changed, deleted, listed.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Integration, Loaded, Order, TestResult,
    order::Revision,
    versions::{Row, differences},
};
use crate::{
    Error,
    activity::Activity,
    fields::is_id,
    id,
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    store::{
        self, Table, Transacted, cursor,
        key::{self, Key},
        n, s, unavailable,
    },
};

/// Fields that an activity entry names at most.
const CHANGED_MAX: usize = 20;

/// The store of integrations and their versions.
#[derive(Clone)]
pub struct Integrations {
    pub(super) table: Table,
    pub(super) activity: Activity,
}

/// A page of integrations, newest first.
#[derive(Debug)]
pub struct Page {
    /// The integrations.
    pub integrations: Vec<Integration>,
    /// What continues the list.
    pub next_cursor: Option<String>,
}

impl Integrations {
    /// Reads `INTEGRATIONS_TABLE` and `ACTIVITY_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            table: Table::load(env, &client, "INTEGRATIONS_TABLE")?,
            activity: Activity::load(env, &client)?,
        })
    }

    /// Stores a new integration, and how the test ended that it had to pass, if it had to. One
    /// transaction: the integration, its first version, the activity entry.
    pub async fn create(
        &self,
        person: &Person,
        order: Order,
        test: Option<&TestResult>,
        now: DateTime<Utc>,
    ) -> Result<Loaded, Error> {
        let workspace = &person.workspace;
        let note = order.note.clone();
        let mut new = Loaded::new(person, id::generate("int", now), order, now);
        if let Some(test) = test {
            new.integration.health = new.integration.health.after(test, 1, now).0;
        }
        let Integration { id, kind, provider, name, .. } = &new.integration;
        let detail = json!({"name": name, "type": kind.name(), "provider": provider, "version": 1});
        let writes = vec![
            self.put(workspace, &new.integration, None)?,
            self.put_version(workspace, id, &row(&new, note, None)?)?,
            self.activity.record(person, "integration.created", id, detail, now)?,
        ];
        match self.table.transact(writes).await? {
            Transacted::Done => Ok(new),
            // Ids are random: whoever meets a stored one met their own lost answer.
            Transacted::Refused | Transacted::Contended => {
                Err(unavailable("the integration could not be stored"))
            }
        }
    }

    /// An integration with what it is set to. Two reads.
    pub async fn get(&self, workspace: &Workspace, id: &str) -> Result<Loaded, Error> {
        let integration = self.row(workspace, id).await?;
        // Versions stay, so the one that the row names is there.
        let version = self.version(workspace, id, integration.version).await?;
        Ok(Loaded { integration, content: version.content })
    }

    /// An integration's own row. One read.
    pub(super) async fn row(&self, workspace: &Workspace, id: &str) -> Result<Integration, Error> {
        // What cannot be an id names nothing; DynamoDB would fail on one that is too long.
        if !is_id(id) {
            return Err(Error::NotFound("integration"));
        }
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let read = read.set_key(Some(Key::integration(workspace, id).item()));
        let found = read.send().await.map_err(unavailable)?;
        store::entity(found.item.ok_or(Error::NotFound("integration"))?)
    }

    /// A page of a workspace's integrations, newest first. One query; what they are configured
    /// to is not read.
    pub async fn list(&self, workspace: &Workspace, limit: u64, cursor: Option<&str>) -> Result<Page, Error> {
        const LIST: &str = "integrations";
        let after = cursor.map(|cursor| cursor::decode(workspace, LIST, cursor)).transpose()?;
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :kind)")
            .expression_attribute_values(":pk", s(Key::integration(workspace, "").pk))
            .expression_attribute_values(":kind", s("INTEGRATION#"))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|id| Key::integration(workspace, &id).item()))
            .send()
            .await
            .map_err(unavailable)?;
        let more = found.last_evaluated_key.is_some();
        let integrations: Vec<Integration> =
            found.items.unwrap_or_default().into_iter().map(store::entity).collect::<Result<_, _>>()?;
        let last = integrations.last().filter(|_| more);
        let next_cursor = last.map(|last| cursor::encode(workspace, LIST, &last.id));
        Ok(Page { integrations, next_cursor })
    }

    /// Makes a new version of what `seen` is, with how the test ended that it had to pass, if it
    /// had to. If somebody else made one meanwhile, nothing changes and
    /// [`Error::Superseded`] shows it; a test that was recorded meanwhile does no harm. What says
    /// the same as before is no new version. One transaction: the integration, the version, the
    /// activity entry.
    pub async fn revise(
        &self,
        person: &Person,
        seen: &Loaded,
        revision: Revision,
        test: Option<&TestResult>,
        now: DateTime<Utc>,
    ) -> Result<Loaded, Error> {
        let workspace = &person.workspace;
        let id = &seen.integration.id;
        let mut stored = seen.clone();
        for pause in store::backoff() {
            if !revision.changes(&stored) {
                return Ok(stored);
            }
            if stored.integration.version != seen.integration.version {
                return Err(stored.superseded());
            }
            let mut new = stored.revised(person, revision.content.clone(), now);
            let version = new.integration.version;
            let turn = test.and_then(|test| {
                let (health, turn) = new.integration.health.after(test, version, now);
                new.integration.health = health;
                Some((test, turn?))
            });
            let (action, detail) = told(&stored, &new, &revision);
            let row = row(&new, revision.note.clone(), revision.restored_from)?;
            let mut writes = vec![
                self.put(workspace, &new.integration, Some(stored.integration.revision))?,
                self.put_version(workspace, id, &row)?,
                self.activity.record(person, action, id, detail, now)?,
            ];
            if let Some((test, turn)) = turn {
                writes.push(self.told(person.into(), &new.integration, turn, test, now)?);
            }
            if self.table.transact(writes).await? == Transacted::Done {
                return Ok(new);
            }
            sleep(pause).await;
            stored = self.get(workspace, id).await?;
        }
        Err(Error::Conflict("the integration is being changed by someone else".to_owned()))
    }

    /// Deletes an integration; its versions and its activity stay. Returns what it was last. One
    /// transaction: the integration and the activity entry.
    pub async fn delete(&self, person: &Person, id: &str, now: DateTime<Utc>) -> Result<Loaded, Error> {
        let workspace = &person.workspace;
        for pause in store::backoff() {
            let old = self.get(workspace, id).await?;
            let Integration { name, provider, version, revision, .. } = &old.integration;
            let delete = Delete::builder()
                .table_name(&self.table.name)
                .set_key(Some(Key::integration(workspace, id).item()))
                .condition_expression("revision = :revision")
                .expression_attribute_values(":revision", n(*revision))
                .build()
                .map_err(unavailable)?;
            let detail = json!({"name": name, "provider": provider, "version": version});
            let writes = vec![
                TransactWriteItem::builder().delete(delete).build(),
                self.activity.record(person, "integration.deleted", id, detail, now)?,
            ];
            if self.table.transact(writes).await? == Transacted::Done {
                return Ok(old);
            }
            sleep(pause).await;
        }
        Err(Error::Conflict("the integration is being changed by someone else".to_owned()))
    }

    /// The row's part of a transaction, on condition that it is as it was.
    pub(super) fn put(
        &self,
        workspace: &Workspace,
        integration: &Integration,
        revision: Option<u64>,
    ) -> Result<TransactWriteItem, Error> {
        #[derive(Serialize)]
        struct Indexed<'a> {
            #[serde(flatten)]
            integration: &'a Integration,
            #[serde(skip_serializing_if = "Option::is_none")]
            gsi1pk: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            gsi1sk: Option<String>,
        }
        let id = &integration.id;
        let due = integration.test_due();
        let row = Indexed {
            integration,
            gsi1pk: due.map(|_| key::tests_of(id)),
            gsi1sk: due.map(|due| key::test_at(due, workspace, id)),
        };
        let put = self.table.put(Key::integration(workspace, id), &row)?;
        store::put(match revision {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(revision) => put
                .condition_expression("revision = :revision")
                .expression_attribute_values(":revision", n(revision)),
        })
    }
}

/// The row of an integration's newest version.
fn row(new: &Loaded, note: Option<String>, restored_from: Option<u64>) -> Result<Row, Error> {
    Ok(Row {
        version: new.integration.version,
        author: new.integration.updated_by.clone(),
        created_at: new.integration.updated_at,
        note,
        restored_from,
        content: serde_json::to_string(&new.content).map_err(unavailable)?,
    })
}

/// What the activity log tells of a change: where, not what. The versions say what.
fn told(old: &Loaded, new: &Loaded, revision: &Revision) -> (&'static str, Value) {
    let changed = differences(&old.content, &new.content);
    let changed: Vec<_> = changed.iter().take(CHANGED_MAX).map(super::Difference::path).collect();
    let Integration { name, provider, version, .. } = &new.integration;
    let mut detail = json!({"name": name, "provider": provider, "version": version, "changed": changed});
    if let Some(note) = &revision.note {
        detail["note"] = note.as_str().into();
    }
    match revision.restored_from {
        Some(old) => {
            detail["restored_from"] = old.into();
            ("integration.rolled_back", detail)
        }
        None => ("integration.updated", detail),
    }
}
