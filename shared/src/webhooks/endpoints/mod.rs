//! Endpoints: where any service may deliver, and how it proves that it is the one.
//!
//! An endpoint is three rows that change in one transaction: its own; the one of its path, a copy
//! with all that receiving needs, so that receiving reads one row; and its secrets, sealed as one
//! under its id. Its `version` counts changes, and `sealed_version` says which of them sealed what
//! is sealed now.
//!
//! Round trips: making one is one KMS call and one transaction. Changing one is a read and a
//! transaction, and another read and two KMS calls if its secrets change. What receiving costs is
//! told in [`paths`].

pub mod inbox;
mod keyring;
pub mod paths;
mod settings;
#[cfg(test)]
mod tests;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

pub use inbox::Inbox;
pub use keyring::Mask;
pub use paths::{Paths, Receiving};
pub use settings::Settings;

use crate::{
    Error, FieldError,
    activity::Activity,
    fields::{Fields, integer, is_id},
    id,
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    store::{
        self, Table, Transacted, cursor,
        key::{
            Key,
            webhooks::{ENDPOINT, endpoints},
        },
        n, s, unavailable,
    },
    vault::{Sealed, Vault},
};
use keyring::Keyring;

/// Where endpoints receive; their paths follow.
pub const RECEIVE: &str = "/webhooks/receive/";

/// An endpoint without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Prefixed `whe_`.
    pub id: String,
    /// What it is set to.
    #[serde(flatten)]
    pub settings: Settings,
    /// Its secrets, as they may be shown.
    pub secrets: Vec<Mask>,
    /// Counts its changes.
    pub version: u64,
    created_at: DateTime<Utc>,
    created_by: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
}

/// An endpoint as answers show it.
#[derive(Debug, Serialize)]
pub struct View {
    #[serde(flatten)]
    endpoint: Endpoint,
    /// The path of the URL to give to the service.
    url: String,
}

/// A page of endpoints, newest first.
#[derive(Debug, Serialize)]
pub struct Page {
    endpoints: Vec<View>,
    next_cursor: Option<String>,
}

/// What is left of an endpoint that was deleted.
#[derive(Debug, Serialize)]
pub struct Deleted {
    id: String,
    deleted_at: DateTime<Utc>,
}

/// The row of an endpoint, and most of that of its path.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    endpoint: Endpoint,
    /// Zero while nothing is sealed.
    sealed_version: u64,
}

#[derive(Serialize, Deserialize)]
struct PathRow {
    workspace: String,
    #[serde(flatten)]
    row: Row,
}

/// An endpoint to be made.
pub struct Order {
    settings: Settings,
    keyring: Keyring,
}

/// What an admin changes.
pub struct Change {
    patch: Map<String, Value>,
    add: Option<Value>,
    remove: Option<Value>,
    /// The version that the admin saw.
    seen: Option<u64>,
    faults: Vec<FieldError>,
}

impl Order {
    /// Reads the body of a request; one answer names every bad field.
    pub fn parse(mut fields: Fields, now: DateTime<Utc>) -> Result<Self, Error> {
        let secrets = fields.optional("secrets", |value| Ok(value.clone()));
        let settings = Settings::read(&mut fields);
        let judged = fields.is_good("scheme");
        let mut faults = fields.finish().err().unwrap_or_default();
        let mut keyring = Keyring::default();
        if judged {
            let absent = secrets.is_none();
            faults.extend(keyring.add("secrets", secrets, &settings.scheme, now));
            if absent {
                faults.extend(missing(&settings, &keyring, "secrets"));
            }
        }
        if faults.is_empty() { Ok(Self { settings, keyring }) } else { Err(Error::Invalid(faults)) }
    }
}

impl Change {
    /// Reads any field of an endpoint, `add_secrets`, `remove_secrets` (ids) and `version`. What
    /// is wrong is told when the endpoint is there to be changed.
    #[must_use]
    pub fn read(mut fields: Fields) -> Self {
        let seen = fields.optional("version", integer(1, u64::from(u32::MAX)));
        let add = fields.optional("add_secrets", |value| Ok(value.clone()));
        let remove = fields.optional("remove_secrets", |value| Ok(value.clone()));
        let patch = fields.rest();
        let mut faults = fields.finish().err().unwrap_or_default();
        if patch.is_empty() && add.is_none() && remove.is_none() && faults.is_empty() {
            faults.push(FieldError::new("name", "must be given, or another field"));
        }
        Self { patch, add, remove, seen, faults }
    }
}

