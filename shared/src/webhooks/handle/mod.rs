//! What events change: one table of handlers, by source and type.
//!
//! A handler reads an event's body and says what it changes; it changes nothing itself but the
//! [`facts`] that it needs to join events which come in any order. Whoever calls it applies
//! the [`Effects`] and marks the event. The same event may be handled any number of times, and
//! events of one thing in any order: what is in the ledger at the end is the same.

mod devops;
mod facts;
mod github;
mod shopify;
mod stripe;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::TransactWriteItem;
use chrono::{DateTime, Utc};
use serde_json::Value;

pub use self::stripe::HANDLED as STRIPE_TYPES;
use self::{facts::Facts, stripe::Stripe};
use super::{Event, Source, Webhooks, operations::Operations};
use crate::{
    Error, FieldError,
    identity::Workspace,
    lambda::{Env, EnvError},
    ledger::{subscriptions::Subscription, transactions::Transaction},
};

/// The event that is handled.
pub struct Context<'a> {
    /// Whose it is.
    pub workspace: &'a Workspace,
    /// What is known of it.
    pub event: &'a Event,
    /// The present.
    pub now: DateTime<Utc>,
}

/// What an event changes.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be put into the ledger, any number of times.
    pub subscriptions: Vec<Subscription>,
    /// To be put into the ledger, any number of times.
    pub transactions: Vec<Transaction>,
    /// To be recorded once.
    pub activity: Vec<Note>,
    /// To be written with the mark that the event is processed.
    pub writes: Vec<TransactWriteItem>,
    /// To be counted once, beside the event's type: such as `repository:owner/name`.
    pub counters: Vec<String>,
}

/// An entry for the activity log.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Noun and verb, such as `issue.opened`.
    pub action: &'static str,
    /// Id of what it happened to.
    pub target: String,
    /// What a reader wants to know beside it; ids and plain facts.
    pub detail: Value,
}

/// Why an event could not be handled.
#[derive(Debug)]
pub enum Failed {
    /// It never can be, as it is. For people; without anything of the body that may be secret.
    Permanent(String),
    /// It may be, another time.
    Transient(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(errors) => refused("the event", &errors),
            error => Self::Transient(error),
        }
    }
}

/// What handlers work with.
pub struct Handlers {
    events: Webhooks,
    facts: Facts,
    operations: Operations,
    stripe: Stripe,
}

impl Handlers {
    /// Reads `WEBHOOKS_TABLE`, what may say `WEBHOOK_RETENTION_DAYS` and `STRIPE_MODE`, and what
    /// asking Stripe needs: `SECRETS_PREFIX` and `PROVIDER_ENDPOINTS`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        Ok(Self {
            events: Webhooks::load(env, sdk)?,
            facts: Facts::load(env, sdk)?,
            operations: Operations::load(env, sdk)?,
            stripe: Stripe::load(env, sdk)?,
        })
    }
}

/// What an event changes. Types that nobody here knows change nothing: they are kept.
pub async fn handle(handlers: &Handlers, context: Context<'_>, body: &[u8]) -> Result<Effects, Failed> {
    match context.event.source {
        Source::Devops => devops::handle(&handlers.operations, &context, body),
        Source::Stripe => handlers.stripe.handle(&handlers.facts, &context, body).await,
        Source::Github => github::handle(&context, body),
        Source::Shopify => shopify::handle(&handlers.facts, &handlers.events, &context, body).await,
        Source::Custom => Ok(Effects::default()),
    }
}

/// The body as JSON; what is wrong with it is told by its place only.
fn json(body: &[u8]) -> Result<Value, Failed> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failed::Permanent(format!("the body is not valid JSON (line {line}, column {column})"))
    })
}

/// The fields that are not as they should be, by name.
fn refused(what: &str, errors: &[FieldError]) -> Failed {
    let faults: Vec<_> = errors.iter().map(|error| format!("`{}` {}", error.field, error.message)).collect();
    Failed::Permanent(format!("{what} has fields that cannot be used: {}", faults.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::{Status, event::Via};

    /// An event of this type that just came.
    pub(super) fn event(source: Source, kind: &str) -> Event {
        Event {
            id: "evt_1".to_owned(),
            source,
            endpoint: None,
            kind: kind.to_owned(),
            provider_id: "1".to_owned(),
            via: Via::Delivery,
            status: Status::Received,
            received_at: "2026-11-21T12:00:00Z".parse().unwrap(),
            size: 0,
            headers: Vec::new(),
            attempts: 0,
            log: Vec::new(),
            next_attempt_at: None,
            processed_at: None,
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_told_by_place_and_not_by_content() {
        for body in [&b""[..], b"secret", b"{\"a\": secret}", b"\xff\xfe"] {
            let Err(Failed::Permanent(message)) = json(body) else { panic!("{body:?}") };
            assert!(
                message.starts_with("the body is not valid JSON") && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
