//! `GET /api/devops/keys/{id}/usage`

use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    fields::{digits, integer},
    http::{self, Answer},
    identity::Person,
    keys::UsageOfDay,
    time,
};

use crate::Deps;

#[derive(Serialize)]
struct Output {
    id: String,
    days: Vec<UsageOfDay>,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let id = http::path(request, "id");
    let mut query = http::query(request);
    let days = query.optional("days", digits(integer(1, 90))).unwrap_or(30);
    query.finish().map_err(Error::Invalid)?;
    let days = deps.keys.usage(&person.workspace, &id, days, time::now()).await?;
    Ok(http::ok(&Output { id, days }))
}
