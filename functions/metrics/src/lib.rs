//! `/api/metrics`: to people the numbers that tools sync, how they came to be, and why they are so.

mod commissions;
mod explain;
mod history;
mod revenue;
mod users;

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    ledger::{Ledger, money::Currency},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    ledger: Ledger,
    reporting: Currency,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { ledger: Ledger::load(env, sdk)?, reporting: env.required("REPORTING_CURRENCY")? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "GET /api/metrics/users" => users::handle(&deps, &request).await,
        "GET /api/metrics/revenue" => revenue::handle(&deps, &request).await,
        "GET /api/metrics/revenue/explain" => explain::handle(&deps, &request).await,
        "GET /api/metrics/commissions" => commissions::handle(&deps, &request).await,
        "GET /api/metrics/history" => history::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}
