//! `GET /api/devops/sync/commissions`: commissions, their tiers and who earns most.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    http::{self, Answer},
    keys::{Admission, Call, KeyCaller},
    lambda::{Env, EnvError, Function},
    ledger::{Ledger, Query, money::Currency},
    time,
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    admission: Admission,
    ledger: Ledger,
    reporting: Currency,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            admission: Admission::load(env, sdk)?,
            ledger: Ledger::load(env, sdk)?,
            reporting: env.required("REPORTING_CURRENCY")?,
        })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let now = time::now();
    let caller = KeyCaller::of(&request)?;
    let quota = deps.admission.admit(&caller, Call::SyncCommissions, now).await?;
    let query = Query::parse(http::query(&request), deps.ledger.today(now), deps.reporting)?;
    let commissions = deps.ledger.commissions(&caller.workspace, &query).await?;
    let mut answer = http::tagged(&request, now, &commissions);
    quota.apply(&mut answer);
    Ok(answer)
}
