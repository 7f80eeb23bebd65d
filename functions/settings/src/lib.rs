//! `/api/services`: tells and changes the settings of a workspace's services.

mod get;
mod list;
mod put;

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    services::{Service, Services},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    services: Services,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { services: Services::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "GET /api/services" => list::handle(&deps, &request).await,
        "GET /api/services/{service}" => get::handle(&deps, &request).await,
        "PUT /api/services/{service}" => put::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}

/// The service that the path names.
fn service(request: &Request) -> Result<Service, Error> {
    http::path(request, "service").parse().map_err(|()| Error::NotFound("service"))
}
