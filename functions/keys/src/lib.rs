//! `/api/devops/keys`: lists, rotates and revokes API keys, and tells their usage.

mod list;
mod revoke;
mod rotate;
mod usage;

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    keys::KeyAdmin,
    lambda::{Env, EnvError, Function},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    keys: KeyAdmin,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { keys: KeyAdmin::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "GET /api/devops/keys" => list::handle(&deps, &request).await,
        "DELETE /api/devops/keys/{id}" => revoke::handle(&deps, &request).await,
        "POST /api/devops/keys/{id}/rotate" => rotate::handle(&deps, &request).await,
        "GET /api/devops/keys/{id}/usage" => usage::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}
