//! Serves the OpenAPI document and its readable page.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    Error,
    http::Answer,
    lambda::{Env, EnvError, Function},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
pub struct Deps {}

impl Deps {
    fn load(_env: &Env, _sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {})
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(_deps: Arc<Deps>, _request: Request) -> Answer {
    Err(Error::NotFound("route"))
}
