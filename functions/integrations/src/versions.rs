//! `GET /api/integrations/{id}/versions`

use lambda_http::Request;
use shared::{
    Error,
    fields::{digits, integer, text},
    http::{self, Answer},
    identity::Person,
};

use crate::Deps;

/// With configurations of 16 kB each, what one query reads.
const LIMIT_MAX: u64 = 50;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let id = http::path(request, "id");
    let mut query = http::query(request);
    let limit = query.optional("limit", digits(integer(1, LIMIT_MAX))).unwrap_or(20);
    let cursor = query.optional("cursor", text(1, 1024));
    query.finish().map_err(Error::Invalid)?;
    let page = deps.integrations.versions(&person.workspace, &id, limit, cursor.as_deref()).await?;
    Ok(http::ok(&page))
}
