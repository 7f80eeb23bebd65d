//! What people may set an endpoint to, and how each fault is named.

use serde_json::json;

use super::*;
use crate::webhooks::Scheme;

const SECRET: &str = "12345678";

fn order(body: Value) -> Result<Order, Vec<String>> {
    Order::parse(Fields::of("", body).unwrap(), crate::time::now()).map_err(|error| match error {
        Error::Invalid(faults) => faults.into_iter().map(|fault| fault.field).collect(),
        error => panic!("{error}"),
    })
}

fn hmac(options: &Value) -> Result<Settings, Vec<String>> {
    let mut body =
        json!({"name": "n", "scheme": "hmac", "signature_header": "X-Signature", "secrets": [SECRET]});
    body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    order(body).map(|order| order.settings)
}

#[test]
fn each_scheme_has_its_own_fields_and_every_wrong_one_is_named() {
    let standard = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
    for (case, body, faults) in [
        ("stripe", json!({"name": "n", "scheme": "stripe", "secrets": [SECRET]}), vec![]),
        ("standard", json!({"name": "n", "scheme": "standard-webhooks", "secrets": [standard]}), vec![]),
        (
            "token",
            json!({"name": "n", "scheme": "token", "secrets": [SECRET], "signature_header": "X-T"}),
            vec![],
        ),
        ("unsigned", json!({"name": "n", "scheme": "github", "verify_signature": false}), vec![]),
        ("nothing", json!({}), vec!["scheme", "name"]),
        ("unknown scheme", json!({"name": "n", "scheme": "md5", "algorithm": 1}), vec!["scheme"]),
        ("no secret", json!({"name": "n", "scheme": "github"}), vec!["secrets"]),
        ("no list", json!({"name": "n", "scheme": "github", "secrets": SECRET}), vec!["secrets"]),
        ("short", json!({"name": "n", "scheme": "github", "secrets": ["1234567"]}), vec!["secrets[0]"]),
        (
            "short key",
            json!({"name": "n", "scheme": "standard-webhooks", "secrets": [standard, "whsec_c2hvcnQ="]}),
            vec!["secrets[1]"],
        ),
        (
            "no public key",
            json!({"name": "n", "scheme": "sendgrid", "secrets": [standard]}),
            vec!["secrets[0]"],
        ),
        ("twice", json!({"name": "n", "scheme": "github", "secrets": [SECRET, SECRET]}), vec!["secrets[1]"]),
        (
            "six",
            json!({"name": "n", "scheme": "github", "secrets": ["1", "2", "3", "4", "5", "6"]}),
            vec!["secrets"],
        ),
        (
            "another scheme's",
            json!({"name": "n", "scheme": "github", "secrets": [SECRET], "prefix": "v1="}),
            vec!["prefix"],
        ),
        (
            "all at once",
            json!({
                "name": "", "scheme": "hmac", "path": "A", "integration_id": "#", "algorithm": "md5",
                "encoding": "base32", "prefix": "\n", "timestamp_header": "a b", "signed_content": "{}",
                "tolerance_seconds": 0, "event_id_header": "", "verify_signature": "no", "active": 1,
                "secrets": [7], "more": 1,
            }),
            vec![
                "timestamp_header",
                "signed_content",
                "tolerance_seconds",
                "signature_header",
                "algorithm",
                "encoding",
                "prefix",
                "name",
                "path",
                "integration_id",
                "event_id_header",
                "verify_signature",
                "active",
                "more",
                "secrets[0]",
            ],
        ),
    ] {
        let told = order(body).err().unwrap_or_default();
        assert_eq!(told, faults, "{case}");
    }
}

#[test]
fn what_is_signed_follows_from_whether_there_is_a_time() {
    let header = json!("X-Time");
    for (case, options, expected) in [
        ("neither", json!({}), Ok("{body}")),
        ("time", json!({"timestamp_header": header}), Ok("{timestamp}.{body}")),
        (
            "told",
            json!({"timestamp_header": header, "signed_content": "v0:{timestamp}:{body}"}),
            Ok("v0:{timestamp}:{body}"),
        ),
        (
            "time not signed",
            json!({"timestamp_header": header, "signed_content": "{body}"}),
            Err("signed_content"),
        ),
        ("signed and not told", json!({"signed_content": "{timestamp}{body}"}), Err("timestamp_header")),
        ("no body", json!({"signed_content": "x"}), Err("signed_content")),
    ] {
        let told = hmac(&options).map(|settings| match settings.scheme {
            Scheme::Hmac(scheme) => scheme.signed_content,
            scheme => panic!("{scheme:?}"),
        });
        let expected = expected.map(str::to_owned).map_err(|field| vec![field.to_owned()]);
        assert_eq!(told, expected, "{case}");
    }
}

#[test]
fn a_path_is_one_that_every_service_can_call() {
    for (path, good) in [
        ("orders", true),
        ("a/b-c/d_1", true),
        ("/a", false),
        ("a/", false),
        ("a//b", false),
        ("A", false),
        ("a.b", false),
        ("ä", false),
        ("a?b", false),
        (&"a".repeat(100), true),
        (&"a".repeat(101), false),
    ] {
        let body = json!({"name": "n", "scheme": "github", "secrets": [SECRET], "path": path});
        assert_eq!(order(body).is_ok(), good, "{path}");
    }
    let given = || hmac(&json!({})).unwrap().path;
    assert!(given().len() == 24 && given() != given(), "without a path there is one that nobody guesses");
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let before = hmac(&json!({"description": "d", "prefix": "v1=", "path": "a", "active": false})).unwrap();
    let after = |patch: Value| {
        let mut fields = before.overlaid(patch.as_object().unwrap().clone());
        let settings = Settings::read(&mut fields);
        fields.finish().map(|()| settings)
    };
    assert_eq!(after(json!({})).unwrap(), before);
    for (patch, changed) in [
        (json!({"name": "m"}), vec!["name"]),
        (json!({"description": null}), vec!["description"]),
        (json!({"active": true}), vec!["active"]),
        (json!({"timestamp_header": "x-time"}), vec!["signed_content", "timestamp_header"]),
        (
            json!({"scheme": "github"}),
            vec![
                "algorithm",
                "encoding",
                "prefix",
                "scheme",
                "signature_header",
                "signed_content",
                "tolerance_seconds",
            ],
        ),
    ] {
        assert_eq!(before.changed(&after(patch.clone()).unwrap()), changed, "{patch}");
    }
    for patch in [json!({"name": null}), json!({"id": "x"}), json!({"scheme": "token"})] {
        assert!(after(patch.clone()).is_err(), "{patch}");
    }
}

#[test]
fn removed_secrets_are_forgotten_after_a_while() {
    let now = crate::time::now();
    let mut keyring = Keyring::default();
    for number in 0..8 {
        let secret = json!([format!("secret-number-{number}")]);
        let added = now + chrono::TimeDelta::minutes(number);
        assert!(keyring.add("secrets", Some(secret), &Scheme::Github, added).is_empty());
        let id = keyring.masks().last().unwrap().id.clone();
        if number < 7 {
            assert!(keyring.remove(&id, added) && !keyring.remove(&id, added));
        }
    }
    keyring.prune(now + chrono::TimeDelta::days(1));
    let previous = |keyring: &Keyring, days| keyring.previous(now + chrono::TimeDelta::days(days)).len();
    assert_eq!((previous(&keyring, 1), previous(&keyring, 31)), (5, 0));
    keyring.prune(now + chrono::TimeDelta::days(31));
    assert_eq!((previous(&keyring, 1), keyring.accepted().len()), (0, 1));
}
