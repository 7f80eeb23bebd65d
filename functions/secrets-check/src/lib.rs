//! Once a day: looks at the platform secrets, and tells which are missing, malformed or old.
//!
//! Answers and logs hold names only. What is wrong is logged every day, and recorded in the
//! activity log when it begins and when it ends.

use std::sync::Arc;

use aws_config::SdkConfig;
use serde::{Serialize, de::IgnoredAny};
use shared::{
    lambda::{self, Env, EnvError, Function},
    secrets::{
        Change, Watch,
        check::{Checker, Status},
    },
    time,
};

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    checker: Checker,
    watch: Watch,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { checker: Checker::load(env, sdk)?, watch: Watch::load(env, sdk)? })
    }
}

#[derive(Serialize)]
struct Output {
    secrets: Vec<Status>,
    changes: Vec<Change>,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::event(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, _event: IgnoredAny) -> Result<Output, lambda::Error> {
    let now = time::now();
    let secrets = deps.checker.check(now).await?;
    for status in &secrets {
        if let Some(finding) = status.finding {
            tracing::warn!(secret = status.name.as_str(), ?finding, "a platform secret needs attention");
        }
    }
    let changes = deps.watch.record(&secrets, now).await?;
    Ok(Output { secrets, changes })
}
