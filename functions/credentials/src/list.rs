//! `GET /api/credentials/list`

use lambda_http::Request;
use shared::{
    Error,
    fields::{digits, integer, one_of, text},
    http::{self, Answer},
    identity::Person,
    providers::Provider,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let mut query = http::query(request);
    let provider = query.optional("provider", one_of(Provider::WORDS));
    let limit = query.optional("limit", digits(integer(1, 100))).unwrap_or(50);
    let cursor = query.optional("cursor", text(1, 1024));
    query.finish().map_err(Error::Invalid)?;
    let page = deps.credentials.list(&person.workspace, provider, limit, cursor.as_deref()).await?;
    Ok(http::ok(&page))
}
