//! `GET /api/webhooks/endpoints`

use lambda_http::Request;
use shared::{
    Error,
    fields::{digits, integer, text},
    http::{self, Answer},
    identity::Person,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let mut query = http::query(request);
    let limit = query.optional("limit", digits(integer(1, 100))).unwrap_or(50);
    let cursor = query.optional("cursor", text(1, 1024));
    query.finish().map_err(Error::Invalid)?;
    let page = deps.endpoints.list(&person.workspace, limit, cursor.as_deref()).await?;
    Ok(http::ok(&page))
}
