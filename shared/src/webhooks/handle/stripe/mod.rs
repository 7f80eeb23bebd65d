//! Stripe: subscriptions and payments become the ledger's.
//!
//! All shapes of payloads since API version 2020-08-27 are read, as an endpoint's version is its
//! owner's choice. [`subscriptions`] needs nothing but the event; [`payments`] joins what charges,
//! invoices and their links tell.

mod discounts;
mod lookup;
mod payments;
mod price;
mod subscriptions;

use std::str::FromStr;

use aws_config::SdkConfig;
use chrono::DateTime;
use serde_json::{Value, json};

use self::lookup::Lookup;
pub(super) use self::price::{decimal, rounded};
use super::{Context, Effects, Failed, facts::Facts};
use crate::{
    lambda::{Env, EnvError},
    ledger::Entity,
    time::rfc3339,
};

/// Which of Stripe's two worlds counts.
#[derive(Clone, Copy)]
enum Mode {
    /// Both.
    Any,
    /// Real money.
    Live,
    /// Test data.
    Test,
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "any" => Ok(Self::Any),
            "live" => Ok(Self::Live),
            "test" => Ok(Self::Test),
            _ => Err(()),
        }
    }
}

/// The types that change something.
pub const HANDLED: [&str; 14] = [
    "charge.captured",
    "charge.failed",
    "charge.refunded",
    "charge.succeeded",
    "charge.updated",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
];

/// What Stripe's handlers work with.
pub(super) struct Stripe {
    lookup: Lookup,
    mode: Mode,
}

/// What an event says beside what it is about.
struct Envelope {
    /// What it is about, as it was then.
    object: Value,
    /// When it happened, in seconds since 1970.
    at: i64,
}

impl Stripe {
    /// Reads `STRIPE_MODE`, and what the lookup needs.
    pub(super) fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let mode = env.optional("STRIPE_MODE")?.unwrap_or(Mode::Any);
        Ok(Self { lookup: Lookup::load(env, sdk)?, mode })
    }

    /// What an event changes.
    pub(super) async fn handle(
        &self,
        facts: &Facts,
        context: &Context<'_>,
        body: &[u8],
    ) -> Result<Effects, Failed> {
        let event = super::json(body)?;
        if !self.counts(&event) {
            return Ok(Effects::default());
        }
        let event = match context.event.kind.as_str() {
            kind if HANDLED.contains(&kind) => envelope(event)?,
            _ => return Ok(Effects::default()),
        };
        let payments = payments::Payments { facts, lookup: &self.lookup, context };
        let mut effects = Effects::default();
        effects.transactions = match event.object["object"].as_str() {
            Some("subscription") => {
                effects.subscriptions.push(subscriptions::read(&self.lookup, context, &event).await?);
                payments.named(&event).await?
            }
            Some("charge") => payments.charge(&event).await?,
            Some("invoice") => payments.invoice(&event).await?,
            Some("invoice_payment") => payments.link(&event).await?,
            _ => return Err(Failed::Permanent("`data.object.object` is not what the type says".to_owned())),
        };
        Ok(effects)
    }

    fn counts(&self, event: &Value) -> bool {
        match self.mode {
            Mode::Any => true,
            Mode::Live => event["livemode"] == json!(true),
            Mode::Test => event["livemode"] != json!(true),
        }
    }
}

fn envelope(mut event: Value) -> Result<Envelope, Failed> {
    let at = event["created"].as_i64().filter(|at| DateTime::from_timestamp(*at, 0).is_some());
    let object = event.pointer_mut("/data/object").map(Value::take).filter(Value::is_object);
    match (at, object) {
        (Some(at), Some(object)) => Ok(Envelope { object, at }),
        (None, _) => Err(Failed::Permanent("`created` must be a time in seconds".to_owned())),
        (_, None) => Err(Failed::Permanent("`data.object` must be an object".to_owned())),
    }
}

/// The id in a reference, which is an id or, where it was expanded, the whole object.
fn reference(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["id"].as_str()).filter(|id| !id.is_empty())
}

/// A time in seconds since 1970 as the ledger's items have it.
fn time(value: &Value) -> Option<String> {
    value.as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(rfc3339)
}

/// The entity of these fields, as far as the ledger takes it. Null is absent.
fn entity<E: Entity>(context: &Context<'_>, fields: Value) -> Result<E, Failed> {
    let what = format!("the {}", E::KIND.name().to_ascii_lowercase());
    E::parse("", fields, context.now).map_err(|errors| super::refused(&what, &errors))
}

/// The list in a list object.
fn list(value: &Value) -> &[Value] {
    value["data"].as_array().or_else(|| value.as_array()).map_or(&[], Vec::as_slice)
}

/// What an object that must have an id is called.
fn id_of(object: &Value) -> Result<&str, Failed> {
    reference(object).ok_or_else(|| Failed::Permanent("`data.object.id` must be an id".to_owned()))
}
