//! Once an hour: tests the active integrations whose last test is six hours old.
//!
//! What is due is found by an index, over all workspaces, the longest overdue first. A test that
//! cannot be made, as when the vault does not answer, leaves its integration due and the others
//! alone; then the run fails at its end, so that somebody is told and it is repeated. No test
//! begins that might not end in time: those are due again in the next run.

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use futures::{StreamExt, stream};
use serde::{Serialize, de::IgnoredAny};
use shared::{
    Error,
    activity::Actor,
    integrations::{Due, Integrations, TEST_BUCKETS, Tester},
    lambda::{self, Env, EnvError, Function},
    time,
};
use tokio::time::{Instant, timeout};

/// Tests that run at the same time: they mostly wait for providers.
const CONCURRENCY: usize = 16;
/// What one test may take: the provider's ten seconds, and reading and recording.
const PATIENCE: Duration = Duration::from_secs(15);
/// Integrations that a run takes from each partition of the index; their rows are one page.
const PARTITION_MAX: u64 = 500;

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    integrations: Integrations,
    tester: Tester,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { integrations: Integrations::load(env, sdk)?, tester: Tester::load(env, sdk)? })
    }
}

/// What became of the integrations that were due.
#[derive(Debug, Default, Serialize)]
struct Output {
    passed: usize,
    failed: usize,
    /// Deleted since the index named it.
    gone: usize,
    /// The test could not be made.
    unmade: usize,
    /// Left to the next run.
    left: usize,
}

enum Outcome {
    Passed,
    Failed,
    Gone,
    Unmade,
    Left,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::timed(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, _event: IgnoredAny, end: Instant) -> Result<Output, lambda::Error> {
    let mut due = Vec::new();
    for bucket in 0..TEST_BUCKETS {
        due.push(deps.integrations.due(bucket, time::now(), PARTITION_MAX).await?);
    }
    let deps = &deps;
    let output = stream::iter(by_turns(due))
        .map(|due| async move {
            if end < Instant::now() + PATIENCE {
                return Outcome::Left;
            }
            let made = timeout(PATIENCE, test(deps, &due)).await;
            let made = made.unwrap_or_else(|late| Err(Error::Unavailable("the test", late.into())));
            made.unwrap_or_else(|error| {
                tracing::error!(integration = due.id, causes = error.causes(), "cannot be tested: {error}");
                Outcome::Unmade
            })
        })
        .buffer_unordered(CONCURRENCY)
        .fold(Output::default(), |output, outcome| async move { output.with(&outcome) })
        .await;
    tracing::info!(?output, "tested");
    if output.unmade > 0 {
        return Err(format!("{} tests could not be made", output.unmade).into());
    }
    Ok(output)
}

/// Tests one integration as it is now, and records what came of it.
async fn test(deps: &Deps, due: &Due) -> Result<Outcome, Error> {
    let Due { workspace, id } = due;
    let loaded = match deps.integrations.get(workspace, id).await {
        Err(Error::NotFound(_)) => return Ok(Outcome::Gone),
        loaded => loaded?,
    };
    let provider = &loaded.integration.provider;
    let result = deps.tester.test(workspace, provider, &loaded.content, time::now()).await?;
    let actor = Actor::System { workspace, function: "integrations-test" };
    let recorded = deps.integrations.record_test(actor, &loaded, &result, time::now()).await?;
    Ok(match (recorded, result) {
        (None, _) => Outcome::Gone,
        (Some(_), Ok(_)) => Outcome::Passed,
        (Some(_), Err(_)) => Outcome::Failed,
    })
}

/// The first of each partition, then the second of each, and so on.
fn by_turns(partitions: Vec<Vec<Due>>) -> Vec<Due> {
    let mut placed: Vec<_> = partitions.into_iter().flat_map(|due| due.into_iter().enumerate()).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, due)| due).collect()
}

impl Output {
    fn with(mut self, outcome: &Outcome) -> Self {
        *match outcome {
            Outcome::Passed => &mut self.passed,
            Outcome::Failed => &mut self.failed,
            Outcome::Gone => &mut self.gone,
            Outcome::Unmade => &mut self.unmade,
            Outcome::Left => &mut self.left,
        } += 1;
        self
    }
}
