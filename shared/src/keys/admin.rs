//! Keys on behalf of people: issued, rotated, revoked, listed.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::TransactWriteItem;
use chrono::{DateTime, Days, Duration, NaiveDate, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tokio::time::sleep;

use super::{
    ApiKey, HeldSecret, Secret, UsageOfDay, View,
    authenticator::SecretRow,
    meter::{end_of, marked_days},
};
use crate::{
    Error,
    activity::Activity,
    fields::is_id,
    identity::{Person, Workspace},
    lambda::{Env, EnvError},
    store::{self, Table, Transacted, cursor, key::Key, n, s, unavailable},
};

/// Days that a list sums up.
const SUMMARY_DAYS: u64 = 30;
/// Tomorrow's row can be there already, with the mark of a revocation.
const MARKED_AHEAD: u64 = 1;
/// Keys whose usage a list reads at the same time.
const USAGE_READS: usize = 10;

/// A key and what it was used for.
#[derive(Debug, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    key: View,
    last_used_at: Option<DateTime<Utc>>,
    calls_today: u64,
    calls_30_days: u64,
}

/// A page of keys, newest first.
#[derive(Debug, Serialize)]
pub struct Page {
    keys: Vec<Summary>,
    next_cursor: Option<String>,
}

/// Changes and lists keys, on behalf of people.
#[derive(Clone)]
pub struct KeyAdmin {
    table: Table,
    activity: Activity,
}

