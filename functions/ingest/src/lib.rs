//! `PUT /api/ingest/users`: takes users into the ledger.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use serde::Serialize;
use serde_json::Value;
use shared::{
    Error, FieldError,
    fields::{self, Fields},
    http::{self, Answer},
    keys::{Admission, Call, KeyCaller},
    lambda::{Env, EnvError, Function},
    ledger::{Ledger, Outcome, users::User},
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
    let now = time::now();
    let caller = KeyCaller::of(&request)?;
    let quota = deps.admission.admit(&caller, Call::IngestUsers, now).await?;
    let items = items(http::body(&request)?)?;
    let ids: Vec<_> = items.iter().map(readable_id).collect();
    let parsed: Vec<_> = items
        .into_iter()
        .enumerate()
        .map(|(at, item)| User::parse(&format!("items[{at}]"), item, now))
        .collect();
    let users = parsed.iter().flatten().cloned().collect();
    let mut outcomes = deps.ledger.put_users(&caller.workspace, users).await?.into_iter();
    let results = ids
        .into_iter()
        .zip(parsed)
        .map(|(id, parsed)| {
            let taken = parsed.map(|_| outcomes.next().unwrap_or(Outcome::Unchanged));
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
        let items = value.as_array().filter(|items| (1..=ITEMS_MAX).contains(&items.len()));
        items.cloned().ok_or_else(|| format!("must be a list of 1 to {ITEMS_MAX} items"))
    });
    body.finish().map_err(Error::Invalid)?;
    Ok(items)
}

fn readable_id(item: &Value) -> Option<String> {
    fields::id(item.get("id")?).ok()
}
