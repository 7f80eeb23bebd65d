//! Scheduled each day: wraps anew what the vault's key wrapped long ago, see
//! [`Vault::rewrap`].
//!
//! What is not done within one run is left to the next. After a rotation on demand, an event with
//! `wrapped_before` moves everything at once, run by run until `finished`.

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use shared::{
    lambda::{self, Env, EnvError, Function},
    time,
    vault::{Progress, Vault},
};
use tokio::time::Instant;

/// KMS rotates the key's material each year: no data key depends on the old one for longer than
/// this.
const AGE: TimeDelta = TimeDelta::days(30);
/// Leaves a page that has begun the time to end before Lambda ends the function.
const BUDGET: Duration = Duration::from_secs(20);

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    vault: Vault,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { vault: Vault::load(env, sdk)? })
    }
}

/// What the schedule, or an operator, sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Data keys that were wrapped since then stay; 30 days ago if absent.
    wrapped_before: Option<DateTime<Utc>>,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::event(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, order: Order) -> Result<Progress, lambda::Error> {
    let now = time::now();
    let before = order.wrapped_before.unwrap_or(now - AGE);
    let progress = deps.vault.rewrap(before, Instant::now() + BUDGET, now).await.inspect_err(|error| {
        tracing::error!(causes = error.causes(), "not everything was wrapped anew");
    })?;
    if progress.refused > 0 {
        // Fails, so that somebody is told: the rows are named in the log.
        return Err(format!("{} sealed secrets were altered", progress.refused).into());
    }
    Ok(progress)
}
