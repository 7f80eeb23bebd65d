//! What may be shown of a credential, and how it changes. No I/O.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    id,
    identity::{Person, Workspace},
    providers::{Cause, Provider, Refusal},
    store::key,
};

/// A credential's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Prefixed `cred_`; stays the same over changes.
    pub(super) id: String,
    pub(super) provider: Provider,
    pub(super) name: String,
    /// Counts the changes by people.
    pub(super) version: u64,
    /// The version that brought the secret; it is sealed as this one.
    pub(super) sealed_version: u64,
    mask: Map<String, Value>,
    pub(super) fingerprint: String,
    created_at: DateTime<Utc>,
    created_by: String,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) updated_by: String,
    /// What the provider said last of this very secret.
    #[serde(flatten)]
    verification: Verification,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Verification {
    #[serde(skip_serializing_if = "Option::is_none")]
    checked_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

/// Why the last verification did not succeed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    cause: Cause,
    message: String,
}

impl Failure {
    pub(super) fn of(refusal: &Refusal) -> Self {
        Self { cause: refusal.cause, message: refusal.message.clone() }
    }
}

/// What is known of whether a credential works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its provider was not asked since it was saved or replaced.
    Unproven,
    /// Its provider let it in when it was asked last.
    Proven,
    /// Its provider did not let it in when it was asked last, or was not reached.
    Failing,
}

/// A credential as people see it; never its secret.
#[derive(Debug, Serialize)]
pub struct View {
    id: String,
    provider: Provider,
    name: String,
    version: u64,
    mask: Map<String, Value>,
    fingerprint: String,
    status: Status,
    proven_at: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    created_at: DateTime<Utc>,
    created_by: String,
    updated_at: DateTime<Utc>,
    updated_by: String,
}

impl Record {
    /// The first version; its fingerprint follows from sealing it.
    pub(super) fn new(
        person: &Person,
        provider: Provider,
        name: String,
        mask: Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: id::generate("cred", now),
            provider,
            name,
            version: 1,
            sealed_version: 1,
            mask,
            fingerprint: String::new(),
            created_at: now,
            created_by: person.subject.clone(),
            updated_at: now,
            updated_by: person.subject.clone(),
            verification: Verification::default(),
        }
    }

    /// The next version, with another name if one is given.
    pub(super) fn changed(&self, person: &Person, name: Option<String>, now: DateTime<Utc>) -> Self {
        Self {
            name: name.unwrap_or_else(|| self.name.clone()),
            version: self.version + 1,
            updated_at: now,
            updated_by: person.subject.clone(),
            ..self.clone()
        }
    }

    /// This version brings another secret, of which nothing is proven.
    pub(super) fn reseal(&mut self, mask: Map<String, Value>, fingerprint: String) {
        self.sealed_version = self.version;
        self.mask = mask;
        self.fingerprint = fingerprint;
        self.verification = Verification::default();
    }

    pub(super) fn status(&self) -> Status {
        match (&self.verification.failure, self.verification.checked_at) {
            (Some(_), _) => Status::Failing,
            (None, Some(_)) => Status::Proven,
            (None, None) => Status::Unproven,
        }
    }

    /// What the activity log tells of a change.
    pub(super) fn told(&self) -> Value {
        json!({
            "provider": self.provider,
            "name": self.name,
            "version": self.version,
            "fingerprint": self.fingerprint,
        })
    }

    pub(super) fn view(self) -> View {
        let status = self.status();
        let Verification { checked_at, proven_at, scopes, failure } = self.verification;
        View {
            id: self.id,
            provider: self.provider,
            name: self.name,
            version: self.version,
            mask: self.mask,
            fingerprint: self.fingerprint,
            status,
            proven_at,
            checked_at,
            scopes,
            failure,
            created_at: self.created_at,
            created_by: self.created_by,
            updated_at: self.updated_at,
            updated_by: self.updated_by,
        }
    }
}

/// A record as its row has it: with its place in the index by provider.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    gsi1pk: String,
    gsi1sk: String,
    #[serde(flatten)]
    record: &'a Record,
}

impl<'a> Row<'a> {
    pub(super) fn of(workspace: &Workspace, record: &'a Record) -> Self {
        Self {
            gsi1pk: key::credentials_of(workspace, record.provider.word()),
            gsi1sk: format!("{}{}", key::CREDENTIAL, record.id),
            record,
        }
    }
}
