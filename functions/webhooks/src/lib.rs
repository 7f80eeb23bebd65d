//! `/api/webhooks`: makes, changes, tries, lists and deletes the endpoints that services deliver to.

mod endpoints;

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    webhooks::Endpoints,
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    endpoints: Endpoints,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { endpoints: Endpoints::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "POST /api/webhooks/endpoints" => endpoints::create::handle(&deps, &request).await,
        "GET /api/webhooks/endpoints" => endpoints::list::handle(&deps, &request).await,
        "PATCH /api/webhooks/endpoints/{id}" => endpoints::update::handle(&deps, &request).await,
        "DELETE /api/webhooks/endpoints/{id}" => endpoints::delete::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}
