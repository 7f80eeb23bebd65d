//! `POST /api/integrations/{id}/rollback`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    integrations::Rollback,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let rollback = Rollback::parse(http::body(request)?)?;
    let stored = deps.integrations.get(&person.workspace, &id).await?;
    let old = deps.integrations.version(&person.workspace, &id, rollback.version).await?;
    let revision = rollback.apply(&stored, &old.content)?;
    Ok(http::ok(&deps.revise(&person, &stored, revision).await?))
}
