//! Signature schemes: whether a delivery is from whom it says, and unchanged.
//!
//! Pure rules over the raw bytes, before anything is parsed. Verifying has two steps: a scheme
//! reads the headers into a [`Claim`] (signatures, time, what they are said to be over), which
//! needs no secret; then the claim is proven with each secret that is good, in constant time. Time
//! counts after the signature only: of a message that nobody signed, the time says nothing.
//!
//! What each scheme covers is its provider's choice. All cover the raw body, but for Twilio's,
//! which covers the fields of a form, and a plain token, which covers nothing.

mod altered;
mod claim;
mod hmac;
mod sendgrid;
mod standard;
mod stripe;
#[cfg(test)]
mod tests;
mod twilio;

use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

pub use hmac::{Algorithm, Encoding, HmacScheme};
pub use sendgrid::is_key as is_sendgrid_key;
pub use standard::is_key as is_standard_key;
pub use twilio::TwilioAlgorithm;

use super::Source;
use crate::word::words;
use claim::Claim;

/// A delivery as it came.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Its headers, as they came.
    pub headers: &'a HeaderMap,
    /// The full public URL it was sent to, with its query string; Twilio signs it.
    pub url: &'a str,
    /// The raw body.
    pub body: &'a [u8],
}

/// How a provider proves that a delivery is its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Scheme {
    /// `Stripe-Signature`: HMAC-SHA256 over time and body, under the whole `whsec_…` text.
    Stripe,
    /// `X-Hub-Signature-256`. The older SHA-1 header is not looked at.
    Github,
    /// `X-Shopify-Hmac-Sha256`, or the same without `X-`.
    Shopify,
    /// `X-Twilio-Signature`, over URL and form fields or the body's hash in the URL.
    Twilio {
        /// Pinned: what the delivery says of it is not looked at, so that it cannot choose a weaker
        /// one.
        algorithm: TwilioAlgorithm,
    },
    /// ECDSA over time and body; secrets are public keys.
    Sendgrid,
    /// <https://www.standardwebhooks.com>, with its own headers or Svix's.
    StandardWebhooks,
    /// Any HMAC over the body, with a time or without.
    Hmac(HmacScheme),
    /// The secret itself in a header, as GitLab sends it.
    Token {
        /// The header's name, lower case.
        #[serde(rename = "signature_header")]
        header: String,
    },
}

words! {
    /// Why a delivery was refused.
    Cause {
        /// The header that would hold the signature is absent or empty.
        NoSignature = "no_signature",
        /// The headers of the signature cannot be read.
        MalformedHeader = "malformed_header",
        /// Rightly signed, at another time.
        OutsideTolerance = "outside_tolerance",
        /// No secret gives this signature.
        Mismatch = "mismatch",
        /// The body is larger than what is taken.
        TooLarge = "too_large",
    }
}

words! {
    /// What is probably wrong, where that can be told.
    Hint {
        /// It is signed with a secret that was replaced.
        PreviousSecret = "previous_secret",
        /// It is signed with the secret of another endpoint.
        AnotherEndpoint = "another_endpoint",
        /// The body was rewritten on its way, as by a proxy that parses JSON.
        AlteredBody = "altered_body",
        /// The signature is right: a clock is wrong, or it was under way too long.
        ClockSkew = "clock_skew",
    }
}

/// That a delivery is refused; says nothing that helps to forge one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub cause: Cause,
    /// What is probably wrong.
    pub hint: Option<Hint>,
}

impl From<Cause> for Refused {
    fn from(cause: Cause) -> Self {
        Self { cause, hint: None }
    }
}