/// A fault if deliveries must be signed and nothing says with what.
fn missing(settings: &Settings, keyring: &Keyring, field: &str) -> Option<FieldError> {
    let lacks = settings.verify_signature && keyring.masks().is_empty();
    lacks.then(|| FieldError::new(field, "must have at least one secret while verify_signature is true"))
}

/// The store of endpoints.
#[derive(Clone)]
pub struct Endpoints {
    table: Table,
    vault: Vault,
    activity: Activity,
}

impl Endpoints {
    /// Reads `WEBHOOKS_TABLE` and `ACTIVITY_TABLE`, and what [`Vault::load`] reads.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            table: Table::load(env, &client, "WEBHOOKS_TABLE")?,
            vault: Vault::load(env, sdk)?,
            activity: Activity::load(env, &client)?,
        })
    }

    /// Stores a new endpoint. A conflict if its path is another's.
    pub async fn create(&self, person: &Person, order: Order, now: DateTime<Utc>) -> Result<View, Error> {
        let workspace = &person.workspace;
        let Order { settings, keyring } = order;
        let endpoint = Endpoint {
            id: id::generate("whe", now),
            settings,
            secrets: keyring.masks(),
            version: 1,
            created_at: now,
            created_by: person.subject.clone(),
            updated_at: now,
            updated_by: person.subject.clone(),
        };
        let sealed = if endpoint.secrets.is_empty() {
            None
        } else {
            Some(self.seal(workspace, &endpoint.id, 1, &keyring, now).await?)
        };
        let row = Row { endpoint, sealed_version: u64::from(sealed.is_some()) };
        let Endpoint { id, settings, .. } = &row.endpoint;
        let new = "attribute_not_exists(pk)";
        let put = self.table.put(Key::endpoint(workspace, id), &row)?;
        let mut writes =
            vec![self.put_path(workspace, &row, Some(new))?, store::put(put.condition_expression(new))?];
        if let Some(sealed) = &sealed {
            writes.push(self.vault.put(workspace, id, sealed, None)?);
        }
        writes.push(self.activity.record(person, "webhook_endpoint.created", id, row.told(), now)?);
        match self.transact(writes).await? {
            // Ids are random: whoever meets its own stored one met its own lost answer.
            refused if refused.is_empty() || refused.contains(&1) => Ok(row.endpoint.view()),
            _ => Err(taken(&settings.path)),
        }
    }

    /// A page of a workspace's endpoints, newest first. One query.
    pub async fn list(&self, workspace: &Workspace, limit: u64, cursor: Option<&str>) -> Result<Page, Error> {
        const LIST: &str = "webhook-endpoints";
        let after = cursor.map(|cursor| cursor::decode(workspace, LIST, cursor)).transpose()?;
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :kind)")
            .expression_attribute_values(":pk", s(endpoints(workspace)))
            .expression_attribute_values(":kind", s(ENDPOINT))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|id| Key::endpoint(workspace, &id).item()))
            .send()
            .await
            .map_err(unavailable)?;
        let more = found.last_evaluated_key.is_some();
        let rows: Vec<Row> =
            found.items.unwrap_or_default().into_iter().map(store::entity).collect::<Result<_, _>>()?;
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|row| cursor::encode(workspace, LIST, &row.endpoint.id));
        Ok(Page { endpoints: rows.into_iter().map(|row| row.endpoint.view()).collect(), next_cursor })
    }

    /// Changes an endpoint. If somebody else changed it meanwhile, nothing changes and
    /// [`Error::Superseded`] shows it; a conflict if its new path is another's.
    pub async fn update(
        &self,
        person: &Person,
        id: &str,
        change: Change,
        now: DateTime<Utc>,
    ) -> Result<View, Error> {
        let workspace = &person.workspace;
        let old = self.get(workspace, id).await?;
        let held = old.endpoint.clone();
        if change.seen.is_some_and(|seen| seen != held.version) && change.faults.is_empty() {
            return Err(superseded(held));
        }
        let rekeyed = change.add.is_some() || change.remove.is_some();
        let (settings, keyring) = self.changed(workspace, &old, change, now).await?;
        let mut new = Row {
            endpoint: Endpoint {
                settings,
                version: held.version + 1,
                updated_at: now,
                updated_by: person.subject.clone(),
                ..old.endpoint.clone()
            },
            sealed_version: old.sealed_version,
        };
        let mut writes = Vec::new();
        if let Some(keyring) = keyring.filter(|_| rekeyed) {
            let version = new.endpoint.version;
            let sealed = self.seal(workspace, id, version, &keyring, now).await?;
            let replaced = Some(old.sealed_version).filter(|version| *version > 0);
            writes.push(self.vault.put(workspace, id, &sealed, replaced)?);
            new.endpoint.secrets = keyring.masks();
            new.sealed_version = version;
        }
        let put = self.table.put(Key::endpoint(workspace, id), &new)?;
        let put = put.condition_expression("version = :old");
        writes.push(store::put(put.expression_attribute_values(":old", n(held.version)))?);
        let mut told = new.told();
        told["changed"] = json!(held.settings.changed(&new.endpoint.settings));
        writes.push(self.activity.record(person, "webhook_endpoint.updated", id, told, now)?);
        let moved = held.settings.path != new.endpoint.settings.path;
        if moved {
            writes.push(self.delete_path(&held.settings.path)?);
        }
        let path = writes.len();
        writes.push(self.put_path(workspace, &new, moved.then_some("attribute_not_exists(pk)"))?);
        match self.transact(writes).await? {
            refused if refused.is_empty() => Ok(new.endpoint.view()),
            refused if refused == [path] => Err(taken(&new.endpoint.settings.path)),
            _ => match self.get(workspace, id).await?.endpoint {
                // Our own answer was lost, and the SDK asked again.
                ours if ours == new.endpoint => Ok(ours.view()),
                others => Err(superseded(others)),
            },
        }
    }

    /// Deletes an endpoint with its secrets; what it received stays.
    pub async fn delete(&self, person: &Person, id: &str, now: DateTime<Utc>) -> Result<Deleted, Error> {
        let workspace = &person.workspace;
        let row = self.get(workspace, id).await?;
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::endpoint(workspace, id).item()))
            // The version: the path that goes with it is the one that was read.
            .condition_expression("version = :old")
            .expression_attribute_values(":old", n(row.endpoint.version));
        let writes = vec![
            TransactWriteItem::builder().delete(delete.build().map_err(unavailable)?).build(),
            self.delete_path(&row.endpoint.settings.path)?,
            self.vault.delete(workspace, id)?,
            self.activity.record(person, "webhook_endpoint.deleted", id, row.told(), now)?,
        ];
        if self.transact(writes).await?.is_empty() {
            Ok(Deleted { id: row.endpoint.id, deleted_at: now })
        } else {
            Err(superseded(self.get(workspace, id).await?.endpoint))
        }
    }

    /// Notes that a person sent an endpoint an event.
    pub async fn tested(
        &self,
        person: &Person,
        endpoint: &Endpoint,
        event: &str,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let detail = json!({"event": event});
        let note = self.activity.record(person, "webhook_endpoint.tested", &endpoint.id, detail, now)?;
        self.transact(vec![note]).await.map(|_| ())
    }

    /// An endpoint. One read.
    pub async fn read(&self, workspace: &Workspace, id: &str) -> Result<Endpoint, Error> {
        self.get(workspace, id).await.map(|row| row.endpoint)
    }

    async fn get(&self, workspace: &Workspace, id: &str) -> Result<Row, Error> {
        if !is_id(id) {
            return Err(Error::NotFound("endpoint"));
        }
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let read = read.set_key(Some(Key::endpoint(workspace, id).item()));
        let found = read.send().await.map_err(unavailable)?;
        store::entity(found.item.ok_or(Error::NotFound("endpoint"))?)
    }

    /// What a change makes of an endpoint, and its secrets where they had to be looked at.
    async fn changed(
        &self,
        workspace: &Workspace,
        old: &Row,
        change: Change,
        now: DateTime<Utc>,
    ) -> Result<(Settings, Option<Keyring>), Error> {
        let Change { patch, add, remove, mut faults, .. } = change;
        let Endpoint { id, settings: before, .. } = &old.endpoint;
        let mut fields = before.overlaid(patch);
        let settings = Settings::read(&mut fields);
        let judged = fields.is_good("scheme");
        faults.extend(fields.finish().err().unwrap_or_default());
        let rekeyed = add.is_some() || remove.is_some();
        let another = settings.scheme.word() != before.scheme.word();
        let keyring = if judged && (rekeyed || another) {
            let mut keyring = match old.sealed_version {
                0 => Keyring::default(),
                _ => Keyring::restore(&self.vault.open(workspace, id).await?.1)?,
            };
            keyring.prune(now);
            faults.extend(removed(&mut keyring, remove.as_ref(), now));
            if !keyring.fits(&settings.scheme) {
                let message = "needs other secrets than those that stay: remove them in the same change";
                faults.push(FieldError::new("scheme", message));
            }
            faults.extend(keyring.add("add_secrets", add, &settings.scheme, now));
            if keyring.masks().len() > keyring::MOST {
                let message = format!("must leave at most {} secrets", keyring::MOST);
                faults.push(FieldError::new("add_secrets", message));
            }
            if faults.is_empty() {
                let field = if rekeyed { "remove_secrets" } else { "verify_signature" };
                faults.extend(missing(&settings, &keyring, field));
            }
            Some(keyring)
        } else {
            if settings.verify_signature && old.endpoint.secrets.is_empty() && faults.is_empty() {
                faults.extend(missing(&settings, &Keyring::default(), "verify_signature"));
            }
            None
        };
        if faults.is_empty() { Ok((settings, keyring)) } else { Err(Error::Invalid(faults)) }
    }

    async fn seal(
        &self,
        workspace: &Workspace,
        id: &str,
        version: u64,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Sealed, Error> {
        self.vault.seal(workspace, id, version, &keyring.expose(), now).await
    }

    fn put_path(
        &self,
        workspace: &Workspace,
        row: &Row,
        condition: Option<&str>,
    ) -> Result<TransactWriteItem, Error> {
        let path = PathRow { workspace: workspace.to_string(), row: row.clone() };
        let put = self.table.put(Key::endpoint_path(&row.endpoint.settings.path), &path)?;
        store::put(put.set_condition_expression(condition.map(str::to_owned)))
    }

    fn delete_path(&self, path: &str) -> Result<TransactWriteItem, Error> {
        let delete =
            Delete::builder().table_name(&self.table.name).set_key(Some(Key::endpoint_path(path).item()));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(unavailable)?).build())
    }

    /// The places of the writes that were refused; none if all were applied.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Vec<usize>, Error> {
        for pause in store::backoff() {
            match self.table.attempt(writes.clone()).await? {
                (Transacted::Done, _) => return Ok(Vec::new()),
                (Transacted::Refused, places) => return Ok(places),
                (Transacted::Contended, _) => sleep(pause).await,
            }
        }
        Err(Error::Conflict("the endpoint is being changed by someone else".to_owned()))
    }
}

