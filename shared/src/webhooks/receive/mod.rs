//! Taking a delivery in: the one path for every route that deliveries come by.
//!
//! Raw bytes are verified before anything is read of them ([`verify`]); who is refused is counted
//! and told why ([`Receiver::refuse`]). What is verified is stored once and wakes the worker up
//! ([`Receiver::take`]), whatever it says: what cannot be read is found out when it is processed,
//! and is there to be looked at.

mod envelope;
mod headers;
mod platform;

use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use tokio::time::Duration;

pub use envelope::{Envelope, Naming};
pub(super) use headers::kept;
pub use platform::Platform;

use super::{
    Queue, Source, Webhooks,
    event::Via,
    queue::Wake,
    refusals::Refusals,
    scheme::{Cause, Incoming, Refused, Scheme},
    store::{Accepted, NewEvent, Outcome},
};
use crate::{
    Error,
    identity::Workspace,
    lambda::{Env, EnvError},
};

/// The largest body: an event of Lambda has 6 MB, so that API Gateway lets in no larger one.
pub const BODY_MAX: usize = 6 * 1024 * 1024;

/// A delivery as it came, and by which way.
pub struct Delivery<'a> {
    /// Whose it says it is.
    pub source: Source,
    /// The endpoint that it came to; none for a source's own route.
    pub endpoint: Option<&'a str>,
    /// How it is signed; none where nobody asks for that.
    pub scheme: Option<&'a Scheme>,
    /// Where it says what it is, if the endpoint tells.
    pub naming: Naming<'a>,
    /// Who sends it.
    pub via: Via,
    /// Its raw parts.
    pub incoming: Incoming<'a>,
}

/// Whether one of `secrets` signed the delivery, and lately. `previous` and `others` are secrets
/// that are not good, by which one can tell what is wrong.
pub fn verify<'s>(
    scheme: &Scheme,
    incoming: &Incoming<'_>,
    secrets: impl IntoIterator<Item = &'s SecretString>,
    previous: impl IntoIterator<Item = &'s SecretString>,
    others: impl IntoIterator<Item = &'s SecretString>,
    now: DateTime<Utc>,
) -> Result<(), Refused> {
    if incoming.body.len() > BODY_MAX {
        return Err(Cause::TooLarge.into());
    }
    let verified = scheme.verify(incoming, secrets, now);
    verified.map_err(|refused| scheme.explain(refused, incoming, previous, others))
}

/// What the sender of a refused delivery is told: the cause, and nothing of what is only a guess.
#[must_use]
pub fn refusal(refused: Refused) -> Error {
    let message = match refused.cause {
        Cause::TooLarge => return Error::TooLarge(BODY_MAX),
        Cause::NoSignature => "the delivery has no signature",
        Cause::MalformedHeader => "the signature cannot be read",
        Cause::OutsideTolerance => "the signed time is too far from the present",
        Cause::Mismatch => "the signature is not one of this body with a secret that is good here",
    };
    Error::Unverified { cause: refused.cause.word(), message }
}

/// Takes deliveries in.
#[derive(Clone)]
pub struct Receiver {
    webhooks: Webhooks,
    queue: Queue,
    refusals: Refusals,
}

impl Receiver {
    /// Reads `WEBHOOKS_TABLE`, `WEBHOOKS_QUEUE_URL` and what may say `WEBHOOK_RETENTION_DAYS`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let webhooks = Webhooks::load(env, sdk)?;
        let refusals = Refusals::of(&webhooks);
        Ok(Self { webhooks, queue: Queue::load(env, sdk)?, refusals })
    }

    /// Counts a refusal with a short record of it, and gives what its sender is told. One write;
    /// that it fails is only logged.
    pub async fn refuse(
        &self,
        workspace: &Workspace,
        taker: &str,
        incoming: &Incoming<'_>,
        refused: Refused,
        now: DateTime<Utc>,
    ) -> Error {
        if let Err(error) = self.refusals.record(workspace, taker, incoming, refused, now).await {
            tracing::warn!(causes = error.causes(), "a refusal was not counted: {error}");
        }
        let hint = refused.hint.map(super::scheme::Hint::word);
        tracing::info!(taker, cause = refused.cause.word(), hint, "a delivery was refused");
        refusal(refused)
    }

    /// Stores a verified delivery and wakes the worker up; see [`Receiver::accept`].
    pub async fn take(
        &self,
        workspace: &Workspace,
        delivery: &Delivery<'_>,
        now: DateTime<Utc>,
    ) -> Result<Accepted, Error> {
        let Delivery { source, endpoint, scheme, naming, via, incoming } = delivery;
        let envelope = Envelope::read(*source, *scheme, naming, incoming, now);
        let new = NewEvent {
            source: *source,
            endpoint: endpoint.map(str::to_owned),
            kind: envelope.kind,
            provider_id: envelope.provider_id,
            via: *via,
            headers: kept(incoming.headers, *scheme),
            received_at: now,
        };
        self.accept(workspace, new, incoming.body).await
    }

    /// Stores an event and wakes the worker up. One conditional write and one message; more of
    /// them as [`Webhooks::accept`] says. A message that is not sent is made up for by the sweep.
    pub async fn accept(&self, workspace: &Workspace, new: NewEvent, body: &[u8]) -> Result<Accepted, Error> {
        if body.len() > BODY_MAX {
            return Err(Error::TooLarge(BODY_MAX));
        }
        let accepted = self.webhooks.accept(workspace, new, body).await?;
        if accepted.outcome == Outcome::Accepted
            && let Err(error) = self.queue.send(&Wake::of(workspace, &accepted.id), Duration::ZERO).await
        {
            tracing::warn!(
                event = accepted.id,
                causes = error.causes(),
                "stored and not queued, the sweep will: {error}"
            );
        }
        Ok(accepted)
    }
}
