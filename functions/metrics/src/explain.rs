//! `GET /api/metrics/revenue/explain`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    ledger::ExplanationQuery,
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let now = time::now();
    let query = ExplanationQuery::parse(http::query(request), deps.ledger.today(now), deps.reporting)?;
    let explanation = deps.ledger.explain(&person.workspace, &query).await?;
    Ok(http::tagged(request, now, &explanation))
}
