//! Once an hour: compares the providers' own lists of what they sent with what is stored, and
//! takes in what is missing.
//!
//! A provider that cannot be asked is no failure: the completeness of its hours tells, and the
//! next run goes on. What a run has no time for, the next one does.

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use serde::{Serialize, de::IgnoredAny};
use shared::{
    lambda::{self, Env, EnvError, Function},
    time,
    webhooks::heal::{Healer, Outcome},
};
use tokio::time::{Instant, timeout_at};

/// What is left of the time when no further page is begun; a page may take as long.
const MARGIN: Duration = Duration::from_secs(45);
/// … and when work is broken off. Every page before was saved.
const LAST: Duration = Duration::from_secs(2);

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    healer: Healer,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { healer: Healer::load(env, sdk)? })
    }
}

#[derive(Serialize)]
struct Output {
    sources: Vec<Outcome>,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::timed(Deps::load, handle)
}

/// Fails if our own side did not do its part, after every source had its turn.
async fn handle(deps: Arc<Deps>, _event: IgnoredAny, deadline: Instant) -> Result<Output, lambda::Error> {
    let healing = deps.healer.heal(time::now(), deadline - MARGIN);
    let healed = timeout_at(deadline - LAST, healing).await;
    let healed = healed.map_err(|_| "a page took too long; the next run goes on from there")?;
    let mut sources = Vec::new();
    let mut failed = None;
    for outcome in healed {
        match outcome {
            Ok(outcome) => {
                tracing::info!(source = outcome.source.word(), ?outcome, "a list is compared");
                sources.push(outcome);
            }
            Err(error) => failed = Some(format!("{error}: {}", error.causes())),
        }
    }
    match failed {
        Some(failed) => Err(failed.into()),
        None => Ok(Output { sources }),
    }
}
