//! What is verified against what.

mod ga4;
pub mod github;
mod google;
mod meta;
mod service_account;
mod shopify;
mod stripe;
pub mod supabase;
mod twilio;

use std::time::Duration;

use serde_json::Value;
use shared::providers::{Cause, Provider};

use crate::fake::{Reply, Seen};

/// A credential, and the provider that knows it.
pub struct Subject {
    pub name: &'static str,
    pub provider: Provider,
    /// The provider's name in `PROVIDER_ENDPOINTS`.
    pub endpoint: &'static str,
    pub credential: Value,
    /// What must be readable nowhere: the credential's secrets, and what they buy.
    pub secrets: Vec<String>,
    /// The provider when all is well. Panics at a call that the provider would not take.
    pub good: fn(&Seen) -> Reply,
    /// Calls of a good verification.
    pub calls: usize,
    /// What a good verification answers.
    pub answer: Value,
    pub scopes: Vec<&'static str>,
    /// An error as the provider words it at this call, with status 400 or what it uses.
    pub complains: fn(call: usize, message: &str) -> Reply,
    /// What only this provider does.
    pub faults: Vec<Fault>,
}

/// Something that goes wrong at one call.
pub struct Fault {
    pub case: &'static str,
    pub call: usize,
    pub reply: Reply,
    pub cause: Cause,
    pub retry_after: Option<Duration>,
    /// Of the message.
    pub says: &'static str,
}

impl Fault {
    fn new(what: &'static str, call: usize, reply: Reply, cause: Cause, says: &'static str) -> Self {
        Self { case: what, call, reply, cause, retry_after: None, says }
    }

    fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(Duration::from_secs(seconds)), ..self }
    }
}

/// Every provider, each with every kind of credential it has.
pub fn all() -> Vec<Subject> {
    vec![
        google::sheets(),
        ga4::property(),
        meta::token(),
        meta::token_and_secret(),
        shopify::token(),
        shopify::app(),
        stripe::secret(),
        stripe::restricted(),
        github::app(),
        github::app_by_client_id(),
        supabase::secret_key(),
        supabase::service_role(),
        twilio::account(),
    ]
}

/// A made-up secret of 32 hexadecimal digits, the same for as long as the tests run.
fn hexadecimal(seed: u8) -> String {
    let digits = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[seed]);
    digits.as_ref()[..16].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
