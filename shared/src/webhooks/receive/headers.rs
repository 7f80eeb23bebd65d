//! Headers as they are kept with an event: for people who look for what happened, without what
//! proves who somebody is.

use lambda_http::http::HeaderMap;

use super::Scheme;
use crate::redact::{self, MASK};

/// Headers that are kept at most; the gateway lets in 10 KB of them.
const HEADERS_MAX: usize = 50;
/// Characters of a value.
const VALUE_MAX: usize = 1_000;
/// Parts of the names under which secrets and proofs are sent.
const SECRET_PARTS: &[&str] =
    &["authorization", "cookie", "token", "secret", "password", "key", "signature", "hmac"];

/// The headers to be kept: lower case, in order of their names, secrets and signatures replaced.
pub(in crate::webhooks) fn kept(headers: &HeaderMap, scheme: Option<&Scheme>) -> Vec<(String, String)> {
    let proofs = scheme.map(Scheme::signature_headers).unwrap_or_default();
    let mut kept: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            let name = name.as_str();
            let secret = SECRET_PARTS.iter().any(|part| name.contains(part))
                || proofs.iter().any(|proof| proof.eq_ignore_ascii_case(name))
                || redact::is_secret_name(name);
            let value = String::from_utf8_lossy(value.as_bytes());
            let secret = secret || redact::is_known_secret(&value);
            let value = if secret { MASK.to_owned() } else { value.chars().take(VALUE_MAX).collect() };
            (name.to_owned(), value)
        })
        .collect();
    kept.sort();
    kept.truncate(HEADERS_MAX);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_who_somebody_is_is_not_kept() {
        let long = "x".repeat(VALUE_MAX + 1);
        let key = format!("sk_{}_{}", "live", "a1".repeat(20));
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("Content-Type", "application/json"),
            ("Authorization", "Bearer abc"),
            ("Cookie", "session=abc"),
            ("X-Api-Key", "abc"),
            ("X-Gitlab-Token", "abc"),
            ("X-Hub-Signature", "sha1=abc"),
            ("X-Shopify-Hmac-Sha256", "abc"),
            ("X-Proof", "abc"),
            ("X-Forwarded-Note", &key),
            ("X-Long", &long),
        ] {
            headers.insert(
                lambda_http::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let scheme = Scheme::Token { header: "x-proof".to_owned() };
        let kept = kept(&headers, Some(&scheme));
        let shown: Vec<_> = kept.iter().filter(|(_, value)| value != MASK).collect();
        let names: Vec<_> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type", "x-long"], "{kept:?}");
        assert_eq!(shown[1].1.len(), VALUE_MAX);
        assert_eq!(kept.len(), 10, "that they were there is told");
    }

    #[test]
    fn there_are_not_more_than_a_row_can_hold() {
        let mut headers = HeaderMap::new();
        for number in 0..100 {
            let name = format!("x-{number}").parse::<lambda_http::http::HeaderName>().unwrap();
            headers.insert(name, "x".parse().unwrap());
        }
        assert_eq!(kept(&headers, None).len(), HEADERS_MAX);
    }
}
