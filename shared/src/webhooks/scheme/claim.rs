//! What a delivery says of itself, read before any secret is used.

use std::borrow::Cow;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{Cause, Incoming};

/// Base64 as senders write it, with padding or without. Bits left over must be zero: of each
/// signature only one spelling is right.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What may have been signed, in pieces that are joined: bodies are large and not copied.
pub(super) type Message<'a> = Vec<Cow<'a, [u8]>>;

/// What a delivery claims.
pub(super) struct Claim<'a> {
    /// The signatures it carries; one of them has to be right.
    pub(super) signatures: Vec<Vec<u8>>,
    /// When it was signed, as the signed text says.
    pub(super) signed_at: Option<DateTime<Utc>>,
    /// What they are over; one of these.
    pub(super) messages: Vec<Message<'a>>,
}

impl<'a> Claim<'a> {
    /// A claim of one message. Signatures that could not be read are no signatures.
    pub(super) fn new(
        signatures: Vec<Vec<u8>>,
        signed_at: Option<DateTime<Utc>>,
        message: Message<'a>,
    ) -> Result<Self, Cause> {
        if signatures.is_empty() {
            return Err(Cause::MalformedHeader);
        }
        Ok(Self { signatures, signed_at, messages: vec![message] })
    }

    /// A header that holds the secret itself.
    pub(super) fn of_token(incoming: &Incoming<'a>, header: &str) -> Result<Self, Cause> {
        Self::new(vec![incoming.header(header)?.as_bytes().to_vec()], None, Vec::new())
    }

    /// Whether a signature is this secret.
    pub(super) fn is_token(&self, secret: &SecretString) -> bool {
        let secret = secret.expose_secret().as_bytes();
        let is_secret = |token: &Vec<u8>| verify_slices_are_equal(secret, token).is_ok();
        !secret.is_empty() && self.signatures.iter().any(is_secret)
    }

    /// Whether a signature is this key's HMAC of a message.
    pub(super) fn is_tagged(&self, key: &hmac::Key) -> bool {
        self.messages.iter().any(|message| {
            let tag = tag(key, message);
            self.signatures.iter().any(|one| verify_slices_are_equal(tag.as_ref(), one).is_ok())
        })
    }
}

/// A message's HMAC.
pub(super) fn tag(key: &hmac::Key, message: &Message<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for piece in message {
        context.update(piece);
    }
    context.sign()
}

impl<'a> Incoming<'a> {
    /// The value of a header that has to be there once.
    pub(super) fn header(&self, name: &str) -> Result<&'a str, Cause> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().filter(|value| !value.is_empty()).ok_or(Cause::NoSignature)?;
        match (value.to_str(), values.next()) {
            (Ok(text), None) => Ok(text.trim()),
            _ => Err(Cause::MalformedHeader),
        }
    }

    /// The value of a header that goes with the signature: without it there is nothing to verify.
    pub(super) fn companion(&self, name: &str) -> Result<&'a str, Cause> {
        self.header(name).map_err(|_| Cause::MalformedHeader)
    }
}

/// The signatures among `texts` that are readable and as long as they must be.
pub(super) fn readable<'t>(
    texts: impl Iterator<Item = &'t str>,
    read: impl Fn(&str) -> Option<Vec<u8>>,
    length: usize,
) -> Vec<Vec<u8>> {
    texts.filter_map(read).filter(|bytes| bytes.len() == length).collect()
}

/// A time in whole seconds since 1970.
pub(super) fn unix_seconds(text: &str) -> Result<DateTime<Utc>, Cause> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if digits { text.parse().ok() } else { None };
    seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).ok_or(Cause::MalformedHeader)
}

/// Hexadecimal of one case: of each signature two spellings are right, not millions.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let mixed = text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase());
    if mixed || !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Base64, as [`BASE64`] takes it.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}
