//! `POST /v1/github/webhooks`: takes in what GitHub delivers to the deployment's own App.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    secrets::SecretName,
    time,
    webhooks::{Scheme, receive::Platform},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    platform: Platform,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { platform: Platform::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let secret = SecretName::GithubAppWebhookSecret;
    let accepted = deps.platform.receive(&Scheme::Github, secret, &request, time::now()).await?;
    Ok(http::ok(&accepted))
}
