//! `POST /api/devops/webhook`: takes in what a workspace's own tools tell of deployments, alerts,
//! health and other things.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    keys::{Admission, Call, KeyCaller},
    lambda::{Env, EnvError, Function},
    time,
    webhooks::{operations::Report, receive::Platform},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    admission: Admission,
    platform: Platform,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { admission: Admission::load(env, sdk)?, platform: Platform::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let now = time::now();
    let caller = KeyCaller::of(&request)?;
    let quota = deps.admission.admit(&caller, Call::DevopsWebhook, now).await?;
    deps.platform.check_report(&caller.workspace, &request, now).await?;
    let report = Report::parse(http::value(&request)?, now).map_err(Error::Invalid)?;
    let accepted = deps.platform.report(&caller.workspace, &report, &request, now).await?;
    let mut answer = http::ok(&accepted);
    quota.apply(&mut answer);
    Ok(answer)
}
