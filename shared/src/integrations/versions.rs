//! Versions: what an integration was set to, by whom and when. Only ever added, never changed,
//! and kept when the integration is deleted.

use aws_sdk_dynamodb::types::TransactWriteItem;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Content, Difference, Integrations, diff};
use crate::{
    Error,
    fields::is_id,
    identity::Workspace,
    store::{self, cursor, key::Key, s, unavailable},
};

/// What one version of an integration is set to.
#[derive(Debug, Serialize)]
pub struct Version {
    #[serde(rename = "version")]
    number: u64,
    author: String,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// The version that this one says again.
    #[serde(skip_serializing_if = "Option::is_none")]
    restored_from: Option<u64>,
    /// What it says.
    #[serde(flatten)]
    pub content: Content,
}

/// A page of versions, newest first.
#[derive(Debug, Serialize)]
pub struct VersionPage {
    versions: Vec<Version>,
    next_cursor: Option<String>,
}

/// A version as its row holds it.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) version: u64,
    pub(super) author: String,
    pub(super) created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restored_from: Option<u64>,
    /// As text: `DynamoDB`'s numbers are not quite those of JSON, and rolling back is exact.
    pub(super) content: String,
}

impl Row {
    fn read(self) -> Result<Version, Error> {
        Ok(Version {
            number: self.version,
            author: self.author,
            created_at: self.created_at,
            note: self.note,
            restored_from: self.restored_from,
            content: serde_json::from_str(&self.content).map_err(unavailable)?,
        })
    }
}

impl Integrations {
    /// The version's part of a change's transaction.
    pub(super) fn put_version(
        &self,
        workspace: &Workspace,
        id: &str,
        row: &Row,
    ) -> Result<TransactWriteItem, Error> {
        let put = self.table.put(Key::integration_version(workspace, id, row.version), row)?;
        store::put(put.condition_expression("attribute_not_exists(pk)"))
    }

    /// One version. One read.
    pub async fn version(&self, workspace: &Workspace, id: &str, version: u64) -> Result<Version, Error> {
        const NAME: &str = "version of an integration";
        if !is_id(id) {
            return Err(Error::NotFound(NAME));
        }
        let key = Key::integration_version(workspace, id, version);
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found = read.set_key(Some(key.item())).send().await.map_err(unavailable)?;
        store::entity::<Row>(found.item.ok_or(Error::NotFound(NAME))?)?.read()
    }

    /// A page of versions, newest first. One query.
    pub async fn versions(
        &self,
        workspace: &Workspace,
        id: &str,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<VersionPage, Error> {
        if !is_id(id) {
            return Err(Error::NotFound("integration"));
        }
        let binding = format!("versions:{id}");
        let after = cursor.map(|cursor| cursor::decode(workspace, &binding, cursor)).transpose()?;
        let after = match after.map(|after| after.parse()) {
            Some(Ok(version)) => Some(Key::integration_version(workspace, id, version).item()),
            Some(Err(_)) => return Err(cursor::foreign()),
            None => None,
        };
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", s(Key::integration_version(workspace, id, 0).pk))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after)
            .send()
            .await
            .map_err(unavailable)?;
        let more = found.last_evaluated_key.is_some();
        let read = |item| store::entity::<Row>(item)?.read();
        let versions: Vec<Version> =
            found.items.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
        if versions.is_empty() && cursor.is_none() {
            return Err(Error::NotFound("integration"));
        }
        let last = versions.last().filter(|_| more).map(|last| last.number.to_string());
        Ok(VersionPage { versions, next_cursor: last.map(|last| cursor::encode(workspace, &binding, &last)) })
    }
}

/// What differs from one version to another.
#[must_use]
pub fn differences(from: &Content, to: &Content) -> Vec<Difference> {
    let value = |content: &Content| serde_json::to_value(content).unwrap_or(Value::Null);
    diff(&value(from), &value(to))
}
