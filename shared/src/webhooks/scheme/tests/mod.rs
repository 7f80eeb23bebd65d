//! What providers publish, what each kind of tampering is called, and what can be told of it.

mod vectors;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::id;

const URL: &str = "https://hooks.example.com/webhooks/receive/a?b=c%20d";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// A signer of a scheme, with a fresh secret.
struct Signer {
    scheme: Scheme,
    secret: SecretString,
    sendgrid: Option<EcdsaKeyPair>,
    url: String,
    body: Vec<u8>,
}

impl Signer {
    fn new(scheme: Scheme, body: &[u8]) -> Self {
        let sendgrid = matches!(scheme, Scheme::Sendgrid)
            .then(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
        let secret = match &sendgrid {
            Some(key) => {
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
                BASE64_STANDARD.encode(der.as_ref())
            }
            None => format!("whsec_{}", BASE64_STANDARD.encode(id::random(24))),
        };
        Self { scheme, secret: secret.into(), sendgrid, url: URL.to_owned(), body: body.to_vec() }
    }

    fn sign(&self, now: DateTime<Utc>) -> HeaderMap {
        let Some(key) = &self.sendgrid else {
            return self.scheme.sign(&self.url, &self.body, "msg_1", &self.secret, now).unwrap();
        };
        let time = now.timestamp().to_string();
        let message = [time.as_bytes(), &self.body].concat();
        let signature = BASE64_STANDARD.encode(key.sign(&SystemRandom::new(), &message).unwrap());
        headers(&[
            ("x-twilio-email-event-webhook-signature", &signature),
            ("x-twilio-email-event-webhook-timestamp", &time),
        ])
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<(), Refused> {
        self.scheme.verify(&Incoming { headers, url: &self.url, body }, [&self.secret], now)
    }
}

fn timed(signed_content: &str, prefix: &str) -> Scheme {
    Scheme::Hmac(HmacScheme {
        timestamp_header: Some("x-time".to_owned()),
        signed_content: signed_content.to_owned(),
        ..HmacScheme::over_body("x-signature", Encoding::Hex, prefix)
    })
}

fn over_body(algorithm: Algorithm, encoding: Encoding) -> Scheme {
    Scheme::Hmac(HmacScheme { algorithm, ..HmacScheme::over_body("x-signature", encoding, "") })
}

/// Every scheme, and each way in which the configurable one differs.
fn schemes() -> Vec<Scheme> {
    vec![
        Scheme::Stripe,
        Scheme::Github,
        Scheme::Shopify,
        Scheme::Twilio { algorithm: TwilioAlgorithm::Sha1 },
        Scheme::Twilio { algorithm: TwilioAlgorithm::Sha256 },
        Scheme::Sendgrid,
        Scheme::StandardWebhooks,
        Scheme::devops(),
        timed(HmacScheme::TIMESTAMP_AND_BODY, ""),
        timed("v0:{timestamp}:{body}", "v0="),
        timed("{body}|{timestamp}", "HMAC "),
        over_body(Algorithm::Sha1, Encoding::Base64),
        over_body(Algorithm::Sha384, Encoding::Hex),
        over_body(Algorithm::Sha512, Encoding::Base64),
        Scheme::Token { header: "x-gitlab-token".to_owned() },
    ]
}

fn has_time(scheme: &Scheme) -> bool {
    match scheme {
        Scheme::Stripe | Scheme::Sendgrid | Scheme::StandardWebhooks => true,
        Scheme::Hmac(scheme) => scheme.timestamp_header.is_some(),
        _ => false,
    }
}

fn covers_body(scheme: &Scheme) -> bool {
    !matches!(scheme, Scheme::Token { .. })
}

#[test]
fn each_scheme_accepts_what_it_signed_and_says_when_a_time_is_off() {
    let now = at(1_800_000_000);
    for scheme in schemes() {
        for body in [b"".as_slice(), b"a=b&c=%4a", b"{\"a\": 1}\n", b"\xff\x00\xfe"] {
            let signer = Signer::new(scheme.clone(), body);
            let headers = signer.sign(now);
            let tolerance = signer.scheme.tolerance();
            let late = TimeDelta::seconds(1);
            for (case, then, in_time) in [
                ("at once", now, true),
                ("as late as may be", now + tolerance, true),
                ("as early as may be", now - tolerance, true),
                ("late", now + tolerance + late, false),
                ("early", now - tolerance - late, false),
            ] {
                let result = signer.verify(&headers, body, then);
                let skewed = Refused { cause: Cause::OutsideTolerance, hint: Some(Hint::ClockSkew) };
                let expected = if in_time || !has_time(&scheme) { Ok(()) } else { Err(skewed) };
                assert_eq!(result, expected, "{scheme:?}, {case}, {body:?}");
            }
        }
    }
}

#[test]
fn a_header_that_is_absent_is_told_from_one_that_cannot_be_read() {
    let now = at(1_800_000_000);
    let hex = "0".repeat(64);
    let base64 = BASE64_STANDARD.encode([0; 32]);
    for (case, scheme, pairs, cause) in [
        ("nothing", Scheme::Stripe, vec![], Cause::NoSignature),
        ("empty", Scheme::Stripe, vec![("stripe-signature", "")], Cause::NoSignature),
        ("no time", Scheme::Stripe, vec![("stripe-signature", "v1=00")], Cause::MalformedHeader),
        (
            "two times",
            Scheme::Stripe,
            vec![("stripe-signature", &*format!("t=1,t=2,v1={hex}"))],
            Cause::MalformedHeader,
        ),
        (
            "no number",
            Scheme::Stripe,
            vec![("stripe-signature", &*format!("t=-1,v1={hex}"))],
            Cause::MalformedHeader,
        ),
        (
            "no year",
            Scheme::Stripe,
            vec![("stripe-signature", &*format!("t={},v1={hex}", i64::MAX))],
            Cause::MalformedHeader,
        ),
        (
            "only v0",
            Scheme::Stripe,
            vec![("stripe-signature", &*format!("t=1,v0={hex}"))],
            Cause::MalformedHeader,
        ),
        (
            "cut",
            Scheme::Stripe,
            vec![("stripe-signature", &*format!("t=1,v1={}", &hex[2..]))],
            Cause::MalformedHeader,
        ),
        ("SHA-1 only", Scheme::Github, vec![("x-hub-signature", "sha1=00")], Cause::NoSignature),
        ("SHA-1 instead", Scheme::Github, vec![("x-hub-signature-256", "sha1=00")], Cause::MalformedHeader),
        (
            "twice",
            Scheme::Github,
            vec![("x-hub-signature-256", "a"), ("x-hub-signature-256", "b")],
            Cause::MalformedHeader,
        ),
        ("odd", Scheme::Github, vec![("x-hub-signature-256", "sha256=0")], Cause::MalformedHeader),
        ("hexadecimal", Scheme::Shopify, vec![("x-shopify-hmac-sha256", &*hex)], Cause::MalformedHeader),
        ("not base64", Scheme::Shopify, vec![("x-shopify-hmac-sha256", "!")], Cause::MalformedHeader),
        (
            "no id",
            Scheme::StandardWebhooks,
            vec![("webhook-signature", &*format!("v1,{base64}"))],
            Cause::MalformedHeader,
        ),
        (
            "families mixed",
            Scheme::StandardWebhooks,
            vec![("webhook-signature", &*format!("v1,{base64}")), ("svix-id", "1"), ("svix-timestamp", "1")],
            Cause::MalformedHeader,
        ),
        (
            "asymmetric",
            Scheme::StandardWebhooks,
            vec![("webhook-signature", "v1a,00"), ("webhook-id", "1"), ("webhook-timestamp", "1")],
            Cause::MalformedHeader,
        ),
        (
            "other algorithm",
            Scheme::Twilio { algorithm: TwilioAlgorithm::Sha256 },
            vec![("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
            Cause::MalformedHeader,
        ),
        (
            "no time",
            Scheme::Sendgrid,
            vec![("x-twilio-email-event-webhook-signature", &*base64)],
            Cause::MalformedHeader,
        ),
        (
            "no time",
            timed(HmacScheme::TIMESTAMP_AND_BODY, ""),
            vec![("x-signature", &*hex)],
            Cause::MalformedHeader,
        ),
        ("no token", Scheme::Token { header: "x-token".to_owned() }, vec![], Cause::NoSignature),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        let result =
            scheme.verify(&Incoming { headers: &headers, url: URL, body: b"" }, [&"12345".into()], now);
        assert_eq!(result, Err(cause.into()), "{}: {case}", scheme.word());
    }
}

#[test]
fn while_a_secret_is_replaced_either_of_two_signatures_will_do() {
    let now = at(1_800_000_000);
    for (scheme, header, join) in [
        (
            Scheme::Stripe,
            "stripe-signature",
            (|a, b| format!("{a},{}", &b[b.find("v1").unwrap()..])) as fn(&str, &str) -> String,
        ),
        (Scheme::StandardWebhooks, "webhook-signature", |a, b| format!("{a} {b}")),
        (Scheme::devops(), "x-devops-signature", |a, b| format!("{a}, {b}")),
    ] {
        let [old, new] = [(); 2].map(|()| Signer::new(scheme.clone(), b"{}"));
        let mut headers = old.sign(now);
        let [first, second] = [&headers, &new.sign(now)].map(|one| one[header].to_str().unwrap().to_owned());
        headers.insert(header, join(&first, &second).parse().unwrap());
        for (case, signer, expected) in [
            ("old", &old, Ok(())),
            ("new", &new, Ok(())),
            ("neither", &Signer::new(scheme.clone(), b"{}"), Err(Cause::Mismatch.into())),
        ] {
            assert_eq!(signer.verify(&headers, b"{}", now), expected, "{}: {case}", scheme.word());
        }
    }
}

#[test]
fn a_mismatch_says_what_can_be_told_of_it() {
    let now = at(1_800_000_000);
    for scheme in schemes() {
        let [current, previous, other, unknown] = [(); 4].map(|()| Signer::new(scheme.clone(), b"a=b"));
        for (case, signer, hint) in [
            ("previous", &previous, Some(Hint::PreviousSecret)),
            ("another", &other, Some(Hint::AnotherEndpoint)),
            ("unknown", &unknown, None),
        ] {
            let headers = signer.sign(now);
            let incoming = Incoming { headers: &headers, url: URL, body: b"a=b" };
            let refused = scheme.verify(&incoming, [&current.secret], now).unwrap_err();
            let explained = scheme.explain(refused, &incoming, [&previous.secret], [&other.secret]);
            assert_eq!(explained, Refused { cause: Cause::Mismatch, hint }, "{scheme:?}: {case}");
        }
    }
}

#[test]
fn a_body_that_was_rewritten_on_its_way_is_recognised() {
    let now = at(1_800_000_000);
    let compact = r#"{"a":[1,{"b":"c \" {, :","e":"\\"}],"f":[],"g":{},"h":1.50}"#;
    let indented = "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"c \\\" {, :\",\n      \"e\": \"\\\\\"\n    }\n  ],\n  \"f\": [],\n  \"g\": {},\n  \"h\": 1.50\n}";
    let spaced = r#"{"a": [1, {"b": "c \" {, :", "e": "\\"}], "f": [], "g": {}, "h": 1.50}"#;
    for scheme in
        [Scheme::Stripe, Scheme::Github, Scheme::Shopify, Scheme::StandardWebhooks, Scheme::Sendgrid]
    {
        for (case, signed, came, hint) in [
            ("made compact", indented, compact, true),
            ("indented", compact, indented, true),
            ("spaced", compact, spaced, true),
            ("line break lost", "text\n", "text", true),
            ("Windows line break lost", "text\r\n", "text", true),
            ("line break added", "text", "text\n", true),
            ("a number changed", compact, &*compact.replace("1.50", "1.5"), false),
            ("another text", "text", "texts", false),
            ("nothing left", "text", "", false),
            ("brackets without end", compact, &*"[".repeat(100_000), false),
        ] {
            let signer = Signer::new(scheme.clone(), signed.as_bytes());
            let refused = signer.verify(&signer.sign(now), came.as_bytes(), now).unwrap_err();
            let hint = hint.then_some(Hint::AlteredBody);
            assert_eq!(refused, Refused { cause: Cause::Mismatch, hint }, "{}: {case}", scheme.word());
        }
    }
}

#[test]
fn keys_that_everybody_can_guess_open_nothing() {
    let now = at(1_800_000_000);
    for scheme in schemes() {
        for secret in ["", "whsec_", "whsec_c2hvcnQ="] {
            let weak = !matches!(scheme, Scheme::StandardWebhooks | Scheme::Sendgrid) && !secret.is_empty();
            let signed = scheme.sign(URL, b"{}", "msg_1", &secret.into(), now);
            let is_token = matches!(scheme, Scheme::Token { .. });
            assert_eq!(signed.is_some(), weak || is_token, "{scheme:?} {secret:?}");
        }
    }
    let short = SecretString::from(format!("whsec_{}", BASE64_STANDARD.encode([7; 23])));
    let enough = SecretString::from(BASE64_STANDARD.encode([7; 24]));
    assert!(!is_standard_key(&short) && is_standard_key(&enough));
    let key = Signer::new(Scheme::Sendgrid, b"").secret;
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", key.expose_secret());
    assert!(is_sendgrid_key(&key) && is_sendgrid_key(&pem.into()) && !is_sendgrid_key(&enough));
}

#[test]
fn twilio_signs_fields_or_the_hash_of_another_body_and_any_port() {
    let now = at(1_800_000_000);
    let scheme = Scheme::Twilio { algorithm: TwilioAlgorithm::Sha1 };
    let secret = SecretString::from("12345678");
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let with_hash = format!("https://h.example/a?bodySHA256={hash}");
    for (case, signed_url, signed, url, body, accepted) in [
        ("order of fields", "https://h.example/a", "b=2&a=1", "https://h.example/a", "a=1&b=2", true),
        ("field twice", "https://h.example/a", "a=1&a=1&a=0", "https://h.example/a", "a=0&a=1", true),
        ("field added", "https://h.example/a", "a=1", "https://h.example/a", "a=1&b=", false),
        ("port 443", "https://h.example:443/a", "a=1", "https://h.example/a", "a=1", true),
        ("port 80", "http://h.example:80/a", "a=1", "http://h.example/a", "a=1", true),
        ("no port", "https://h.example?x", "a=1", "https://h.example:8443?x", "a=1", true),
        ("no port of IPv6", "http://[::1]/a", "a=1", "http://[::1]:80/a", "a=1", true),
        ("other port", "https://h.example:444/a", "a=1", "https://h.example/a", "a=1", false),
        ("other host", "https://h.example/a", "a=1", "https://i.example/a", "a=1", false),
        ("hash", &*with_hash, "{}", &*with_hash, "{}", true),
        ("hash of another", &*with_hash, "{}", &*with_hash, "[]", false),
        ("JSON without hash", "https://h.example/a", "", "https://h.example/a", "{}", false),
        ("bytes that are no text", "https://h.example/a", "a=%FF", "https://h.example/a", "a=%FE", false),
    ] {
        let headers = scheme.sign(signed_url, signed.as_bytes(), "", &secret, now).unwrap();
        let incoming = Incoming { headers: &headers, url, body: body.as_bytes() };
        assert_eq!(scheme.verify(&incoming, [&secret], now).is_ok(), accepted, "{case}");
    }
}

#[test]
fn a_delivery_cannot_choose_a_weaker_hash() {
    let [strong, weak] =
        [TwilioAlgorithm::Sha256, TwilioAlgorithm::Sha1].map(|algorithm| Scheme::Twilio { algorithm });
    let signer = Signer::new(weak, b"a=b");
    let mut headers = signer.sign(Utc::now());
    headers.insert("x-twilio-webhooks-signature-settings", "key=1,algorithm=HMAC_SHA1".parse().unwrap());
    let incoming = Incoming { headers: &headers, url: URL, body: b"a=b" };
    let refused = strong.verify(&incoming, [&signer.secret], Utc::now());
    assert_eq!(refused, Err(Cause::MalformedHeader.into()));
}

#[test]
fn times_are_read_as_services_write_them() {
    let scheme = timed(HmacScheme::TIMESTAMP_AND_BODY, "");
    let secret = SecretString::from("12345678");
    let now = at(1_800_000_000);
    let Scheme::Hmac(rule) = &scheme else { unreachable!() };
    let untimed = Scheme::Hmac(HmacScheme { timestamp_header: None, ..rule.clone() });
    for (case, time, cause) in [
        ("seconds", "1800000000", None),
        ("milliseconds", "1800000000123", None),
        ("RFC 3339", "2027-01-15T08:00:00Z", None),
        ("RFC 3339 elsewhere", "2027-01-15T10:00:00.5+02:00", None),
        ("an hour ago", "2027-01-15T07:00:00Z", Some(Cause::OutsideTolerance)),
        ("words", "now", Some(Cause::MalformedHeader)),
        ("fraction", "1800000000.5", Some(Cause::MalformedHeader)),
    ] {
        let Scheme::Hmac(mut rule) = untimed.clone() else { unreachable!() };
        rule.signed_content = format!("{time}.{{body}}");
        let mut headers = Scheme::Hmac(rule).sign(URL, b"{}", "", &secret, now).unwrap();
        headers.insert("x-time", time.parse().unwrap());
        let result = scheme.verify(&Incoming { headers: &headers, url: URL, body: b"{}" }, [&secret], now);
        assert_eq!(result.err().map(|refused| refused.cause), cause, "{case}");
    }
}

#[test]
fn a_scheme_reads_back_from_its_row() {
    for scheme in schemes() {
        let item: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue> =
            serde_dynamo::to_item(&scheme).unwrap();
        assert_eq!(item["scheme"].as_s().unwrap(), scheme.word());
        let again: Scheme = serde_dynamo::from_item(item).unwrap();
        assert_eq!(again, scheme);
    }
}

proptest! {
    #[test]
    fn one_changed_byte_is_refused_and_the_cause_is_right(
        which in any::<Index>(),
        body in proptest::collection::vec(any::<u8>(), 1..200),
        place in any::<Index>(),
        change in 1_u8..=255,
    ) {
        let now = at(1_800_000_000);
        let schemes = schemes();
        let scheme = &schemes[which.index(schemes.len())];
        // A form of one field, whose value is changed: its separators are no part of the text signed.
        let is_form = matches!(scheme, Scheme::Twilio { .. });
        let body = if is_form { format!("Body={}", id::hex(&body)).into_bytes() } else { body };
        let signer = Signer::new(scheme.clone(), &body);
        let signed = signer.sign(now);
        prop_assert_eq!(signer.verify(&signed, &body, now), Ok(()));

        let mut changed = body.clone();
        let first = if is_form { "Body=".len() } else { 0 };
        let at = first + place.index(body.len() - first);
        changed[at] ^= if is_form { 1 } else { change };
        let refused = signer.verify(&signed, &changed, now).map_err(|refused| refused.cause);
        let expected = if covers_body(scheme) { Err(Cause::Mismatch) } else { Ok(()) };
        prop_assert_eq!(refused, expected, "body, {:?}", scheme);

        let names: Vec<_> = signed.keys().cloned().collect();
        let name = &names[place.index(names.len())];
        let mut bytes = signed[name].as_bytes().to_vec();
        let at = place.index(bytes.len());
        let other = b'!' + change % 94;
        bytes[at] = if bytes[at] == other { b'~' - u8::from(other == b'~') } else { other };
        let mut headers = signed.clone();
        headers.insert(name, HeaderValue::from_bytes(&bytes).unwrap());
        let refused = signer.verify(&headers, &body, now).map_err(|refused| refused.cause);
        let possible = [Err(Cause::Mismatch), Err(Cause::MalformedHeader)];
        prop_assert!(possible.contains(&refused), "header {name}, {scheme:?}: {refused:?}");

        let mut secret = signer.secret.expose_secret().as_bytes().to_vec();
        let at = "whsec_".len() + place.index(secret.len() - 10);
        secret[at] = if secret[at] == b'A' { b'B' } else { b'A' };
        let secret = SecretString::from(String::from_utf8(secret).unwrap());
        let incoming = Incoming { headers: &signed, url: &signer.url, body: &body };
        let refused = scheme.verify(&incoming, [&secret], now).map_err(|refused| refused.cause);
        prop_assert_eq!(refused, Err(Cause::Mismatch), "secret, {:?}", scheme);
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic(
        which in any::<Index>(),
        values in proptest::collection::vec("[ -~]{0,80}", 3),
        url in "[ -~]{0,60}",
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let schemes = schemes();
        let scheme = &schemes[which.index(schemes.len())];
        let names = Signer::new(scheme.clone(), b"").sign(Utc::now());
        let headers = names.keys().cloned().zip(values.iter().map(|value| value.parse().unwrap())).collect();
        let secret = SecretString::from("12345678");
        let incoming = Incoming { headers: &headers, url: &url, body: &body };
        prop_assert!(scheme.verify(&incoming, [&secret], Utc::now()).is_err());
    }
}
