//! The authorizer behind `Authorization: Bearer`: establishes which person is calling.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_lambda_events::apigw::ApiGatewayV2CustomAuthorizerV2Request;
use shared::{
    identity::{
        Decision,
        token::{TokenError, Verifier},
    },
    lambda::{self, Env, EnvError, Function},
};

/// What this function may touch: the issuer's published keys, and nothing of ours.
pub struct Deps {
    verifier: Verifier,
}

impl Deps {
    fn load(env: &Env, _sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { verifier: Verifier::load(env)? })
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
    let header = event.headers.get("authorization").and_then(|value| value.to_str().ok());
    match deps.verifier.verify(header.unwrap_or_default()).await {
        Ok(person) => Ok(person.allow()),
        Err(error @ TokenError::Refused(_)) => {
            tracing::info!("{error}");
            Ok(Decision::deny())
        }
        // A failed invocation: the gateway answers 500 and does not remember it.
        Err(error @ TokenError::Issuer(_)) => Err(error.into()),
    }
}
