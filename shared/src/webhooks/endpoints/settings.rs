//! What an endpoint is set to, and how people say it.

use lambda_http::http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::scheme::{Algorithm, Encoding, HmacScheme, Scheme, TwilioAlgorithm};
use crate::{
    fields::{self, Fields, boolean, integer, one_of, text},
    id,
};

/// Characters of a path.
pub(super) const PATH_MAX: usize = 100;
/// The longest time that a delivery may be under way: a day.
const TOLERANCE_MAX: u64 = 86_400;
/// What only some schemes are asked.
const OPTIONS: [&str; 7] = [
    "signature_header",
    "algorithm",
    "encoding",
    "prefix",
    "timestamp_header",
    "signed_content",
    "tolerance_seconds",
];

/// What people set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it receives, after `/webhooks/receive/`.
    pub path: String,
    /// The integration that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integration_id: Option<String>,
    /// How deliveries are signed.
    #[serde(flatten)]
    pub scheme: Scheme,
    /// The header with the event's id, lower case, where the usual ones do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id_header: Option<String>,
    /// The header with what happened, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type_header: Option<String>,
    /// Whether deliveries must be signed.
    pub verify_signature: bool,
    /// Whether it receives.
    pub active: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum Kind {
    #[default]
    Stripe,
    Github,
    Shopify,
    Twilio,
    Sendgrid,
    StandardWebhooks,
    Hmac,
    Token,
}

/// The schemes by their words.
const KINDS: &[(&str, Kind)] = &[
    ("stripe", Kind::Stripe),
    ("github", Kind::Github),
    ("shopify", Kind::Shopify),
    ("twilio", Kind::Twilio),
    ("sendgrid", Kind::Sendgrid),
    ("standard-webhooks", Kind::StandardWebhooks),
    ("hmac", Kind::Hmac),
    ("token", Kind::Token),
];

impl Settings {
    /// Reads what an endpoint is to be; what is wrong is noted in `fields`. Without a path it gets
    /// one that nobody guesses.
    pub(super) fn read(fields: &mut Fields) -> Self {
        let kind = fields.required("scheme", one_of(KINDS));
        let scheme = if fields.is_good("scheme") { scheme(fields, kind) } else { ignored(fields) };
        Self {
            name: fields.required("name", text(1, 100)),
            description: fields.optional("description", text(0, 500)).filter(|text| !text.is_empty()),
            path: fields.optional("path", path).unwrap_or_else(|| id::random(24).to_ascii_lowercase()),
            integration_id: fields.optional("integration_id", fields::id),
            scheme,
            event_id_header: fields.optional("event_id_header", header),
            event_type_header: fields.optional("event_type_header", header),
            verify_signature: fields.optional("verify_signature", boolean).unwrap_or(true),
            active: fields.optional("active", boolean).unwrap_or(true),
        }
    }

    /// What [`Self::read`] is given to get this with some fields replaced; null removes one.
    pub(super) fn overlaid(&self, patch: Map<String, Value>) -> Fields {
        let Ok(Value::Object(mut map)) = serde_json::to_value(self) else { return Fields::default() };
        let replaced = |name: &str| patch.contains_key(name);
        if patch.get("scheme").is_some_and(|word| *word != self.scheme.word()) {
            // They belong to the other scheme.
            map.retain(|name, _| !OPTIONS.contains(&name.as_str()));
        }
        let usual = [HmacScheme::BODY, HmacScheme::TIMESTAMP_AND_BODY];
        let is_usual =
            map.get("signed_content").is_some_and(|content| usual.iter().any(|one| content == one));
        if replaced("timestamp_header") && is_usual {
            // It follows from whether there is a time.
            map.remove("signed_content");
        }
        map.extend(patch);
        Fields::from(map)
    }

    /// The names of what differs.
    pub(super) fn changed(&self, other: &Self) -> Vec<String> {
        let [Ok(Value::Object(before)), Ok(Value::Object(after))] = [self, other].map(serde_json::to_value)
        else {
            return Vec::new();
        };
        let mut names: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
        names.sort();
        names.dedup();
        names.retain(|name| before.get(name) != after.get(name));
        names
    }
}

fn scheme(fields: &mut Fields, kind: Kind) -> Scheme {
    let scheme = match kind {
        Kind::Stripe => Scheme::Stripe,
        Kind::Github => Scheme::Github,
        Kind::Shopify => Scheme::Shopify,
        Kind::Sendgrid => Scheme::Sendgrid,
        Kind::StandardWebhooks => Scheme::StandardWebhooks,
        Kind::Twilio => Scheme::Twilio {
            algorithm: fields.optional("algorithm", one_of(TwilioAlgorithm::WORDS)).unwrap_or_default(),
        },
        Kind::Token => Scheme::Token { header: fields.required("signature_header", header) },
        Kind::Hmac => Scheme::Hmac(hmac(fields)),
    };
    for name in OPTIONS {
        fields.optional::<()>(name, |_| Err(format!("is not for the scheme {}", scheme.word())));
    }
    scheme
}

/// Of which scheme they are was not understood, so nothing can be said of these.
fn ignored(fields: &mut Fields) -> Scheme {
    for name in OPTIONS {
        fields.optional(name, |_| Ok(()));
    }
    Scheme::Stripe
}

fn hmac(fields: &mut Fields) -> HmacScheme {
    let timestamp_header = fields.optional("timestamp_header", header);
    let timed = timestamp_header.is_some() || !fields.is_good("timestamp_header");
    let usual = if timed { HmacScheme::TIMESTAMP_AND_BODY } else { HmacScheme::BODY };
    let signed_content = fields.optional("signed_content", content);
    let told_timed = signed_content.as_ref().map_or(timed, |text| text.contains("{timestamp}"));
    if timed && !told_timed {
        fields.refuse("signed_content", "must contain {timestamp}: a time that is not signed proves nothing");
    }
    if !timed && told_timed {
        fields.refuse("timestamp_header", "is required where signed_content contains {timestamp}");
    }
    let seconds = fields.optional("tolerance_seconds", integer(1, TOLERANCE_MAX));
    HmacScheme {
        header: fields.required("signature_header", header),
        algorithm: fields.optional("algorithm", one_of(Algorithm::WORDS)).unwrap_or_default(),
        encoding: fields.optional("encoding", one_of(Encoding::WORDS)).unwrap_or_default(),
        prefix: fields.optional("prefix", text(0, 32)).unwrap_or_default(),
        timestamp_header,
        signed_content: signed_content.unwrap_or_else(|| usual.to_owned()),
        tolerance_seconds: seconds
            .and_then(|seconds| u32::try_from(seconds).ok())
            .unwrap_or(HmacScheme::TOLERANCE_SECONDS),
    }
}

/// The name of a header, in whatever case; kept lower.
fn header(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .filter(|name| name.len() <= PATH_MAX)
        .and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .map(|name| name.as_str().to_owned())
        .ok_or_else(|| "must be the name of a header".to_owned())
}

fn content(value: &Value) -> Result<String, String> {
    let content = text(1, 100)(value)?;
    let once = content.matches(HmacScheme::BODY).count() == 1;
    if once { Ok(content) } else { Err("must contain {body} once".to_owned()) }
}

/// One or more parts of small letters, digits, `-` and `_`, joined by `/`.
fn path(value: &Value) -> Result<String, String> {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    value
        .as_str()
        .filter(|path| path.len() <= PATH_MAX && path.split('/').all(part))
        .map(str::to_owned)
        .ok_or_else(|| {
            format!("must be 1 to {PATH_MAX} of a-z, 0-9, - and _, in parts that are separated by /")
        })
}
