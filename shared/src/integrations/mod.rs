//! Integrations: what a workspace is wired to, how, and whether it works.
//!
//! An integration is one small row, which lists show, and one row for each version of what it is
//! set to, which are only ever added: a version is never changed and outlives the integration.
//! A change names the version it was made from, so of two admins who change one integration at
//! once the second is told ([`Error::Superseded`]) instead of undoing
//! the first's work. Rolling back is a new version that says the same as an old one.
//!
//! A [`Tester`] proves what an integration is set to, or would be ([`Candidate`]), with the
//! credential that it names. What the tests say over time is its [`Health`]; those that are due
//! are found by an index. A configuration holds no secret ([`Configuration`] refuses them):
//! secrets are credentials, and an integration names one. The credential may be deleted all the
//! same; the integration then reads as `credential_missing` until another one is named.

mod configuration;
mod diff;
mod health;
mod order;
mod schedule;
mod store;
mod tester;
mod versions;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use configuration::Configuration;
pub use diff::{Difference, diff};
pub use health::{Health, State, TestFailure, TestResult};
pub use order::{Candidate, Change, Order, Revision, Rollback};
pub use schedule::{Due, TEST_BUCKETS};
pub use store::{Integrations, Page};
pub use tester::Tester;
pub use versions::{Version, VersionPage, differences};

use crate::{Error, identity::Person};

/// What an integration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Kind {
    PaymentGateway,
    Billing,
    Sms,
    Email,
    Commerce,
    Ads,
    Analytics,
    Spreadsheet,
    Code,
    Custom,
}

impl Kind {
    /// Every kind by its name on the wire.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("payment_gateway", Self::PaymentGateway),
        ("billing", Self::Billing),
        ("sms", Self::Sms),
        ("email", Self::Email),
        ("commerce", Self::Commerce),
        ("ads", Self::Ads),
        ("analytics", Self::Analytics),
        ("spreadsheet", Self::Spreadsheet),
        ("code", Self::Code),
        ("custom", Self::Custom),
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }

    /// The provider that serves this kind; a custom integration is with anyone.
    fn provider(self) -> Option<&'static str> {
        match self {
            Self::PaymentGateway | Self::Billing => Some("stripe"),
            Self::Sms => Some("twilio"),
            Self::Email => Some("smtp"),
            Self::Commerce => Some("shopify"),
            Self::Ads => Some("meta"),
            Self::Analytics => Some("ga4"),
            Self::Spreadsheet => Some("google"),
            Self::Code => Some("github"),
            Self::Custom => None,
        }
    }
}

/// Whether an integration is with real data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real data.
    #[default]
    Live,
    /// Trials.
    Test,
}

impl Environment {
    /// Every environment by its name on the wire.
    pub const NAMES: &'static [(&'static str, Self)] = &[("live", Self::Live), ("test", Self::Test)];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// What an integration is set to: what a version keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    name: String,
    environment: Environment,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    configuration: Configuration,
}

impl Content {
    /// Whether going from one to the other can change what a test says.
    fn connects_as(&self, other: &Self) -> bool {
        (self.environment, &self.credential_id, &self.configuration)
            == (other.environment, &other.credential_id, &other.configuration)
    }

    /// What `old` connects to, under the name and with the activity of now.
    fn restoring(&self, old: &Self) -> Self {
        Self { name: self.name.clone(), active: self.active, ..old.clone() }
    }
}

/// An integration as lists have it; its configuration stands in its newest version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Integration {
    /// Prefixed `int_`.
    pub id: String,
    #[serde(rename = "type")]
    kind: Kind,
    /// A provider of ours, or with [`Kind::Custom`] any other.
    pub provider: String,
    name: String,
    environment: Environment,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    /// Counts the changes that people made.
    pub version: u64,
    created_at: DateTime<Utc>,
    created_by: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
    health: Health,
    /// Counts the changes of this row, tests included; a change is made on condition that it is
    /// still the same.
    revision: u64,
}

/// An integration with what it is set to.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The integration.
    pub integration: Integration,
    /// What its newest version says.
    pub content: Content,
}

/// An integration as lists show it.
#[derive(Debug, Serialize)]
pub struct Summary {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    provider: String,
    environment: Environment,
    active: bool,
    credential_id: Option<String>,
    version: u64,
    created_at: DateTime<Utc>,
    created_by: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
    health: health::View,
}

/// An integration as people see it.
#[derive(Debug, Serialize)]
pub struct View {
    #[serde(flatten)]
    summary: Summary,
    configuration: Configuration,
}

impl Integration {
    /// As lists show it; `missing` says that its credential is not there.
    #[must_use]
    pub fn summary(self, missing: bool) -> Summary {
        Summary {
            health: self.health.view(missing),
            id: self.id,
            name: self.name,
            kind: self.kind,
            provider: self.provider,
            environment: self.environment,
            active: self.active,
            credential_id: self.credential_id,
            version: self.version,
            created_at: self.created_at,
            created_by: self.created_by,
            updated_at: self.updated_at,
            updated_by: self.updated_by,
        }
    }

    /// The credential that it names.
    #[must_use]
    pub fn credential_id(&self) -> Option<&str> {
        self.credential_id.as_deref()
    }
}

impl Loaded {
    fn new(person: &Person, id: String, order: Order, now: DateTime<Utc>) -> Self {
        let Order { kind, provider, content, .. } = order;
        let integration = Integration {
            id,
            kind,
            provider,
            name: content.name.clone(),
            environment: content.environment,
            active: content.active,
            credential_id: content.credential_id.clone(),
            version: 1,
            created_at: now,
            created_by: person.subject.clone(),
            updated_at: now,
            updated_by: person.subject.clone(),
            health: Health::new(now),
            revision: 1,
        };
        Self { integration, content }
    }

    /// The next version of it.
    fn revised(&self, person: &Person, content: Content, now: DateTime<Utc>) -> Self {
        let mut integration = self.integration.clone();
        integration.name.clone_from(&content.name);
        integration.environment = content.environment;
        integration.active = content.active;
        integration.credential_id.clone_from(&content.credential_id);
        integration.version += 1;
        integration.revision += 1;
        integration.updated_at = now;
        integration.updated_by.clone_from(&person.subject);
        if !content.connects_as(&self.content) {
            integration.health = integration.health.unproven(now);
        } else if content.active && !self.content.active {
            integration.health = integration.health.due(now);
        }
        Self { integration, content }
    }

    /// As people see it; `missing` says that its credential is not there.
    #[must_use]
    pub fn view(self, missing: bool) -> View {
        View { summary: self.integration.summary(missing), configuration: self.content.configuration }
    }

    /// What the loser of a race is told.
    fn superseded(self) -> Error {
        let view = serde_json::to_value(self.view(false)).unwrap_or_default();
        Error::Superseded(Box::new(view))
    }
}
