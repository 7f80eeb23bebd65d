//! An HMAC over the body, in a header: GitHub, Shopify and most others.

use aws_lc_rs::hmac;
use base64::Engine;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    Cause, Incoming,
    claim::{BASE64, Claim, Message, readable, tag, unbase64, unhex, unix_seconds},
};
use crate::{id, word::words};

pub(super) const GITHUB: &str = "x-hub-signature-256";
/// Of webhooks, and of what Shopify calls Events.
pub(super) const SHOPIFY: [&str; 2] = ["x-shopify-hmac-sha256", "shopify-hmac-sha256"];

words! {
    /// The hash of an HMAC.
    Algorithm {
        /// What to choose.
        Sha256 = "sha256",
        /// For providers that know nothing better.
        Sha1 = "sha1",
        /// Longer.
        Sha384 = "sha384",
        /// Longest.
        Sha512 = "sha512",
    }
}

words! {
    /// How a signature is written.
    Encoding {
        /// Hexadecimal digits, of either case.
        Hex = "hex",
        /// Base64, with padding or without.
        Base64 = "base64",
    }
}

/// Where a signature is and what it is over. One header may hold several, separated by commas or
/// spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HmacScheme {
    /// The header's name, lower case.
    #[serde(rename = "signature_header")]
    pub header: String,
    /// Its hash.
    pub algorithm: Algorithm,
    /// How it is written.
    pub encoding: Encoding,
    /// What stands before it, such as `sha256=`; often empty.
    #[serde(default)]
    pub prefix: String,
    /// The header with the signed time, lower case: seconds or milliseconds since 1970, or RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// What is signed: text with `{body}` and, where there is a time, `{timestamp}`.
    pub signed_content: String,
    /// How far from the present the time may lie.
    pub tolerance_seconds: u32,
}

impl Algorithm {
    /// Bytes of a signature.
    pub(super) fn length(self) -> usize {
        hmac::Algorithm::from(self).tag_len()
    }
}

impl From<Algorithm> for hmac::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// The key that a secret's text is; none of an empty one, under which everybody can sign.
pub(super) fn key(algorithm: Algorithm, secret: &SecretString) -> Option<hmac::Key> {
    let secret = secret.expose_secret();
    (!secret.is_empty()).then(|| hmac::Key::new(algorithm.into(), secret.as_bytes()))
}

/// The header of the family that this delivery has.
pub(super) fn shopify_header(incoming: &Incoming<'_>) -> &'static str {
    let [webhooks, events] = SHOPIFY;
    let is_event = !incoming.headers.contains_key(webhooks) && incoming.headers.contains_key(events);
    if is_event { events } else { webhooks }
}

impl HmacScheme {
    /// What is signed where there is no time.
    pub const BODY: &str = "{body}";
    /// What is signed where there is one, unless told otherwise.
    pub const TIMESTAMP_AND_BODY: &str = "{timestamp}.{body}";
    /// How far from the present a time may lie, unless told otherwise.
    pub const TOLERANCE_SECONDS: u32 = 300;

    /// HMAC-SHA256 over the body alone.
    #[must_use]
    pub fn over_body(header: &str, encoding: Encoding, prefix: &str) -> Self {
        Self {
            header: header.to_owned(),
            algorithm: Algorithm::Sha256,
            encoding,
            prefix: prefix.to_owned(),
            timestamp_header: None,
            signed_content: Self::BODY.to_owned(),
            tolerance_seconds: Self::TOLERANCE_SECONDS,
        }
    }

    pub(super) fn github() -> Self {
        Self::over_body(GITHUB, Encoding::Hex, "sha256=")
    }

    pub(super) fn shopify(header: &str) -> Self {
        Self::over_body(header, Encoding::Base64, "")
    }

    pub(super) fn claim<'a>(&self, incoming: &Incoming<'a>) -> Result<Claim<'a>, Cause> {
        let separates = |sign: char| matches!(sign, ',' | ' ') && !self.prefix.contains(sign);
        let texts = incoming.header(&self.header)?.split(separates);
        let texts = texts.filter_map(|text| text.strip_prefix(self.prefix.as_str()));
        let read = match self.encoding {
            Encoding::Hex => unhex,
            Encoding::Base64 => unbase64,
        };
        let signatures = readable(texts, read, self.algorithm.length());
        let time = self.timestamp_header.as_ref().map(|name| incoming.companion(name)).transpose()?;
        Claim::new(signatures, time.map(moment).transpose()?, self.message(time, incoming.body))
    }

    pub(super) fn sign(
        &self,
        body: &[u8],
        secret: &SecretString,
        now: DateTime<Utc>,
    ) -> Option<Vec<(String, String)>> {
        let time = now.timestamp().to_string();
        let timestamp = self.timestamp_header.as_ref().map(|name| (name.clone(), time.clone()));
        let message = self.message(timestamp.as_ref().map(|_| time.as_str()), body);
        let tag = tag(&key(self.algorithm, secret)?, &message);
        let signature = match self.encoding {
            Encoding::Hex => id::hex(tag.as_ref()),
            Encoding::Base64 => BASE64.encode(tag.as_ref()),
        };
        let signature = (self.header.clone(), format!("{}{signature}", self.prefix));
        Some([Some(signature), timestamp].into_iter().flatten().collect())
    }

    /// The signed content; the body is part of it whatever the template says.
    fn message<'a>(&self, time: Option<&str>, body: &'a [u8]) -> Message<'a> {
        let (before, after) =
            self.signed_content.split_once(Self::BODY).unwrap_or((&self.signed_content, ""));
        let around = |text: &str| text.replace("{timestamp}", time.unwrap_or_default()).into_bytes().into();
        vec![around(before), body.into(), around(after)]
    }
}

/// A time in any of the forms that services write.
fn moment(text: &str) -> Result<DateTime<Utc>, Cause> {
    /// The year 5138 in seconds, and 1973 in milliseconds.
    const MILLISECONDS_FROM: i64 = 100_000_000_000;
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    match text.parse() {
        Ok(number @ MILLISECONDS_FROM..) => {
            DateTime::from_timestamp_millis(number).ok_or(Cause::MalformedHeader)
        }
        _ => unix_seconds(text),
    }
}
