//! What the last check found, so that the next one tells only what changed.
//!
//! A platform secret belongs to no workspace, and a workspace's admins have no business knowing
//! of it. So findings stand in a row of the platform's own, and go to the activity log of the
//! workspace of those who operate the deployment: the one that `OperatorsWorkspace` names, or
//! else the only one. Where neither is set, the log lines are all that tells.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::{
    SecretName,
    check::{Finding, Status},
};
use crate::{
    Error,
    activity::{Activity, Actor},
    identity::Workspace,
    lambda::{Env, EnvError},
    store::{self, Table, Transacted, key::Key, n},
};

/// What became of a secret since the check before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    pub name: SecretName,
    /// What is wrong now; `None` when nothing is any more.
    pub finding: Option<Finding>,
}

/// What is wrong, and since when.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Known {
    revision: u64,
    findings: BTreeMap<SecretName, Finding>,
}

/// Remembers findings and records their changes.
pub struct Watch {
    table: Table,
    activity: Activity,
    operators: Option<Workspace>,
}

impl Watch {
    /// Reads `INTEGRATIONS_TABLE`, `ACTIVITY_TABLE`, `OPERATORS_WORKSPACE` and `WORKSPACE`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let client = store::client(sdk);
        Ok(Self {
            table: Table::load(env, &client, "INTEGRATIONS_TABLE")?,
            activity: Activity::load(env, &client)?,
            operators: Workspace::home(env)?,
        })
    }

    /// Records what changed since the check before, in one transaction with the findings
    /// themselves; nothing when nothing did. One read, at most one transaction.
    pub async fn record(&self, found: &[Status], now: DateTime<Utc>) -> Result<Vec<Change>, Error> {
        for pause in store::backoff() {
            let known = self.known().await?;
            let (next, changes) = compare(&known, found);
            if changes.is_empty() {
                return Ok(changes);
            }
            let put = self.table.put(Key::platform_secrets(), &next)?;
            let put = match known.revision {
                0 => put.condition_expression("attribute_not_exists(pk)"),
                revision => put
                    .condition_expression("revision = :revision")
                    .expression_attribute_values(":revision", n(revision)),
            };
            let mut writes = vec![store::put(put)?];
            for change in &changes {
                let Some(workspace) = &self.operators else { break };
                let actor = Actor::System { workspace, function: "secrets-check" };
                let action = if change.finding.is_some() {
                    "platform_secret.failing"
                } else {
                    "platform_secret.recovered"
                };
                let detail = json!({"finding": change.finding});
                writes.push(self.activity.record(actor, action, change.name.as_str(), detail, now)?);
            }
            if self.table.transact(writes).await? == Transacted::Done {
                return Ok(changes);
            }
            // Another check of the same moment: what it recorded is no longer a change.
            sleep(pause).await;
        }
        Err(Error::Conflict("the findings are being changed by another check".to_owned()))
    }

    async fn known(&self) -> Result<Known, Error> {
        let request = self.table.client.get_item().table_name(&self.table.name).consistent_read(true);
        let found = request.set_key(Some(Key::platform_secrets().item())).send().await;
        let found = found.map_err(store::unavailable)?;
        found.item.map_or_else(|| Ok(Known::default()), store::entity)
    }
}

fn compare(known: &Known, found: &[Status]) -> (Known, Vec<Change>) {
    let differs = |status: &&Status| known.findings.get(&status.name).copied() != status.finding;
    let changes = found
        .iter()
        .filter(differs)
        .map(|status| Change { name: status.name, finding: status.finding })
        .collect();
    let findings = found.iter().filter_map(|status| Some((status.name, status.finding?))).collect();
    (Known { revision: known.revision + 1, findings }, changes)
}
