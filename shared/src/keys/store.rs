//! The rows of API keys, their secrets and their meters.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    config::retry::RetryConfig,
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};
use chrono::{DateTime, Days, Duration, NaiveDate, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::{
    ApiKey, Call, HeldSecret, KeyCaller, Permission, Secret, UsageOfDay, View,
    meter::{Cause, Hour, marked_days},
};
use crate::{
    Error,
    activity::Activity,
    error::Quota,
    fields::is_id,
    identity::{Person, Workspace, unexpired},
    lambda::{Env, EnvError},
    store::{self, Table, Transacted, cursor, key::Key, n, s, unavailable},
};

/// Meters outlive a year's comparison.
const METER_DAYS: u64 = 400;
/// Secrets stay known after their end for as long, so that late callers are counted.
const SECRET_DAYS: i64 = 90;
/// Days that a list sums up.
const SUMMARY_DAYS: u64 = 30;
/// Tomorrow's row can be there already, with the mark of a revocation.
const MARKED_AHEAD: u64 = 1;
/// Keys whose usage a list reads at the same time.
const USAGE_READS: usize = 10;

/// The secret's row: all that `authorize-key` needs, in one read.
#[derive(Serialize, Deserialize)]
struct SecretRow {
    workspace: String,
    key_id: String,
    generation: u64,
    permissions: Vec<Permission>,
    rate_limit: u64,
    sync_rate_limit: u64,
    /// Seconds since 1970.
    expires_at: i64,
    #[serde(default)]
    revoked: bool,
    ttl: i64,
}

impl SecretRow {
    fn of(workspace: &Workspace, key: &ApiKey, secret: &HeldSecret) -> Self {
        let expires_at = secret.info.expires_at;
        Self {
            workspace: workspace.to_string(),
            key_id: key.id.clone(),
            generation: secret.generation,
            permissions: key.permissions.clone(),
            rate_limit: key.rate_limit,
            sync_rate_limit: key.sync_rate_limit,
            expires_at: expires_at.timestamp(),
            revoked: key.revoked.is_some(),
            ttl: (expires_at + Duration::days(SECRET_DAYS)).timestamp(),
        }
    }
}

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

/// The store of API keys. `authorize-key` and the functions behind it use [`Keys::establish`]
/// and [`Keys::admit`]; [`KeyAdmin`] changes keys.
#[derive(Clone)]
pub struct Keys {
    table: Table,
    /// Does not retry. A count is not repeatable: when an answer is lost, whether it was made is
    /// not known, and the call is refused rather than counted twice.
    once: aws_sdk_dynamodb::Client,
}

impl Keys {
    /// Reads `API_KEYS_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let table = Table::load(env, &store::client(sdk), "API_KEYS_TABLE")?;
        let config = aws_sdk_dynamodb::config::Builder::from(sdk).retry_config(RetryConfig::disabled());
        Ok(Self { table, once: aws_sdk_dynamodb::Client::from_conf(config.build()) })
    }

    /// The caller behind a secret, if it is one of ours and lives. One read.
    ///
    /// The read is strongly consistent: a gateway remembers refusals too, and a key must work
    /// from the moment it is shown.
    pub async fn establish(&self, secret: &Secret, now: DateTime<Utc>) -> Result<Option<KeyCaller>, Error> {
        let hash = secret.hash();
        let request = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found =
            request.set_key(Some(Key::secret(hash.as_str()).item())).send().await.map_err(unavailable)?;
        let Some(item) = found.item else { return Ok(None) };
        let row: SecretRow = store::entity(item)?;
        let caller = KeyCaller {
            workspace: row.workspace.parse().map_err(unavailable)?,
            key_id: row.key_id,
            generation: row.generation,
            permissions: row.permissions,
            rate_limit: row.rate_limit,
            sync_rate_limit: row.sync_rate_limit,
            expires_at: crate::identity::seconds(row.expires_at),
        };
        let cause = if row.revoked {
            Cause::Revoked
        } else if caller.expires_at <= now {
            Cause::Expired
        } else {
            return Ok(Some(caller));
        };
        self.count_denial(&caller, cause, now).await;
        Ok(None)
    }

    /// Admits a call, or says why not. One conditional write, which refuses a revoked secret,
    /// keeps the limits and counts the call; a refusal costs one write more, to be counted.
    pub async fn admit(&self, caller: &KeyCaller, call: Call, now: DateTime<Utc>) -> Result<Quota, Error> {
        let (cause, error) = match self.try_admit(caller, call, now).await? {
            Ok(quota) => return Ok(quota),
            Err(refusal) => refusal,
        };
        self.count_denial(caller, cause, now).await;
        Err(error)
    }

    async fn try_admit(
        &self,
        caller: &KeyCaller,
        call: Call,
        now: DateTime<Utc>,
    ) -> Result<Result<Quota, (Cause, Error)>, Error> {
        if let Err(error) = unexpired(caller.expires_at, now, "the API key has expired") {
            return Ok(Err((Cause::Expired, error)));
        }
        let permission = call.permission();
        if !caller.permissions.contains(&permission) {
            let message = format!("the API key lacks the permission {}", permission.name());
            return Ok(Err((Cause::Permission, Error::Forbidden(message))));
        }
        let hour = Hour::of(call, now);
        let mut counted =
            "SET last_used = :now, #ttl = :ttl ADD calls :one, #route :one, #hour :one".to_owned();
        let mut condition = "(attribute_not_exists(living) OR living <= :generation) \
                             AND (attribute_not_exists(#hour) OR #hour < :limit)"
            .to_owned();
        let day = now.date_naive();
        let mut request = self
            .once
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::meter(&caller.workspace, &caller.key_id, day).item()))
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#route", format!("r:{}", call.name()))
            .expression_attribute_names("#hour", &hour.all)
            .expression_attribute_values(":now", n(now.timestamp()))
            .expression_attribute_values(":ttl", n(meter_end(day)))
            .expression_attribute_values(":one", n(1))
            .expression_attribute_values(":generation", n(caller.generation))
            .expression_attribute_values(":limit", n(caller.rate_limit));
        if let Some(route) = &hour.route {
            counted += ", #hour_route :one";
            condition += " AND (attribute_not_exists(#hour_route) OR #hour_route < :route_limit)";
            request = request
                .expression_attribute_names("#hour_route", route)
                .expression_attribute_values(":route_limit", n(caller.sync_rate_limit));
        }
        let request = request
            .update_expression(counted)
            .condition_expression(condition)
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut pauses = store::backoff();
        loop {
            match request.clone().send().await.map_err(SdkError::into_service_error) {
                Ok(updated) => return Ok(Ok(hour.quota(caller, &updated.attributes.unwrap_or_default()))),
                Err(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let row = failed.item().cloned().unwrap_or_default();
                    return Ok(Err(hour.refusal(caller, call, &row)));
                }
                // These say that nothing was written, so another try counts nothing twice.
                Err(
                    error @ (UpdateItemError::TransactionConflictException(_)
                    | UpdateItemError::ProvisionedThroughputExceededException(_)
                    | UpdateItemError::RequestLimitExceeded(_)
                    | UpdateItemError::ThrottlingException(_)),
                ) => match pauses.next() {
                    Some(pause) => sleep(pause).await,
                    None => return Err(unavailable(error)),
                },
                Err(error) => return Err(unavailable(error)),
            }
        }
    }

    /// Counts a refusal. That the count fails must not change the refusal.
    async fn count_denial(&self, caller: &KeyCaller, cause: Cause, now: DateTime<Utc>) {
        let day = now.date_naive();
        let request = self
            .once
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::meter(&caller.workspace, &caller.key_id, day).item()))
            .update_expression("SET #ttl = :ttl ADD #cause :one")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#cause", cause.attribute())
            .expression_attribute_values(":ttl", n(meter_end(day)))
            .expression_attribute_values(":one", n(1));
        if let Err(error) = request.send().await.map_err(SdkError::into_service_error) {
            tracing::warn!(cause = %error, "a denial was not counted");
        }
    }
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
                .expression_attribute_values(":ttl", n(meter_end(day)));
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

fn meter_end(day: NaiveDate) -> i64 {
    let end = day.checked_add_days(Days::new(METER_DAYS)).unwrap_or(day);
    end.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}
