//! Platform secrets: what the deployment itself, and not one of its workspaces, shares with a
//! provider. They are in Secrets Manager, as `<prefix>/<NAME>`; the prefix is the deployment's, so
//! that a function's policy can name exactly the secrets that it reads.
//!
//! [`PlatformSecrets`] reads them, for those who use one and for the [`check`] of them all;
//! [`Watch`] remembers what a check found and tells only what changed.

pub mod check;
mod format;
mod name;
mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::{
    Client,
    error::SdkError,
    operation::get_secret_value::{GetSecretValueError, GetSecretValueOutput},
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

pub use name::SecretName;
pub use watch::{Change, Watch};

use crate::{
    Error,
    lambda::{Env, EnvError},
};

/// How long after a new value the one before it is still good: as long as Stripe keeps signing
/// with both. Without an end, a secret that was replaced because it leaked would stay good.
const ROLLING: TimeDelta = TimeDelta::hours(24);
/// How long a warm function uses what it read.
const FRESH: TimeDelta = TimeDelta::minutes(5);
/// How long it remembers that there is none: calls that need it must not each cost a request.
const ABSENT: TimeDelta = TimeDelta::minutes(1);
/// How old what it read may get while Secrets Manager does not answer: GitHub does not repeat a
/// delivery that was refused.
const OUTAGE: TimeDelta = TimeDelta::hours(1);

/// Reads platform secrets, and remembers them for a while.
pub struct PlatformSecrets {
    client: Client,
    prefix: String,
    cache: Mutex<HashMap<SecretName, Cached>>,
    replaced: Mutex<HashMap<SecretName, Replaced>>,
}

#[derive(Clone)]
struct Cached {
    at: DateTime<Utc>,
    value: Option<Arc<Rolling>>,
}

/// The value before the newest one, if there is one, and when it was read.
#[derive(Clone)]
struct Replaced {
    at: DateTime<Utc>,
    value: Option<SecretString>,
}

/// A secret and, for a day after it was replaced, the one before it. Cannot be printed.
pub struct Rolling {
    current: Version,
    previous: Option<Version>,
}

/// One value of a secret.
struct Version {
    value: SecretString,
    created_at: DateTime<Utc>,
}

impl Rolling {
    /// What to send: the newest value.
    #[must_use]
    pub fn current(&self) -> &SecretString {
        &self.current.value
    }

    /// What to accept: every value that is good, the newest first.
    pub fn accepted(&self, now: DateTime<Utc>) -> impl Iterator<Item = &SecretString> {
        let rolling = now < self.current.created_at + ROLLING;
        let previous = self.previous.as_ref().filter(|_| rolling);
        [Some(&self.current), previous].into_iter().flatten().map(|version| &version.value)
    }
}

impl PlatformSecrets {
    /// Reads `SECRETS_PREFIX`.
    pub fn load(env: &Env, sdk: &SdkConfig) -> Result<Self, EnvError> {
        let prefix = env.required("SECRETS_PREFIX")?;
        Ok(Self { client: Client::new(sdk), prefix, cache: Mutex::default(), replaced: Mutex::default() })
    }

    /// The secret's id in Secrets Manager.
    #[must_use]
    pub fn id(&self, name: SecretName) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// A secret that the caller cannot do without. At most two requests, none while what a warm
    /// function read is younger than five minutes.
    pub async fn get(&self, name: SecretName, now: DateTime<Utc>) -> Result<Arc<Rolling>, Error> {
        let held = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(held) = held.as_ref().filter(|held| now < held.fresh_until()) {
            return held.answer(name);
        }
        let read = match (self.read(name, now).await, held) {
            (Ok(value), _) => Cached { at: now, value: value.map(Arc::new) },
            (Err(error), Some(held)) if held.value.is_some() && now < held.at + OUTAGE => {
                let causes = error.causes();
                tracing::warn!(secret = name.as_str(), causes, "an older value is used: {error}");
                return held.answer(name);
            }
            (Err(error), _) => return Err(error),
        };
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(name, read.clone());
        read.answer(name)
    }

    /// The value before the newest one, though it may be good no longer: it tells why a sender is
    /// refused. None where it cannot be told. At most one request in five minutes.
    pub async fn replaced(&self, name: SecretName, now: DateTime<Utc>) -> Option<SecretString> {
        let held = self.replaced.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(held) = held.filter(|held| now < held.at + FRESH) {
            return held.value;
        }
        let value = self.version(name, "AWSPREVIOUS").await.ok().flatten().map(|version| version.value);
        let read = Replaced { at: now, value: value.clone() };
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).insert(name, read);
        value
    }

    async fn read(&self, name: SecretName, now: DateTime<Utc>) -> Result<Option<Rolling>, Error> {
        let Some(current) = self.version(name, "AWSCURRENT").await? else { return Ok(None) };
        let previous =
            if now < current.created_at + ROLLING { self.version(name, "AWSPREVIOUS").await? } else { None };
        Ok(Some(Rolling { current, previous }))
    }

    async fn version(&self, name: SecretName, stage: &str) -> Result<Option<Version>, Error> {
        let request = self.client.get_secret_value().secret_id(self.id(name)).version_stage(stage);
        match request.send().await.map_err(SdkError::into_service_error) {
            Ok(found) => Ok(Some(Version::of(found))),
            // The second is what a secret answers that is about to be deleted.
            Err(
                GetSecretValueError::ResourceNotFoundException(_)
                | GetSecretValueError::InvalidRequestException(_),
            ) => Ok(None),
            Err(error) => Err(Error::Unavailable("the secret store", error.into())),
        }
    }
}

impl Cached {
    fn fresh_until(&self) -> DateTime<Utc> {
        self.at + if self.value.is_some() { FRESH } else { ABSENT }
    }

    fn answer(&self, name: SecretName) -> Result<Arc<Rolling>, Error> {
        let missing = || Error::NotConfigured { service: name.service(), missing: vec![name.as_str()] };
        self.value.clone().ok_or_else(missing)
    }
}

impl Version {
    /// What is not text becomes the empty text, which no secret is.
    fn of(found: GetSecretValueOutput) -> Self {
        let created_at = found
            .created_date()
            .and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()))
            // It comes as a fraction, which is a little off.
            .map(|at| at.round_subsecs(3))
            .unwrap_or_default();
        let binary = |found: GetSecretValueOutput| String::from_utf8(found.secret_binary?.into_inner()).ok();
        let value = match found.secret_string {
            Some(text) => text,
            None => binary(found).unwrap_or_default(),
        };
        Self { value: value.into(), created_at }
    }

    fn well_formed(&self, name: SecretName) -> bool {
        name.fault(self.value.expose_secret()).is_none()
    }
}
