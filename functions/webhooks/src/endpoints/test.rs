//! `POST /api/webhooks/endpoints/{id}/test`

use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    http::body(request)?.finish().map_err(Error::Invalid)?;
    let endpoint = deps.endpoints.read(&person.workspace, &id).await?;
    let accepted = deps.inbox.test(&person.workspace, &endpoint, time::now()).await?;
    deps.endpoints.tested(&person, &endpoint, &accepted.id, time::now()).await?;
    Ok(http::ok(&accepted))
}
