//! `POST /api/integrations/{id}/test`: what the integration is set to, or what the body would
//! set it to. Only the former is recorded.

use lambda_http::Request;
use serde_json::{Value, json};
use shared::{
    http::{self, Answer},
    identity::Person,
    integrations::{Candidate, TestResult},
    time,
};

use crate::Deps;

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    let candidate = Candidate::read(http::body(request)?);
    let workspace = &person.workspace;
    let stored = deps.integrations.get(workspace, &id).await?;
    let content = candidate.apply(&stored)?;
    let (provider, before) = (&stored.integration.provider, stored.integration.credential_id());
    deps.tester.check(workspace, provider, &content, before).await?;
    let result = deps.tester.test(workspace, provider, &content, time::now()).await?;
    if content == stored.content {
        deps.integrations.record_test((&person).into(), &stored, &result, time::now()).await?;
    }
    Ok(http::ok(&told(result)))
}

fn told(result: TestResult) -> Value {
    match result {
        Ok(proof) => {
            let mut answer = proof.answer;
            answer.insert("verified".to_owned(), json!(true));
            Value::Object(answer)
        }
        Err(failure) => failure.answer(),
    }
}
