//! From a secret to its caller: what `authorize-key` does.

use aws_config::SdkConfig;
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::{
    ApiKey, HeldSecret, KeyCaller, Permission, Secret,
    meter::{Cause, Meter},
};
use crate::{
    Error,
    identity::{Workspace, seconds},
    lambda::{Env, EnvError},
    store::{self, Table, key::Key, unavailable},
};

/// Secrets stay known after their end for as long, so that late callers are counted.
const SECRET_DAYS: i64 = 90;

/// The secret's row: all that `authorize-key` needs, in one read.
#[derive(Serialize, Deserialize)]
pub(super) struct SecretRow {
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
    pub(super) fn of(workspace: &Workspace, key: &ApiKey, secret: &HeldSecret) -> Self {
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

/// Establishes callers by their secrets.
pub struct Authenticator {
    table: Table,
    meter: Meter,
}

impl Authenticator {
    /// Reads `API_KEYS_TABLE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let table = Table::load(env, &store::client(sdk), "API_KEYS_TABLE")?;
        Ok(Self { meter: Meter::new(table.clone()), table })
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
            expires_at: seconds(row.expires_at),
        };
        let cause = if row.revoked {
            Cause::Revoked
        } else if caller.expires_at <= now {
            Cause::Expired
        } else {
            return Ok(Some(caller));
        };
        self.meter.count_denial(&caller, cause, now).await;
        Ok(None)
    }
}
