//! `DELETE /api/credentials/{id}`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let deleted = deps.credentials.delete(&person, &id, time::now()).await?;
    Ok(http::ok(&deleted))
}
