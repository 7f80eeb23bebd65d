//! The authorizer behind `x-api-key`: establishes which key is calling.
//!
//! Junk and typos are refused by their checksum before any read; everything else costs one
//! `GetItem`. A refusal of a key we know is counted with its cause.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_lambda_events::apigw::ApiGatewayV2CustomAuthorizerV2Request;
use shared::{
    identity::Decision,
    keys::{Authenticator, Secret},
    lambda::{self, Env, EnvError, Function},
    time,
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    authenticator: Authenticator,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { authenticator: Authenticator::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::event(Deps::load, handle)
}

async fn handle(
    deps: Arc<Deps>,
    event: ApiGatewayV2CustomAuthorizerV2Request,
) -> Result<Decision, lambda::Error> {
    let header = event.headers.get("x-api-key").and_then(|value| value.to_str().ok());
    let Some(secret) = header.and_then(Secret::parse) else { return Ok(Decision::deny()) };
    let caller = deps.authenticator.establish(&secret, time::now()).await?;
    Ok(caller.map_or_else(Decision::deny, |caller| caller.allow()))
}
