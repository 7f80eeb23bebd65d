//! Which environment variables hold which credential.

use std::fs;

use serde_json::{Map, Value};
use shared::providers::Provider;

/// A credential that variables may hold.
pub(super) struct Source {
    pub(super) provider: Provider,
    /// Those whose presence says that it is wanted; the others may be there for another one.
    sign: &'static [&'static str],
    fields: &'static [Field],
}

/// A field of the credential, the variables that may hold it (the first that is set does), and
/// whether it must be there.
type Field = (&'static str, &'static [(&'static str, Form)], bool);

#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    /// JSON in the variable.
    Json,
    /// The path of a file with JSON.
    JsonFile,
}

use Form::{Json, JsonFile, Number, Text};

const SERVICE_ACCOUNT: Field = (
    "service_account",
    &[("GOOGLE_SERVICE_ACCOUNT_JSON", Json), ("GOOGLE_APPLICATION_CREDENTIALS", JsonFile)],
    true,
);
const SHOP: Field = ("shop", &[("SHOPIFY_SHOP", Text)], true);

/// Google's token of somebody who is signed in.
const SHORT_LIVED: &str = "GOOGLE_ACCESS_TOKEN";

static SOURCES: [Source; 10] = [
    Source {
        provider: Provider::Meta,
        sign: &["META_ACCESS_TOKEN"],
        fields: &[
            ("access_token", &[("META_ACCESS_TOKEN", Text)], true),
            ("app_secret", &[("META_APP_SECRET", Text)], false),
        ],
    },
    Source {
        provider: Provider::Google,
        sign: &["GOOGLE_SERVICE_ACCOUNT_JSON", "GOOGLE_APPLICATION_CREDENTIALS"],
        fields: &[SERVICE_ACCOUNT],
    },
    Source {
        provider: Provider::Ga4,
        sign: &["GA4_PROPERTY_ID"],
        fields: &[SERVICE_ACCOUNT, ("property_id", &[("GA4_PROPERTY_ID", Text)], true)],
    },
    Source {
        provider: Provider::Shopify,
        sign: &["SHOPIFY_API_TOKEN", "SHOPIFY_ACCESS_TOKEN"],
        fields: &[
            SHOP,
            ("access_token", &[("SHOPIFY_API_TOKEN", Text), ("SHOPIFY_ACCESS_TOKEN", Text)], true),
        ],
    },
    Source {
        provider: Provider::Shopify,
        sign: &["SHOPIFY_CLIENT_ID"],
        fields: &[
            SHOP,
            ("client_id", &[("SHOPIFY_CLIENT_ID", Text)], true),
            ("client_secret", &[("SHOPIFY_CLIENT_SECRET", Text)], true),
        ],
    },
    Source {
        provider: Provider::Stripe,
        sign: &["STRIPE_API_KEY"],
        fields: &[("api_key", &[("STRIPE_API_KEY", Text)], true)],
    },
    Source {
        provider: Provider::Github,
        sign: &["GITHUB_APP_ID", "GITHUB_APP_INSTALLATION_ID", "GITHUB_APP_PRIVATE_KEY"],
        fields: &[
            ("app_id", &[("GITHUB_APP_ID", Text)], true),
            ("installation_id", &[("GITHUB_APP_INSTALLATION_ID", Text)], true),
            ("private_key", &[("GITHUB_APP_PRIVATE_KEY", Text)], true),
        ],
    },
    Source {
        provider: Provider::Supabase,
        sign: &["SUPABASE_URL", "SUPABASE_SERVICE_KEY", "SUPABASE_SERVICE_ROLE_KEY"],
        fields: &[
            ("url", &[("SUPABASE_URL", Text)], true),
            ("service_key", &[("SUPABASE_SERVICE_KEY", Text), ("SUPABASE_SERVICE_ROLE_KEY", Text)], true),
        ],
    },
    Source {
        provider: Provider::Smtp,
        sign: &["SMTP_HOST", "SMTP_USERNAME", "SMTP_USER", "SMTP_PASSWORD", "SMTP_PASS"],
        fields: &[
            ("host", &[("SMTP_HOST", Text)], true),
            ("port", &[("SMTP_PORT", Number)], true),
            ("username", &[("SMTP_USERNAME", Text), ("SMTP_USER", Text)], true),
            ("password", &[("SMTP_PASSWORD", Text), ("SMTP_PASS", Text)], true),
            ("from", &[("SMTP_FROM", Text)], true),
        ],
    },
    Source {
        provider: Provider::Twilio,
        sign: &["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"],
        fields: &[
            ("account_sid", &[("TWILIO_ACCOUNT_SID", Text)], true),
            ("auth_token", &[("TWILIO_AUTH_TOKEN", Text)], true),
        ],
    },
];

/// What the variables of one provider come to.
pub(super) struct Found {
    pub(super) provider: Provider,
    /// Those that are set.
    pub(super) variables: Vec<&'static str>,
    pub(super) credential: Result<Given, Unusable>,
}

/// A credential as the API takes it.
pub(super) struct Given {
    pub(super) fields: Map<String, Value>,
    /// Which variable a field came from.
    origins: Vec<(&'static str, &'static str)>,
}

/// Why variables make no credential.
pub(super) enum Unusable {
    /// Others that belong to it are not set, or it cannot be read.
    Incomplete(Vec<String>),
    /// What they hold does not last.
    ShortLived(&'static str),
}

impl Given {
    /// The name under which a person knows a field that the API calls `path`.
    pub(super) fn variable<'a>(&self, path: &'a str) -> &'a str {
        let inner = path.strip_prefix("credential.").unwrap_or(path);
        let field = inner.split(['.', '[']).next().unwrap_or_default();
        self.origins.iter().find(|(name, _)| *name == field).map_or(path, |(_, variable)| *variable)
    }
}

/// The variables, for the help of the command.
pub(super) fn help() -> String {
    let mut text = "Variables (the first of each that is set; those in brackets may be left out):".to_owned();
    for Source { provider, fields, .. } in &SOURCES {
        let field = |(_, variables, required): &Field| {
            let names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
            let names = names.join(" | ");
            if *required { names } else { format!("[{names}]") }
        };
        let fields: Vec<_> = fields.iter().map(field).collect();
        text.extend([format!("\n  {:<10}{}", provider.word(), fields.join(", "))]);
    }
    text
}

/// Everything that the variables hold, by `get`.
pub(super) fn read(get: &dyn Fn(&str) -> Option<String>) -> Vec<Found> {
    let wanted = SOURCES.iter().filter(|source| source.sign.iter().any(|name| get(name).is_some()));
    let mut found: Vec<_> = wanted.map(|source| source.read(get)).collect();
    if get(SHORT_LIVED).is_some() {
        found.push(Found {
            provider: Provider::Google,
            variables: vec![SHORT_LIVED],
            credential: Err(Unusable::ShortLived(
                "it is good for an hour and cannot be kept; use a service account instead \
                 (GOOGLE_SERVICE_ACCOUNT_JSON or GOOGLE_APPLICATION_CREDENTIALS)",
            )),
        });
    }
    found
}

impl Source {
    fn read(&self, get: &dyn Fn(&str) -> Option<String>) -> Found {
        let mut fields = Map::new();
        let mut origins = Vec::new();
        let mut faults = Vec::new();
        for (field, variables, required) in self.fields {
            let set = variables.iter().find_map(|(name, form)| Some((*name, *form, get(name)?)));
            match set {
                Some((name, form, text)) => {
                    origins.push((*field, name));
                    match value(form, &text) {
                        Ok(value) => drop(fields.insert((*field).to_owned(), value)),
                        Err(reason) => faults.push(format!("{name} {reason}")),
                    }
                }
                None if *required => faults.push(format!("{} is not set", variables[0].0)),
                None => {}
            }
        }
        let variables = origins.iter().map(|(_, name)| *name).collect();
        let credential =
            if faults.is_empty() { Ok(Given { fields, origins }) } else { Err(Unusable::Incomplete(faults)) };
        Found { provider: self.provider, variables, credential }
    }
}

/// The value of a variable; what is wrong with it does not repeat it.
fn value(form: Form, text: &str) -> Result<Value, &'static str> {
    let json = |text: &str| serde_json::from_str(text).map_err(|_| "is not JSON");
    match form {
        Text => Ok(text.trim().into()),
        Number => text.trim().parse::<u64>().map(Value::from).map_err(|_| "is not a whole number"),
        Json => json(text),
        JsonFile => {
            let text = fs::read_to_string(text.trim()).map_err(|_| "names a file that cannot be read")?;
            json(&text).map_err(|_| "names a file that is not JSON")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_make_the_credentials_that_they_are_of() {
        let environment = [
            ("META_ACCESS_TOKEN", "meta"),
            ("SHOPIFY_SHOP", "acme.myshopify.com"),
            ("SHOPIFY_ACCESS_TOKEN", " shop\n"),
            ("STRIPE_WEBHOOK_SECRET", "of no credential"),
            ("GOOGLE_SERVICE_ACCOUNT_JSON", r#"{"type":"service_account"}"#),
            ("GA4_PROPERTY_ID", "123"),
            ("SMTP_HOST", "smtp.example.com"),
            ("SMTP_PORT", "none"),
            ("TWILIO_AUTH_TOKEN", "token"),
            ("GOOGLE_ACCESS_TOKEN", "token"),
        ];
        let get = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let told: Vec<_> = read(&get)
            .into_iter()
            .map(|found| {
                let what = match found.credential {
                    Ok(given) => Value::Object(given.fields).to_string(),
                    Err(Unusable::Incomplete(reasons)) => reasons.join(", "),
                    Err(Unusable::ShortLived(_)) => "short-lived".to_owned(),
                };
                (found.provider.word(), what)
            })
            .collect();
        let account = r#"{"service_account":{"type":"service_account"}}"#;
        let of_property = r#"{"property_id":"123","service_account":{"type":"service_account"}}"#;
        let expected = [
            ("meta", r#"{"access_token":"meta"}"#),
            ("google", account),
            ("ga4", of_property),
            ("shopify", r#"{"access_token":"shop","shop":"acme.myshopify.com"}"#),
            (
                "smtp",
                "SMTP_PORT is not a whole number, SMTP_USERNAME is not set, SMTP_PASSWORD is not set, \
                 SMTP_FROM is not set",
            ),
            ("twilio", "TWILIO_ACCOUNT_SID is not set"),
            ("google", "short-lived"),
        ];
        assert_eq!(told, expected.map(|(provider, what)| (provider, what.to_owned())));
    }

    #[test]
    fn a_fault_is_told_by_the_name_of_its_variable() {
        let get = |name: &str| (name == "GOOGLE_SERVICE_ACCOUNT_JSON").then(|| "{}".to_owned());
        let found = read(&get).remove(0);
        let Ok(given) = found.credential else { panic!("it is complete") };
        for path in ["credential.service_account", "credential.service_account.private_key"] {
            assert_eq!(given.variable(path), "GOOGLE_SERVICE_ACCOUNT_JSON");
        }
        assert_eq!(given.variable("credential.other"), "credential.other");
    }
}