impl KeyAdmin {
    /// Reads `API_KEYS_TABLE` and `ACTIVITY_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            table: Table::load(env, &client, "API_KEYS_TABLE")?,
            activity: Activity::load(env, &client)?,
        })
    }

    /// Stores a new key. One transaction: the key, its secret, the activity entry.
    pub async fn insert(&self, person: &Person, key: &ApiKey, now: DateTime<Utc>) -> Result<(), Error> {
        let workspace = &person.workspace;
        let detail = json!({"name": key.name, "permissions": key.permissions, "expires_at": key.current.info.expires_at});
        let writes = vec![
            store::put(
                self.table
                    .put(Key::api_key(workspace, &key.id), key)?
                    .condition_expression("attribute_not_exists(pk)"),
            )?,
            self.put_secret(workspace, key, &key.current)?,
            self.activity.record(person, "api_key.generated", &key.id, detail, now)?,
        ];
        match self.table.transact(writes).await? {
            Transacted::Done => Ok(()),
            // Ids and secrets are random: whoever meets a stored one met their own lost answer.
            Transacted::Refused | Transacted::Contended => Err(unavailable("the key could not be stored")),
        }
    }

    /// A new secret for a key; see [`ApiKey`] for what becomes of the old one. One read and one
    /// transaction.
    pub async fn rotate(
        &self,
        person: &Person,
        id: &str,
        grace: Duration,
        now: DateTime<Utc>,
    ) -> Result<(ApiKey, Secret), Error> {
        for pause in store::backoff() {
            let old = self.get(&person.workspace, id).await?;
            let (new, secret) = old.rotate(grace, now)?;
            let mut writes = self.change(&person.workspace, &old, &new, now)?;
            writes.push(self.put_secret(&person.workspace, &new, &new.current)?);
            let detail = json!({"name": new.name, "grace_hours": grace.num_hours()});
            writes.push(self.activity.record(person, "api_key.rotated", id, detail, now)?);
            if self.table.transact(writes).await? == Transacted::Done {
                return Ok((new, secret));
            }
            sleep(pause).await;
        }
        Err(Error::Conflict("the key is being changed by someone else".to_owned()))
    }

    /// Revokes a key; the very next call is refused. A key that is revoked already stays as it
    /// is. One read and one transaction.
    pub async fn revoke(
        &self,
        person: &Person,
        id: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<ApiKey, Error> {
        for pause in store::backoff() {
            let old = self.get(&person.workspace, id).await?;
            if old.revoked.is_some() {
                return Ok(old);
            }
            let new = old.revoke(person, reason.to_owned(), now);
            let mut writes = self.change(&person.workspace, &old, &new, now)?;
            writes.push(self.put_secret(&person.workspace, &new, &new.current)?);
            let detail = json!({"name": new.name, "reason": reason});
            writes.push(self.activity.record(person, "api_key.revoked", id, detail, now)?);
            if self.table.transact(writes).await? == Transacted::Done {
                return Ok(new);
            }
            sleep(pause).await;
        }
        Err(Error::Conflict("the key is being changed by someone else".to_owned()))
    }

    /// The writes that every change of a key shares: the key itself on condition that nobody
    /// else changed it, its previous secrets, and the mark that admission looks at.
    fn change(
        &self,
        workspace: &Workspace,
        old: &ApiKey,
        new: &ApiKey,
        now: DateTime<Utc>,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let put = self
            .table
            .put(Key::api_key(workspace, &new.id), new)?
            .condition_expression("revision = :revision")
            .expression_attribute_values(":revision", n(old.revision));
        let mut writes = vec![store::put(put)?];
        if let Some(previous) = &new.previous {
            writes.push(self.put_secret(workspace, new, previous)?);
        }
        let replaced = |before: &&HeldSecret| {
            new.previous.as_ref().is_none_or(|previous| previous.generation != before.generation)
        };
        if let Some(before) = old.previous.as_ref().filter(|one| now < one.info.expires_at).filter(replaced) {
            let mut ended = before.clone();
            ended.info.expires_at = now;
            writes.push(self.put_secret(workspace, new, &ended)?);
        }
        for day in marked_days(now) {
            let mark = self
                .table
                .update(&Key::meter(workspace, &new.id, day))
                .update_expression("SET living = :living, #ttl = :ttl")
                .expression_attribute_names("#ttl", "ttl")
                .expression_attribute_values(":living", n(new.oldest_living_generation(now)))
                .expression_attribute_values(":ttl", n(end_of(day)));
            writes.push(store::update(mark)?);
        }
        Ok(writes)
    }

    /// Unconditional: the transaction's condition stands on the key's own row.
    fn put_secret(
        &self,
        workspace: &Workspace,
        key: &ApiKey,
        secret: &HeldSecret,
    ) -> Result<TransactWriteItem, Error> {
        let row = SecretRow::of(workspace, key, secret);
        store::put(self.table.put(Key::secret(secret.hash.as_str()), &row)?)
    }

    async fn get(&self, workspace: &Workspace, id: &str) -> Result<ApiKey, Error> {
        // What cannot be an id names no key; DynamoDB would fail on one that is too long.
        if !is_id(id) {
            return Err(Error::NotFound("API key"));
        }
        let request = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found =
            request.set_key(Some(Key::api_key(workspace, id).item())).send().await.map_err(unavailable)?;
        store::entity(found.item.ok_or(Error::NotFound("API key"))?)
    }

    /// A page of a workspace's keys, newest first. One query, and one more a key for its usage.
    pub async fn list(
        &self,
        workspace: &Workspace,
        limit: u64,
        cursor: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Page, Error> {
        const LIST: &str = "keys";
        let after = cursor.map(|cursor| cursor::decode(workspace, LIST, cursor)).transpose()?;
        let Key { pk, .. } = Key::api_key(workspace, "");
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :kind)")
            .expression_attribute_values(":pk", s(pk))
            .expression_attribute_values(":kind", s("KEY#"))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|id| Key::api_key(workspace, &id).item()))
            .send()
            .await
            .map_err(unavailable)?;
        let more = found.last_evaluated_key.is_some();
        let keys: Vec<ApiKey> =
            found.items.unwrap_or_default().into_iter().map(store::entity).collect::<Result<_, _>>()?;
        let next_cursor = keys.last().filter(|_| more).map(|last| cursor::encode(workspace, LIST, &last.id));
        let summaries = stream::iter(keys)
            .map(|key| async move {
                let usage = self.meter(workspace, &key.id, SUMMARY_DAYS).await?;
                Ok(summary(&key, &usage, now))
            })
            .buffered(USAGE_READS);
        Ok(Page { keys: summaries.try_collect().await?, next_cursor })
    }

    /// What a key was used for in the last `days` UTC days. Two reads.
    pub async fn usage(
        &self,
        workspace: &Workspace,
        id: &str,
        days: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<UsageOfDay>, Error> {
        self.get(workspace, id).await?;
        let mut usage = self.meter(workspace, id, days).await?;
        usage.retain(|day| first_of(days, now) <= day.date);
        Ok(usage)
    }

    /// The meter's newest `rows` rows, oldest first; they are as many days or more.
    async fn meter(&self, workspace: &Workspace, id: &str, rows: u64) -> Result<Vec<UsageOfDay>, Error> {
        let Key { pk, .. } = Key::meter(workspace, id, NaiveDate::MIN);
        // A row has less than 1 kB, so this is always one page.
        let found = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", s(pk))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(rows + MARKED_AHEAD).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(unavailable)?;
        let rows = found.items.unwrap_or_default();
        Ok(rows.iter().rev().filter_map(UsageOfDay::read).filter(UsageOfDay::tells_something).collect())
    }
}

fn summary(key: &ApiKey, days: &[UsageOfDay], now: DateTime<Utc>) -> Summary {
    let calls_since = |first| days.iter().filter(|day| first <= day.date).map(|day| day.calls).sum();
    Summary {
        key: key.view(now),
        last_used_at: days.iter().filter_map(|day| day.last_used).max(),
        calls_today: calls_since(now.date_naive()),
        calls_30_days: calls_since(first_of(SUMMARY_DAYS, now)),
    }
}

/// The first of the last `days` days, today being the last.
fn first_of(days: u64, now: DateTime<Utc>) -> NaiveDate {
    let today = now.date_naive();
    today.checked_sub_days(Days::new(days.saturating_sub(1))).unwrap_or(today)
}
