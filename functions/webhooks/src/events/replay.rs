//! `POST /api/webhooks/events/{id}/replay`

use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::Deps;

/// There is nothing to say.
const BODY_MAX: usize = 1024;

#[derive(Serialize)]
struct Output {
    id: String,
    /// False if it was to be processed in any case.
    replayed: bool,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    http::body_within(request, BODY_MAX)?.finish().map_err(Error::Invalid)?;
    let id = http::path(request, "id");
    let replayed = deps.replays.one(&person, &id, time::now()).await?;
    Ok(http::ok(&Output { id, replayed }))
}
