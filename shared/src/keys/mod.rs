//! API keys of partner tools: their text, their life, who they let in and what is counted.
//!
//! A key has one current secret and, for a grace period after a rotation, the previous one.
//! `authorize-key` establishes a [`KeyCaller`] by one read ([`Authenticator`]); the function
//! behind it admits the call by one conditional write ([`Admission`]), which is at once the
//! check for revocation, the rate limit and the usage count. So a gateway may reuse the
//! authorizer's answer, and still nothing revoked passes.

mod admin;
mod admission;
mod authenticator;
mod caller;
mod meter;
mod secret;

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

pub use admin::{KeyAdmin, Page, Summary};
pub use admission::Admission;
pub use authenticator::Authenticator;
pub use caller::{Call, KeyCaller};
pub use meter::UsageOfDay;
pub use secret::{Secret, SecretHash};

use crate::{Error, id, identity::Person};

/// What a key lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Read the sync endpoints.
    ReadMetrics,
    /// Post to the DevOps webhook.
    WriteWebhooks,
    /// Write the ledger.
    WriteMetrics,
}

impl Permission {
    /// Every permission by its name on the wire.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("read_metrics", Self::ReadMetrics),
        ("write_webhooks", Self::WriteWebhooks),
        ("write_metrics", Self::WriteMetrics),
    ];
    /// What a key gets when nothing is asked for.
    pub const DEFAULT: [Self; 2] = [Self::ReadMetrics, Self::WriteWebhooks];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// Whether a key is meant for real data; the letter stands in its text.
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

    fn letter(self) -> char {
        match self {
            Self::Live => 'l',
            Self::Test => 't',
        }
    }
}

/// What an admin asks for.
#[derive(Debug)]
pub struct Order {
    /// For people, 1 to 100 characters.
    pub name: String,
    /// At least one, without repeats.
    pub permissions: Vec<Permission>,
    /// Days until the key ends.
    pub expires_in_days: u64,
    /// Calls an hour, in all.
    pub rate_limit: u64,
    /// Calls an hour to each sync endpoint.
    pub sync_rate_limit: u64,
    /// On whose behalf the tool works, if on anyone's.
    pub user_id: Option<String>,
    /// Live or test.
    pub environment: Environment,
}

/// One secret of a key, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretInfo {
    /// How it begins.
    pub prefix: String,
    /// How it ends.
    pub last4: String,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

/// A secret as its key's row holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeldSecret {
    hash: SecretHash,
    /// Counts the rotations; admission refuses generations below the meter's mark.
    generation: u64,
    #[serde(flatten)]
    info: SecretInfo,
}

/// When, by whom and why a key was revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Revocation {
    at: DateTime<Utc>,
    by: String,
    reason: String,
}

/// An API key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKey {
    /// Prefixed `key_`; stays the same over rotations.
    pub id: String,
    name: String,
    permissions: Vec<Permission>,
    environment: Environment,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    rate_limit: u64,
    sync_rate_limit: u64,
    created_at: DateTime<Utc>,
    created_by: String,
    current: HeldSecret,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<HeldSecret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Revocation>,
    /// Counts the changes of this row; a change is made on condition that it is still the same.
    revision: u64,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Active,
    /// Its time is over.
    Expired,
    /// An admin ended it.
    Revoked,
}

/// A key as people see it.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    name: String,
    prefix: String,
    last4: String,
    permissions: Vec<Permission>,
    environment: Environment,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    rate_limit: u64,
    sync_rate_limit: u64,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret: Option<SecretInfo>,
}

/// A key with its new secret: the one answer that shows it.
#[derive(Serialize)]
pub struct Issued<'a> {
    api_key: &'a str,
    #[serde(flatten)]
    key: View,
}

impl ApiKey {
    /// A new key and its secret.
    #[must_use]
    pub fn issue(person: &Person, order: Order, now: DateTime<Utc>) -> (Self, Secret) {
        let secret = Secret::generate(order.environment);
        let days = Duration::days(i64::try_from(order.expires_in_days).unwrap_or(i64::MAX));
        let key = Self {
            id: id::generate("key", now),
            name: order.name,
            permissions: order.permissions,
            environment: order.environment,
            user_id: order.user_id,
            rate_limit: order.rate_limit,
            sync_rate_limit: order.sync_rate_limit,
            created_at: now,
            created_by: person.subject.clone(),
            current: HeldSecret::of(&secret, 1, now + days),
            previous: None,
            revoked: None,
            revision: 1,
        };
        (key, secret)
    }

    /// The same key with a new secret. The old one works until `now + grace` at most, and never
    /// longer than the key itself; one that was previous before ends now.
    fn rotate(&self, grace: Duration, now: DateTime<Utc>) -> Result<(Self, Secret), Error> {
        match self.status(now) {
            Status::Active => {}
            Status::Expired => {
                return Err(Error::Conflict("the key has expired; generate a new one".to_owned()));
            }
            Status::Revoked => {
                return Err(Error::Conflict("the key is revoked; generate a new one".to_owned()));
            }
        }
        let secret = Secret::generate(self.environment);
        let mut key = self.clone();
        key.current = HeldSecret::of(&secret, self.current.generation + 1, self.current.info.expires_at);
        key.previous = Some(self.current.clone());
        if let Some(previous) = &mut key.previous {
            previous.info.expires_at = previous.info.expires_at.min(now + grace);
        }
        key.revision += 1;
        Ok((key, secret))
    }

