//! Standard Webhooks: `webhook-signature: v1,<base64> [v1,<base64> …]`, the HMAC-SHA256 of
//! `<id>.<unix seconds>.<body>` under the bytes that `whsec_<base64>` stands for. Svix, where it
//! comes from, names the headers after itself.

use aws_lc_rs::hmac;
use base64::Engine;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::{
    Cause, Incoming,
    claim::{BASE64, Claim, Message, readable, tag, unbase64, unix_seconds},
    hmac::Algorithm,
};

/// The specification asks for 24 to 64 bytes. Libraries take shorter ones, one of them even none;
/// a longer one is no weaker.
const LEAST: usize = 24;

/// The headers of one sender.
pub(super) struct Family {
    pub(super) id: &'static str,
    pub(super) timestamp: &'static str,
    pub(super) signature: &'static str,
}

pub(super) const FAMILIES: [Family; 2] = [
    Family { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" },
    Family { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" },
];

/// Whether `secret` is a key: `whsec_` or nothing, then base64 of at least 24 bytes.
#[must_use]
pub fn is_key(secret: &SecretString) -> bool {
    key(secret).is_some()
}

pub(super) fn key(secret: &SecretString) -> Option<hmac::Key> {
    let text = secret.expose_secret();
    let bytes = Zeroizing::new(unbase64(text.strip_prefix("whsec_").unwrap_or(text))?);
    (bytes.len() >= LEAST).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Cause> {
    let [standard, svix] = FAMILIES;
    let is_svix =
        !incoming.headers.contains_key(standard.signature) && incoming.headers.contains_key(svix.signature);
    let family = if is_svix { svix } else { standard };
    let texts = incoming.header(family.signature)?.split(' ').filter_map(|text| text.strip_prefix("v1,"));
    let signatures = readable(texts, unbase64, Algorithm::Sha256.length());
    let time = incoming.companion(family.timestamp)?;
    let message = message(incoming.companion(family.id)?, time, incoming.body);
    Claim::new(signatures, Some(unix_seconds(time)?), message)
}

pub(super) fn sign(
    body: &[u8],
    id: &str,
    secret: &SecretString,
    now: DateTime<Utc>,
) -> Option<Vec<(String, String)>> {
    let time = now.timestamp().to_string();
    let signature = BASE64.encode(tag(&key(secret)?, &message(id, &time, body)));
    let [Family { id: id_header, timestamp, signature: signature_header }, _] = FAMILIES;
    let pairs =
        [(id_header, id.to_owned()), (timestamp, time), (signature_header, format!("v1,{signature}"))];
    Some(pairs.map(|(name, value)| (name.to_owned(), value)).into())
}

fn message<'a>(id: &'a str, time: &'a str, body: &'a [u8]) -> Message<'a> {
    vec![id.as_bytes().into(), b".".into(), time.as_bytes().into(), b".".into(), body.into()]
}
