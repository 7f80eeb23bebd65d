//! `GET /api/integrations/{id}`

use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let id = http::path(request, "id");
    http::query(request).finish().map_err(Error::Invalid)?;
    let found = deps.integrations.get(&person.workspace, &id).await?;
    Ok(http::ok(&deps.view(&person.workspace, found).await?))
}
