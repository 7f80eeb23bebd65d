//! Fired by a schedule: counts subscriptions again that time alone changed, such as by the end of
//! a trial or a discount.
//!
//! Between two firings totals as of now may lag behind, by five minutes and no more; totals of
//! past days never do, as their movements are booked when a change comes in. A firing that finds
//! nothing is four empty queries. What a firing has no time for, the next one finds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::SdkConfig;
use futures::future::join_all;
use serde::{Serialize, de::IgnoredAny};
use shared::{
    Error,
    lambda::{self, Env, EnvError, Function},
    ledger::{Due, Ledger},
    time,
};
use tokio::time::{Instant, timeout_at};

/// What is left of the time when work is broken off.
const MARGIN: Duration = Duration::from_secs(2);

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    ledger: Ledger,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { ledger: Ledger::load(env, sdk)? })
    }
}

#[derive(Serialize)]
struct Done {
    /// Subscriptions that were counted again.
    recounted: u64,
    /// Whether time was over before all that was due was counted.
    more: bool,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::timed(Deps::load, handle)
}

/// Fails if a subscription could not be counted, after all others were: somebody must look.
async fn handle(deps: Arc<Deps>, _event: IgnoredAny, deadline: Instant) -> Result<Done, lambda::Error> {
    let (recounted, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let bucket = async |mut due: Due| {
        while let Some(page) = deps.ledger.recount_due(&mut due).await? {
            recounted.fetch_add(page.done, Ordering::Relaxed);
            failed.fetch_add(page.failed, Ordering::Relaxed);
        }
        Ok::<_, Error>(())
    };
    let all = join_all(Due::at(time::now()).map(bucket));
    let ended = timeout_at(deadline - MARGIN, all).await;
    let (recounted, failed) = (recounted.into_inner(), failed.into_inner());
    let more = ended.is_err();
    tracing::info!(recounted, failed, more, "what was due is counted");
    for bucket in ended.into_iter().flatten() {
        bucket.map_err(|error| format!("{error}: {}", error.causes()))?;
    }
    if failed > 0 {
        return Err(format!("{failed} subscriptions could not be counted").into());
    }
    Ok(Done { recounted, more })
}
