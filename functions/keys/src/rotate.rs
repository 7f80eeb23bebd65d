//! `POST /api/devops/keys/{id}/rotate`

use chrono::Duration;
use lambda_http::Request;
use shared::{
    Error,
    fields::integer,
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::Deps;

const GRACE_HOURS: u64 = 24;
const GRACE_HOURS_MAX: u64 = 168;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let mut body = http::body(request)?;
    let grace_hours = body.optional("grace_hours", integer(0, GRACE_HOURS_MAX)).unwrap_or(GRACE_HOURS);
    body.finish().map_err(Error::Invalid)?;
    let now = time::now();
    let grace = Duration::hours(i64::try_from(grace_hours).unwrap_or_default());
    let (key, secret) = deps.keys.rotate(&person, &id, grace, now).await?;
    Ok(http::created(&key.issued(&secret, now)))
}
