//! `/api/credentials`: saves, lists, changes, proves and destroys credentials of other services.
//! All of it is for admins.

mod delete;
mod list;
mod save;
mod update;
mod verify;

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    credentials::Credentials,
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    providers::Client,
};

/// What a request may have: the largest credentials are private keys of a few kilobytes.
const BODY_MAX: usize = 32 * 1024;

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    credentials: Credentials,
    providers: Client,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { credentials: Credentials::load(env, sdk)?, providers: Client::load(env)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "POST /api/credentials/save" => save::handle(&deps, &request).await,
        "GET /api/credentials/list" => list::handle(&deps, &request).await,
        "PUT /api/credentials/{id}" => update::handle(&deps, &request).await,
        "DELETE /api/credentials/{id}" => delete::handle(&deps, &request).await,
        "POST /api/credentials/{id}/verify" => verify::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}
