//! Stripe: `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=…][,v0=…]`, the HMAC-SHA256 of
//! `<t>.<body>`. While a secret is rolled there is a `v1` of each; `v0` is of no use.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::{
    Cause, Incoming,
    claim::{Claim, Message, readable, tag, unhex, unix_seconds},
    hmac::{self, Algorithm},
};
use crate::id;

pub(super) const HEADER: &str = "stripe-signature";

pub(super) fn claim<'a>(incoming: &Incoming<'a>) -> Result<Claim<'a>, Cause> {
    let pairs = incoming.header(HEADER)?.split(',').filter_map(|pair| pair.trim().split_once('='));
    let named = |name| pairs.clone().filter(move |pair| pair.0 == name).map(|pair| pair.1);
    let mut times = named("t");
    let (Some(time), None) = (times.next(), times.next()) else { return Err(Cause::MalformedHeader) };
    let signatures = readable(named("v1"), unhex, Algorithm::Sha256.length());
    Claim::new(signatures, Some(unix_seconds(time)?), message(time, incoming.body))
}

pub(super) fn sign(body: &[u8], secret: &SecretString, now: DateTime<Utc>) -> Option<Vec<(String, String)>> {
    let time = now.timestamp().to_string();
    let key = hmac::key(Algorithm::Sha256, secret)?;
    let signature = id::hex(tag(&key, &message(&time, body)).as_ref());
    Some(vec![(HEADER.to_owned(), format!("t={time},v1={signature}"))])
}

fn message<'a>(time: &'a str, body: &'a [u8]) -> Message<'a> {
    vec![time.as_bytes().into(), b".".into(), body.into()]
}
