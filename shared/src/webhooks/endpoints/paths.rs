//! What receives at a path, with its secrets, for the function that receives.
//!
//! Round trips: none while what was read is younger than [`FRESH`]. Then one read, and if the
//! secrets changed meanwhile, another one and a KMS call. A delivery that does not verify asks again
//! at once, but for all of them not more often than each [`PATIENCE`]: a new secret works at once,
//! and a stream of forged deliveries does not become a stream of reads.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use secrecy::SecretString;
use tokio::time::sleep;

use super::{
    super::scheme::{Cause, Incoming, Refused},
    Endpoint, PathRow, Row,
    keyring::Keyring,
};
use crate::{
    Error,
    identity::Workspace,
    lambda::{Env, EnvError},
    store::{
        self, Table,
        key::{
            Key,
            webhooks::{ENDPOINT, endpoints},
        },
        s, unavailable,
    },
    vault::Vault,
};

/// How long a warm function uses what it read.
const FRESH: TimeDelta = TimeDelta::seconds(30);
/// How old it must be to be read again for a delivery that does not verify.
const PATIENCE: TimeDelta = TimeDelta::seconds(5);
/// How old it may get while table, vault or KMS do not answer: not every provider repeats.
const OUTAGE: TimeDelta = TimeDelta::hours(1);
/// Endpoints remembered at the same time.
const CAPACITY: usize = 256;
/// How long it is remembered what the secrets of other endpoints are.
const OTHERS_FRESH: TimeDelta = TimeDelta::minutes(5);
/// Other endpoints that are looked at, the newest: each costs a read and a KMS call.
const OTHERS_MOST: i32 = 20;

/// What receives at a path.
pub struct Receiving {
    /// Whose it is.
    pub workspace: Workspace,
    /// The endpoint.
    pub endpoint: Endpoint,
    sealed_version: u64,
    accepted: Vec<SecretString>,
    previous: Vec<SecretString>,
    read_at: DateTime<Utc>,
    others: Mutex<Option<Others>>,
}

/// Secrets of other endpoints of the workspace that have the same scheme.
#[derive(Clone)]
struct Others {
    secrets: Arc<Vec<SecretString>>,
    read_at: DateTime<Utc>,
}

/// Finds what receives at a path.
pub struct Paths {
    table: Table,
    vault: Vault,
    cache: Mutex<HashMap<String, Arc<Receiving>>>,
}

impl Receiving {
    /// The newest of its secrets, to sign with.
    #[must_use]
    pub fn newest(&self) -> Option<&SecretString> {
        self.accepted.first()
    }

    fn check(&self, incoming: &Incoming<'_>, now: DateTime<Utc>) -> Result<(), Refused> {
        let settings = &self.endpoint.settings;
        if settings.verify_signature { settings.scheme.verify(incoming, &self.accepted, now) } else { Ok(()) }
    }
}

