//! Credentials of other services: saved sealed, shown masked, proven with their provider.
//!
//! A credential is two rows. Its [`record`] holds what may be shown; the [`vault`](crate::vault)
//! holds the secret. They change in one transaction, with the activity entry. So a list reads
//! small rows only, however large the secrets are, and costs the same among ten credentials as
//! among ten thousand.
//!
//! A record's `version` counts the changes that people made, and `sealed_version` says which of
//! them brought the secret that is sealed now; a proof belongs to that one and is never recorded
//! on another.
//!
//! Round trips: saving is one KMS call and one transaction. Opening is two reads at the same
//! time and one KMS call; verifying is that, the provider's, and one transaction. Renaming is one
//! read and one transaction, changing the secret is opening and saving. Deleting is one read and
//! one transaction.
//!
//! **What deletion leaves.** Both rows go in one transaction, and with the sealed row the only
//! wrapped copy of the data key: what anyone may have copied of the ciphertext is random to them.
//! The table's point-in-time recovery still holds both rows for 7 days (`template.yaml`): who may
//! restore the table *and* call KMS as a function of ours could open the secret until then.
//! Holding the wrapped keys where no backup reaches would close that gap, and every restored
//! backup would be worthless. A secret that must be dead at once is revoked at its provider, as
//! after any leak.

mod lookup;
mod record;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures::future::join;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use record::{Failure, Record, Row};
pub use record::{Status, View};

use crate::{
    Error, FieldError,
    activity::{Activity, Actor},
    fields::{Fields, integer, is_id, text},
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    providers::{Client, Credential, Proof, Provider, Refusal},
    store::{self, Table, Transacted, cursor, key, key::Key, n, s, unavailable},
    vault::Vault,
};

/// Characters that the name of a credential may have.
const NAME_MAX: usize = 100;

/// What an admin saves.
pub struct Order {
    provider: Provider,
    name: String,
    credential: Credential,
}

/// What an admin changes.
pub struct Change {
    name: Option<String>,
    /// The fields of the credential that are replaced.
    patch: Option<Value>,
    /// The version that the admin saw.
    seen: Option<u64>,
    /// What is wrong with the others, to be told together with what is wrong with the patch.
    faults: Vec<FieldError>,
}

/// A credential with its secret.
pub struct Opened {
    /// The credential itself.
    pub credential: Credential,
    record: Record,
}

impl Opened {
    /// How it stood before it was opened.
    #[must_use]
    pub fn status(&self) -> Status {
        self.record.status()
    }
}

/// A page of credentials, newest first.
#[derive(Debug, Serialize)]
pub struct Page {
    credentials: Vec<View>,
    next_cursor: Option<String>,
}

/// What is left of a credential that was deleted.
#[derive(Debug, Serialize)]
pub struct Deleted {
    id: String,
    deleted_at: DateTime<Utc>,
}

impl Order {
    /// Reads `provider`, `name` and `credential`; one answer names every bad field.
    pub fn parse(mut fields: Fields) -> Result<Self, Error> {
        let provider =
            fields.required("provider", |value| crate::fields::one_of(Provider::WORDS)(value).map(Some));
        let name = fields.required("name", text(1, NAME_MAX));
        let given = fields.required("credential", |value| Ok(value.clone()));
        let mut faults = fields.finish().err().unwrap_or_default();
        let credential = match provider {
            Some(provider) if !given.is_null() => {
                Credential::parse(provider, "credential", given).map_err(|more| faults.extend(more)).ok()
            }
            _ => None,
        };
        match (provider, credential) {
            (Some(provider), Some(credential)) if faults.is_empty() => {
                Ok(Self { provider, name, credential })
            }
            _ => Err(Error::Invalid(faults)),
        }
    }
}

impl Change {
    /// Reads `name`, `credential` and `version`, each optional. What is wrong is told when the
    /// credential is there to be changed.
    #[must_use]
    pub fn read(mut fields: Fields) -> Self {
        let name = fields.optional("name", text(1, NAME_MAX));
        let patch = fields.optional("credential", |value| Ok(value.clone()));
        let seen = fields.optional("version", integer(1, u64::from(u32::MAX)));
        let mut faults = fields.finish().err().unwrap_or_default();
        if faults.is_empty() && name.is_none() && patch.is_none() {
            faults.push(FieldError::new("name", "must be given, or credential, or both"));
        }
        Self { name, patch, seen, faults }
    }
}

/// The store of credentials.
#[derive(Clone)]
pub struct Credentials {
    table: Table,
    vault: Vault,
    activity: Activity,
}

