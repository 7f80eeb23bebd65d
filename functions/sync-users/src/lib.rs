//! `GET /api/devops/sync/users`: users and their totals, in one read.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    http::{self, Answer},
    keys::{Admission, Call, KeyCaller},
    lambda::{Env, EnvError, Function},
    ledger::{Ledger, UserQuery},
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

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let now = time::now();
    let caller = KeyCaller::of(&request)?;
    let quota = deps.admission.admit(&caller, Call::SyncUsers, now).await?;
    let query = UserQuery::parse(http::query(&request), deps.ledger.today(now))?;
    let page = deps.ledger.users_asked(&caller.workspace, &query, now).await?;
    let mut answer = http::tagged(&request, now, &page);
    quota.apply(&mut answer);
    Ok(answer)
}
