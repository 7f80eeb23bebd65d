//! `GET /api/services/{service}`

use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let service = crate::service(request)?;
    http::query(request).finish().map_err(Error::Invalid)?;
    Ok(http::ok(&deps.services.get(&person.workspace, service).await?))
}
