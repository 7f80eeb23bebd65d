//! `POST /webhooks/receive/{path}`: takes in what any service delivers to an endpoint. Who it is,
//! its signature says.

use std::sync::Arc;

use aws_config::SdkConfig;
use lambda_http::Request;
use shared::{
    http::{self, Answer},
    lambda::{Env, EnvError, Function},
    time,
    webhooks::{endpoints::Inbox, scheme::Incoming},
};

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    inbox: Inbox,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { inbox: Inbox::load(env, sdk)? })
    }
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::http(Deps::load, handle)
}

async fn handle(deps: Arc<Deps>, request: Request) -> Answer {
    let path = http::path(&request, "proxy");
    // As the service called it: host and protocol come from the gateway.
    let url = request.uri().to_string();
    let incoming = Incoming { headers: request.headers(), url: &url, body: http::bytes(&request) };
    let accepted = deps.inbox.receive(&path, incoming, time::now()).await?;
    Ok(http::ok(&accepted))
}
