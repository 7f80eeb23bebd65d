//! `/api/integrations`: makes, changes, tests, deletes and lists integrations, and tells and
//! restores their versions.

mod create;
mod delete;
mod diff;
mod list;
mod read;
mod rollback;
mod test;
mod update;
mod versions;

use std::{collections::HashSet, sync::Arc};

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::{self, Answer},
    identity::{Person, Workspace},
    integrations::{Integrations, Loaded, Revision, TestFailure, TestResult, Tester, View},
    lambda::{Env, EnvError, Function},
    time,
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {
    integrations: Integrations,
    tester: Tester,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { integrations: Integrations::load(env, sdk)?, tester: Tester::load(env, sdk)? })
    }

    /// The integration as it is shown, with whether its credential is there.
    async fn view(&self, workspace: &Workspace, loaded: Loaded) -> Result<View, Error> {
        let missing: HashSet<String> =
            self.tester.missing(workspace, loaded.integration.credential_id()).await?;
        Ok(loaded.view(!missing.is_empty()))
    }

    /// Stores a revision, after the test that it may have to pass.
    async fn revise(&self, person: &Person, seen: &Loaded, revision: Revision) -> Result<View, Error> {
        let workspace = &person.workspace;
        let test = if revision.require_test && revision.changes(seen) {
            let provider = &seen.integration.provider;
            let test = self.tester.test(workspace, provider, &revision.content, time::now()).await?;
            Some(passed(test)?)
        } else {
            None
        };
        let now = time::now();
        let revised = self.integrations.revise(person, seen, revision, test.as_ref(), now).await?;
        self.view(workspace, revised).await
    }
}

/// The test that a change has to pass.
fn passed(test: TestResult) -> Result<TestResult, Error> {
    test.map(Ok).map_err(TestFailure::refusal)
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    match http::route(&request) {
        "POST /api/integrations" => create::handle(&deps, &request).await,
        "GET /api/integrations" => list::handle(&deps, &request).await,
        "GET /api/integrations/{id}" => read::handle(&deps, &request).await,
        "PUT /api/integrations/{id}" => update::handle(&deps, &request).await,
        "DELETE /api/integrations/{id}" => delete::handle(&deps, &request).await,
        "GET /api/integrations/{id}/versions" => versions::handle(&deps, &request).await,
        "GET /api/integrations/{id}/versions/{version}/diff" => diff::handle(&deps, &request).await,
        "POST /api/integrations/{id}/rollback" => rollback::handle(&deps, &request).await,
        "POST /api/integrations/{id}/test" => test::handle(&deps, &request).await,
        _ => Err(Error::NotFound("route")),
    }
}
