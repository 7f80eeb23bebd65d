//! `DELETE /api/webhooks/endpoints/{id}`

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
    http::query(request).finish().map_err(Error::Invalid)?;
    let deleted = deps.endpoints.delete(&person, &id, time::now()).await?;
    Ok(http::ok(&deleted))
}
