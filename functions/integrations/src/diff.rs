//! `GET /api/integrations/{id}/versions/{version}/diff`

use lambda_http::Request;
use serde::Serialize;
use serde_json::Value;
use shared::{
    Error,
    fields::{digits, integer},
    http::{self, Answer},
    identity::Person,
    integrations::{Difference, differences},
};

use crate::Deps;

#[derive(Serialize)]
struct Output {
    from: u64,
    to: u64,
    differences: Vec<Difference>,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let id = http::path(request, "id");
    let number = digits(integer(1, u64::from(u32::MAX)));
    let to = number(&Value::from(http::path(request, "version")));
    let mut query = http::query(request);
    let from = query.optional("against", number);
    query.finish().map_err(Error::Invalid)?;
    // What is no number names no version, as what is no id names no integration.
    let to = to.map_err(|_| Error::NotFound("version of an integration"))?;
    // The version before; the first differs from itself in nothing.
    let from = from.unwrap_or((to - 1).max(1));
    let workspace = &person.workspace;
    let (old, new) = tokio::try_join!(
        deps.integrations.version(workspace, &id, from),
        deps.integrations.version(workspace, &id, to),
    )?;
    let differences = differences(&old.content, &new.content);
    Ok(http::ok(&Output { from, to, differences }))
}
