//! `PUT /api/ingest/{users|subscriptions|transactions|commissions}`: takes entities into the ledger.

use std::sync::Arc;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use lambda_http::Request;
use serde::Serialize;
use serde_json::Value;
use shared::{
    Error, FieldError,
    fields::{self, Fields},
    http::{self, Answer},
    keys::{Admission, Call, KeyCaller},
    lambda::{Env, EnvError, Function},
    ledger::{
        COUNTERS_MAX, Entity, Ledger, Outcome, commissions::Commission, subscriptions::Subscription,
        transactions::Transaction, users::User,
    },
    time,
};

/// Items of a call at most.
const ITEMS_MAX: usize = 100;

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    admission: Admission,
    ledger: Ledger,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { admission: Admission::load(env, sdk)?, ledger: Ledger::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

/// An item's outcome, in the order of the items.
#[derive(Serialize)]
struct ItemResult {
    /// Missing only where the item has no readable one.
    id: Option<String>,
    #[serde(flatten)]
    outcome: ItemOutcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ItemOutcome {
    Taken { outcome: Outcome },
    Rejected { outcome: &'static str, errors: Vec<FieldError> },
}

#[derive(Serialize)]
struct Output {
    results: Vec<ItemResult>,
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "PUT /api/ingest/users" => take::<User>(&deps, &request, Call::IngestUsers).await,
        "PUT /api/ingest/subscriptions" => {
            take::<Subscription>(&deps, &request, Call::IngestSubscriptions).await
        }
        "PUT /api/ingest/transactions" => {
            take::<Transaction>(&deps, &request, Call::IngestTransactions).await
        }
        "PUT /api/ingest/commissions" => take::<Commission>(&deps, &request, Call::IngestCommissions).await,
        _ => Err(Error::NotFound("route")),
    }
}

async fn take<E: Entity>(deps: &Deps, request: &Request, call: Call) -> Answer {
    let now = time::now();
    let caller = KeyCaller::of(request)?;
    let quota = deps.admission.admit(&caller, call, now).await?;
    let items = items(http::body(request)?)?;
    let ids: Vec<_> = items.iter().map(readable_id).collect();
    let parsed: Vec<_> = items.into_iter().enumerate().map(|(at, item)| parse::<E>(at, item, now)).collect();
    let good = parsed.iter().flatten().cloned().collect();
    let mut outcomes = deps.ledger.put(&caller.workspace, good, now).await?.into_iter();
    let results = ids
        .into_iter()
        .zip(parsed)
        .enumerate()
        .map(|(at, (id, parsed))| {
            let taken = parsed.and_then(|_| match outcomes.next() {
                Some(Outcome::Rejected) => Err(vec![beyond_counters::<E>(at)]),
                outcome => Ok(outcome.unwrap_or(Outcome::Unchanged)),
            });
            let outcome = match taken {
                Ok(outcome) => ItemOutcome::Taken { outcome },
                Err(errors) => ItemOutcome::Rejected { outcome: "rejected", errors },
            };
            ItemResult { id, outcome }
        })
        .collect();
    let mut answer = http::ok(&Output { results });
    quota.apply(&mut answer);
    Ok(answer)
}

fn items(mut body: Fields) -> Result<Vec<Value>, Error> {
    let items = body.required("items", |value| {
        let items = value.as_array().filter(|items| !items.is_empty());
        items.cloned().ok_or_else(|| format!("must be a list of 1 to {ITEMS_MAX} items"))
    });
    body.finish().map_err(Error::Invalid)?;
    Ok(items)
}

fn parse<E: Entity>(at: usize, item: Value, now: DateTime<Utc>) -> Result<E, Vec<FieldError>> {
    let path = format!("items[{at}]");
    if at < ITEMS_MAX {
        E::parse(&path, item, now)
    } else {
        Err(vec![FieldError::new(path, format!("is beyond the {ITEMS_MAX} items of a call"))])
    }
}

fn beyond_counters<E: Entity>(at: usize) -> FieldError {
    let message = format!(
        "is new here, or new in this combination, and the workspace has {COUNTERS_MAX} counters already"
    );
    FieldError::new(format!("items[{at}].{}", E::LABEL), message)
}

fn readable_id(item: &Value) -> Option<String> {
    fields::id(item.get("id")?).ok()
}
