//! What a delivery says it is: its provider's id of it, by which it is stored once, and its type.
//!
//! Both are only names. What cannot be read has no type, and is told apart by its bytes.

use chrono::{DateTime, Utc};
use lambda_http::http::HeaderMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Incoming, Scheme, Source};
use crate::id;

/// Characters of a provider's id; longer ones are told apart by their hash.
const ID_MAX: usize = 255;
/// Characters of a type.
const KIND_MAX: usize = 100;
/// Headers in which services name a delivery, the same each time they repeat it. Those that name
/// the sender's configuration, or each attempt, are none of them.
const ID_HEADERS: &[&str] = &[
    "webhook-id",
    "svix-id",
    "x-github-delivery",
    "x-shopify-webhook-id",
    "shopify-webhook-id",
    "x-gitlab-event-uuid",
    "linear-delivery",
    "x-delivery-id",
    "x-event-id",
    "idempotency-key",
];
/// Headers in which they say what happened.
const KIND_HEADERS: &[&str] = &[
    "x-github-event",
    "x-shopify-topic",
    "shopify-topic",
    "x-gitlab-event",
    "linear-event",
    "x-event-type",
    "x-event-key",
    "x-event-name",
];

/// Where a delivery says what it is.
#[derive(Debug, Clone, Copy, Default)]
pub enum Naming<'a> {
    /// Where those of its source or scheme say it.
    #[default]
    Usual,
    /// In these headers, if they are given and there.
    Headers {
        /// Of its id.
        id: Option<&'a str>,
        /// Of its type.
        kind: Option<&'a str>,
    },
    /// It was read already.
    Known {
        /// Its id.
        id: &'a str,
        /// Its type.
        kind: &'a str,
    },
}

/// What a delivery says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What happened, in the provider's words; empty if it does not say.
    pub kind: String,
    /// The provider's id of it, or what stands for one.
    pub provider_id: String,
}

/// Members in which bodies say it. Others, and what is no text, do no harm.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "text")]
    id: Option<String>,
    #[serde(default, rename = "type", deserialize_with = "text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "text")]
    event_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    event: Option<String>,
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().map(str::to_owned))
}

