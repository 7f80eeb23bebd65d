//! `GET /api/webhooks/events`

use lambda_http::Request;
use shared::{
    Error,
    fields::{digits, integer},
    http::{self, Answer},
    identity::Person,
    time,
};

use super::{cursor, filter};
use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let mut query = http::query(request);
    let limit = query.optional("limit", digits(integer(1, 100))).unwrap_or(50);
    let cursor = query.optional("cursor", cursor);
    let filter = filter(&mut query);
    query.finish().map_err(Error::Invalid)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = deps.events.list(&person.workspace, &filter, limit, cursor.as_deref(), time::now()).await?;
    Ok(http::ok(&page))
}
