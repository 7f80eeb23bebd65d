//! `GET /api/metrics/commissions`

use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    identity::Person,
    ledger::{Query, query},
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let now = time::now();
    let today = deps.ledger.today(now);
    let mut fields = http::query(request);
    let as_of = query::as_of(&mut fields, today);
    let query = Query::take(&mut fields, today, deps.reporting);
    fields.finish().map_err(Error::Invalid)?;
    let workspace = &person.workspace;
    Ok(match as_of {
        Some(day) => {
            let then = deps.ledger.commissions_as_of(workspace, day, query.policy, query.currency).await?;
            http::tagged(request, now, &then)
        }
        None => http::tagged(request, now, &deps.ledger.commissions(workspace, &query).await?),
    })
}