    /// The same key, revoked.
    fn revoke(&self, person: &Person, reason: String, now: DateTime<Utc>) -> Self {
        let mut key = self.clone();
        key.revoked = Some(Revocation { at: now, by: person.subject.clone(), reason });
        key.revision += 1;
        key
    }

    /// Secrets of this generation and above may be admitted at `now`.
    fn oldest_living_generation(&self, now: DateTime<Utc>) -> u64 {
        match (&self.revoked, &self.previous) {
            (Some(_), _) => self.current.generation + 1,
            (None, Some(previous)) if now < previous.info.expires_at => previous.generation,
            (None, _) => self.current.generation,
        }
    }

    fn status(&self, now: DateTime<Utc>) -> Status {
        if self.revoked.is_some() {
            Status::Revoked
        } else if self.current.info.expires_at <= now {
            Status::Expired
        } else {
            Status::Active
        }
    }

    /// As people see it at `now`.
    #[must_use]
    pub fn view(&self, now: DateTime<Utc>) -> View {
        let living = |secret: &HeldSecret| self.revoked.is_none() && now < secret.info.expires_at;
        View {
            id: self.id.clone(),
            name: self.name.clone(),
            prefix: self.current.info.prefix.clone(),
            last4: self.current.info.last4.clone(),
            permissions: self.permissions.clone(),
            environment: self.environment,
            user_id: self.user_id.clone(),
            rate_limit: self.rate_limit,
            sync_rate_limit: self.sync_rate_limit,
            created_at: self.created_at,
            expires_at: self.current.info.expires_at,
            status: self.status(now),
            revoked_at: self.revoked.as_ref().map(|revoked| revoked.at),
            revoked_reason: self.revoked.as_ref().map(|revoked| revoked.reason.clone()),
            previous_secret: self.previous.as_ref().filter(|s| living(s)).map(|s| s.info.clone()),
        }
    }

    /// The one answer that shows the secret.
    #[must_use]
    pub fn issued<'a>(&self, secret: &'a Secret, now: DateTime<Utc>) -> Issued<'a> {
        Issued { api_key: secret.reveal(), key: self.view(now) }
    }
}

impl HeldSecret {
    fn of(secret: &Secret, generation: u64, expires_at: DateTime<Utc>) -> Self {
        let info =
            SecretInfo { prefix: secret.prefix().to_owned(), last4: secret.last4().to_owned(), expires_at };
        Self { hash: secret.hash(), generation, info }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Role;

    fn person() -> Person {
        Person {
            workspace: "acme".parse().unwrap(),
            subject: "user_1".to_owned(),
            role: Role::Admin,
            expires_at: DateTime::UNIX_EPOCH,
        }
    }

    fn key(days: u64) -> ApiKey {
        let order = Order {
            name: "partner".to_owned(),
            permissions: Permission::DEFAULT.into(),
            expires_in_days: days,
            rate_limit: 1000,
            sync_rate_limit: 300,
            user_id: None,
            environment: Environment::Live,
        };
        ApiKey::issue(&person(), order, DateTime::UNIX_EPOCH).0
    }

    #[test]
    fn rotation_never_extends_a_life() {
        let now = DateTime::UNIX_EPOCH;
        let key = key(1);
        let (rotated, _) = key.rotate(Duration::hours(168), now).unwrap();
        assert_eq!(rotated.current.info.expires_at, now + Duration::days(1));
        assert_eq!(rotated.previous.unwrap().info.expires_at, now + Duration::days(1));
    }

    #[test]
    fn at_most_two_secrets_live_at_once() {
        let now = DateTime::UNIX_EPOCH;
        let (second, _) = key(365).rotate(Duration::hours(24), now).unwrap();
        assert_eq!(second.oldest_living_generation(now), 1);
        let (third, _) = second.rotate(Duration::hours(24), now).unwrap();
        assert_eq!(third.oldest_living_generation(now), 2);
        let (fourth, _) = third.rotate(Duration::zero(), now).unwrap();
        assert_eq!(fourth.oldest_living_generation(now), 4);
    }

    #[test]
    fn a_dead_key_cannot_be_rotated() {
        let now = DateTime::UNIX_EPOCH;
        let revoked = key(365).revoke(&person(), "leaked".to_owned(), now);
        assert!(matches!(revoked.rotate(Duration::zero(), now), Err(Error::Conflict(_))));
        assert!(matches!(key(1).rotate(Duration::zero(), now + Duration::days(1)), Err(Error::Conflict(_))));
    }

    #[test]
    fn what_is_shown_holds_no_hash() {
        let (key, secret) = key(365).rotate(Duration::hours(1), DateTime::UNIX_EPOCH).unwrap();
        let shown = serde_json::to_string(&key.view(DateTime::UNIX_EPOCH)).unwrap();
        assert!(!shown.contains(secret.hash().as_str()) && !shown.contains(secret.reveal()), "{shown}");
        assert!(!format!("{key:?}").contains(secret.hash().as_str()));
    }
}
