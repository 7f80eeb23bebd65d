//! Every five minutes: wakes up the events that should have been processed and were not, see
//! [`Sweep`].
//!
//! A firing that finds nothing is eight empty queries. What a firing has no time for, the next one
//! finds. An event with `due_before` a time to come wakes all that waits, as after an outage.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use shared::{
    Error,
    lambda::{self, Env, EnvError, Function},
    time,
    webhooks::sweep::{Bucket, Sweep, Swept},
};
use tokio::time::{Instant, timeout_at};

/// What is left of the time when work is broken off.
const MARGIN: Duration = Duration::from_secs(2);

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    sweep: Sweep,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { sweep: Sweep::load(env, sdk)? })
    }
}

/// What the schedule, or an operator, sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Events that were due then are woken; now if absent.
    due_before: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct Done {
    /// Events that were woken.
    woken: u64,
    /// Events that are dead, as nothing came of waking them.
    dead: u64,
    /// Whether time was over before all that was due was woken.
    more: bool,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::timed(Deps::load, handle)
}

/// Fails if an event could not be woken, after all others were: somebody must look.
async fn handle(deps: Arc<Deps>, order: Order, deadline: Instant) -> Result<Done, lambda::Error> {
    let now = time::now();
    let swept = Mutex::new(Swept::default());
    let bucket = async |mut bucket: Bucket| {
        while let Some(page) = deps.sweep.sweep(&mut bucket).await? {
            *swept.lock().unwrap_or_else(PoisonError::into_inner) += page;
        }
        Ok::<_, Error>(())
    };
    let all = join_all(Bucket::all(order.due_before.unwrap_or(now), now).map(bucket));
    let ended = timeout_at(deadline - MARGIN, all).await;
    let Swept { woken, dead, failed } = swept.into_inner().unwrap_or_else(PoisonError::into_inner);
    let more = ended.is_err();
    tracing::info!(woken, dead, failed, more, "what was due is woken");
    for bucket in ended.into_iter().flatten() {
        bucket.map_err(|error| format!("{error}: {}", error.causes()))?;
    }
    if failed > 0 {
        return Err(format!("{failed} events could not be woken").into());
    }
    Ok(Done { woken, dead, more })
}