impl Envelope {
    /// Reads what a delivery says of itself.
    #[must_use]
    pub fn read(
        source: Source,
        scheme: Option<&Scheme>,
        naming: &Naming<'_>,
        incoming: &Incoming<'_>,
        now: DateTime<Utc>,
    ) -> Self {
        let Incoming { headers, body, .. } = incoming;
        let header = |name: &str| text_of(headers, name);
        let first = |names: &[&str]| names.iter().find_map(|name| header(name));
        let named = || serde_json::from_slice::<Named>(body).unwrap_or_default();
        let (id, kind) = match (source, scheme) {
            (Source::Stripe, _) => {
                let named = named();
                (named.id, named.kind)
            }
            (Source::Github, _) => (header("x-github-delivery"), header("x-github-event")),
            (Source::Shopify, _) => (
                first(&["x-shopify-webhook-id", "shopify-webhook-id"]),
                first(&["x-shopify-topic", "shopify-topic"]),
            ),
            (_, Some(Scheme::Twilio { .. })) => of_twilio(body),
            // A list of events; the same bytes are the same list.
            (_, Some(Scheme::Sendgrid)) => (Some(of_bytes(&[body])), None),
            (_, Some(Scheme::StandardWebhooks)) => (first(&["webhook-id", "svix-id"]), named().kind),
            _ => {
                let named = named();
                (first(ID_HEADERS), first(KIND_HEADERS).or(named.kind).or(named.event_type).or(named.event))
            }
        };
        let (id, kind) = match *naming {
            Naming::Usual => (id, kind),
            Naming::Headers { id: of_id, kind: of_kind } => {
                (of_id.and_then(header).or(id), of_kind.and_then(header).or(kind))
            }
            Naming::Known { id, kind } => (Some(id.to_owned()), Some(kind.to_owned())),
        };
        // Who sends the same bytes without a name on another day means another event.
        let day = now.date_naive().to_string();
        let provider_id = match id.filter(|id| !id.is_empty()) {
            Some(id) if id.chars().count() <= ID_MAX => id,
            Some(id) => of_bytes(&[id.as_bytes()]),
            None => of_bytes(&[body, day.as_bytes()]),
        };
        let printable = |kind: String| kind.chars().filter(|one| !one.is_control()).take(KIND_MAX).collect();
        Self { kind: kind.map(printable).unwrap_or_default(), provider_id }
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// A message or a call, and how it stands: each change is an event.
fn of_twilio(body: &[u8]) -> (Option<String>, Option<String>) {
    let fields: Vec<_> = form_urlencoded::parse(body).collect();
    let field = |name: &str| fields.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_ref());
    for (what, sid, status) in [
        ("message", "MessageSid", "MessageStatus"),
        ("message", "MessageSid", "SmsStatus"),
        ("call", "CallSid", "CallStatus"),
    ] {
        if let (Some(sid), Some(status)) = (field(sid), field(status)) {
            return (Some(format!("{sid}:{status}")), Some(format!("{what}.{status}")));
        }
    }
    (None, None)
}

pub(super) fn of_bytes(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    format!("sha256:{}", id::hex(&digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::scheme::TwilioAlgorithm;

    fn read(
        source: Source,
        scheme: Option<&Scheme>,
        naming: Naming<'_>,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Envelope {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let incoming = Incoming { headers: &headers, url: "", body };
        Envelope::read(source, scheme, &naming, &incoming, "2026-11-21T23:00:00Z".parse().unwrap())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one list of cases")]
    fn every_source_says_in_its_own_way_what_it_sends() {
        let twilio = Scheme::Twilio { algorithm: TwilioAlgorithm::Sha1 };
        let custom = Naming::Headers { id: Some("x-number"), kind: Some("x-what") };
        let known = Naming::Known { id: "1", kind: "deployment" };
        for (case, source, scheme, naming, headers, body, id, kind) in [
            (
                "Stripe",
                Source::Stripe,
                None,
                Naming::Usual,
                &[][..],
                r#"{"id":"evt_1","type":"invoice.paid"}"#,
                "evt_1",
                "invoice.paid",
            ),
            (
                "GitHub",
                Source::Github,
                None,
                Naming::Usual,
                &[("x-github-delivery", "g-1"), ("x-github-event", "push")],
                "payload=%7B%7D",
                "g-1",
                "push",
            ),
            (
                "Shopify",
                Source::Shopify,
                None,
                Naming::Usual,
                &[("x-shopify-webhook-id", "s-1"), ("x-shopify-topic", "orders/paid")],
                "{}",
                "s-1",
                "orders/paid",
            ),
            (
                "Shopify's newer headers",
                Source::Shopify,
                None,
                Naming::Usual,
                &[("shopify-webhook-id", "s-1"), ("shopify-topic", "orders/paid")],
                "{}",
                "s-1",
                "orders/paid",
            ),
            (
                "Twilio",
                Source::Custom,
                Some(&twilio),
                Naming::Usual,
                &[],
                "MessageSid=SM1&MessageStatus=sent",
                "SM1:sent",
                "message.sent",
            ),
            (
                "a call",
                Source::Custom,
                Some(&twilio),
                Naming::Usual,
                &[],
                "CallSid=CA1&CallStatus=ringing",
                "CA1:ringing",
                "call.ringing",
            ),
            (
                "Standard Webhooks",
                Source::Custom,
                Some(&Scheme::StandardWebhooks),
                Naming::Usual,
                &[("svix-id", "msg_1")],
                r#"{"type":"a.b"}"#,
                "msg_1",
                "a.b",
            ),
            (
                "by custom headers",
                Source::Custom,
                None,
                custom,
                &[("x-number", "7"), ("x-what", "made"), ("webhook-id", "8")],
                "",
                "7",
                "made",
            ),
            (
                "without the custom headers",
                Source::Custom,
                None,
                custom,
                &[("webhook-id", "8")],
                r#"{"event":"made"}"#,
                "8",
                "made",
            ),
            ("known", Source::Devops, None, known, &[("idempotency-key", "8")], "{}", "1", "deployment"),
            (
                "types that are no text",
                Source::Custom,
                None,
                Naming::Usual,
                &[("x-event-id", "9")],
                r#"{"id":7,"type":{},"event_type":"x"}"#,
                "9",
                "x",
            ),
        ] {
            let read = read(source, scheme, naming, headers, body.as_bytes());
            assert_eq!((read.provider_id.as_str(), read.kind.as_str()), (id, kind), "{case}");
        }
    }

    #[test]
    fn what_says_nothing_is_told_apart_by_its_bytes() {
        let (long, twilio) = ("x".repeat(ID_MAX + 1), Scheme::Twilio { algorithm: TwilioAlgorithm::Sha1 });
        let long = format!(r#"{{"id":"{long}"}}"#);
        for (case, source, scheme, body) in [
            ("empty", Source::Stripe, None, &b""[..]),
            ("not JSON", Source::Stripe, None, b"{"),
            ("not text", Source::Github, None, b"\xff\xfe"),
            ("a list", Source::Stripe, None, b"[]"),
            ("an empty id", Source::Stripe, None, br#"{"id":""}"#),
            ("a long id", Source::Stripe, None, long.as_bytes()),
            ("Twilio without a status", Source::Custom, Some(&twilio), b"MessageSid=SM1"),
            ("SendGrid", Source::Custom, Some(&Scheme::Sendgrid), br#"[{"event":"open"}]"#),
        ] {
            let one = read(source, scheme, Naming::Usual, &[], body);
            assert!(one.provider_id.starts_with("sha256:") && one.provider_id.len() == 71, "{case}: {one:?}");
            assert_eq!(one.kind, "", "{case}");
            assert_eq!(one, read(source, scheme, Naming::Usual, &[], body), "{case}: the same again");
            let other = read(source, scheme, Naming::Usual, &[], b"other");
            assert_ne!(one.provider_id, other.provider_id, "{case}: other bytes");
        }
    }

    #[test]
    fn a_type_can_be_shown() {
        let body = format!("{{\"id\":\"1\",\"type\":\"a\\u0000\\n{}\"}}", "b".repeat(KIND_MAX));
        let kind = read(Source::Stripe, None, Naming::Usual, &[], body.as_bytes()).kind;
        assert_eq!((kind.len(), kind.starts_with("ab")), (KIND_MAX, true), "{kind}");
    }
}
