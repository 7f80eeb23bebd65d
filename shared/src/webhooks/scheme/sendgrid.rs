//! `SendGrid`: `X-Twilio-Email-Event-Webhook-Signature`, the ECDSA P-256 signature (DER, base64) of
//! time and body, joined by nothing. What we hold is the public key: nobody can sign with it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::{
    Cause, Incoming,
    claim::{Claim, unbase64, unix_seconds},
};

pub(super) const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// `SendGrid` repeats for 24 hours and does not say that it signs each attempt anew; its libraries
/// look at no time at all.
pub(super) const TOLERANCE: TimeDelta = TimeDelta::hours(25);

/// Whether `secret` is a public key of P-256: its SPKI in base64, as `SendGrid` shows it, or PEM.
#[must_use]
pub fn is_key(secret: &SecretString) -> bool {
    key(secret).is_some()
}

fn key(secret: &SecretString) -> Option<ParsedPublicKey> {
    let lines = secret.expose_secret().lines().filter(|line| !line.starts_with("-----"));
    let der = unbase64(&lines.flat_map(str::split_ascii_whitespace).collect::<String>())?;
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der).ok()
}

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Cause> {
    let signature = unbase64(incoming.header(SIGNATURE)?).ok_or(Cause::MalformedHeader)?;
    let time = incoming.companion(TIMESTAMP)?;
    let message = vec![time.as_bytes().into(), incoming.body.into()];
    Claim::new(vec![signature], Some(unix_seconds(time)?), message)
}

pub(super) fn proves(secret: &SecretString, claim: &Claim<'_>) -> bool {
    let Some(key) = key(secret) else { return false };
    let signed = |message: &[u8]| claim.signatures.iter().any(|one| key.verify_sig(message, one).is_ok());
    claim.messages.iter().any(|message| signed(&message.concat()))
}
