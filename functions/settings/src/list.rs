//! `GET /api/services`

use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
    services::View,
};

use crate::Deps;

#[derive(Serialize)]
struct Output {
    services: Vec<View>,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    http::query(request).finish().map_err(Error::Invalid)?;
    let services = deps.services.list(&person.workspace).await?;
    Ok(http::ok(&Output { services }))
}
