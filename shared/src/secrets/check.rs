//! Looks at every platform secret: is it there, does it look right, is it too old.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{PlatformSecrets, SecretName, Version};
use crate::{
    Error,
    lambda::{Env, EnvError},
};

/// When a secret should have been replaced.
const MAX_AGE: TimeDelta = TimeDelta::days(90);

/// What is wrong with a secret; of several, what has to be mended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The deployment needs it, and it has no value.
    Missing,
    /// It cannot be what its name says.
    Malformed,
    /// Its value was set more than 90 days ago.
    Old,
}

/// A secret as a check found it; never its value.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Status {
    /// Which.
    pub name: SecretName,
    /// Whether the deployment needs it.
    pub required: bool,
    /// When its value was set; `None` without one.
    pub set_at: Option<DateTime<Utc>>,
    /// Whole days since then.
    pub age_days: Option<i64>,
    /// What is wrong.
    pub finding: Option<Finding>,
}

/// Checks the secrets of a deployment.
pub struct Checker {
    secrets: PlatformSecrets,
    required: BTreeSet<SecretName>,
}

impl Checker {
    /// Reads `SECRETS_PREFIX` and `REQUIRED_SECRETS`, a comma-separated list.
    pub fn load(env: &Env, sdk: &aws_config::SdkConfig) -> Result<Self, EnvError> {
        let required: String = env.optional("REQUIRED_SECRETS")?.unwrap_or_default();
        let names = required.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::parse);
        Ok(Self {
            secrets: PlatformSecrets::load(env, sdk)?,
            required: names.collect::<Result<_, _>>().map_err(|_| EnvError::Malformed("REQUIRED_SECRETS"))?,
        })
    }

    /// Where the secrets are.
    #[must_use]
    pub fn secrets(&self) -> &PlatformSecrets {
        &self.secrets
    }

    /// Every secret as it is now. One request for each, all at the same time; fails whole when
    /// one cannot be read, as it would otherwise be taken for missing.
    pub async fn check(&self, now: DateTime<Utc>) -> Result<Vec<Status>, Error> {
        stream::iter(SecretName::ALL)
            .map(|name| async move {
                let current = self.secrets.version(name, "AWSCURRENT").await?;
                Ok(judge(name, self.required.contains(&name), current.as_ref(), now))
            })
            .buffered(SecretName::ALL.len())
            .try_collect()
            .await
    }
}

fn judge(name: SecretName, required: bool, current: Option<&Version>, now: DateTime<Utc>) -> Status {
    let finding = match current {
        None => required.then_some(Finding::Missing),
        Some(version) if !version.well_formed(name) => Some(Finding::Malformed),
        Some(version) => (version.created_at + MAX_AGE < now).then_some(Finding::Old),
    };
    let set_at = current.map(|version| version.created_at);
    Status { name, required, set_at, age_days: set_at.map(|at| (now - at).num_days()), finding }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_judged_by_need_form_and_age() {
        let now: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
        let version = |value: &str, age| Version { value: value.into(), created_at: now - age };
        let good = "x".repeat(20);
        for (case, required, current, finding) in [
            ("needed and absent", true, None, Some(Finding::Missing)),
            ("not needed and absent", false, None, None),
            ("good", true, Some(version(&good, TimeDelta::zero())), None),
            ("90 days old", true, Some(version(&good, MAX_AGE)), None),
            ("older", true, Some(version(&good, MAX_AGE + TimeDelta::seconds(1))), Some(Finding::Old)),
            ("not needed and older", false, Some(version(&good, TimeDelta::days(400))), Some(Finding::Old)),
            ("malformed", false, Some(version("short", TimeDelta::zero())), Some(Finding::Malformed)),
            (
                "malformed and old",
                true,
                Some(version("short", TimeDelta::days(91))),
                Some(Finding::Malformed),
            ),
            ("empty", true, Some(version("", TimeDelta::zero())), Some(Finding::Malformed)),
        ] {
            let status = judge(SecretName::DevopsWebhookSecret, required, current.as_ref(), now);
            assert_eq!(status.finding, finding, "{case}");
        }
    }
}
