//! `GET /api/metrics/users`

use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
    ledger::{UserQuery, query},
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let now = time::now();
    let today = deps.ledger.today(now);
    let mut fields = http::query(request);
    let as_of = query::as_of(&mut fields, today);
    let query = UserQuery::take(&mut fields, today);
    fields.finish().map_err(Error::Invalid)?;
    let workspace = &person.workspace;
    Ok(match as_of {
        Some(day) => http::tagged(request, now, &deps.ledger.users_as_of(workspace, day).await?),
        None => http::tagged(request, now, &deps.ledger.users_asked(workspace, &query, now).await?),
    })
}
