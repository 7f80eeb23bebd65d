//! Other companies' APIs: what a credential of each looks like, and how it is proven.
//!
//! One file a provider: its [`Service`] (hosts, errors, limits) and its credential type, which
//! reads the fields that a person gives, tells which of them are secret, and proves itself with as
//! few calls as do. [`client`] makes the calls, [`answer`] turns what comes back into an answer or
//! a [`Refusal`], [`field`] keeps secrets out of masks and messages. A provider is added by its
//! file and its line in the list below.

mod answer;
mod client;
mod field;
pub mod ga4;
pub mod github;
pub mod google;
pub mod meta;
pub mod service_account;
pub mod shopify;
pub mod smtp;
pub mod stripe;
pub mod supabase;
pub mod twilio;

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::client::Client;
use self::{
    answer::{Answer, Service},
    field::Field,
};
use crate::{Error, FieldError, fields::Fields};

/// What all calls of one verification may take together; a function has 29 seconds in all.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);

/// What was proven of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What the person is shown, such as `accountName`.
    pub answer: Map<String, Value>,
    /// What the credential was seen to allow, in the provider's own words where it has any.
    pub scopes: Vec<String>,
}

/// Why a credential was not proven. The message is for people and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of fault it is.
    pub cause: Cause,
    /// What happened, and where it helps, what the provider said.
    pub message: String,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// Whose fault it is that a credential was not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The credential cannot be one, or names something that is not there.
    Format,
    /// The provider does not know it, or no longer.
    Auth,
    /// It is valid and may not do what is asked of it.
    Scope,
    /// The provider was not reached, or did not finish its answer in time.
    Network,
    /// The provider asks for patience.
    RateLimited,
    /// The provider failed, or answered what cannot be used.
    Provider,
}

impl Refusal {
    fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), retry_after: None }
    }
}

/// A provider's credential: what its file implements.
trait Adapter: Sized {
    /// Reads the fields by name; `None` only where a fault was noted.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// All that was read, in the form that [`Adapter::read`] takes.
    fn fields(&self) -> Vec<(&'static str, Field<'_>)>;

    /// Asks the provider.
    async fn verify(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal>;
}

macro_rules! providers {
    ($($(#[$doc:meta])* $variant:ident($type:ty) = $word:literal;)+) => {
        /// A provider of which we hold credentials.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Provider {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        /// A credential whose form was checked. What is secret in it cannot be printed.
        pub enum Credential {
            $($(#[$doc])* $variant($type),)+
        }

        impl Provider {
            /// Every provider by its word on the wire.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }

        impl Credential {
            /// Whose credential it is.
            #[must_use]
            pub fn provider(&self) -> Provider {
                match self { $(Self::$variant(_) => Provider::$variant,)+ }
            }

            fn read(provider: Provider, fields: &mut Fields) -> Option<Self> {
                match provider { $(Provider::$variant => <$type>::read(fields).map(Self::$variant),)+ }
            }

            fn fields(&self) -> Vec<(&'static str, Field<'_>)> {
                match self { $(Self::$variant(credential) => credential.fields(),)+ }
            }

            async fn ask(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal> {
                match self { $(Self::$variant(credential) => credential.verify(client, now).await,)+ }
            }
        }
    };
}

providers! {
    /// Google Sheets, by a service account.
    Google(google::Google) = "google";
    /// Google Analytics 4, by a service account.
    Ga4(ga4::Ga4) = "ga4";
    /// Meta's Marketing API.
    Meta(meta::Meta) = "meta";
    /// A Shopify shop.
    Shopify(shopify::Shopify) = "shopify";
    /// A Stripe account.
    Stripe(stripe::Stripe) = "stripe";
    /// A GitHub App in one of its installations.
    Github(github::Github) = "github";
    /// A Supabase project.
    Supabase(supabase::Supabase) = "supabase";
    /// A server that takes mail.
    Smtp(smtp::Smtp) = "smtp";
    /// A Twilio account.
    Twilio(twilio::Twilio) = "twilio";
}

impl Provider {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, provider)| *provider == self).map_or("", |(word, _)| word)
    }
}

impl Credential {
    /// Checks the form of what a person gives, without any call. Errors name every bad field
    /// under `path`, such as `credential.`.
    pub fn parse(provider: Provider, path: &str, value: Value) -> Result<Self, Vec<FieldError>> {
        let path = path.trim_end_matches('.');
        let mut fields = Fields::of(path, value)?;
        let credential = Self::read(provider, &mut fields);
        fields.finish()?;
        credential.ok_or_else(|| vec![FieldError::new(path, "is not a credential")])
    }

    /// The same with the fields that `change` names replaced; `null` takes one away.
    pub fn patched(&self, path: &str, change: Value) -> Result<Self, Vec<FieldError>> {
        let Value::Object(change) = change else {
            return Self::parse(self.provider(), path, change);
        };
        let mut fields: Map<String, Value> = serde_json::from_slice(&self.expose()).unwrap_or_default();
        fields.extend(change);
        Self::parse(self.provider(), path, Value::Object(fields))
    }

    /// All of it as JSON, to be sealed; [`Credential::restore`] reads it back.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<Vec<u8>> {
        field::expose(&self.fields())
    }

    /// Reads what was unsealed.
    pub fn restore(provider: Provider, plaintext: &[u8]) -> Result<Self, Error> {
        let unreadable = || Error::Unavailable("the credential", "what was unsealed is no credential".into());
        let value = serde_json::from_slice(plaintext).map_err(|_| unreadable())?;
        Self::parse(provider, "credential", value).map_err(|_| unreadable())
    }

    /// What may be shown: plain fields whole, of secrets at most their kind and last 4 characters.
    #[must_use]
    pub fn mask(&self) -> Map<String, Value> {
        field::mask(&self.fields())
    }

    /// Proves the credential with its provider, within 10 seconds.
    pub async fn verify(&self, client: &Client, now: DateTime<Utc>) -> Result<Proof, Refusal> {
        let proven = tokio::time::timeout(VERIFY_TIMEOUT, self.ask(client, now)).await;
        let seconds = VERIFY_TIMEOUT.as_secs();
        let proven = proven.unwrap_or_else(|_| {
            Err(Refusal::new(Cause::Network, format!("the provider did not answer within {seconds} seconds")))
        });
        // Whatever the provider says goes to people: it may have sent the secret back.
        let fields = self.fields();
        match proven {
            Ok(proof) if field::tells(&fields, &Value::Object(proof.answer.clone()).to_string()) => {
                Err(Refusal::new(
                    Cause::Provider,
                    "the provider's answer repeats the credential and is not shown",
                ))
            }
            Err(refusal) if field::tells(&fields, &refusal.message) => Err(Refusal {
                message: "the provider's message repeats the credential and is not shown".to_owned(),
                ..refusal
            }),
            proven => proven,
        }
    }
}
