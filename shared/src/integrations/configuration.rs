//! What an integration is configured to: a bounded JSON object without secrets.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;
use crate::{FieldError, fields::text, redact};

/// As JSON text; a version's row stays far below what a row may have, and a page of versions
/// below what a query reads.
const BYTES_MAX: usize = 16 * 1024;
/// Objects and lists within one another.
const DEPTH_MAX: usize = 6;
/// Characters of a field's name.
const NAME_MAX: usize = 64;

const SECRET: &str =
    "must not hold a secret: save it by POST /api/credentials/save and name it in `credential_id`";

/// A configuration that was checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Configuration(Map<String, Value>);

type Rule = fn(&Value) -> Result<(), &'static str>;

impl Configuration {
    /// Checks what a person gives; errors name every bad field under `configuration`. With our
    /// providers it has the fields that we use, with others any.
    pub fn parse(kind: Kind, provider: &str, value: Value) -> Result<Self, Vec<FieldError>> {
        const PATH: &str = "configuration";
        let Value::Object(map) = value else {
            return Err(vec![FieldError::new(PATH, "must be a JSON object")]);
        };
        let mut errors = Vec::new();
        if serde_json::to_string(&map).map_or(usize::MAX, |text| text.len()) > BYTES_MAX {
            errors.push(FieldError::new(PATH, format!("must have at most {BYTES_MAX} bytes as JSON")));
        } else {
            check(PATH, &map, 1, &mut errors);
            if let Some(known) = Some(known(provider)).filter(|_| kind != Kind::Custom) {
                for (name, value) in map.iter().filter(|(name, _)| !redact::is_secret_name(name)) {
                    let rule = known.iter().find(|(one, _)| one == name).map(|(_, rule)| rule);
                    let fault = match rule {
                        Some(rule) => rule(value).err().map(str::to_owned),
                        None => Some(unknown(provider, known)),
                    };
                    errors.extend(fault.map(|fault| FieldError::new(format!("{PATH}.{name}"), fault)));
                }
            }
        }
        if errors.is_empty() { Ok(Self(map)) } else { Err(errors) }
    }

    /// A field that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

fn unknown(provider: &str, known: &[(&str, Rule)]) -> String {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    format!("is not a known field; {provider} has {}", names.join(", "))
}

/// Names, depth and secrets, at any depth.
fn check(path: &str, map: &Map<String, Value>, depth: usize, errors: &mut Vec<FieldError>) {
    for (name, value) in map {
        let here = format!("{path}.{name}");
        if text(1, NAME_MAX)(&Value::from(name.as_str())).is_err() {
            let message = format!("must have names of 1 to {NAME_MAX} characters without control characters");
            errors.push(FieldError::new(path, message));
        } else if redact::is_secret_name(name) {
            errors.push(FieldError::new(here, SECRET));
        } else {
            check_value(&here, value, depth, errors);
        }
    }
}

fn check_value(path: &str, value: &Value, depth: usize, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(_) | Value::Array(_) if depth == DEPTH_MAX => {
            errors.push(FieldError::new(path, format!("must not be nested deeper than {DEPTH_MAX} levels")));
        }
        Value::Object(map) => check(path, map, depth + 1, errors),
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                check_value(&format!("{path}[{at}]"), value, depth + 1, errors);
            }
        }
        Value::String(text) if redact::is_known_secret(text) => errors.push(FieldError::new(path, SECRET)),
        _ => {}
    }
}

/// The fields that our providers' integrations have.
fn known(provider: &str) -> &'static [(&'static str, Rule)] {
    match provider {
        "google" => &[("spreadsheet_id", spreadsheet), ("tab", short_text)],
        "ga4" => &[("property_id", property)],
        "meta" => &[("account_id", ad_account)],
        "shopify" => &[("shop", shop)],
        "stripe" => &[("account_id", stripe_account)],
        "github" => &[("owner", owner), ("repositories", repositories)],
        "smtp" => &[("from_name", short_text), ("reply_to", address)],
        "twilio" => &[("from", phone), ("messaging_service_sid", messaging_service)],
        _ => &[],
    }
}

fn matches(value: &Value, message: &'static str, rule: impl Fn(&str) -> bool) -> Result<(), &'static str> {
    if value.as_str().is_some_and(rule) { Ok(()) } else { Err(message) }
}

fn digits(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn made_of(text: &str, max: usize, others: &[u8]) -> bool {
    (1..=max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

fn short_text(value: &Value) -> Result<(), &'static str> {
    text(1, 100)(value)
        .map(|_| ())
        .map_err(|_| "must be text of 1 to 100 characters without control characters")
}

fn spreadsheet(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be the id in a spreadsheet's address, after /d/", |text| made_of(text, 128, b"-_"))
}

fn property(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be the number of a property, as text", |text| digits(text, 1, 20))
}

fn ad_account(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be an ad account such as act_1234567890", |text| {
        text.strip_prefix("act_").is_some_and(|number| digits(number, 1, 20))
    })
}

fn shop(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be a shop such as example.myshopify.com", |text| {
        text.strip_suffix(".myshopify.com")
            .is_some_and(|name| made_of(name, 60, b"-") && !name.starts_with('-'))
    })
}

