//! `GET /api/integrations`

use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    fields::{digits, integer, text},
    http::{self, Answer},
    identity::Person,
    integrations::{Integration, Page, Summary},
};

use crate::Deps;

#[derive(Serialize)]
struct Output {
    integrations: Vec<Summary>,
    next_cursor: Option<String>,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let mut query = http::query(request);
    let limit = query.optional("limit", digits(integer(1, 100))).unwrap_or(50);
    let cursor = query.optional("cursor", text(1, 1024));
    query.finish().map_err(Error::Invalid)?;
    let workspace = &person.workspace;
    let Page { integrations, next_cursor } =
        deps.integrations.list(workspace, limit, cursor.as_deref()).await?;
    let named = integrations.iter().filter_map(Integration::credential_id);
    let missing = deps.tester.missing(workspace, named).await?;
    let gone = |one: &Integration| one.credential_id().is_some_and(|id| missing.contains(id));
    let integrations = integrations
        .into_iter()
        .map(|one| {
            let gone = gone(&one);
            one.summary(gone)
        })
        .collect();
    Ok(http::ok(&Output { integrations, next_cursor }))
}
