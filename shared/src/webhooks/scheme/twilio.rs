//! Twilio: `X-Twilio-Signature`, the HMAC of the URL with the form's fields, sorted, each name
//! followed by its value. Of any other body the URL has the hash, as `bodySHA256`.
//!
//! This is Twilio's rule with its limits: `a=b` and `ab=` are the same to it.

use std::{borrow::Cow, collections::BTreeSet};

use base64::Engine;
use form_urlencoded::parse;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{
    Cause, Incoming,
    claim::{BASE64, Claim, Message, readable, tag, unbase64},
    hmac::{self, Algorithm},
};
use crate::{id, word::words};

pub(super) const HEADER: &str = "x-twilio-signature";

words! {
    /// The hashes that Twilio signs with.
    TwilioAlgorithm {
        /// Under the account's token.
        Sha1 = "sha1",
        /// Under a shared key.
        Sha256 = "sha256",
    }
}

impl From<TwilioAlgorithm> for Algorithm {
    fn from(algorithm: TwilioAlgorithm) -> Self {
        match algorithm {
            TwilioAlgorithm::Sha1 => Self::Sha1,
            TwilioAlgorithm::Sha256 => Self::Sha256,
        }
    }
}

pub(super) fn claim<'a>(algorithm: TwilioAlgorithm, incoming: &Incoming<'a>) -> Result<Claim<'a>, Cause> {
    let text = incoming.header(HEADER)?;
    let signatures = readable([text].into_iter(), unbase64, Algorithm::from(algorithm).length());
    if signatures.is_empty() {
        return Err(Cause::MalformedHeader);
    }
    let fields = fields(incoming.url, incoming.body).ok_or(Cause::Mismatch)?;
    // Its servers are of two minds about the port.
    let message = |url: String| [vec![url.into_bytes().into()], fields.clone()].concat();
    let urls = [Some(incoming.url.to_owned()), with_port(incoming.url), without_port(incoming.url)];
    Ok(Claim { signatures, signed_at: None, messages: urls.into_iter().flatten().map(message).collect() })
}

pub(super) fn sign(
    algorithm: TwilioAlgorithm,
    url: &str,
    body: &[u8],
    secret: &SecretString,
) -> Option<Vec<(String, String)>> {
    let message = [vec![Cow::from(url.as_bytes())], fields(url, body)?].concat();
    let signature = tag(&hmac::key(algorithm.into(), secret)?, &message);
    Some(vec![(HEADER.to_owned(), BASE64.encode(signature))])
}

/// What is signed after the URL; none if the URL has the hash of another body.
fn fields<'a>(url: &str, body: &[u8]) -> Option<Message<'a>> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let hash = parse(query.as_bytes()).find(|(name, _)| name == "bodySHA256").map(|(_, value)| value);
    match hash {
        Some(hash) => (hash == id::hex(&Sha256::digest(body))).then(Vec::new),
        None => Some(form(body)),
    }
}

/// Names and values, sorted, each pair once. Decoded to bytes: to text, all that is not UTF-8 would
/// become the same character, and a changed byte pass.
fn form<'a>(body: &[u8]) -> Message<'a> {
    let pieces = body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let pairs: BTreeSet<_> = pieces
        .map(|piece| {
            let at = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
            (decoded(&piece[..at]), decoded(piece.get(at + 1..).unwrap_or_default()))
        })
        .collect();
    pairs.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect()
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<_> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_encoding::percent_decode(&spaced).collect()
}

/// The URL with its protocol's own port, where it has none.
fn with_port(url: &str) -> Option<String> {
    let (protocol, host, rest) = parts(url)?;
    let port = if protocol == "https" { 443 } else { 80 };
    (!has_port(host)).then(|| format!("{protocol}://{host}:{port}{rest}"))
}

/// The URL without its port, where it has one.
fn without_port(url: &str) -> Option<String> {
    let (protocol, host, rest) = parts(url)?;
    let (name, _) = host.rsplit_once(':').filter(|_| has_port(host))?;
    Some(format!("{protocol}://{name}{rest}"))
}

fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let (protocol, rest) = url.split_once("://")?;
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((protocol, host, rest))
}

/// The colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}
