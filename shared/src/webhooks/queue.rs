//! The queue that wakes the worker up, and the one that holds what cannot be processed.
//!
//! A message names an event and holds nothing of it: losing or repeating one does no harm.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Error,
    error::Source,
    identity::Workspace,
    lambda::{Env, EnvError},
};

/// Messages of one request, as SQS takes.
pub const BATCH_MAX: usize = 10;
/// The longest delay of a message, as SQS takes.
pub const DELAY_MAX: Duration = Duration::from_mins(15);

/// Which event is to be processed: the body of a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wake {
    /// Whose it is.
    pub workspace: String,
    /// Its id.
    pub event: String,
}

impl Wake {
    /// For an event of a workspace.
    pub fn of(workspace: &Workspace, event: impl Into<String>) -> Self {
        Self { workspace: workspace.to_string(), event: event.into() }
    }
}

/// Wakes the worker up.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// Reads `WEBHOOKS_QUEUE_URL`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { client: Client::new(sdk), url: env.required("WEBHOOKS_QUEUE_URL")? })
    }

    /// Wakes the worker up for one event, after `delay` of at most [`DELAY_MAX`]. One request.
    pub async fn send(&self, wake: &Wake, delay: Duration) -> Result<(), Error> {
        let request = self.client.send_message().queue_url(&self.url).message_body(text(wake)?);
        let request = request.set_delay_seconds(seconds(delay));
        request.send().await.map(drop).map_err(|error| unavailable(error.into_service_error()))
    }

    /// The same for many, ten a request. Returns those that the queue did not take.
    pub async fn send_all(&self, wakes: &[Wake]) -> Result<Vec<Wake>, Error> {
        let mut refused = Vec::new();
        for part in wakes.chunks(BATCH_MAX) {
            let mut request = self.client.send_message_batch().queue_url(&self.url);
            for (at, wake) in part.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder().id(at.to_string());
                request = request.entries(entry.message_body(text(wake)?).build().map_err(unavailable)?);
            }
            let answer = request.send().await.map_err(|error| unavailable(error.into_service_error()))?;
            for failed in answer.failed() {
                let at = failed.id().parse().ok();
                refused.extend(at.and_then(|at: usize| part.get(at)).cloned());
            }
        }
        Ok(refused)
    }
}

/// Holds what cannot be processed, for people.
#[derive(Clone)]
pub struct DeadQueue {
    client: Client,
    url: String,
}

impl DeadQueue {
    /// Reads `WEBHOOKS_DEAD_QUEUE_URL`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self { client: Client::new(sdk), url: env.required("WEBHOOKS_DEAD_QUEUE_URL")? })
    }

    /// Puts an event there with why; `error` is free of secrets. One request.
    pub async fn put(&self, wake: &Wake, error: &str) -> Result<(), Error> {
        let Wake { workspace, event } = wake;
        self.put_text(json!({"workspace": workspace, "event": event, "error": error}).to_string()).await
    }

    /// Puts a message there that names no event. One request.
    pub async fn put_text(&self, text: String) -> Result<(), Error> {
        let request = self.client.send_message().queue_url(&self.url).message_body(text);
        request.send().await.map(drop).map_err(|error| unavailable(error.into_service_error()))
    }
}

fn text(wake: &Wake) -> Result<String, Error> {
    serde_json::to_string(wake).map_err(unavailable)
}

/// None is no delay at all: a delay of zero would be sent.
fn seconds(delay: Duration) -> Option<i32> {
    i32::try_from(delay.min(DELAY_MAX).as_secs()).ok().filter(|seconds| *seconds > 0)
}

fn unavailable(cause: impl Into<Source>) -> Error {
    Error::Unavailable("the queue", cause.into())
}
