//! `POST /api/credentials/{id}/verify`

use lambda_http::{Request, http::header};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    http::{self, Answer},
    identity::Person,
    providers::{Cause, Proof, Refusal},
    time,
};

use crate::Deps;

/// What the provider said. Not being let in is an answer too, not a failure of ours.
#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Proven {
        verified: bool,
        #[serde(flatten)]
        answer: Map<String, Value>,
    },
    Refused {
        verified: bool,
        cause: Cause,
        message: String,
    },
}

impl From<Result<Proof, Refusal>> for Output {
    fn from(result: Result<Proof, Refusal>) -> Self {
        match result {
            Ok(Proof { answer, .. }) => Self::Proven { verified: true, answer },
            Err(Refusal { cause, message, .. }) => Self::Refused { verified: false, cause, message },
        }
    }
}

pub async fn handle(deps: &Deps, request: &Request) -> Answer {
    let person = Person::admin(request)?;
    let id = http::path(request, "id");
    http::body(request)?.finish().map_err(shared::Error::Invalid)?;
    let result = deps.credentials.verify((&person).into(), &id, &deps.providers, time::now()).await?;
    let retry_after = result.as_ref().err().and_then(|refusal| refusal.retry_after);
    let mut answer = http::ok(&Output::from(result));
    if let Some(wait) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
    }
    Ok(answer)
}