impl Paths {
    /// Reads `WEBHOOKS_TABLE`, and what [`Vault::load`] reads.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            table: Table::load(env, &store::client(sdk), "WEBHOOKS_TABLE")?,
            vault: Vault::load(env, sdk)?,
            cache: Mutex::default(),
        })
    }

    /// What receives at `path`; not found while it is not active.
    pub async fn find(&self, path: &str, now: DateTime<Utc>) -> Result<Arc<Receiving>, Error> {
        let held = self.remembered().get(path).cloned();
        match held {
            Some(held) if now < held.read_at + FRESH => Ok(held),
            held => match (self.read(path, held.as_deref(), now).await, held) {
                (Err(error @ Error::Unavailable(..)), Some(held)) if now < held.read_at + OUTAGE => {
                    let causes = error.causes();
                    tracing::warn!(endpoint = held.endpoint.id, causes, "an older state is used: {error}");
                    Ok(held)
                }
                (read, _) => read,
            },
        }
    }

    /// Whether a delivery may pass; with it the endpoint as it was found to be at last.
    pub async fn verify(
        &self,
        found: Arc<Receiving>,
        incoming: &Incoming<'_>,
        now: DateTime<Utc>,
    ) -> Result<(Arc<Receiving>, Result<(), Refused>), Error> {
        let refused = match found.check(incoming, now) {
            Ok(()) => return Ok((found, Ok(()))),
            Err(refused) => refused,
        };
        let (found, refused) = if now >= found.read_at + PATIENCE {
            let found = self.read(&found.endpoint.settings.path, Some(&found), now).await?;
            match found.check(incoming, now) {
                Ok(()) => return Ok((found, Ok(()))),
                Err(refused) => (found, refused),
            }
        } else {
            (found, refused)
        };
        let others = match refused.cause {
            Cause::Mismatch if refused.hint.is_none() => self.others(&found, now).await,
            _ => Arc::default(),
        };
        let scheme = &found.endpoint.settings.scheme;
        let explained = scheme.explain(refused, incoming, &found.previous, others.iter());
        Ok((found, Err(explained)))
    }

    /// What is stored at `path` now. `held` is what was read before: its secrets serve again if they
    /// are still the same.
    async fn read(
        &self,
        path: &str,
        held: Option<&Receiving>,
        now: DateTime<Utc>,
    ) -> Result<Arc<Receiving>, Error> {
        // A change between the reads of path and secrets shows as two versions.
        for pause in store::backoff().take(3) {
            let row = self.row(path).await?.filter(|found| found.row.endpoint.settings.active);
            let Some(PathRow { workspace, row }) = row else {
                self.remembered().remove(path);
                return Err(Error::NotFound("endpoint"));
            };
            let workspace: Workspace = workspace.parse().map_err(unavailable)?;
            let known = held.filter(|held| {
                held.endpoint.id == row.endpoint.id && held.sealed_version == row.sealed_version
            });
            let secrets = match known {
                Some(known) => Some((known.accepted.clone(), known.previous.clone())),
                None => self.open(&workspace, &row, now).await?,
            };
            if let Some((accepted, previous)) = secrets {
                let others = known.and_then(|known| lock(&known.others).clone());
                let found = Arc::new(Receiving {
                    workspace,
                    endpoint: row.endpoint,
                    sealed_version: row.sealed_version,
                    accepted,
                    previous,
                    read_at: now,
                    others: Mutex::new(others),
                });
                let mut cache = self.remembered();
                if cache.len() >= CAPACITY {
                    cache.clear();
                }
                cache.insert(path.to_owned(), Arc::clone(&found));
                return Ok(found);
            }
            sleep(pause).await;
        }
        Err(unavailable("what is sealed is not the version that the endpoint's path names"))
    }

    async fn row(&self, path: &str) -> Result<Option<PathRow>, Error> {
        // What cannot be a path names nothing; DynamoDB would fail on one that is too long.
        if path.len() > super::settings::PATH_MAX {
            return Ok(None);
        }
        let read = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found = read.set_key(Some(Key::endpoint_path(path).item())).send().await.map_err(unavailable)?;
        found.item.map(store::entity).transpose()
    }

    /// The secrets that are good, and those that were; none if they are of another version.
    async fn open(
        &self,
        workspace: &Workspace,
        row: &Row,
        now: DateTime<Utc>,
    ) -> Result<Option<(Vec<SecretString>, Vec<SecretString>)>, Error> {
        if row.sealed_version == 0 {
            return Ok(Some(Default::default()));
        }
        let opened = match self.vault.open(workspace, &row.endpoint.id).await {
            Err(Error::NotFound(_)) => return Ok(None),
            opened => opened?,
        };
        let (version, plaintext) = opened;
        if version != row.sealed_version {
            return Ok(None);
        }
        let keyring = Keyring::restore(&plaintext)?;
        Ok(Some((keyring.accepted(), keyring.previous(now))))
    }

    /// Secrets of other endpoints; what cannot be read is no reason to answer otherwise.
    async fn others(&self, found: &Receiving, now: DateTime<Utc>) -> Arc<Vec<SecretString>> {
        if let Some(others) =
            lock(&found.others).as_ref().filter(|others| now < others.read_at + OTHERS_FRESH)
        {
            return Arc::clone(&others.secrets);
        }
        let secrets = Arc::new(self.read_others(found, now).await.unwrap_or_else(|error| {
            tracing::warn!(causes = error.causes(), "other endpoints could not be looked at: {error}");
            Vec::new()
        }));
        *lock(&found.others) = Some(Others { secrets: Arc::clone(&secrets), read_at: now });
        secrets
    }

    async fn read_others(&self, found: &Receiving, now: DateTime<Utc>) -> Result<Vec<SecretString>, Error> {
        let listed = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :kind)")
            .expression_attribute_values(":pk", s(endpoints(&found.workspace)))
            .expression_attribute_values(":kind", s(ENDPOINT))
            .scan_index_forward(false)
            .limit(OTHERS_MOST)
            .send()
            .await
            .map_err(unavailable)?;
        let rows: Vec<Row> =
            listed.items.unwrap_or_default().into_iter().map(store::entity).collect::<Result<_, _>>()?;
        let word = found.endpoint.settings.scheme.word();
        let rows = rows.iter().filter(|row| row.endpoint.id != found.endpoint.id);
        let rows = rows.filter(|row| row.endpoint.settings.scheme.word() == word);
        let opened = join_all(rows.map(|row| self.open(&found.workspace, row, now))).await;
        Ok(opened.into_iter().flatten().flatten().flat_map(|(accepted, _)| accepted).collect())
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<String, Arc<Receiving>>> {
        lock(&self.cache)
    }
}

/// What is in it is whole, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