impl Credentials {
    /// Reads `VAULT_TABLE` and `ACTIVITY_TABLE`, and what [`Vault::load`] reads.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            table: Table::load(env, &client, "VAULT_TABLE")?,
            vault: Vault::load(env, sdk)?,
            activity: Activity::load(env, &client)?,
        })
    }

    /// Seals and stores a new credential. One KMS call and one transaction.
    pub async fn save(&self, person: &Person, order: Order, now: DateTime<Utc>) -> Result<View, Error> {
        let workspace = &person.workspace;
        let mut record = Record::new(person, order.provider, order.name, order.credential.mask(), now);
        let version = record.sealed_version;
        let sealed = self.vault.seal(workspace, &record.id, version, &order.credential.expose(), now).await?;
        record.fingerprint = sealed.fingerprint();
        let put = self.table.put(Key::credential(workspace, &record.id), &Row::of(workspace, &record))?;
        let writes = vec![
            store::put(put.condition_expression("attribute_not_exists(pk)"))?,
            self.vault.put(workspace, &record.id, &sealed, None)?,
            self.activity.record(person, "credential.saved", &record.id, record.told(), now)?,
        ];
        match self.table.transact(writes).await? {
            Transacted::Done => Ok(record.view()),
            // Ids are random: whoever meets a stored one met their own lost answer.
            Transacted::Refused | Transacted::Contended => {
                Err(unavailable("the credential could not be stored"))
            }
        }
    }

    /// A page of a workspace's credentials, of one provider or of all. One query.
    pub async fn list(
        &self,
        workspace: &Workspace,
        provider: Option<Provider>,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<Page, Error> {
        let word = provider.map(Provider::word);
        let list = format!("credentials:{}", word.unwrap_or_default());
        let after = cursor.map(|cursor| cursor::decode(workspace, &list, cursor)).transpose()?;
        let after = after.map(|id| {
            let mut item = Key::credential(workspace, &id).item();
            if let Some(word) = word {
                item.insert("gsi1pk".to_owned(), s(key::credentials_of(workspace, word)));
                item.insert("gsi1sk".to_owned(), item["sk"].clone());
            }
            item
        });
        let query = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after);
        let query = match word {
            Some(word) => query
                .index_name("gsi1")
                .key_condition_expression("gsi1pk = :pk")
                .expression_attribute_values(":pk", s(key::credentials_of(workspace, word))),
            None => query
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(key::credentials(workspace)))
                .consistent_read(true),
        };
        let found = query.send().await.map_err(unavailable)?;
        let more = found.last_evaluated_key.is_some();
        let records: Vec<Record> =
            found.items.unwrap_or_default().into_iter().map(store::entity).collect::<Result<_, _>>()?;
        let next_cursor =
            records.last().filter(|_| more).map(|record| cursor::encode(workspace, &list, &record.id));
        Ok(Page { credentials: records.into_iter().map(Record::view).collect(), next_cursor })
    }

    /// Renames a credential, replaces fields of it, or both; the fields that are not named stay.
    /// If somebody else changed it meanwhile, nothing changes and [`Error::Superseded`] shows it.
    pub async fn update(
        &self,
        person: &Person,
        id: &str,
        change: Change,
        now: DateTime<Utc>,
    ) -> Result<View, Error> {
        let workspace = &person.workspace;
        let Change { name, patch, seen, mut faults } = change;
        let (old, replacement) = match patch {
            None => (self.get(workspace, id).await?, None),
            Some(patch) => {
                let Opened { credential, record } = self.open(workspace, id).await?;
                let patched = credential.patched("credential", patch);
                (record, patched.map_err(|more| faults.extend(more)).ok())
            }
        };
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        if seen.is_some_and(|seen| seen != old.version) {
            return Err(superseded(old));
        }
        let mut new = old.changed(person, name, now);
        let mut writes = Vec::new();
        let record = Key::credential(workspace, id);
        if let Some(credential) = replacement {
            let version = new.version;
            let sealed = self.vault.seal(workspace, id, version, &credential.expose(), now).await?;
            writes.push(self.vault.put(workspace, id, &sealed, Some(old.sealed_version))?);
            new.reseal(credential.mask(), sealed.fingerprint());
            let put = self.table.put(record, &Row::of(workspace, &new))?;
            let put = put.condition_expression("version = :old");
            writes.push(store::put(put.expression_attribute_values(":old", n(old.version)))?);
        } else {
            // Not a put, which would undo what a verification has recorded meanwhile.
            let update = self
                .table
                .update(&record)
                .update_expression("SET #name = :name, version = :new, updated_at = :at, updated_by = :by")
                .condition_expression("version = :old")
                .expression_attribute_names("#name", "name")
                .expression_attribute_values(":name", s(&new.name))
                .expression_attribute_values(":new", n(new.version))
                .expression_attribute_values(":at", attribute(&new.updated_at)?)
                .expression_attribute_values(":by", s(&new.updated_by))
                .expression_attribute_values(":old", n(old.version));
            writes.push(store::update(update)?);
        }
        writes.push(self.activity.record(person, "credential.updated", id, new.told(), now)?);
        if self.transact(writes).await? {
            Ok(new.view())
        } else {
            Err(superseded(self.get(workspace, id).await?))
        }
    }

    /// Destroys a credential; see the module for what backups keep.
    pub async fn delete(&self, person: &Person, id: &str, now: DateTime<Utc>) -> Result<Deleted, Error> {
        let workspace = &person.workspace;
        let record = self.get(workspace, id).await?;
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::credential(workspace, id).item()))
            .condition_expression("attribute_exists(pk)");
        let writes = vec![
            TransactWriteItem::builder().delete(delete.build().map_err(unavailable)?).build(),
            self.vault.delete(workspace, id)?,
            self.activity.record(person, "credential.deleted", id, record.told(), now)?,
        ];
        if self.transact(writes).await? {
            Ok(Deleted { id: record.id, deleted_at: now })
        } else {
            Err(Error::NotFound("credential"))
        }
    }

    /// A credential with its secret, for a function that calls its provider. Two reads at the
    /// same time and one KMS call.
    pub async fn open(&self, workspace: &Workspace, id: &str) -> Result<Opened, Error> {
        // A change between the two reads shows as two versions; a row put back by force as well,
        // and that one stays so.
        for pause in store::backoff().take(3) {
            let (record, sealed) = join(self.get(workspace, id), self.vault.read(workspace, id)).await;
            let (record, sealed) = (record?, sealed?);
            if record.sealed_version == sealed.version() {
                let plaintext = self.vault.unseal(workspace, id, &sealed).await?;
                let credential = Credential::restore(record.provider, &plaintext)?;
                return Ok(Opened { credential, record });
            }
            sleep(pause).await;
        }
        Err(unavailable("what is sealed is not the version that the credential's record names"))
    }

    /// Asks the provider whether a credential works, and keeps what it says. Refused as a conflict
    /// when the secret was replaced meanwhile: what was proven is not what is there.
    pub async fn verify(
        &self,
        actor: Actor<'_>,
        id: &str,
        client: &Client,
        now: DateTime<Utc>,
    ) -> Result<Result<Proof, Refusal>, Error> {
        let opened = self.open(actor.workspace(), id).await?;
        let result = opened.credential.verify(client, now).await;
        self.record_proof(actor, &opened, &result, now).await?;
        Ok(result)
    }

    /// Keeps what a provider said of a credential that was opened. One transaction. The activity
    /// log tells of it when a person asked, and else when the status changed.
    pub async fn record_proof(
        &self,
        actor: Actor<'_>,
        opened: &Opened,
        result: &Result<Proof, Refusal>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let Opened { record, .. } = opened;
        let proven = result.is_ok();
        let update = self
            .table
            .update(&Key::credential(actor.workspace(), &record.id))
            // A put would undo a change of the name that was made meanwhile.
            .condition_expression("sealed_version = :sealed")
            .expression_attribute_values(":sealed", n(record.sealed_version))
            .expression_attribute_values(":now", attribute(&now)?);
        let update = match result {
            Ok(proof) => update
                .update_expression("SET checked_at = :now, proven_at = :now, scopes = :scopes REMOVE failure")
                .expression_attribute_values(":scopes", attribute(&proof.scopes)?),
            Err(refusal) => update
                .update_expression("SET checked_at = :now, failure = :failure")
                .expression_attribute_values(":failure", attribute(&Failure::of(refusal))?),
        };
        let mut writes = vec![store::update(update)?];
        let status = if proven { Status::Proven } else { Status::Failing };
        if matches!(actor, Actor::Person(_)) || status != record.status() {
            let cause = result.as_ref().err().map(|refusal| refusal.cause);
            let detail = json!({
                "provider": record.provider, "name": record.name, "status": status, "cause": cause,
            });
            writes.push(self.activity.record(actor, "credential.verified", &record.id, detail, now)?);
        }
        if self.transact(writes).await? {
            Ok(())
        } else {
            Err(Error::Conflict(
                "the credential was replaced or deleted while it was being verified".to_owned(),
            ))
        }
    }

    /// Whether the conditions held. Waits for others' writes on the same rows.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<bool, Error> {
        for pause in store::backoff() {
            match self.table.transact(writes.clone()).await? {
                Transacted::Done => return Ok(true),
                Transacted::Refused => return Ok(false),
                Transacted::Contended => sleep(pause).await,
            }
        }
        Err(Error::Conflict("the credential is being changed by someone else".to_owned()))
    }

    async fn get(&self, workspace: &Workspace, id: &str) -> Result<Record, Error> {
        if !is_id(id) {
            return Err(Error::NotFound("credential"));
        }
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found =
            read.set_key(Some(Key::credential(workspace, id).item())).send().await.map_err(unavailable)?;
        store::entity(found.item.ok_or(Error::NotFound("credential"))?)
    }
}

/// What the loser of a race is told.
fn superseded(current: Record) -> Error {
    Error::Superseded(Box::new(serde_json::to_value(current.view()).unwrap_or_default()))
}

fn attribute<T: Serialize>(value: &T) -> Result<AttributeValue, Error> {
    serde_dynamo::to_attribute_value(value).map_err(unavailable)
}
