//! Services: what a workspace wants pulled from where. Each has one row of settings: whether it
//! is enabled, which credential and account it uses, and which metrics are wanted.
//!
//! [`catalogue`] says what a service needs and offers. A service that lacks something never stands
//! in the way of another: [`Services::require`] refuses only who needs it, and names what lacks.

mod catalogue;
mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use catalogue::Service;
pub use store::Services;

use crate::{
    Error,
    fields::{Fields, id, integer},
    identity::Person,
};

/// The settings of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which.
    pub service: Service,
    /// Whether it is to be used.
    pub enabled: bool,
    /// Which of the accounts that the credential opens.
    pub account: Option<String>,
    /// What is wanted of it, in the order of the catalogue.
    pub metrics: Vec<String>,
    /// What it signs in with.
    pub credential_id: Option<String>,
    /// Counts the changes; 0 before the first.
    pub version: u64,
    /// When it was changed last.
    pub updated_at: Option<DateTime<Utc>>,
    /// Subject of the person who did.
    pub updated_by: Option<String>,
}

impl Settings {
    /// As it is before anybody sets it.
    fn initial(service: Service) -> Self {
        Self {
            service,
            enabled: false,
            account: None,
            metrics: service.metrics().iter().map(|name| (*name).to_owned()).collect(),
            credential_id: None,
            version: 0,
            updated_at: None,
            updated_by: None,
        }
    }

    /// What the service cannot do without and does not have; `credential` says whether the
    /// credential it names is there.
    fn missing(&self, credential: bool) -> Vec<&'static str> {
        let account = self.account.is_some() || !self.service.needs_account();
        let lacks = [("credential", !credential), ("account", !account)];
        lacks.into_iter().filter(|(_, lacks)| *lacks).map(|(name, _)| name).collect()
    }
}

/// Settings as people see them.
#[derive(Debug, Serialize)]
pub struct View {
    #[serde(flatten)]
    settings: Settings,
    /// Whether it would work: enabled, and lacking nothing.
    ready: bool,
    missing: Vec<&'static str>,
    available_metrics: &'static [&'static str],
}

impl View {
    fn of(settings: Settings, credential: bool) -> Self {
        let missing = settings.missing(credential);
        let ready = settings.enabled && missing.is_empty();
        Self { ready, missing, available_metrics: settings.service.metrics(), settings }
    }
}

/// What an admin sets; it replaces all that was set before.
pub struct Order {
    enabled: bool,
    account: Option<String>,
    metrics: Option<Vec<String>>,
    credential_id: Option<String>,
    /// The version that the admin saw.
    seen: u64,
}

impl Order {
    /// Reads `enabled`, `account`, `metrics`, `credential_id` and `version`; one answer names
    /// every bad field.
    pub fn parse(service: Service, mut fields: Fields) -> Result<Self, Error> {
        let boolean = |value: &Value| value.as_bool().ok_or_else(|| "must be true or false".to_owned());
        let order = Self {
            enabled: fields.required("enabled", boolean),
            account: fields.optional("account", |value| service.account(value)),
            metrics: fields.optional("metrics", |value| service.chosen(value)),
            credential_id: fields.optional("credential_id", id),
            seen: fields.required("version", integer(0, u64::from(u32::MAX))),
        };
        fields.finish().map_err(Error::Invalid)?;
        Ok(order)
    }

    fn apply(self, service: Service, person: &Person, now: DateTime<Utc>) -> Settings {
        Settings {
            enabled: self.enabled,
            account: self.account,
            metrics: self.metrics.unwrap_or_else(|| Settings::initial(service).metrics),
            credential_id: self.credential_id,
            version: self.seen + 1,
            updated_at: Some(now),
            updated_by: Some(person.subject.clone()),
            service,
        }
    }
}
