//! The fields of a credential: how they are read, exposed to the vault, masked for people, and
//! kept out of messages.

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Room for any credential, so that its plain text is never left behind by a buffer that grew.
const EXPOSED_BYTES: usize = 32 * 1024;
/// Secrets shorter than this are not shown in part.
const SHOWN_FROM: usize = 24;
/// Last characters of a secret that are shown.
const SHOWN: usize = 4;
/// What providers put before their secrets, which tells the kind and nothing else.
const KINDS: [&str; 12] = [
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "shpat_",
    "shpca_",
    "shppa_",
    "shpss_",
    "shpua_",
    "sb_secret_",
    "EAA",
    "SG.",
];
/// A message that has this many characters of a secret in a row tells it. More than what precedes
/// a secret of any kind, and than providers show of one themselves.
const TELLING: usize = 12;

/// One field of a credential.
pub(super) enum Field<'a> {
    /// Shown whole.
    Plain(Value),
    /// A token that a machine made: shown by its kind and end.
    Secret(&'a SecretString),
    /// A password that a person chose, or a private key: never shown in part.
    Hidden(&'a SecretString),
    /// Fields within a field.
    Group(Vec<(&'static str, Field<'a>)>),
}

impl<'a> Field<'a> {
    /// A field that is shown.
    pub(super) fn plain(value: impl Into<Value>) -> Self {
        Self::Plain(value.into())
    }

    /// Every secret in it.
    fn secrets(&self) -> Vec<&'a SecretString> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Secret(secret) | Self::Hidden(secret) => vec![secret],
            Self::Group(fields) => fields.iter().flat_map(|(_, field)| field.secrets()).collect(),
        }
    }

    fn masked(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Secret(secret) => mark(secret.expose_secret()).into(),
            Self::Hidden(_) => "…".into(),
            Self::Group(fields) => Value::Object(mask(fields)),
        }
    }
}

/// The kind of a secret and its end, such as `shpat_…7f3a`.
fn mark(secret: &str) -> String {
    if secret.len() < SHOWN_FROM || !secret.is_ascii() {
        return "…".to_owned();
    }
    let kind = KINDS.iter().find(|kind| secret.starts_with(**kind)).unwrap_or(&"");
    format!("{kind}…{}", &secret[secret.len() - SHOWN..])
}

/// The fields as people may see them.
pub(super) fn mask(fields: &[(&'static str, Field<'_>)]) -> Map<String, Value> {
    fields.iter().map(|(name, field)| ((*name).to_owned(), field.masked())).collect()
}

/// Writes secrets in the clear. Made only where they are sealed.
struct Exposed<'a>(&'a [(&'static str, Field<'a>)]);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, field) in self.0 {
            match field {
                Field::Plain(value) => map.serialize_entry(name, value)?,
                Field::Secret(secret) | Field::Hidden(secret) => {
                    map.serialize_entry(name, secret.expose_secret())?;
                }
                Field::Group(fields) => map.serialize_entry(name, &Exposed(fields))?,
            }
        }
        map.end()
    }
}

/// The fields as JSON, secrets in the clear.
pub(super) fn expose(fields: &[(&'static str, Field<'_>)]) -> Zeroizing<Vec<u8>> {
    let mut plaintext = Zeroizing::new(Vec::with_capacity(EXPOSED_BYTES));
    // Text and numbers into memory: neither can fail.
    let _ = serde_json::to_writer(&mut *plaintext, &Exposed(fields));
    plaintext
}

/// Whether `text` repeats a secret of these fields, or a telling part of one.
pub(super) fn tells(fields: &[(&'static str, Field<'_>)], text: &str) -> bool {
    fields.iter().flat_map(|(_, field)| field.secrets()).any(|secret| repeats(text, secret.expose_secret()))
}

/// Whether `text` repeats `secret`, or a telling part of it.
pub(super) fn repeats(text: &str, secret: &str) -> bool {
    let secret = secret.trim().as_bytes();
    if secret.is_empty() {
        return false;
    }
    let telling = secret.len().min(TELLING);
    let parts: std::collections::HashSet<&[u8]> = secret.windows(telling).collect();
    text.as_bytes().windows(telling).any(|part| parts.contains(part))
}

/// A secret of `min` to `max` visible ASCII characters for which `rule` has no objection. Blanks
/// around it, as come with copying, are not part of it.
pub(super) fn secret(
    min: usize,
    max: usize,
    rule: impl Fn(&str) -> Result<(), String>,
) -> impl Fn(&Value) -> Result<Option<SecretString>, String> {
    move |value| {
        let text = value
            .as_str()
            .map(str::trim)
            .filter(|text| (min..=max).contains(&text.len()))
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| format!("must be {min} to {max} visible ASCII characters"))?;
        rule(text)?;
        Ok(Some(SecretString::from(text)))
    }
}
