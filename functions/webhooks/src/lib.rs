//! `/api/webhooks`: makes, changes, tries, lists and deletes the endpoints that services deliver
//! to; shows the events that came, has them processed again, and tells what was refused and what
//! is missing.

mod completeness;
mod endpoints;
mod events;
mod refusals;
mod window;

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    webhooks::{
        Endpoints, Webhooks, endpoints::Inbox, heal::completeness::Completeness, refusals::Refusals,
        replay::Replays,
    },
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    endpoints: Endpoints,
    inbox: Inbox,
    events: Webhooks,
    replays: Replays,
    refusals: Refusals,
    completeness: Completeness,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let events = Webhooks::load(env, sdk)?;
        Ok(Self {
            endpoints: Endpoints::load(env, sdk)?,
            inbox: Inbox::load(env, sdk)?,
            replays: Replays::load(env, sdk)?,
            refusals: Refusals::of(&events),
            completeness: Completeness::load(env, sdk)?,
            events,
        })
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
        "POST /api/webhooks/endpoints/{id}/test" => endpoints::test::handle(&deps, &request).await,
        "GET /api/webhooks/events" => events::list::handle(&deps, &request).await,
        "GET /api/webhooks/events/{id}" => events::read::handle(&deps, &request).await,
        "POST /api/webhooks/events/{id}/replay" => events::replay::handle(&deps, &request).await,
        "POST /api/webhooks/replay" => events::replay_many::handle(&deps, &request).await,
        "GET /api/webhooks/refusals" => refusals::handle(&deps, &request).await,
        "GET /api/webhooks/completeness" => completeness::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}
