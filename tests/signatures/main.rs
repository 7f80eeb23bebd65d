//! Deliveries that the providers' own libraries signed are taken, and no other.
//!
//! `tests/run.py providers` installs the libraries (`package.json` here, `tests/requirements.txt`).
//! Secrets are made at run time, so that no vector can be learnt by heart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::Utc;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;
use shared::webhooks::scheme::{Cause, Hint, Incoming, Refused, Scheme};

/// What a script printed.
struct Delivery {
    maker: String,
    scheme: Scheme,
    secret: String,
    url: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Delivery {
    fn of(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let pairs = value["headers"].as_object().unwrap().iter();
        let header = |(name, value): (&String, &Value)| {
            let name = HeaderName::try_from(name).unwrap();
            (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
        };
        Self {
            maker: text("maker"),
            scheme: serde_json::from_value(value["scheme"].clone()).unwrap(),
            secret: text("secret"),
            url: text("url"),
            headers: pairs.map(header).collect(),
            body: BASE64_STANDARD.decode(text("body")).unwrap(),
        }
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8], secret: &str) -> Result<(), Refused> {
        let incoming = Incoming { headers, url: &self.url, body };
        self.scheme.verify(&incoming, [&SecretString::from(secret)], Utc::now())
    }
}

fn deliveries() -> Vec<Delivery> {
    let scripts = [("node", "tests/signatures/sign.mjs"), ("python3", "tests/signatures/sign.py")];
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let printed = scripts.map(|(program, script)| {
        let output = Command::new(program).arg(script).current_dir(root).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    });
    printed.iter().flat_map(|text| text.lines()).map(Delivery::of).collect()
}

/// Each byte of short texts, and some of long ones, changed to one that such a text can have.
fn changed(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = (text.len() / 64).max(1);
    (0..text.len()).step_by(step).filter(|at| text[*at].is_ascii_alphanumeric()).map(move |at| {
        let mut other = text.to_vec();
        other[at] = if text[at] == b'7' { b'6' } else { b'7' };
        other
    })
}

#[test]
fn what_the_libraries_sign_is_taken_and_nothing_else() {
    let deliveries = deliveries();
    let mut makers = BTreeMap::new();
    for delivery in &deliveries {
        let Delivery { maker, scheme, secret, headers, body, .. } = delivery;
        *makers.entry(maker.as_str()).or_insert(0) += 1;
        assert_eq!(delivery.verify(headers, body, secret), Ok(()), "{maker}");

        // Of a form the fields are signed, so what is changed is one of them.
        for body in changed(body) {
            let refused = delivery.verify(headers, &body, secret).expect_err(maker);
            assert_eq!(refused.cause, Cause::Mismatch, "{maker}: {:?}", String::from_utf8_lossy(&body));
        }
        let longer = [body.as_slice(), b"&more=1"].concat();
        let refused = delivery.verify(headers, &longer, secret).map_err(|refused| refused.cause);
        assert_eq!(refused, Err(Cause::Mismatch), "{maker}: a body that is longer");

        for name in scheme.signature_headers().into_iter().filter(|name| headers.contains_key(*name)) {
            for value in changed(headers[name].as_bytes()) {
                let mut headers = headers.clone();
                headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(&value).unwrap());
                let refused = delivery.verify(&headers, body, secret).map_err(|refused| refused.cause);
                let expected = [Err(Cause::Mismatch), Err(Cause::MalformedHeader)];
                assert!(expected.contains(&refused), "{maker}, {name}: {value:?}: {refused:?}");
            }
            let mut headers = headers.clone();
            headers.remove(name);
            let refused = delivery.verify(&headers, body, secret);
            assert_eq!(refused, Err(Cause::NoSignature.into()), "{maker} without {name}");
        }

        for secret in changed(secret.as_bytes()) {
            let secret = String::from_utf8(secret).unwrap();
            let refused = delivery.verify(headers, body, &secret);
            assert_eq!(refused, Err(Cause::Mismatch.into()), "{maker}: another secret");
        }
    }
    assert!(makers.len() >= 12, "{makers:?}");
    println!("{} deliveries: {makers:?}", deliveries.len());
}

#[test]
fn a_body_that_a_framework_rewrote_is_recognised_whoever_signed_it() {
    let rewritten = |body: &[u8]| Some([body.strip_suffix(b"\r\n")?, b"\n"].concat());
    let mut count = 0;
    for delivery in deliveries() {
        let Some(body) = rewritten(&delivery.body) else { continue };
        if matches!(delivery.scheme, Scheme::Twilio { .. }) {
            continue;
        }
        let expected = Refused { cause: Cause::Mismatch, hint: Some(Hint::AlteredBody) };
        let refused = delivery.verify(&delivery.headers, &body, &delivery.secret);
        assert_eq!(refused, Err(expected), "{}", delivery.maker);
        count += 1;
    }
    assert!(count > 0);
}