impl Scheme {
    /// Its word, as endpoints name it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Github => "github",
            Self::Shopify => "shopify",
            Self::Twilio { .. } => "twilio",
            Self::Sendgrid => "sendgrid",
            Self::StandardWebhooks => "standard-webhooks",
            Self::Hmac(_) => "hmac",
            Self::Token { .. } => "token",
        }
    }

    /// What the `DevOps` route asks for where a shared secret is configured:
    /// `x-devops-signature: sha256=<hex>`.
    #[must_use]
    pub fn devops() -> Self {
        Self::Hmac(HmacScheme::over_body("x-devops-signature", Encoding::Hex, "sha256="))
    }

    /// Whose events come under this scheme.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::Stripe => Source::Stripe,
            Self::Github => Source::Github,
            Self::Shopify => Source::Shopify,
            _ => Source::Custom,
        }
    }

    /// The headers that hold its signatures, lower case.
    #[must_use]
    pub fn signature_headers(&self) -> Vec<&str> {
        match self {
            Self::Stripe => vec![stripe::HEADER],
            Self::Github => vec![hmac::GITHUB],
            Self::Shopify => hmac::SHOPIFY.to_vec(),
            Self::Twilio { .. } => vec![twilio::HEADER],
            Self::Sendgrid => vec![sendgrid::SIGNATURE],
            Self::StandardWebhooks => standard::FAMILIES.map(|family| family.signature).to_vec(),
            Self::Hmac(HmacScheme { header, .. }) | Self::Token { header } => vec![header],
        }
    }

    /// Whether one of `secrets` signed this delivery, and lately.
    pub fn verify<'s>(
        &self,
        incoming: &Incoming<'_>,
        secrets: impl IntoIterator<Item = &'s SecretString>,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let secrets: Vec<_> = secrets.into_iter().collect();
        match self.check(incoming, &secrets) {
            Ok(Some(at)) if (now - at).abs() > self.tolerance() => {
                Err(Refused { cause: Cause::OutsideTolerance, hint: Some(Hint::ClockSkew) })
            }
            Ok(_) => Ok(()),
            Err(Cause::Mismatch) => {
                let altered = altered::earlier_forms(incoming.body)
                    .any(|body| self.check(&Incoming { body: &body, ..*incoming }, &secrets).is_ok());
                Err(Refused { cause: Cause::Mismatch, hint: altered.then_some(Hint::AlteredBody) })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    /// A refusal with what secrets tell that are not good here: the endpoint's `previous` ones and
    /// those of `other` endpoints.
    #[must_use]
    pub fn explain<'s>(
        &self,
        refused: Refused,
        incoming: &Incoming<'_>,
        previous: impl IntoIterator<Item = &'s SecretString>,
        others: impl IntoIterator<Item = &'s SecretString>,
    ) -> Refused {
        if refused.cause != Cause::Mismatch || refused.hint.is_some() {
            return refused;
        }
        let made_by = |secrets: Vec<_>| self.check(incoming, &secrets).is_ok();
        let hint = if made_by(previous.into_iter().collect()) {
            Some(Hint::PreviousSecret)
        } else if made_by(others.into_iter().collect()) {
            Some(Hint::AnotherEndpoint)
        } else {
            None
        };
        Refused { hint, ..refused }
    }

    /// The headers that prove a delivery of `body` to `url`; none where only the provider can sign,
    /// or `secret` is no key. For Twilio, `body` is a form, or the URL has its hash.
    #[must_use]
    pub fn sign(
        &self,
        url: &str,
        body: &[u8],
        id: &str,
        secret: &SecretString,
        now: DateTime<Utc>,
    ) -> Option<HeaderMap> {
        let pairs = match self {
            Self::Stripe => stripe::sign(body, secret, now)?,
            Self::Github => HmacScheme::github().sign(body, secret, now)?,
            Self::Shopify => HmacScheme::shopify(hmac::SHOPIFY[0]).sign(body, secret, now)?,
            Self::Twilio { algorithm } => twilio::sign(*algorithm, url, body, secret)?,
            Self::Sendgrid => return None,
            Self::StandardWebhooks => standard::sign(body, id, secret, now)?,
            Self::Hmac(scheme) => scheme.sign(body, secret, now)?,
            Self::Token { header } => vec![(header.clone(), secret.expose_secret().to_owned())],
        };
        let header = |(name, value): (String, String)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        pairs.into_iter().map(header).collect()
    }

    /// How far from the present a signed time may lie.
    fn tolerance(&self) -> TimeDelta {
        match self {
            Self::Hmac(scheme) => TimeDelta::seconds(scheme.tolerance_seconds.into()),
            Self::Sendgrid => sendgrid::TOLERANCE,
            // Stripe's libraries and the specification of Standard Webhooks say so.
            _ => TimeDelta::minutes(5),
        }
    }

    /// The signed time of a delivery that one of `secrets` signed, if the scheme has one.
    fn check(
        &self,
        incoming: &Incoming<'_>,
        secrets: &[&SecretString],
    ) -> Result<Option<DateTime<Utc>>, Cause> {
        let claim = match self {
            Self::Stripe => stripe::claim(incoming),
            Self::Github => HmacScheme::github().claim(incoming),
            Self::Shopify => HmacScheme::shopify(hmac::shopify_header(incoming)).claim(incoming),
            Self::Twilio { algorithm } => twilio::claim(*algorithm, incoming),
            Self::Sendgrid => sendgrid::claim(incoming),
            Self::StandardWebhooks => standard::claim(incoming),
            Self::Hmac(scheme) => scheme.claim(incoming),
            Self::Token { header } => Claim::of_token(incoming, header),
        }?;
        let proven = secrets.iter().any(|secret| match self {
            Self::Sendgrid => sendgrid::proves(secret, &claim),
            Self::Token { .. } => claim.is_token(secret),
            Self::StandardWebhooks => standard::key(secret).is_some_and(|key| claim.is_tagged(&key)),
            Self::Stripe | Self::Github | Self::Shopify => {
                hmac::key(Algorithm::Sha256, secret).is_some_and(|key| claim.is_tagged(&key))
            }
            Self::Twilio { algorithm } => {
                hmac::key((*algorithm).into(), secret).is_some_and(|key| claim.is_tagged(&key))
            }
            Self::Hmac(scheme) => {
                hmac::key(scheme.algorithm, secret).is_some_and(|key| claim.is_tagged(&key))
            }
        });
        if proven { Ok(claim.signed_at) } else { Err(Cause::Mismatch) }
    }
}
