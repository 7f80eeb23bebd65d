//! The secrets of an endpoint: sealed as one, those that were removed for a while too.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::super::scheme::{Scheme, is_sendgrid_key, is_standard_key};
use crate::{Error, FieldError, id, store::unavailable};

/// Secrets that are good at the same time.
pub(super) const MOST: usize = 5;
/// How long a removed one is kept, to tell its deliveries from forged ones.
const REMEMBERED: TimeDelta = TimeDelta::days(30);
/// Removed ones that are kept.
const REMEMBERED_MOST: usize = 5;
/// Characters of a secret.
const LEAST_CHARACTERS: usize = 8;
const MOST_CHARACTERS: usize = 1024;
/// Secrets shorter than this are not shown in part.
const SHOWN_FROM: usize = 24;
/// Last characters of a secret that are shown.
const SHOWN: usize = 4;
/// Room for all of them, so that no plain text is left behind by a buffer that grew.
const EXPOSED_BYTES: usize = 16 * 1024;

/// What may be shown of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Prefixed `whs_`.
    pub id: String,
    /// Its last characters, if it is long enough.
    pub mask: String,
    /// When it came.
    pub added_at: DateTime<Utc>,
}

/// The secrets in the clear. Cannot be printed.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Keyring {
    secrets: Vec<Secret>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Secret {
    id: String,
    #[serde(serialize_with = "expose", deserialize_with = "conceal")]
    text: SecretString,
    added_at: DateTime<Utc>,
    #[serde(default)]
    removed_at: Option<DateTime<Utc>>,
}

fn expose<S: Serializer>(text: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.expose_secret())
}

fn conceal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

impl Keyring {
    /// What the vault holds.
    pub(super) fn restore(plaintext: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(plaintext).map_err(unavailable)
    }

    /// For the vault.
    pub(super) fn expose(&self) -> Zeroizing<Vec<u8>> {
        let mut plaintext = Zeroizing::new(Vec::with_capacity(EXPOSED_BYTES));
        // Text into memory: it cannot fail.
        let _ = serde_json::to_writer(&mut *plaintext, self);
        plaintext
    }

    /// Adds the secrets in `value`, a list at the field `name`, that `scheme` can use.
    pub(super) fn add(
        &mut self,
        name: &str,
        value: Option<Value>,
        scheme: &Scheme,
        now: DateTime<Utc>,
    ) -> Vec<FieldError> {
        let values = match value {
            None => Vec::new(),
            Some(Value::Array(values)) if values.len() <= MOST => values,
            Some(_) => {
                return vec![FieldError::new(name, format!("must be a list of at most {MOST} secrets"))];
            }
        };
        let mut faults = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let new = |text: &SecretString| !self.holds(text);
            let text = secret(value, scheme)
                .and_then(|text| if new(&text) { Ok(text) } else { Err("is there already".to_owned()) });
            match text {
                Ok(text) => {
                    let id = id::generate("whs", now);
                    self.secrets.push(Secret { id, text, added_at: now, removed_at: None });
                }
                Err(message) => faults.push(FieldError::new(format!("{name}[{at}]"), message)),
            }
        }
        faults
    }

    /// Takes a secret out of use; false if there is none of this id.
    pub(super) fn remove(&mut self, id: &str, now: DateTime<Utc>) -> bool {
        let found = self.secrets.iter_mut().find(|one| one.id == id && one.removed_at.is_none());
        found.map(|one| one.removed_at = Some(now)).is_some()
    }

    /// Forgets what was removed long ago.
    pub(super) fn prune(&mut self, now: DateTime<Utc>) {
        let mut removed: Vec<_> = self.secrets.iter().filter_map(|one| one.removed_at).collect();
        removed.sort_by(|a, b| b.cmp(a));
        let oldest = removed.get(REMEMBERED_MOST - 1).copied().unwrap_or_default().max(now - REMEMBERED);
        self.secrets.retain(|one| one.removed_at.is_none_or(|at| at >= oldest));
    }

    /// Whether every secret that is good is a key of this scheme.
    pub(super) fn fits(&self, scheme: &Scheme) -> bool {
        self.accepted().iter().all(|text| rule(text, scheme).is_ok())
    }

    /// What is good, the newest first.
    pub(super) fn accepted(&self) -> Vec<SecretString> {
        self.good().rev().map(|one| one.text.clone()).collect()
    }

    /// What was good not long ago.
    pub(super) fn previous(&self, now: DateTime<Utc>) -> Vec<SecretString> {
        let lately = |one: &&Secret| one.removed_at.is_some_and(|at| now - at < REMEMBERED);
        self.secrets.iter().filter(lately).map(|one| one.text.clone()).collect()
    }

    /// What may be shown, oldest first.
    pub(super) fn masks(&self) -> Vec<Mask> {
        self.good()
            .map(|one| Mask {
                id: one.id.clone(),
                mask: mask(one.text.expose_secret()),
                added_at: one.added_at,
            })
            .collect()
    }

    fn good(&self) -> impl DoubleEndedIterator<Item = &Secret> {
        self.secrets.iter().filter(|one| one.removed_at.is_none())
    }

    fn holds(&self, text: &SecretString) -> bool {
        self.good().any(|one| one.text.expose_secret() == text.expose_secret())
    }
}

/// A secret that a scheme can use. Blanks around it, as come with copying, are not part of it.
fn secret(value: &Value, scheme: &Scheme) -> Result<SecretString, String> {
    let text = SecretString::from(value.as_str().unwrap_or_default().trim());
    rule(&text, scheme).map(|()| text)
}

fn rule(secret: &SecretString, scheme: &Scheme) -> Result<(), String> {
    let text = secret.expose_secret();
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let (good, message) = match scheme {
        Scheme::StandardWebhooks => {
            (is_standard_key(secret), "must be whsec_ and the base64 of at least 24 bytes")
        }
        Scheme::Sendgrid => (is_sendgrid_key(secret), "must be the public key of P-256 that SendGrid shows"),
        _ => (
            visible && (LEAST_CHARACTERS..=MOST_CHARACTERS).contains(&text.len()),
            "must be 8 to 1024 visible ASCII characters",
        ),
    };
    if good { Ok(()) } else { Err(message.to_owned()) }
}

fn mask(text: &str) -> String {
    let shown = text.is_ascii().then(|| text.len().checked_sub(SHOWN)).flatten();
    match shown {
        Some(at) if text.len() >= SHOWN_FROM => format!("…{}", &text[at..]),
        _ => "…".to_owned(),
    }
}
