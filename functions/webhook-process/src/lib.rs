//! Fed by the queue of webhooks: processes the events that its messages name.
//!
//! The answer names the messages that must come again: those whose event could not be loaded or
//! marked, and those that time was over for. An event that failed is no message that failed: its
//! row says when it is tried again. A message that names no event goes to the dead-letter queue;
//! one that comes back from there, where it told an error, replays its event.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aws_config::SdkConfig;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use serde::{Deserialize, de::IgnoredAny};
use shared::{
    lambda::{self, Env, EnvError, Function},
    time,
    webhooks::{
        process::Processor,
        queue::{DeadQueue, Wake},
    },
};
use tokio::time::Instant;

/// What is left of the time when work is broken off.
const MARGIN: Duration = Duration::from_secs(2);

/// What this function may touch; its policy in `template.yaml` grants no more.
struct Deps {
    processor: Processor,
    dead: DeadQueue,
}

impl Deps {
    fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { processor: Processor::load(env, sdk)?, dead: DeadQueue::load(env, sdk)? })
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(flatten)]
    wake: Wake,
    /// In the dead-letter queue: why it is there.
    error: Option<IgnoredAny>,
}

/// The function, for whichever engine hosts it.
#[must_use]
pub fn function() -> Function {
    Function::timed(Deps::load, handle)
}

async fn handle(
    deps: Arc<Deps>,
    event: SqsEvent,
    deadline: Instant,
) -> Result<SqsBatchResponse, lambda::Error> {
    let now = time::now();
    let mut answer = SqsBatchResponse::default();
    let mut messages = HashMap::<Wake, Vec<String>>::new();
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        let body = record.body.unwrap_or_default();
        let taken = match serde_json::from_str(&body) {
            Ok(Message { wake, error: Some(_) }) => {
                deps.processor.replay(&wake, now).await.map(|()| Some(wake))
            }
            Ok(Message { wake, error: None }) => Ok(Some(wake)),
            Err(_) => {
                tracing::error!(message = id, "names no event");
                deps.dead.put_text(body).await.map(|()| None)
            }
        };
        match taken {
            Ok(Some(wake)) => messages.entry(wake).or_default().push(id),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(message = id, causes = error.causes(), "comes again: {error}");
                answer.add_failure(id);
            }
        }
    }
    let wakes: HashSet<_> = messages.keys().cloned().collect();
    for wake in deps.processor.process(wakes, now, deadline - MARGIN).await {
        messages.remove(&wake).into_iter().flatten().for_each(|id| answer.add_failure(id));
    }
    Ok(answer)
}
