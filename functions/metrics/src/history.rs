//! `GET /api/metrics/history`

use lambda_http::Request;
use shared::{
    http::{self, Answer},
    identity::Person,
    ledger::HistoryQuery,
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::of(request)?;
    let now = time::now();
    let query = HistoryQuery::parse(http::query(request), deps.ledger.today(now), deps.reporting)?;
    let history = deps.ledger.history(&person.workspace, &query).await?;
    Ok(http::tagged(request, now, &history))
}
