//! `PUT /api/integrations/{id}`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    integrations::Change,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let change = Change::read(http::body(request)?);
    let stored = deps.integrations.get(&person.workspace, &id).await?;
    let revision = change.apply(&stored)?;
    let (provider, before) = (&stored.integration.provider, stored.integration.credential_id());
    deps.tester.check(&person.workspace, provider, &revision.content, before).await?;
    Ok(http::ok(&deps.revise(&person, &stored, revision).await?))
}
