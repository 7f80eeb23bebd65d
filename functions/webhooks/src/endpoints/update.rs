//! `PATCH /api/webhooks/endpoints/{id}`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    time,
    webhooks::endpoints::Change,
};

use super::BODY_MAX;
use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let change = Change::read(http::body_within(request, BODY_MAX)?);
    let updated = deps.endpoints.update(&person, &id, change, time::now()).await?;
    Ok(http::ok(&updated))
}
