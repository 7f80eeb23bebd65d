//! `DELETE /api/devops/keys/{id}`

use lambda_http::Request;
use shared::{
    Error,
    fields::text,
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    // Not every client sends a body with DELETE.
    let mut given = http::query(request);
    if !request.body().is_empty() {
        // With a body, the query has no say: a reason there must not be lost without a word.
        given.finish().map_err(Error::Invalid)?;
        given = http::body(request)?;
    }
    let reason = given.required("reason", text(1, 200));
    given.finish().map_err(Error::Invalid)?;
    let now = time::now();
    let key = deps.keys.revoke(&person, &id, &reason, now).await?;
    Ok(http::ok(&key.view(now)))
}
