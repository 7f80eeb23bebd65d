//! `GET /api/devops/sync/users`: users and their totals, in one read.

use std::sync::Arc;

use aws_config::SdkConfig;
use chrono::{DateTime, NaiveDate, Utc};
use lambda_http::Request;
use serde::Serialize;
use shared::{
    Error,
    fields::{Fields, date, digits, integer, text},
    http::{self, Answer},
    keys::{Admission, Call, KeyCaller},
    lambda::{Env, EnvError, Function},
    ledger::{Ledger, Window},
    time,
};

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

/// What differs between two answers of the same content.
#[derive(Serialize)]
struct Fresh {
    timestamp: DateTime<Utc>,
}

struct Input {
    limit: u64,
    cursor: Option<String>,
    window: Option<Window>,
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let now = time::now();
    let caller = KeyCaller::of(&request)?;
    let quota = deps.admission.admit(&caller, Call::SyncUsers, now).await?;
    let Input { limit, cursor, window } = parse(http::query(&request), deps.ledger.today(now))?;
    let (workspace, cursor) = (&caller.workspace, cursor.as_deref());
    let page = match window {
        Some(window) => deps.ledger.users_joined(workspace, window, limit, cursor).await?,
        None => deps.ledger.users(workspace, limit, cursor, now).await?,
    };
    let mut answer = http::tagged(&request, &Fresh { timestamp: now }, &page);
    quota.apply(&mut answer);
    Ok(answer)
}

fn parse(mut query: Fields, today: NaiveDate) -> Result<Input, Error> {
    let limit = query.optional("limit", digits(integer(1, 100))).unwrap_or(100);
    let cursor = query.optional("cursor", text(1, 1024));
    let from = query.optional("from", date);
    let to = query.optional("to", date);
    query.finish().map_err(Error::Invalid)?;
    let window = match (from, to) {
        (Some(from), to) => Some(Window::new(from, to, today)?),
        (None, Some(_)) => return Err(Error::invalid("from", "is required with `to`")),
        (None, None) => None,
    };
    Ok(Input { limit, cursor, window })
}
