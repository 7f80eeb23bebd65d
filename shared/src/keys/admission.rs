//! From a caller to a call that counts: what every function behind `authorize-key` does first.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::{Builder, retry::RetryConfig},
};
use chrono::{DateTime, Utc};

use super::{
    Call, KeyCaller,
    meter::{Cause, Meter},
};
use crate::{
    Error,
    error::Quota,
    identity::unexpired,
    lambda::{Env, EnvError},
    store::Table,
};

/// Admits calls.
pub struct Admission {
    meter: Meter,
}

impl Admission {
    /// Reads `API_KEYS_TABLE`.
    ///
    /// Its client does not retry. A count is not repeatable: when an answer is lost, whether it
    /// was made is not known, and the call is refused rather than counted twice.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let config = Builder::from(sdk).retry_config(RetryConfig::disabled()).build();
        Ok(Self { meter: Meter::new(Table::load(env, &Client::from_conf(config), "API_KEYS_TABLE")?) })
    }

    /// Admits a call, or says why not. One conditional write, which refuses a revoked secret,
    /// keeps the limits and counts the call; a refusal costs one write more, to be counted.
    pub async fn admit(&self, caller: &KeyCaller, call: Call, now: DateTime<Utc>) -> Result<Quota, Error> {
        let (cause, error) = match check(caller, call, now) {
            Err(refusal) => refusal,
            Ok(()) => match self.meter.count(caller, call, now).await? {
                Ok(quota) => return Ok(quota),
                Err(refusal) => refusal,
            },
        };
        self.meter.count_denial(caller, cause, now).await;
        Err(error)
    }
}

/// What the authorizer's answer alone decides.
fn check(caller: &KeyCaller, call: Call, now: DateTime<Utc>) -> Result<(), (Cause, Error)> {
    unexpired(caller.expires_at, now, "the API key has expired").map_err(|error| (Cause::Expired, error))?;
    let permission = call.permission();
    if caller.permissions.contains(&permission) {
        return Ok(());
    }
    let message = format!("the API key lacks the permission {}", permission.name());
    Err((Cause::Permission, Error::Forbidden(message)))
}
