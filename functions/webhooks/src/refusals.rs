//! `GET /api/webhooks/refusals`

use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    fields::id,
    http::{self, Answer},
    identity::Person,
    time,
    webhooks::refusals::Hour,
};

use crate::{Deps, window};

#[derive(Serialize)]
struct Output {
    hours: Vec<Hour>,
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let now = time::now();
    let mut query = http::query(request);
    let taker = query.required("taker", id);
    let (from, to) = window::read(&mut query, now);
    query.finish().map_err(Error::Invalid)?;
    let hours = deps.refusals.hours(&person.workspace, &taker, from, to, now).await?;
    Ok(http::ok(&Output { hours }))
}