fn stripe_account(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be an account such as acct_…", |text| {
        text.strip_prefix("acct_").is_some_and(|id| made_of(id, 64, b""))
    })
}

fn owner(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be the name of a user or an organisation", |text| made_of(text, 39, b"-"))
}

fn repositories(value: &Value) -> Result<(), &'static str> {
    let name = |value: &Value| value.as_str().is_some_and(|text| made_of(text, 100, b"-_."));
    let listed = value.as_array().is_some_and(|names| names.len() <= 100 && names.iter().all(name));
    if listed { Ok(()) } else { Err("must be a list of at most 100 names of repositories") }
}

fn address(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be an e-mail address", |text| {
        text.len() <= 254
            && text.split_once('@').is_some_and(|(local, host)| !local.is_empty() && host.contains('.'))
            && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
    })
}

fn phone(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be a number such as +15551234567", |text| {
        text.strip_prefix('+').is_some_and(|number| digits(number, 7, 15))
    })
}

fn messaging_service(value: &Value) -> Result<(), &'static str> {
    matches(value, "must be a messaging service such as MG…", |text| {
        text.strip_prefix("MG").is_some_and(|id| id.len() == 32 && made_of(id, 32, b""))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(kind: Kind, provider: &str, value: Value) -> Vec<String> {
        let errors = Configuration::parse(kind, provider, value).err().unwrap_or_default();
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_secret_is_refused_wherever_it_stands_and_told_where_it_belongs() {
        let key = format!("sk_{}_{}", "live", "x".repeat(24));
        let value = json!({
            "endpoint": "https://example.com", "apiKey": "x", "password": {"of": "x"},
            "nested": {"list": [{"client_secret": "x"}, {"plain": key}]},
        });
        let errors = Configuration::parse(Kind::Custom, "acme", value).unwrap_err();
        let named: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let expected = [
            "configuration.apiKey",
            "configuration.nested.list[0].client_secret",
            "configuration.nested.list[1].plain",
            "configuration.password",
        ];
        assert_eq!(named, expected);
        assert!(errors.iter().all(|error| error.message.contains("credential_id")), "{errors:?}");
        assert!(errors.iter().all(|error| !error.message.contains(&key)), "{errors:?}");
    }

    #[test]
    fn a_secret_is_refused_for_our_providers_too() {
        let named = faults(Kind::Analytics, "ga4", json!({"service_account": {}, "property_id": 7}));
        assert_eq!(named, ["configuration.service_account", "configuration.property_id"]);
    }

    #[test]
    fn what_our_providers_use_is_checked() {
        for (kind, provider, good, bad) in [
            (Kind::Analytics, "ga4", json!({"property_id": "123456"}), json!({"property_id": "UA-1"})),
            (Kind::Commerce, "shopify", json!({"shop": "a.myshopify.com"}), json!({"shop": "a.example.com"})),
            (Kind::Ads, "meta", json!({"account_id": "act_12"}), json!({"account_id": "12"})),
            (Kind::Billing, "stripe", json!({"account_id": "acct_1a"}), json!({"account": "acct_1a"})),
            (
                Kind::Spreadsheet,
                "google",
                json!({"spreadsheet_id": "aB3".repeat(14), "tab": "KPIs"}),
                json!({"spreadsheet_id": "https://docs.google.com/x"}),
            ),
            (
                Kind::Code,
                "github",
                json!({"owner": "acme", "repositories": ["a.b"]}),
                json!({"owner": "acme", "repositories": "a/b"}),
            ),
            (Kind::Sms, "twilio", json!({"from": "+15551234567"}), json!({"from": "5551234567"})),
            (Kind::Email, "smtp", json!({"reply_to": "a@example.com"}), json!({"reply_to": "a"})),
        ] {
            assert_eq!(faults(kind, provider, good), Vec::<String>::new(), "{provider}");
            assert_eq!(faults(kind, provider, bad.clone()).len(), 1, "{provider}: {bad}");
            assert_eq!(faults(Kind::Custom, provider, bad), Vec::<String>::new(), "{provider}");
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let deep = |levels: usize| (1..levels).fold(json!({"a": 1}), |inner, _| json!({"a": inner}));
        for (case, value, accepted) in [
            ("empty", json!({}), true),
            ("no object", json!([]), false),
            ("deepest", deep(6), true),
            ("too deep", deep(7), false),
            ("lists are levels too", json!({"a": [[[[[[1]]]]]]}), false),
            ("largest", json!({"a": "x".repeat(16 * 1024 - 8)}), true),
            ("too large", json!({"a": "x".repeat(16 * 1024 - 7)}), false),
            ("name too long", json!({"x".repeat(65): 1}), false),
            ("empty name", json!({"": 1}), false),
        ] {
            assert_eq!(Configuration::parse(Kind::Custom, "acme", value).is_ok(), accepted, "{case}");
        }
    }
}