impl Endpoint {
    /// As answers show it.
    #[must_use]
    pub fn view(self) -> View {
        View { url: format!("{RECEIVE}{}", self.settings.path), endpoint: self }
    }
}

impl Row {
    /// What the activity log tells of a change.
    fn told(&self) -> Value {
        let Endpoint { settings: Settings { name, path, scheme, .. }, secrets, version, .. } = &self.endpoint;
        let secrets: Vec<_> = secrets.iter().map(|secret| &secret.id).collect();
        json!({"name": name, "path": path, "scheme": scheme.word(), "secrets": secrets, "version": version})
    }
}

/// Takes the secrets that `value` names out of use.
fn removed(keyring: &mut Keyring, value: Option<&Value>, now: DateTime<Utc>) -> Vec<FieldError> {
    const FIELD: &str = "remove_secrets";
    let ids = match value {
        None => return Vec::new(),
        Some(Value::Array(ids)) => ids,
        Some(_) => return vec![FieldError::new(FIELD, "must be a list of ids of secrets")],
    };
    let unknown = |id: &Value| !id.as_str().is_some_and(|id| keyring.remove(id, now));
    let places: Vec<_> = ids.iter().map(unknown).enumerate().filter(|(_, unknown)| *unknown).collect();
    let fault =
        |(at, _)| FieldError::new(format!("{FIELD}[{at}]"), "must be the id of a secret of this endpoint");
    places.into_iter().map(fault).collect()
}

fn taken(path: &str) -> Error {
    Error::Conflict(format!("the path {path} is another endpoint's"))
}

fn superseded(current: Endpoint) -> Error {
    Error::Superseded(Box::new(serde_json::to_value(current.view()).unwrap_or_default()))
}
