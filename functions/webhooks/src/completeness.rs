//! `GET /api/webhooks/completeness`

use lambda_http::Request;
use shared::{
    Error,
    fields::one_of,
    http::{self, Answer},
    identity::Person,
    time,
    webhooks::heal::completeness::SOURCES,
};

use crate::{Deps, window};

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let now = time::now();
    let mut query = http::query(request);
    let source = query.optional("source", one_of(SOURCES));
    let window = window::read(&mut query, now);
    query.finish().map_err(Error::Invalid)?;
    let report = deps.completeness.report(&person.workspace, source, window, now).await?;
    Ok(http::ok(&report))
}
