//! `PUT /api/credentials/{id}`

use lambda_http::Request;
use shared::{
    credentials::Change,
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::{BODY_MAX, Deps};

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let change = Change::read(http::body_within(request, BODY_MAX)?);
    let updated = deps.credentials.update(&person, &id, change, time::now()).await?;
    Ok(http::ok(&updated))
}
